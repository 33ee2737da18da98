"""The hull: a binary by hand, whole systems against pymatgen, and what it must not know."""

import gzip
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry, ConstantEnergyAdjustment

from symmbfn.evaluation.energies.entries import (
    Entry,
    composition_from_formula,
    digest_of,
    hull_points,
    read_entries,
)
from symmbfn.evaluation.energies.hull import Hull, HullPoint, least_energy_mixture
from symmbfn.evaluation.energies.mp_hulls import OPEN_ENERGIES, open_hull


def entry(id_: str, formula: str, energy: float, **options: bool) -> Entry:
    return Entry(id_, composition_from_formula(formula), energy, **options)


def shares(point: HullPoint) -> dict[str, float]:
    return {phase.name: phase.share for phase in point.decomposition}


def binary() -> Hull:
    """Na-Cl: NaCl at -2 on the hull, NaCl3 at -0.9 above the line to Cl (-1 at 3/4)."""
    entries = [
        entry("salt", "NaCl", -2.0),
        entry("other salt", "Na2Cl2", -1.9),
        entry("rich", "NaCl3", -0.9),
        entry("alone", "Xe", 0.3),
    ]
    return Hull(entries, name="binary", digest="")


@pytest.fixture(scope="module")
def open_phases(data_folder: Path) -> Hull:
    return open_hull(points_from=())


def random_hull(n: int, seed: int) -> tuple[Hull, list[PDEntry]]:
    """Phases of random composition in one system of four, for both programs."""
    rng = np.random.default_rng(seed)
    elements = ["Li", "Fe", "P", "O"]
    entries, theirs = [], [PDEntry(Composition(symbol), 0.0) for symbol in elements]
    for i in range(n):
        amounts = rng.integers(0, 4, size=4)
        if np.count_nonzero(amounts) < 2:
            continue
        composition = {s: float(x) for s, x in zip(elements, amounts, strict=True) if x}
        energy = float(rng.normal(-1, 0.5))
        entries.append(Entry(f"phase-{i}", composition, energy))
        theirs.append(PDEntry(Composition(composition), energy * amounts.sum()))
    return Hull(entries, name="random", digest=""), theirs


def test_a_binary_by_hand() -> None:
    hull = binary()
    assert hull.at({"Na": 1, "Cl": 1}).hull_energy_per_atom == pytest.approx(-2.0)
    # three quarters Cl: half NaCl, half pure Cl, and lower than the phase that is there
    rich = hull.at({"Na": 1, "Cl": 3})
    assert rich.hull_energy_per_atom == pytest.approx(-1.0)
    assert shares(rich) == pytest.approx({"salt": 0.5, "Cl": 0.5})
    assert (rich.n_phases, rich.is_covered) == (2, True)
    assert hull.e_above_hull({"Na": 1, "Cl": 3}, -0.9) == pytest.approx(0.1)
    assert hull.e_above_hull({"Na": 3, "Cl": 3}, -2.5) == pytest.approx(-0.5)
    assert hull.e_above_hull({"Na": 1, "Cl": 1}, -2.0) == 0


def test_without_its_own_entry_the_next_one_of_the_composition_counts() -> None:
    hull = binary()
    assert hull.e_above_hull({"Na": 1, "Cl": 1}, -2.0, exclude=["salt"]) == pytest.approx(-0.1)
    # without both: two thirds of NaCl3 and one third of Na
    both = hull.at({"Na": 1, "Cl": 1}, exclude=["salt", "other salt"])
    assert both.hull_energy_per_atom == pytest.approx(-0.9 * 2 / 3)
    assert shares(both) == pytest.approx({"rich": 2 / 3, "Na": 1 / 3})
    assert hull.at({"Na": 1, "Cl": 1}, exclude=["nobody"]) == hull.at({"Na": 1, "Cl": 1})


def test_hull_points_go_with_the_crystal_that_they_would_repeat() -> None:
    """A polymorph 0.1 above the hull tells the energy of the stable one at its composition."""
    table = pd.DataFrame(
        {
            "id": ["salt", "other salt", "rich", "unknown"],
            "formula": ["NaCl", "NaCl", "NaCl3", "NaCl3"],
            "formation_energy_per_atom": [-2.0, -1.9, -0.9, np.nan],
            "e_above_hull": [0.0, 0.1, 0.3, 0.0],
        }
    )
    points = hull_points(table)
    assert [point.formation_energy_per_atom for point in points] == pytest.approx([-2, -2, -1.2])
    phases = [entry("salt", "NaCl", -2.0), entry("other salt", "NaCl", -1.9)]
    hull = Hull([*phases, *points], name="points", digest="")
    assert (hull.n_entries, hull.n_hull_points) == (2, 3)
    left_out = hull.at({"Na": 1, "Cl": 1}, exclude=["salt"])
    assert shares(left_out) == pytest.approx({"other salt": 1.0})
    assert shares(hull.at({"Na": 1, "Cl": 3})) == pytest.approx({"hull of rich": 1.0})
    # leaving out a crystal of another composition takes only its own point
    assert hull.at({"Na": 1, "Cl": 3}, exclude=["rich"]).hull_energy_per_atom == pytest.approx(-1)


@pytest.mark.parametrize("composition", [{"Na": 1, "Xe": 1}, {"Na": 1, "Fe": 1}, {"Fe": 2}])
def test_what_the_reference_does_not_know_is_unknown_and_not_stable(composition: dict) -> None:
    """A system without a compound, and an element without reference."""
    point = binary().at(composition)
    assert not point.is_covered and math.isnan(point.hull_energy_per_atom)
    assert math.isnan(binary().e_above_hull(composition, -5.0))


def test_a_system_is_known_by_a_phase_of_all_its_elements() -> None:
    pairs = [entry("ab", "NaCl", -2.0), entry("bc", "KCl", -2.2)]
    composition = {"Na": 1, "K": 1, "Cl": 2}
    point = Hull(pairs, name="", digest="").at(composition)
    assert point.is_covered and not point.knows_system
    known = Hull([*pairs, entry("abc", "NaKCl3", -1.0)], name="", digest="")
    assert known.at(composition).knows_system
    assert not known.at(composition, exclude=["abc"]).knows_system


def test_pure_elements_lie_at_zero() -> None:
    assert binary().at({"Xe": 4}).hull_energy_per_atom == 0
    assert binary().e_above_hull({"Xe": 4}, 0.3) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="deep puts pure Na at -0.1"):
        Hull([entry("deep", "Na", -0.1)], name="", digest="")


@pytest.mark.parametrize("seed", range(3))
def test_random_systems_agree_with_pymatgen(seed: int) -> None:
    hull, theirs = random_hull(40, seed)
    diagram = PhaseDiagram(theirs)
    rng = np.random.default_rng(seed)
    for _ in range(40):
        amounts = rng.dirichlet(np.ones(4))
        composition = dict(zip(["Li", "Fe", "P", "O"], amounts.tolist(), strict=True))
        expected = diagram.get_hull_energy_per_atom(Composition(composition))
        point = hull.at(composition)
        assert point.hull_energy_per_atom == pytest.approx(expected, abs=1e-8)
        assert sum(shares(point).values()) == pytest.approx(1)
    for phase in theirs:
        ours = hull.e_above_hull(phase.composition.as_dict(), phase.energy_per_atom)
        assert ours == pytest.approx(diagram.get_e_above_hull(phase), abs=1e-8)


def test_real_systems_agree_with_pymatgen(data_folder: Path, open_phases: Hull) -> None:
    table = pd.read_csv(data_folder / OPEN_ENERGIES, keep_default_na=False)
    systems = [{"Li", "Fe", "P", "O"}, {"Na", "Mn", "O"}, {"Ti", "Al", "Ni"}, {"La", "Cu", "S"}]
    compositions = [Composition(formula) for formula in table["pretty_formula"]]
    assert open_phases.n_entries == len(table) and open_phases.n_hull_points == 0
    for system in systems:
        elements = [PDEntry(Composition(symbol), 0.0) for symbol in system]
        rows = [i for i, c in enumerate(compositions) if {e.symbol for e in c} <= system]
        phases = [
            PDEntry(c, table["formation_energy_per_atom"][i] * c.num_atoms)
            for i, c in ((i, compositions[i]) for i in rows)
        ]
        assert len(phases) > 20
        diagram = PhaseDiagram([*elements, *phases])
        for phase in phases:
            ours = open_phases.at(phase.composition.as_dict()).hull_energy_per_atom
            theirs = diagram.get_hull_energy_per_atom(phase.composition)
            assert ours == pytest.approx(theirs, abs=1e-8)


def test_hull_points_of_train_only_lower_the_open_hull(
    data_folder: Path, open_phases: Hull
) -> None:
    """And never those of a test split, which is what the hull judges."""
    bare, full = open_phases, open_hull(points_from=("train",))
    assert (full.n_hull_points, bare.digest) == (3423, digest_of([data_folder / OPEN_ENERGIES]))
    assert bare.digest != full.digest and "3423" in full.name
    table = pd.read_csv(data_folder / OPEN_ENERGIES, keep_default_na=False)
    gaps = []
    for formula in table["pretty_formula"][:300]:
        at = composition_from_formula(formula)
        gaps.append(full.at(at).hull_energy_per_atom - bare.at(at).hull_energy_per_atom)
    assert max(gaps) <= 1e-9 and min(gaps) < -1e-3
    with pytest.raises(ValueError, match=r"not \['test_open'\]"):
        open_hull(points_from=("train", "test_open"))


def test_files_of_entries_give_one_hull(tmp_path: Path) -> None:
    """Total energies with corrections, a CSV and a Parquet file of the same phases."""
    fix = ConstantEnergyAdjustment(-0.5)
    computed = [
        ComputedEntry("Na2", -2.6, entry_id="na"),
        ComputedEntry("Na", -1.2, entry_id="na high"),
        ComputedEntry("Cl2", -3.0, energy_adjustments=[fix], entry_id="cl"),
        ComputedEntry("NaCl", -6.0, energy_adjustments=[fix], entry_id="salt"),
    ]
    # NaCl: (-6.5 + 1.3 + 1.75) / 2
    expected = {"na": 0.0, "na high": 0.1, "cl": 0.0, "salt": -1.725}
    dictionaries = [one.as_dict() for one in computed]
    json_file, zipped = tmp_path / "hull.json", tmp_path / "hull.json.gz"
    json_file.write_text(json.dumps(dictionaries))
    zipped.write_bytes(gzip.compress(json.dumps({d["entry_id"]: d for d in dictionaries}).encode()))
    formulas = {"na": "Na", "na high": "Na", "cl": "Cl", "salt": "NaCl"}
    table = pd.DataFrame(
        {
            "id": list(expected),
            "formula": [formulas[id_] for id_ in expected],
            "formation_energy_per_atom": list(expected.values()),
        }
    )
    csv, parquet = tmp_path / "hull.csv", tmp_path / "hull.parquet"
    table.to_csv(csv, index=False)
    table.to_parquet(parquet)
    for path in (json_file, zipped, csv, parquet):
        energies = {e.id: e.formation_energy_per_atom for e in read_entries(path)}
        assert energies == pytest.approx(expected), path.name
        hull = Hull.from_file(path)
        assert (hull.name, hull.digest) == (path.name, digest_of([path]))
        assert hull.e_above_hull({"Na": 1, "Cl": 1}, -1.625) == pytest.approx(0.1)


def test_sodium_nitride_is_no_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "hull.csv"
    path.write_text("formula,formation_energy_per_atom\nNaN,-0.25\n")
    (only,) = read_entries(path)
    assert only == Entry("row-0", {"Na": 1.0, "N": 1.0}, -0.25)


def test_a_file_says_whose_energies_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """And rows with a reason in place of an energy, as `symmbfn hull` writes, are left out."""
    path = tmp_path / "hull.csv"
    path.write_text(
        "id,formula,formation_energy_per_atom,energy_source,source,reason\n"
        "a,NaCl,-1.0,Mine 2,ICSD,\n"
        "b,,,Mine 2,ICSD,timeout\n"
        "c,NaCl3,-0.8,DFT,ICSD,\n"
    )
    hull = Hull.from_file(path)
    assert hull.sources == {"DFT", "Mine 2"} and hull.n_entries == 2
    assert hull.name == "hull.csv (Mine 2)"
    assert capsys.readouterr().err == "hull: 1 rows without an energy are left out\n"
    path.write_text("formula,formation_energy_per_atom,energy_source\nNaCl,-1.0,\n")
    with pytest.raises(ValueError, match=r"hull.csv: row 0 \(NaCl\) has no energy_source"):
        Hull.from_file(path)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    """One that would leave a trace if it ran."""
    trace = tmp_path / "trace"

    class Trap:
        def __reduce__(self) -> tuple[Callable, tuple]:
            return Path.touch, (trace,)

    for name in ("hull.pkl", "hull.pkl.gz", "hull.pickle", "hull.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError):
            Hull.from_file(tmp_path / name)
    assert not trace.exists()
    with pytest.raises(ValueError, match="pickle"):
        Hull.from_file(tmp_path / "hull.pkl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "not a.txt"),
        ("a.csv", "formula\nNaCl\n", "no column formation_energy_per_atom"),
        ("a.csv", "formula,formation_energy_per_atom\nNaCl,\n", r"row 0 \(NaCl\)"),
        ("a.csv", "formula,formation_energy_per_atom\nNaCl,x\n", "x"),
        ("a.csv", "formula,formation_energy_per_atom\nQq2,1\n", "'Qq' is not"),
        ("a.csv", "formula,formation_energy_per_atom\n" + 300 * "H" + ",1\n", "300 characters"),
        ("a.json", '[{"composition": {"Na": 1, "Cl": 1}, "energy": -6}]', "elements Cl, Na"),
        ("a.json", '[{"composition": {"Na": 0}, "energy": -6}]', "must be positive"),
        ("a.json", '[{"composition": {"Na": 1}, "energy": NaN}]', "energy nan"),
        ("a.json", '[{"energy": -6}]', "composition"),
        ("a.json", "[]", "no entries"),
        ("a.json", "[[1]]", "holds no entries"),
        ("a.json", '[{"composition": [1], "energy": -6}]', "entry 0 is no entry"),
        (
            "a.json",
            '[{"composition": "Na", "energy": -1}, {"composition": "Na", "energy": null}]',
            "entry 1 is no entry",
        ),
        ("a.json.gz", "[]", "holds no entries"),
        ("a.json", "{", "property name"),
        ("a.json", "", "Expecting value"),
    ],
)
def test_files_without_sense_are_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        Hull.from_file(tmp_path / name)
    assert name in str(refused.value)


def test_compositions_without_sense_are_refused() -> None:
    for wrong in ({}, {"Na": -1.0}, {"Na": math.nan}, {"Qq": 1.0}):
        with pytest.raises(ValueError):
            binary().at(wrong)


def test_the_mixture_is_the_cheapest_of_all_pairs() -> None:
    """In a binary the best mixture has two phases: try all of them."""
    rng = np.random.default_rng(0)
    x = np.r_[rng.random(12), 0.0, 1.0]
    energies = np.r_[rng.normal(-1, 0.3, 12), 0.0, 0.0]
    for wanted in (0.2, 0.5, 0.9):
        found = least_energy_mixture(
            np.stack([x, 1 - x], 1), energies, np.array([wanted, 1 - wanted])
        )
        pairs = [
            (energies[i] * (x[j] - wanted) + energies[j] * (wanted - x[i])) / (x[j] - x[i])
            for i in range(14)
            for j in range(14)
            if x[i] <= wanted < x[j]
        ]
        assert found @ energies == pytest.approx(min(pairs), abs=1e-9)
        assert found @ x == pytest.approx(wanted)
