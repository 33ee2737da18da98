"""Templates of a composition: counted and drawn as a plain enumeration finds them."""

import itertools
from collections import Counter

import numpy as np
import pytest

from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.templates import Template, Templates, primitive_multiplicities
from symmbfn.datasets.encoding import encode_dataset

MOST = 4


def enumerated(group: int, atoms: tuple[int, ...]) -> set[Template]:
    """All templates of at most four sites, by trying every multiset of positions and elements."""
    multiplicity = primitive_multiplicities(group)
    free = symmetry_tables().degrees_of_freedom[positions_of(group)]
    kinds = [(e, p) for e in range(len(atoms)) for p in range(len(multiplicity))]
    found = set()
    for n_sites in range(1, MOST + 1):
        for sites in itertools.combinations_with_replacement(kinds, n_sites):
            taken = Counter(position for _, position in sites)
            if any(n > 1 and free[p] == 0 for p, n in taken.items()):
                continue
            held = [
                sum(int(multiplicity[p]) for e, p in sites if e == x) for x, _ in enumerate(atoms)
            ]
            if held == list(atoms):
                found.add(Template(group, tuple(sorted(sites))))
    return found


CASES = [
    (1, (2, 1)),
    (2, (1, 2)),
    (14, (2, 4)),
    (62, (4, 4)),
    (139, (1, 2)),
    (225, (1, 1)),
    (225, (1, 3)),
    (227, (2, 4)),
    (166, (3,)),
    (194, (2, 2)),
    (216, (1, 1, 1)),
]


@pytest.mark.parametrize(("group", "atoms"), CASES)
def test_there_are_as_many_as_an_enumeration_finds(group: int, atoms: tuple[int, ...]) -> None:
    wanted = Counter(len(template) for template in enumerated(group, atoms))
    found = Templates(group, atoms, most_sites=MOST).by_sites
    assert {n: int(count) for n, count in enumerate(found) if count} == dict(wanted)


@pytest.mark.parametrize(("group", "atoms"), [(2, (1, 2)), (62, (4, 4)), (139, (1, 2))])
def test_they_are_drawn_by_their_weight(group: int, atoms: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weights = rng.random(len(primitive_multiplicities(group)))
    templates = Templates(group, atoms, most_sites=MOST, weights=weights)
    n_sites = int(templates.by_sites.argmax())
    share = {
        template: np.prod([weights[p] for _, p in template.sites])
        for template in enumerated(group, atoms)
        if len(template) == n_sites
    }
    assert templates.by_sites[n_sites] == pytest.approx(sum(share.values()))
    n = 4000
    drawn = Counter(templates.draw(n_sites, rng) for _ in range(n))
    assert drawn.keys() <= share.keys()
    for template, weight in share.items():
        p = weight / sum(share.values())
        assert abs(drawn[template] - n * p) < 5 * (n * p * (1 - p)) ** 0.5 + 1


def test_what_no_group_can_hold_has_no_template() -> None:
    # rock salt's group has two single points in the primitive cell, for one atom each
    assert Templates(225, (1, 1, 1), most_sites=20).weight == 0
    assert Templates(225, (1, 1), most_sites=20).weight == 2
    with pytest.raises(ValueError, match="no template of 1 sites in group 225 for .1, 1. atoms"):
        Templates(225, (1, 1), most_sites=20).draw(1, np.random.default_rng(0))
    # a pyrite of iron and sulphur
    assert Templates(205, (4, 8), most_sites=20).weight > 0
    assert Templates(205, (4, 7), most_sites=20).weight == 0


def test_a_template_knows_its_atoms_and_free_coordinates() -> None:
    template = Templates(221, (1, 1, 3), most_sites=3).draw(3, np.random.default_rng(0))
    assert template.atoms() == [1, 1, 3]
    assert template.n_free == 0
    assert Template(1, ((0, 0), (0, 0), (1, 0))).n_free == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0, (1,)), "1 to 230"), ((1, ()), "at least one element"), ((1, (0,)), "atoms .* got 0")],
)
def test_what_is_no_composition_is_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Templates(*arguments, most_sites=3)


def test_weights_must_be_those_of_the_group() -> None:
    with pytest.raises(ValueError, match="group 2 needs 9 weights"):
        Templates(2, (1,), most_sites=3, weights=np.ones(3))


def test_every_real_crystal_has_one_of_the_templates_of_its_composition() -> None:
    dataset = encode_dataset("prototypes")
    for row in range(len(dataset)):
        unit = dataset.unit(row)
        group = unit.space_group_number
        multiplicity = primitive_multiplicities(group)
        elements = sorted(set(unit.atomic_numbers.tolist()))
        atoms = [
            int(multiplicity[unit.wyckoff_positions[unit.atomic_numbers == z]].sum())
            for z in elements
        ]
        templates = Templates(group, atoms, most_sites=len(unit))
        assert templates.by_sites[len(unit)] >= 1, unit.identifier
        drawn = templates.draw(len(unit), np.random.default_rng(row))
        assert len(drawn) == len(unit) and drawn.atoms() == atoms
