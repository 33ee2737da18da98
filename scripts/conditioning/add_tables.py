"""Give weights the tables of their properties: where values lie, and which crystals have them.

    python -m scripts.conditioning.add_tables FOLDER --dataset mp_20 --labels whole_hull

The dataset must be the one that the weights were trained on. Only `config.json` is written anew.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.label_files import read_labels
from symmbfn.model.checkpoints import (
    load_model,
    read_config,
    statistics_to_dict,
    weights_folder,
    write_config,
)
from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import with_property_tables
from symmbfn.training.data import learnable_sets, training_sets


def main() -> None:
    """Read, count and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="a model folder")
    parser.add_argument("--dataset", required=True, help="the one it was trained on")
    parser.add_argument("--labels", nargs="*", default=(), help="as of symmbfn train")
    options = parser.parse_args()
    add_tables(options.weights, options.dataset, options.labels)


def add_tables(folder: Path, dataset: str, labels: Sequence[str] = ()) -> None:
    """Write the tables into the folder's configuration.

    Args:
        folder: of the weights.
        dataset: that they were trained on.
        labels: values that are joined by id, the later ones over the earlier ones.

    Raises:
        ValueError: the weights were trained on other crystals.
    """
    folder = weights_folder(folder)
    model = load_model(folder)
    cell = read_config(folder)["notes"].get("cell") if model.config.is_of_atoms else None
    train, _ = sets_of(model.config, dataset, labels, cell)
    units, values = train.batch(torch.arange(len(train))), train.values_of(model.config.properties)
    statistics = with_property_tables(model.statistics, units, model.config, values)
    config = read_config(folder)
    config["statistics"]["property_tables"] = statistics_to_dict(statistics)["property_tables"]
    write_config(folder, config)
    for name in model.config.properties:
        if (table := statistics.property_tables.get(name)) is None:
            print(f"{name}: no value is known, so it has no table")
        else:
            print(f"{name}: {int(table.counts.sum())} values, smoothed over {table.width} bins")


def sets_of(
    config: ModelConfig, dataset: str, labels: Sequence[str] = (), cell: str | None = None
) -> tuple[EncodedDataset, EncodedDataset | None]:
    """The training and validation crystals of a model."""
    everything, validation = training_sets(
        dataset,
        form="canonical" if config.coords.is_standardised else "raw",
        cell=cell,
        labels=[read_labels(one) for one in labels],
    )
    train, validation, _ = learnable_sets(everything, validation, config)
    return train, validation


if __name__ == "__main__":
    main()
