"""A judge is a potential and the references that its energies need."""

import pickle

import numpy as np
import pytest

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.judge import chgnet_judge, judge_of
from symmbfn.evaluation.energies.references import chgnet_references

FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
SALT = Cell(2.85 * FCC, np.array([11, 17]), np.array([[0.0] * 3, [0.5] * 3]))


def test_the_default_judge_carries_what_ties_its_energies_to_the_hull() -> None:
    judge = chgnet_judge()
    assert judge.name == "CHGNet 0.3.0" and judge.device == "cpu"
    mu = chgnet_references().energies
    expected = -3.5 - (mu["Na"] + mu["Cl"]) / 2
    assert judge.formation_energy(SALT, -3.5) == pytest.approx(expected)
    heavy = Cell(4.0 * np.eye(3), np.array([110]), np.zeros((1, 3)))
    assert np.isnan(judge.formation_energy(heavy, -3.5)), "darmstadtium has no reference"


def test_what_makes_a_potential_goes_to_other_processes() -> None:
    (point,) = pickle.loads(pickle.dumps(chgnet_judge().make))()([SALT])
    # rock salt lies 2.1 eV/atom below its elements in every database
    assert chgnet_judge().formation_energy(SALT, point.energy_per_atom) == pytest.approx(
        -2.1, abs=0.1
    )


@pytest.mark.parametrize("text", ["magic", "a.b", ":factory", "a..b:c", "a b:c", ""])
def test_a_text_that_names_no_judge_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'chgnet', 'sevennet' or 'module:factory'"):
        judge_of(text)


def test_a_device_is_for_the_potential_that_takes_one() -> None:
    with pytest.raises(ValueError, match="takes no device, got 'cuda'"):
        judge_of("sevennet", device="cuda")
