"""The same crystal is found again in any cell, another is not, and no comparison hangs the rest."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.cell import Cell
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import PROTOTYPES, load_dataset
from symmbfn.evaluation.similarity import matching
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells, dataset_formulas
from symmbfn.evaluation.similarity.matching import _settle, find_duplicates, find_known
from symmbfn.evaluation.similarity.matching_tasks import first_match, reduced_forms

ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
CAESIUM_TYPE = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SYLVITE = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(6.29), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def disguised(structure: Structure, seed: int = 0, noise: float = 0.01) -> Cell:
    """The same crystal in a doubled cell with another origin, its atoms displaced a little."""
    rng = np.random.default_rng(seed)
    larger = structure * [[1, 1, 0], [0, 1, 0], [0, 0, 2]]
    cell = Cell.from_pymatgen(larger)
    shaken = rng.normal(0, noise, (len(cell), 3)) @ np.linalg.inv(cell.lattice_matrix)
    coords = cell.fractional_coords + rng.random(3) + shaken
    return Cell(cell.lattice_matrix, cell.atomic_numbers, coords)


def chain(step: float) -> Cell:
    """Na and Cl in a cell of 8 x 4 x 4 angstrom, Cl moved along a from the middle by `step` of it.

    Two of them differ by half the difference of their steps for each atom, and their unit of
    length is (128 / 2)^(1/3) = 4 angstrom.
    """
    coords = np.array([[0, 0, 0], [0.5 + step, 0.5, 0.5]])
    return Cell(np.diag([8.0, 4.0, 4.0]), np.array([11, 17]), coords)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> EncodedDataset:
    folder = tmp_path_factory.mktemp("known")
    crystals = {"halite": ROCK_SALT, "dense": CAESIUM_TYPE, "sylvite": SYLVITE}
    for name, structure in crystals.items():
        structure.to(str(folder / f"{name}.cif"), fmt="cif")
    return encode_dataset(folder, workers=1, cache_dir=folder / "encoded")


def one_formula(n_prototypes: int) -> list[Cell]:
    """Prototypes of two elements in ratio 1:2, all made TiO2, each also in disguise."""
    from symmbfn.crystals.structure import parse_cif

    cells: list[Cell] = []
    for text in load_dataset(PROTOTYPES)["cif"]:
        structure = parse_cif(text)
        counts = sorted(structure.composition.reduced_composition.items(), key=lambda item: item[1])
        if [count for _, count in counts] != [1, 2] or len(structure) > 12:
            continue
        (metal, _), (anion, _) = counts
        structure = structure.copy()
        structure.replace_species({metal: "Ti", anion: "O"})
        cells += [Cell.from_pymatgen(structure), disguised(structure, len(cells))]
    return cells[: 2 * n_prototypes]


def test_classes_are_named_after_their_first() -> None:
    cells = [
        Cell.from_pymatgen(ROCK_SALT),
        Cell.from_pymatgen(SYLVITE),
        None,
        Cell.from_pymatgen(CAESIUM_TYPE),
        Cell.from_pymatgen(ROCK_SALT.get_primitive_structure()),
        disguised(CAESIUM_TYPE),
        disguised(ROCK_SALT),
    ]
    answers = find_duplicates(cells, workers=1)
    assert [answer.first for answer in answers] == [0, 1, None, 3, 0, 3, 0]
    assert [answer.status for answer in answers] == ["ok"] * 2 + ["no_structure"] + ["ok"] * 4


def test_a_match_with_a_duplicate_makes_no_duplicate() -> None:
    # 0.2 of the length between neighbours, 0.4 between the ends; the limit is 0.3
    middle, right, left = chain(0.0), chain(0.2), chain(0.4)
    assert [a.first for a in find_duplicates([middle, right, left], workers=1)] == [0, 0, 2]
    assert [a.first for a in find_duplicates([right, middle, left], workers=1)] == [0, 0, 0]


def test_firsts_are_those_of_group_structures() -> None:
    cells = one_formula(12)
    structures = [cell.to_pymatgen() for cell in cells]
    rows = {id(structure): row for row, structure in enumerate(structures)}
    groups = StructureMatcher().group_structures(structures)
    firsts = {min(rows[id(structure)] for structure in group) for group in groups}
    assert 2 < len(firsts) < len(cells)
    answers = find_duplicates(cells, workers=1)
    assert {row for row, answer in enumerate(answers) if answer.first == row} == firsts
    matcher = StructureMatcher()
    assert all(matcher.fit(structures[a.first], structures[row]) for row, a in enumerate(answers))


def test_cells_reduced_once_give_the_answer_of_the_originals() -> None:
    cells = one_formula(12)
    reduced = dict(enumerate(map(reduced_forms, cells)))
    matcher, answers = StructureMatcher(), []
    for first, second in combinations(range(len(cells)), 2):
        ours = first_match((second, [first]), reduced) == first
        answers.append(ours)
        assert ours == matcher.fit(cells[first].to_pymatgen(), cells[second].to_pymatgen())
    assert 12 <= sum(answers) < len(answers) / 2


def test_a_shaken_threefold_cell_goes_back_to_its_part() -> None:
    # CeLaAl2O6 of space group 155
    structure = Structure(
        [[2.696, 1.557, 4.393], [-2.696, 1.557, 4.393], [0, -3.113, 4.393]],
        ["Ce", "La", "Al", "Al", *["O"] * 6],
        [
            *([x, x, x] for x in (0, 0.5, 0.25, 0.75)),
            *([0.5258, 0.4742, 0], [0, 0.5258, 0.4742], [0.4742, 0, 0.5258]),
            *([0.9731, 0.0269, 0.5], [0.5, 0.9731, 0.0269], [0.0269, 0.5, 0.9731]),
        ],
    )
    plain, threefold = Cell.from_pymatgen(structure), Cell.from_pymatgen(structure * (3, 1, 1))
    for seed in (3, 11, 20):  # with these pymatgen's own search finds no smaller cell
        rng = np.random.default_rng(seed)
        shift = rng.random(3)
        shaken = rng.normal(0, 0.01, (30, 3)) @ np.linalg.inv(threefold.lattice_matrix)
        coords = threefold.fractional_coords + shift + shaken
        forms = reduced_forms(Cell(threefold.lattice_matrix, threefold.atomic_numbers, coords))
        assert [len(cell) for cell in forms] == [30, 10]
        assert first_match((1, [0]), {0: reduced_forms(plain), 1: forms}) == 0


def tellurium_chain(shift: float) -> Structure:
    """Three atoms in a row, off an even spacing by some hundredths of an angstrom times `shift`."""
    lattice = Lattice.from_parameters(10.57, 3.33, 3.256, 75.2, 74.5, 103.6)
    even = np.array([[0, 0, 0], [1 / 3, 0, 0], [2 / 3, 0, 0]])
    step = np.array([[0, 0, 0], [-0.0005, 0.0037, -0.0061], [0.0012, 0.0079, 0.0044]])
    return Structure(lattice, ["Te"] * 3, even + shift * step)


def tellurium_helix(shift: float) -> Structure:
    """Trigonal tellurium, wound so that each atom is `shift` angstrom off a straight row."""
    u = 1 / 3 - shift / 4.3
    lattice = Lattice.hexagonal(4.3, 5.9)
    return Structure(lattice, ["Te"] * 3, [[u, 0, 1 / 3], [0, u, 2 / 3], [-u, -u, 0]])


def dimers(shift: float) -> Structure:
    """A Peierls chain: every second atom moved by twice `shift` angstrom along the chain."""
    lattice = Lattice.orthorhombic(6.2, 3.6, 4.0)
    return Structure(lattice, ["P", "P"], [[shift / 6.2, 0, 0], [0.5 - shift / 6.2, 0, 0]])


def turned_octahedra(shift: float) -> Structure:
    """Strontium titanate below 105 K: oxygen moved by `shift` angstrom, layers in turns."""
    edge, turn = 3.905 * 2**0.5, shift / (3.905 * 2**0.5)
    sites = [[0, 0.5, 0.25], [0, 0, 0], [0, 0, 0.25], [0.25 + turn, 0.75 + turn, 0]]
    lattice = Lattice.tetragonal(edge, 2 * 3.905)
    return Structure.from_spacegroup("I4/mcm", lattice, ["Sr", "Ti", "O", "O"], sites)


@pytest.mark.parametrize(
    ("distorted", "shifts"),
    [
        (tellurium_chain, (0, 0.6, 1, 1.2, 2, 2.5)),
        (tellurium_helix, (0, 0.04, 0.06, 0.08, 0.15)),
        (dimers, (0, 0.08, 0.12, 0.2)),
        (turned_octahedra, (0, 0.05, 0.08, 0.11, 0.2)),
    ],
)
def test_what_the_plain_matcher_matches_is_no_novelty(
    distorted: Callable[[float], Structure], shifts: tuple[float, ...]
) -> None:
    """Displaced atoms may or may not leave a smaller cell, by one search and not by another."""
    matcher, structures = StructureMatcher(), list(map(distorted, shifts))
    forms = [reduced_forms(Cell.from_pymatgen(structure)) for structure in structures]
    for known, one in combinations(range(len(shifts)), 2):
        is_match = first_match((1, [0]), {0: forms[known], 1: forms[one]}) == 0
        if matcher.fit(structures[known], structures[one]):
            assert is_match, (shifts[known], shifts[one])
        # more is found only where a crystal has a second form
        elif len(forms[known]) == len(forms[one]) == 1:
            assert not is_match, (shifts[known], shifts[one])


def test_a_chain_that_is_nearly_even_is_found_in_its_own_cell() -> None:
    """Within 0.1 angstrom one atom repeats itself; the known crystal is farther off."""
    known, found = (reduced_forms(Cell.from_pymatgen(tellurium_chain(s))) for s in (2.5, 1.2))
    assert [[len(cell) for cell in forms] for forms in (known, found)] == [[3], [3, 1]]
    assert first_match((1, [0]), {0: known, 1: found}) == 0


def test_the_cell_in_which_a_crystal_is_given_decides_nothing() -> None:
    """pymatgen's search ends at 5 atoms from the conventional cell, at 10 from the primitive."""
    conventional = turned_octahedra(0.08)
    primitive = Cell.from_pymatgen(conventional).primitive()
    matcher = StructureMatcher()
    assert not matcher.fit(conventional, primitive.to_pymatgen())
    forms = reduced_forms(Cell.from_pymatgen(conventional)), reduced_forms(primitive)
    assert first_match((1, [0]), dict(enumerate(forms))) == 0
    assert first_match((0, [1]), dict(enumerate(forms))) == 1


def test_known_crystals_are_found_by_name_and_distance(known: EncodedDataset) -> None:
    other = Cell.from_pymatgen(Structure(Lattice.cubic(3.4), ["Li"], [[0, 0, 0]]))
    # each of its two atoms lies 0.05 angstrom off once their mean is taken away
    moved = Cell.from_pymatgen(CAESIUM_TYPE)
    steps = np.array([[0, 0, 0], [0.1 / 3.4, 0, 0]])
    moved = Cell(moved.lattice_matrix, moved.atomic_numbers, moved.fractional_coords + steps)
    cells = [disguised(SYLVITE), None, moved, chain(0.2), other]
    answers = find_known(cells, [known, known], workers=1)
    names = [[match.identifier for match in answer.matches] for answer in answers]
    assert names == [["sylvite"] * 2, [], ["dense"] * 2, [], []]
    assert [answer.is_novel for answer in answers] == [False, False, False, True, True]
    assert answers[1].status == "no_structure"
    for number, match in enumerate(answers[2].matches):
        assert match.dataset == number
        assert known.identifiers[match.row] == "dense"
        # in units of (volume per atom)^(1/3)
        assert match.rms == pytest.approx(0.05 / (3.4**3 / 2) ** (1 / 3), rel=1e-3)


def test_a_crystal_that_takes_too_long_costs_itself_only(
    known: EncodedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "TIME_LIMIT", 4.0)
    n_atoms = 1000
    disorder = np.random.default_rng(0).random((n_atoms, 3))
    numbers = np.repeat([11, 17], n_atoms // 2)
    slow = Cell(np.eye(3) * (20 * n_atoms) ** (1 / 3), numbers, disorder)
    cells = [Cell.from_pymatgen(ROCK_SALT), slow, disguised(ROCK_SALT)]
    answers = find_duplicates(cells, workers=1)
    assert [answer.first for answer in answers] == [0, None, 0]
    assert answers[1].status == "timeout"
    assert "more than 4 s" in answers[1].reason
    matched = find_known(cells[1:], known, workers=1)
    assert [answer.status for answer in matched] == ["timeout", "ok"]
    assert not matched[0].is_novel


def test_a_lost_comparison_makes_no_first_and_no_duplicate() -> None:
    first = {0: 0}
    # row 1 got no answer; row 2 matched it and is still to be compared with row 0
    assert _settle({1: [0], 2: [1, 0], 3: [0]}, {2: 1, 3: 0}, first) == {2: [0]}
    assert first == {0: 0, 3: 0}


def test_no_workers_are_refused(known: EncodedDataset) -> None:
    with pytest.raises(ValueError, match="workers.*0"):
        find_duplicates([], workers=0)
    with pytest.raises(ValueError, match="workers.*0"):
        find_known([], known, workers=0)


def test_datasets_come_back_as_cells(known: EncodedDataset) -> None:
    cells = dataset_cells(known, range(len(known)))
    assert dataset_formulas(known) == [cell.formula for cell in cells] == ["NaCl", "NaCl", "KCl"]
    assert [len(cell) for cell in cells] == [2, 2, 2]
    assert cells[1].density == pytest.approx(float(ROCK_SALT.density), rel=1e-4)
