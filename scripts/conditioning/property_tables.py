"""What the tables of properties tell of a crystal's row, on crystals that they were not made of.

    python -m scripts.conditioning.property_tables

A claim is the mean of log P(row | value) - log P(row) over the validation set of MP-20, once with
the dataset's own values, as the shipped weights have them, and once with the labels of the whole
hull, as a new training has them.
"""

import math

import torch

from scripts.conditioning.add_tables import sets_of
from scripts.evaluation.run import weights_of_preset
from symmbfn._shapes import Float, Tensor
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.values import row_factors
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.label_files import WHOLE_HULL
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import (
    Statistics,
    compute_statistics,
    rows_of,
    with_property_tables,
)

COMMAND = "python -m scripts.conditioning.property_tables"
Z = 1.96  # of the normal distribution, for 95 %


def main() -> None:
    """Measure and record."""
    config = load_model("default").config
    for labels in ((), (WHOLE_HULL,)):
        train, validation = sets_of(config, "mp_20", labels)
        assert validation is not None
        units, values = train.batch(torch.arange(len(train))), train.values_of(config.properties)
        statistics = compute_statistics(units, config, values)
        statistics = with_property_tables(statistics, units, config, values)
        for name in config.properties:
            gain = gains(name, validation, config, statistics)
            one = claim_of(name, gain, labels)
            print(f"{one.name} = {one.value} {one.unit} {one.interval} n {one.n}")
            record("conditioning", [one])


def gains(
    name: str, crystals: EncodedDataset, config: ModelConfig, statistics: Statistics
) -> Float[Tensor, "n"]:
    """log P(row | value) - log P(row) of the crystals whose value is known, in nats.

    Args:
        name: of the property.
        crystals: those whose row the training set has count.
        config: of the model.
        statistics: of the training set.
    """
    place = {tuple(row): i for i, row in enumerate(statistics.conditions.tolist())}
    rows = rows_of(crystals.batch(torch.arange(len(crystals))), config).tolist()
    own = torch.tensor([place.get(tuple(row), -1) for row in rows])
    values = crystals.values_of(config.properties)
    column = config.properties.index(name)
    counts = (own >= 0) & ~values[:, column].isnan()
    asked = torch.full_like(values, torch.nan)
    asked[:, column] = values[:, column]
    factors, kind = row_factors(asked[counts], statistics.conditions, config, statistics)
    prior = statistics.condition_count.double() / statistics.condition_count.sum()
    return (factors / (factors @ prior)[:, None]).log()[kind, own[counts]]


def claim_of(name: str, gain: Float[Tensor, "n"], labels: tuple[str, ...]) -> Claim:
    """The mean gain with the interval of a mean."""
    mean, half = float(gain.mean()), Z * float(gain.std()) / math.sqrt(len(gain))
    whose = "labels of the whole hull" if labels else "the dataset's own values"
    return Claim(
        ".".join(["table", *labels, name, "nats"]),
        round(mean, 4),
        COMMAND,
        unit="nats",
        n=len(gain),
        interval=(round(mean - half, 4), round(mean + half, 4)),
        note=f"Gain of log P(G, D, M | value) over log P(G, D, M) on MP-20 val, {whose}.",
        versions={} if labels else weights_of_preset("default"),
    )


if __name__ == "__main__":
    main()
