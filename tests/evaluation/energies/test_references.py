"""Element references: found again where they are known, and left alone where they are not."""

import gzip
import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pymatgen.entries.computed_entries import ComputedEntry

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.evaluation.energies.references import (
    ELEMENTAL,
    SHIPPED,
    ElementReferences,
    chgnet_references,
    elemental_references,
    fit_references,
    residuals,
)
from symmbfn.runtime.files import file_digest

ROOT = Path(__file__).parents[3]
OWN = {"Na": -1.3, "Cl": -1.8, "O": -4.9, "Fe": -8.4, "Xe": 0.0}
TRUE = {"Na": -1.4, "Cl": -1.7, "O": -5.2, "Fe": -8.0, "Xe": 0.0}


def crystals(n: int, seed: int, noise: float = 0.0) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """Compositions without xenon, total energies and formation energies."""
    rng = np.random.default_rng(seed)
    symbols = ["Na", "Cl", "O", "Fe"]
    compositions = [
        {s: float(x) for s, x in zip(symbols, amounts, strict=True) if x}
        for amounts in rng.integers(0, 4, size=(n, 4))
        if amounts.any()
    ]
    formation = rng.normal(-1, 0.5, len(compositions))
    mixed = [sum(TRUE[s] * x for s, x in c.items()) / sum(c.values()) for c in compositions]
    return (
        compositions,
        np.array(mixed) + formation + rng.normal(0, noise, len(formation)),
        formation,
    )


def test_a_formation_energy_by_hand() -> None:
    """Fe2O3 at -6.6 eV/atom: less 0.4 of -8 and 0.6 of -5."""
    references = ElementReferences({"Fe": -8.0, "O": -5.0})
    assert references.formation_energy({"Fe": 2, "O": 3}, -6.6) == pytest.approx(-0.4)
    assert references.formation_energy({"Fe": 4}, -8.0) == 0
    assert math.isnan(references.formation_energy({"Fe": 1, "Na": 1}, -3.0))


def test_the_fit_finds_the_references_of_the_potential() -> None:
    data = crystals(400, 0, noise=0.02)
    fitted = fit_references(*data, elemental=OWN, strength=0.01)
    for symbol in ("Na", "Cl", "O", "Fe"):
        assert fitted.energies[symbol] == pytest.approx(TRUE[symbol], abs=0.02)
    assert fitted.energies["Xe"] == OWN["Xe"] and fitted.n_by_element["Xe"] == 0
    assert fitted.n_crystals == len(data[0])
    others = crystals(200, 1, noise=0.02)
    left = residuals(fitted, *others)
    assert abs(left.mean()) < 0.005
    assert np.abs(left).mean() == pytest.approx(0.02 * math.sqrt(2 / math.pi), rel=0.2)
    assert np.abs(left).mean() < np.abs(residuals(ElementReferences(OWN), *others)).mean()


def test_the_fit_is_the_least_squares_solution_of_its_own_sum() -> None:
    """Its gradient vanishes: the same sum, written out, grows in every direction."""
    compositions, energies, formation = crystals(30, 2, noise=0.1)
    fitted = fit_references(compositions, energies, formation, elemental=OWN, strength=0.7)

    def penalty(mu: dict[str, float]) -> float:
        misses = residuals(ElementReferences(mu), compositions, energies, formation)
        return (misses**2).sum() + 0.7 * sum((mu[s] - OWN[s]) ** 2 for s in mu)

    least = penalty(fitted.energies)
    for symbol in OWN:
        for step in (-1e-3, 1e-3):
            moved = fitted.energies | {symbol: fitted.energies[symbol] + step}
            assert penalty(moved) > least


def test_few_crystals_leave_an_element_near_its_own_energy() -> None:
    compositions, energies, formation = crystals(400, 0)
    few, many = (
        fit_references(compositions[:n], energies[:n], formation[:n], elemental=OWN)
        for n in (1, 400)
    )
    held = fit_references(compositions, energies, formation, elemental=OWN, strength=1e9)
    gap = {s: abs(TRUE[s] - OWN[s]) for s in compositions[0]}
    for symbol in gap:
        moved = abs(few.energies[symbol] - OWN[symbol])
        assert moved < abs(many.energies[symbol] - OWN[symbol])
        assert held.energies[symbol] == pytest.approx(OWN[symbol], abs=1e-5)


def test_what_cannot_be_fitted_is_refused() -> None:
    compositions, energies, formation = crystals(10, 0)
    with pytest.raises(ValueError, match="no elemental energy of Fe, O"):
        fit_references(compositions, energies, formation, elemental={"Na": -1.0, "Cl": -2.0})
    with pytest.raises(ValueError, match="got 0"):
        fit_references(compositions, energies, formation, elemental=OWN, strength=0.0)
    energies[3] = math.nan
    with pytest.raises(ValueError, match="1 energies are not finite"):
        fit_references(compositions, energies, formation, elemental=OWN)


def test_references_are_stored_whole(tmp_path: Path) -> None:
    fitted = fit_references(*crystals(20, 0), elemental=OWN)
    fitted.save(tmp_path / "references.json")
    assert ElementReferences.load(tmp_path / "references.json") == fitted
    for wrong in ("{", "[]", '{"energies": {}}', '{"energies": {"Na": NaN}}', '{"mu": 1}'):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(ValueError, match="wrong.json"):
            ElementReferences.load(tmp_path / "wrong.json")


def test_the_shipped_references_are_of_every_element_of_the_data_and_packaged() -> None:
    references = chgnet_references()
    assert len(references.energies) == 89 and references.energies.keys() < set(SYMBOLS)
    assert references.n_crystals > 20_000 and "0.3.0" in references.potential
    assert len(references.digest) == 64
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = package["package-data"]["symmbfn"]
    shipped = ROOT / "symmbfn" / "evaluation" / "energies" / SHIPPED
    assert any(shipped in (ROOT / "symmbfn").glob(pattern) for pattern in patterns)


def test_the_elements_own_energies_are_facts_with_origin_and_packaged(data_folder: Path) -> None:
    """Those of the Materials Project's file, which is small enough to read again here."""
    own = elemental_references()
    assert own.energies.keys() == chgnet_references().energies.keys() and own.n_crystals == 0
    assert "CC BY 4.0" in own.potential and "matbench-discovery" in own.potential
    source = data_folder / "mp_elemental_reference_entries_2023-02-07.json.gz"
    assert own.digest == file_digest(source)
    raw = json.loads(gzip.decompress(source.read_bytes()))
    entries = [ComputedEntry.from_dict(one) for one in raw.values()]
    theirs = {e.composition.chemical_system: e.energy_per_atom for e in entries}
    assert own.energies == pytest.approx(theirs, abs=1e-7)
    assert (ROOT / "symmbfn/evaluation/energies" / ELEMENTAL).is_file()


@pytest.mark.parametrize(
    ("symbols", "edge", "expected"),
    # formation energies of mp-22862 and mp-1265; rock salt at their edges, angstrom
    [(("Na", "Cl"), 5.69, -2.1096), (("Mg", "O"), 4.26, -3.0534)],
)
def test_chgnet_and_its_references_know_rock_salt(
    symbols: tuple[str, str], edge: float, expected: float
) -> None:
    pytest.importorskip("chgnet")
    from symmbfn.evaluation.energies.potentials import Chgnet

    lattice = edge / 2 * (np.ones((3, 3)) - np.eye(3))
    numbers = np.array([SYMBOLS.index(symbol) for symbol in symbols])
    cell = Cell(lattice, numbers, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    (point,) = Chgnet()([cell])
    composition = dict.fromkeys(symbols, 1)
    formation = chgnet_references().formation_energy(composition, point.energy_per_atom)
    assert formation == pytest.approx(expected, abs=0.05)
