"""Which crystals train, which validate, and which a model cannot learn."""

from dataclasses import replace

import pytest
import torch

from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.data import HELD_OUT, _is_held_out, learnable_sets, varying_properties
from tests.models import config, dataset, elements


def test_one_name_in_twenty_is_held_out() -> None:
    n = 20_000
    share = sum(_is_held_out(f"mp-{i}") for i in range(n)) / n
    assert abs(share - 1 / HELD_OUT) < 5 * (1 / HELD_OUT / n) ** 0.5


def test_both_sets_are_reduced_to_what_the_model_knows() -> None:
    crystals = replace(dataset(), identifiers=tuple(map(str, range(16))))
    known = replace(config("default"), elements=tuple(z for z in elements() if z != 8))
    train, validation, left_out = learnable_sets(crystals, crystals, known)
    has_oxygen = [8 in crystals.unit(i).atomic_numbers for i in range(16)]
    expected = [str(i) for i in range(16) if not has_oxygen[i]]
    assert 0 < len(expected) < 16
    assert list(train.identifiers) == list(validation.identifiers) == expected
    assert left_out["not_known"] == sum(has_oxygen) and "O" in left_out["why"]
    only_oxides = crystals.subset(torch.tensor(has_oxygen).nonzero().flatten())
    assert learnable_sets(crystals, only_oxides, known)[1] is None
    with pytest.raises(ValueError, match="nothing is left for the model to train on"):
        learnable_sets(only_oxides, None, known)


def test_a_property_varies_if_two_known_values_differ() -> None:
    nan = torch.nan
    columns = {"one": [1.0, nan, nan], "same": [2.0, 2.0, nan], "two": [1.0, nan, 2.0]}
    values = torch.full((16, 3), nan)
    values[:3] = torch.tensor(list(columns.values())).T
    crystals = replace(dataset(), properties=values, property_names=tuple(columns))
    assert varying_properties(crystals) == ("two",)


def test_the_warm_up_of_a_short_run_is_a_tenth_of_it() -> None:
    short = TrainingConfig(epochs=10.0, batch_size=8)
    assert short.with_short_warmup(80).optimiser == OptimiserConfig(warmup_steps=10)
    assert short.with_short_warmup(8).optimiser.warmup_steps == 1
    assert short.with_short_warmup(80_000) == short
    by_the_clock = replace(short, minutes=1.0)
    assert by_the_clock.with_short_warmup(80) == by_the_clock
