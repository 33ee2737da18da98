"""The whole hull: whose energy each phase has, and what its digest must tell apart."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from symmbfn.evaluation.energies import mp_hulls
from symmbfn.evaluation.energies.entries import Entry
from symmbfn.evaluation.energies.hull import Hull, HullPoint
from symmbfn.evaluation.energies.hull_labels import hull_labels
from symmbfn.evaluation.energies.mp_hulls import (
    OPEN_ENERGIES,
    PREDICTED_ENERGIES,
    default_hull,
    open_hull,
    whole_hull,
    whole_phases,
)
from symmbfn.evaluation.energies.potentials import CHGNET
from symmbfn.evaluation.energies.references import ElementReferences

REFERENCES = ElementReferences({"Na": -1.0, "Cl": -2.0, "N": -8.0})
SALT, CHLORIDE = {"Na": 1.0, "Cl": 1.0}, {"Na": 1.0, "Cl": 3.0}


def csv(path: Path, columns: str, *rows: str) -> None:
    path.write_bytes(b"")
    table = pd.DataFrame([row.split(",") for row in rows], columns=columns.split(","))
    table.to_csv(path, index=False, compression="gzip")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DFT knows two kinds of NaCl; CHGNet says total energies of these and of others."""
    energies = "material_id,pretty_formula,formation_energy_per_atom"
    csv(tmp_path / OPEN_ENERGIES, energies + ",source", "mp-1,NaCl,-2.0,MP-20", "mp-2,NaCl,-1.9,x")
    known = energies + ",e_above_hull"
    csv(tmp_path / "mp_20_train.csv.gz", known, "mp-1,NaCl,-2.0,0.0", "mp-3,NaCl3,-0.5,0.6")
    csv(tmp_path / "mp_20_val.csv.gz", known, "mp-2,NaCl,-1.9,0.1")
    csv(
        tmp_path / PREDICTED_ENERGIES,
        "material_id,formula,n_atoms,energy_per_atom,formation_energy_per_atom",
        "mp-1,NaCl,2,-9.0,-7.5",  # has a DFT energy: this one must not count
        "mp-3,NaCl3,4,-2.25,9.0",  # -0.5 above the references; the column is of other ones
        "mp-4,NaCl,2,-3.3,0.0",  # -1.8
        "mp-5,NaN,2,-4.6,0.0",  # sodium nitride, -0.1
        "mp-6,Na,1,-1.1,0.0",  # below the reference
        "mp-7,Na,2,-0.7,0.0",
    )
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path))
    monkeypatch.setattr(mp_hulls, "chgnet_references", lambda: REFERENCES)
    return tmp_path


def parts(point: HullPoint) -> list[tuple[str, str]]:
    return [(phase.name, phase.source) for phase in point.decomposition]


def test_dft_counts_where_it_is_known_and_chgnet_elsewhere(folder: Path) -> None:
    hull = whole_hull(points_from=())
    assert hull.sources == {"DFT", CHGNET} and CHGNET == "CHGNet 0.3.0"
    assert hull.name == "whole MP energies (2 phases of DFT, 3 of CHGNet 0.3.0, 0 hull points)"
    assert hull.at(SALT).hull_energy_per_atom == pytest.approx(-2.0)
    assert parts(hull.at(SALT)) == [("mp-1", "DFT")]
    assert not hull.at(SALT).has_predicted_phases
    # without both of DFT's the third kind, which only CHGNet knows
    third = hull.at(SALT, exclude=["mp-1", "mp-2"])
    assert third.hull_energy_per_atom == pytest.approx(-1.8)
    assert parts(third) == [("mp-4", CHGNET)] and third.has_predicted_phases


def test_a_mixture_names_its_phases_and_their_sources(folder: Path) -> None:
    """NaCl5: between NaCl at -2 and pure chlorine, as NaCl3 at -0.5 lies above that line."""
    mixture = whole_hull(points_from=()).at({"Na": 1, "Cl": 5}).decomposition
    assert sorted(map(str, mixture)) == ["Cl 0.667 element", "mp-1 0.333 DFT"]


def test_sodium_nitride_is_a_phase(folder: Path) -> None:
    point = whole_hull(points_from=()).at({"Na": 1, "N": 1})
    assert point.hull_energy_per_atom == pytest.approx(-0.1)
    assert parts(point) == [("mp-5", CHGNET)]


def test_elements_lie_at_zero_whatever_the_potential_says(folder: Path) -> None:
    hull = whole_hull(points_from=())
    assert hull.at({"Na": 1}).hull_energy_per_atom == 0
    energies = {phase.id: phase.formation_energy_per_atom for phase in whole_phases(REFERENCES)}
    # from the lowest of the element, so that no polymorph lies below it
    assert (energies["mp-6"], energies["mp-7"]) == (0, pytest.approx(0.4))
    below = [Entry("low", {"Na": 1.0}, -0.1, source=CHGNET), Entry("salt", SALT, -2.0)]
    assert Hull(below, name="", digest="").at({"Na": 1}).hull_energy_per_atom == 0


def test_hull_points_and_phases_of_one_composition(folder: Path) -> None:
    """A point of NaCl3 at -1.1 lies below CHGNet's -0.5; it goes with the crystal itself."""
    hull = whole_hull(points_from=("train",))
    assert hull.n_hull_points == 2
    assert hull.at(CHLORIDE).hull_energy_per_atom == pytest.approx(-1.1)
    assert parts(hull.at(CHLORIDE)) == [("hull of mp-3", "DFT")]
    # without: half NaCl at -2, half chlorine
    left = hull.at(CHLORIDE, exclude=["mp-3"])
    assert left.hull_energy_per_atom == pytest.approx(-1.0)
    # a phase on the hull is named itself, not as the point that repeats its energy
    assert parts(hull.at(SALT)) == [("mp-1", "DFT")]
    assert hull.e_above_hull(SALT, -2.0, exclude=["mp-1"]) == pytest.approx(-0.1)


def test_the_lowest_of_one_composition_counts_whoever_says_it(folder: Path) -> None:
    phases = [Entry("dft", SALT, -1.9), Entry("net", SALT, -2.0, source=CHGNET)]
    for order in (phases, phases[::-1]):
        hull = Hull(order, name="", digest="")
        assert parts(hull.at(SALT)) == [("net", CHGNET)]
        assert parts(hull.at(SALT, exclude=["net"])) == [("dft", "DFT")]
    alike = [replace(phases[1], formation_energy_per_atom=-1.9), phases[0]]
    assert parts(Hull(alike, name="", digest="").at(SALT)) == [("dft", "DFT")]


def test_an_id_that_stands_twice_is_left_out_whole(folder: Path) -> None:
    """Two runs of one id, and a mixture of two phases of one id keeps both shares."""
    twice = [Entry("a", SALT, -2.0), Entry("a", CHLORIDE, -1.5), Entry("b", SALT, -1.0)]
    hull = Hull(twice, name="", digest="")
    mixture = hull.at({"Na": 1, "Cl": 2}).decomposition
    assert [phase.name for phase in mixture] == ["a", "a"]
    assert sum(phase.share for phase in mixture) == pytest.approx(1)
    assert parts(hull.at(SALT, exclude=["a"])) == [("b", "DFT")]


def test_the_digest_tells_references_and_files_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = whole_hull().digest
    assert whole_hull().digest == digest
    assert len({digest, whole_hull(points_from=("train",)).digest, open_hull().digest}) == 3
    moved = ElementReferences(REFERENCES.energies | {"N": -8.1})
    monkeypatch.setattr(mp_hulls, "chgnet_references", lambda: moved)
    hull = whole_hull()
    assert hull.digest != digest
    assert hull.at({"Na": 1, "N": 1}).hull_energy_per_atom == pytest.approx(-0.05)
    before = open_hull().digest
    monkeypatch.setattr(mp_hulls, "chgnet_references", lambda: REFERENCES)
    assert open_hull().digest == before, "the open hull has no references in it"


def test_the_default_is_the_whole_hull_where_its_file_is(folder: Path) -> None:
    assert default_hull().digest == whole_hull().digest
    (folder / PREDICTED_ENERGIES).unlink()
    assert default_hull().digest == open_hull().digest
    assert default_hull().name == "open MP energies (2 phases, 3 hull points)"
    assert default_hull().sources == {"DFT"}, "the column `source` of a table is none of energies"
    with pytest.raises(ValueError, match=f"has no {PREDICTED_ENERGIES}"):
        whole_hull()


def test_an_element_without_reference_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ElementReferences({"Na": -1.0, "Cl": -2.0})
    monkeypatch.setattr(mp_hulls, "chgnet_references", lambda: few)
    with pytest.raises(ValueError, match="1 phases, such as mp-5, have no energy, or an element"):
        whole_hull()


def test_a_hull_of_another_judge_is_refused() -> None:
    def hull(*sources: str) -> Hull:
        phases = [Entry(source, SALT, -1.0, source=source) for source in sources]
        return Hull(phases, name="mine", digest="")

    hull("DFT").check_judge("SevenNet 0")
    hull("DFT", CHGNET).check_judge(CHGNET)
    with pytest.raises(ValueError, match=r"of SevenNet 0 .* 'mine', .* CHGNet 0\.3\.0") as refused:
        hull("DFT", CHGNET).check_judge("SevenNet 0")
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="SevenNet 0"):
        hull("DFT", CHGNET, "SevenNet 0").check_judge(CHGNET)
    hull("DFT", CHGNET).check_judge("SevenNet 0", is_tied_to_dft=True)


def test_labels_keep_the_own_entry_in_the_hull(folder: Path) -> None:
    """0 on the hull, positive above it, nothing below; and whose energy it is."""
    hull, phases = whole_hull(), whole_phases(REFERENCES)
    ids = ["mp-7", "mp-2", "mp-1", "mp-404", "mp-3", "mp-6"]
    table = hull_labels(hull, phases, ids).set_index("material_id")
    assert list(table.index) == ["mp-7", "mp-2", "mp-1", "mp-3", "mp-6"]
    expected = {"mp-7": 0.4, "mp-2": 0.1, "mp-1": 0.0, "mp-3": 0.6, "mp-6": 0.0}
    assert table["e_above_hull"].to_dict() == pytest.approx(expected, abs=1e-6)
    assert table["e_above_hull"]["mp-1"] == 0, "stable is told from unstable exactly"
    assert table["formation_energy_per_atom"]["mp-3"] == pytest.approx(-0.5)
    assert table["energy_source"].to_dict() == {
        "mp-1": "DFT",
        "mp-2": "DFT",
        "mp-3": CHGNET,
        "mp-6": CHGNET,
        "mp-7": CHGNET,
    }


def test_the_real_file_is_read_whole(data_folder: Path) -> None:
    """Every phase once, among them sodium nitride; elements and their ground states at 0."""
    if not (data_folder / PREDICTED_ENERGIES).is_file():
        pytest.skip(f"no {PREDICTED_ENERGIES}")
    from symmbfn.evaluation.energies.references import chgnet_references

    phases = whole_phases(chgnet_references())
    assert len({phase.id for phase in phases}) == len(phases) > 154_757
    system = [phase for phase in phases if phase.composition.keys() <= {"Na", "N"}]
    hull = Hull(system, name="", digest="")
    assert hull.at({"Na": 1, "N": 1}).knows_system
    pure = [phase for phase in phases if len(phase.composition) == 1 and phase.source == CHGNET]
    assert pure and min(phase.formation_energy_per_atom for phase in pure) == 0
