"""How classes enter and leave: tables of positions, masks, and beginnings from the data alone."""

import torch

from symmbfn.crystals.symmetry import MAX_POSITIONS, positions_of, symmetry_tables
from symmbfn.networks.class_table import ClassTable
from symmbfn.networks.element_slots import ElementSlots
from symmbfn.networks.wyckoff_positions import (
    WyckoffPositions,
    position_geometry,
    position_rows,
)
from tests.models import shake


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def beliefs(*shape: int, seed: int = 0) -> torch.Tensor:
    return (2 * randn(*shape, seed=seed)).softmax(-1)


def test_rows_are_the_positions_of_the_group() -> None:
    rows, is_position = position_rows(torch.arange(1, 231))
    assert rows.shape == (230, MAX_POSITIONS)
    for number in range(1, 231):
        expected = positions_of(number)
        mine = rows[number - 1][is_position[number - 1]].tolist()
        assert mine == list(range(expected.start, expected.stop))
    # padding points to a row of the same group and never out of the table
    first = torch.tensor(symmetry_tables().position_start[:-1]).long()
    assert (rows[~is_position] == first[:, None].expand_as(rows)[~is_position]).all()


def test_geometry_tells_the_positions_of_a_group_apart() -> None:
    geometry = position_geometry().numpy()
    for number in range(1, 231):
        mine = geometry[positions_of(number)]
        assert len({row.tobytes() for row in mine}) == len(mine), f"group {number}"


def test_positions_start_from_their_frequencies() -> None:
    log_prior = randn(1731)
    channel = WyckoffPositions(16, log_prior=log_prior)
    rows, _ = position_rows(torch.tensor([62, 225]))
    logits = channel.logits(randn(2, 4, 16), channel.table(rows), rows)
    torch.testing.assert_close(logits, log_prior[rows][:, None].expand(2, 4, -1))


def test_a_site_hears_what_the_others_claim_but_not_its_own_claim_again() -> None:
    channel = WyckoffPositions(16)
    shake(channel)
    rows, _ = position_rows(torch.tensor([62]))
    table = channel.table(rows)
    theta, zero = beliefs(1, 3, 27), torch.zeros(1, 3, 27)
    is_site = torch.ones(1, 3, dtype=torch.bool)
    before = channel.embed(table, theta, zero, zero, is_site)
    others = theta.clone()
    others[0, 2] = beliefs(27, seed=1)
    after = channel.embed(table, others, zero, zero, is_site)
    assert (after - before)[0, :2].abs().amax(-1).min() > 1e-4
    # with its own claim counted again, exchanging two sites' claims would change the sum of both
    alone = channel.embed(table, theta[:, :1], zero[:, :1], zero[:, :1], is_site[:, :1])
    no_claim = channel.embed(table, theta, zero, zero, torch.tensor([[True, False, False]]))
    torch.testing.assert_close(no_claim[:, :1], alone)


def test_a_class_table_starts_from_its_frequencies() -> None:
    log_prior = randn(9).log_softmax(-1)
    channel = ClassTable(9, 16, log_prior)
    torch.testing.assert_close(channel.logits(randn(5, 16)), log_prior.expand(5, -1))
    assert (ClassTable(9, 16).logits(randn(5, 16)) == 0).all()


def slots_channel() -> ElementSlots:
    torch.manual_seed(0)
    return ElementSlots(4, 6, 16, torch.zeros(6), features=8)


def test_slots_beyond_the_last_element_take_no_part() -> None:
    channel = slots_channel()
    shake(channel)
    is_slot = torch.tensor([[True, True, False, False]])
    theta, state, previous = (beliefs(1, 4, 6, seed=s) for s in range(3))
    junk = theta.clone()
    junk[:, 2:] = 7.0
    states = channel.slots(theta, state, previous, is_slot)
    torch.testing.assert_close(channel.slots(junk, state, previous, is_slot), states)
    assert (states[:, 2:] == 0).all()
    assert (states[:, 0] - states[:, 1]).abs().max() > 1e-3


def test_slots_hear_of_one_another() -> None:
    channel = slots_channel()
    shake(channel)
    is_slot = torch.ones(1, 4, dtype=torch.bool)
    theta, zero = beliefs(1, 4, 6), torch.zeros(1, 4, 6)
    other = theta.clone()
    other[:, 3] = beliefs(6, seed=1)
    change = channel.slots(other, zero, zero, is_slot) - channel.slots(theta, zero, zero, is_slot)
    assert (change.abs().amax(-1) > 1e-5).all()


def test_pointers_see_sites_and_slots_and_not_padding() -> None:
    channel = slots_channel()
    shake(channel)
    is_site = torch.tensor([[True, True, False]])
    theta = beliefs(1, 3, 4) * is_site[..., None]
    h, graph, slots, atoms = randn(1, 3, 16), randn(1, 16), randn(1, 4, 8), torch.ones(1, 3)
    elements, pointers = channel.logits(
        h * is_site[..., None], graph, slots, theta, atoms * is_site
    )
    alone = channel.logits(h[:, :2], graph, slots, theta[:, :2], atoms[:, :2])
    torch.testing.assert_close(alone[0], elements)
    torch.testing.assert_close(alone[1], pointers[:, :2])


def test_fresh_slots_say_the_frequencies_and_fresh_pointers_nothing() -> None:
    torch.manual_seed(0)
    log_prior = randn(6).log_softmax(-1)
    channel = ElementSlots(4, 6, 16, log_prior, features=8)
    elements, pointers = channel.logits(
        randn(2, 3, 16), randn(2, 16), randn(2, 4, 8), beliefs(2, 3, 4), torch.ones(2, 3)
    )
    torch.testing.assert_close(elements, log_prior.expand(2, 4, -1))
    assert (pointers == 0).all()
