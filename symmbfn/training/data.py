"""The crystals of a training: encoded, divided, and reduced to those that a model can learn."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from symmbfn.conditions.training_draw import TOLD
from symmbfn.crystals.elements import MENDELEEV_NUMBER, SYMBOLS
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import FAILURES, encode_dataset
from symmbfn.datasets.full_cell import full_cells, primitive_cells
from symmbfn.datasets.label_files import Labels
from symmbfn.datasets.registry import (
    DATASETS,
    cache_folder,
    check_numbers,
    check_properties,
    dataset_label,
    dataset_splits,
    load_dataset,
)
from symmbfn.model.config import ModelConfig

CELLS = {"conventional": full_cells, "primitive": primitive_cells}
HELD_OUT = 20  # one crystal in so many validates where a dataset has no split for it


def training_sets(
    dataset: str | Path,
    *,
    form: str,
    cell: str | None = None,
    symprec: float | None = None,
    properties: tuple[str, ...] = (),
    labels: Sequence[Labels] = (),
) -> tuple[EncodedDataset, EncodedDataset | None]:
    """Encoded training and validation crystals; what has no split for it gives one in 20.

    Args:
        dataset: a name or a path.
        form: "canonical" or "raw".
        cell: "conventional" or "primitive", to write out all its atoms; None for sites.
        symprec: symmetry tolerance in angstrom; None takes the dataset's own.
        properties: columns that must hold numbers, which is checked before anything is encoded.
        labels: values that are joined by id, the later ones over the earlier ones.

    Returns:
        The training set, and the validation set or None where it would be empty.

    Raises:
        ValueError: a property that is no column, or has a cell that is no number; or labels of
            none of the crystals.
    """
    has_splits = str(dataset) in DATASETS
    splits = _splits_of(str(dataset)) if has_splits else (None,)
    if properties or labels:
        _check_columns(dataset, splits, properties, labels)
    train, *others = (_encoded(dataset, split, cell, form, symprec, labels) for split in splits)
    if others:
        return train, others[0]
    is_held_out = torch.tensor([_is_held_out(name) for name in train.identifiers])
    if is_held_out.all() or not is_held_out.any():
        return train, None
    mine, held_out = (mask.nonzero().flatten() for mask in (~is_held_out, is_held_out))
    return train.subset(mine), train.subset(held_out)


def _splits_of(name: str) -> tuple[str, ...]:
    """The splits of a named dataset that a training uses."""
    known = {**DATASETS[name].local, **DATASETS[name].official}
    return ("train", "val") if "val" in known else ("train",)


def _check_columns(
    dataset: str | Path,
    splits: Sequence[str | None],
    properties: Sequence[str],
    labels: Sequence[Labels],
) -> None:
    """Before the work: properties are numbers, and every set of labels has some of the ids."""
    tables = [load_dataset(dataset, split) for split in splits]
    labelled = {name for one in labels for name in one.names}
    for table in tables:
        check_properties(table, tuple(name for name in properties if name not in labelled))
        check_numbers(table, [name for name in labelled if name in table])
    for one in labels:
        if not any(one.count(table["material_id"]) for table in tables):
            raise ValueError(
                f"labels {one.name}: none of its {len(one.row_of)} ids, such as "
                f"{next(iter(one.row_of), '')!r}, is one of {dataset_label(dataset)}"
            )


def _encoded(
    dataset: str | Path,
    split: str | None,
    cell: str | None,
    form: str,
    symprec: float | None,
    labels: Sequence[Labels],
) -> EncodedDataset:
    """Encode a split, and say how many of its rows could not be, and how many have labels."""
    encoded = encode_dataset(dataset, split=split, form=form, symprec=symprec)
    if failed := len(encoded.failures):
        rows = f"{failed} of {failed + len(encoded)} rows of {dataset_label(dataset)}"
        reasons = cache_folder() / "encoded" / FAILURES
        print(f"not encoded: {rows} {split or ''}".rstrip() + f", see {reasons}", flush=True)
    for one in labels:
        rows = f"{one.count(encoded.identifiers)} of {len(encoded)} crystals"
        where = f"{dataset_label(dataset)} {split or ''}".rstrip()
        print(f"labels {one.name}: {rows} of {where}: {', '.join(one.names)}", flush=True)
        encoded = one.join(encoded)
    return CELLS[cell](encoded) if cell else encoded


def _is_held_out(identifier: str) -> bool:
    """One in 20, by the name alone: the same crystal validates wherever it comes."""
    return int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % HELD_OUT == 0


def only_known(dataset: EncodedDataset, config: ModelConfig) -> tuple[EncodedDataset, str]:
    """Leave out the crystals that a model has no classes for, and say how many.

    Returns:
        The others, and why some were left out; empty if none was.
    """
    crystal = torch.repeat_interleave(torch.arange(len(dataset)), dataset.n_sites)
    numbers = dataset.atomic_numbers.long()
    is_known = torch.isin(numbers, torch.tensor(config.elements))
    unknown = sorted({SYMBOLS[number] for number in numbers[~is_known].tolist()})
    has_element = torch.zeros(len(dataset), len(SYMBOLS), dtype=torch.bool)
    has_element[crystal, numbers] = True
    keep = torch.ones(len(dataset), dtype=torch.bool)
    keep[crystal[~is_known]] = False
    is_crowded = has_element.sum(-1) > config.most_elements
    keep &= ~is_crowded
    if keep.all():
        return dataset, ""
    reasons = [f"elements it does not know ({', '.join(unknown)})"] if unknown else []
    if is_crowded.any():
        reasons.append(f"more than {config.most_elements} elements")
    why = f"{int((~keep).sum())} of {len(dataset)} crystals have {' or '.join(reasons)}"
    print(f"left out: {why}", flush=True)
    return dataset.subset(keep.nonzero().flatten()), why


def learnable_sets(
    everything: EncodedDataset, validation: EncodedDataset | None, config: ModelConfig
) -> tuple[EncodedDataset, EncodedDataset | None, dict[str, Any]]:
    """What a model can learn of its training and validation crystals.

    Returns:
        Both sets, the second None where it would be empty, and how many training crystals were
        left out and why.

    Raises:
        ValueError: nothing is left to train on.
    """
    train, why = only_known(everything, config)
    if not len(train):
        raise ValueError(f"nothing is left for the model to train on: {why}")
    if validation is not None:
        validation, _ = only_known(validation, config)
    left_out = {
        "not_encoded": len(everything.failures),
        "not_known": len(everything) - len(train),
        "why": why,
    }
    return train, validation if validation else None, left_out


def extra_crystals(
    name: str,
    config: ModelConfig,
    beside: EncodedDataset,
    held_out: EncodedDataset | None,
    labels: Sequence[Labels] = (),
) -> EncodedDataset:
    """Further crystals that a model learns from, each always with its energy above the hull.

    Args:
        name: of a dataset, or a path.
        config: of the model, which must know that property.
        beside: the training set.
        held_out: the validation set, or None.
        labels: values that are joined by id, the later ones over the earlier ones.

    Returns:
        Those whose energy above the hull is known and whose elements the model knows, without
        those of the training and validation sets.

    Raises:
        ValueError: the model has no such property, or no crystal is left.
    """
    if TOLD not in config.properties:
        raise ValueError(f"extra crystals {name!r} need a model with the property {TOLD}")
    splits = dataset_splits(name)
    found, _ = only_known(_encoded(name, splits[0], None, "canonical", None, labels), config)
    is_there = set(beside.identifiers) | set(held_out.identifiers if held_out else ())
    is_new = torch.tensor([identifier not in is_there for identifier in found.identifiers])
    is_told = ~found.values_of((TOLD,))[:, 0].isnan()
    if not (is_new & is_told).any():
        raise ValueError(f"none of the extra crystals {name!r} is new and has {TOLD}")
    return found.subset((is_new & is_told).nonzero().flatten())


def elements_of(dataset: EncodedDataset) -> tuple[int, ...]:
    """Atomic numbers that occur, along the Mendeleev scale."""
    present = set(dataset.atomic_numbers.tolist())
    return tuple(sorted(present, key=lambda number: (MENDELEEV_NUMBER[number], number)))


def varying_properties(dataset: EncodedDataset) -> tuple[str, ...]:
    """Properties of which two crystals are known to have different values."""
    columns = zip(dataset.property_names, dataset.properties.unbind(-1), strict=True)
    return tuple(name for name, values in columns if len(values[~values.isnan()].unique()) > 1)


def check_varying(dataset: EncodedDataset, names: Sequence[str]) -> None:
    """Make sure that something can be learnt of properties.

    Raises:
        ValueError: one that has no two different values.
    """
    varying = varying_properties(dataset)
    if constant := [name for name in names if name not in varying]:
        raise ValueError(
            f"property {', '.join(constant)} has no two different values in the training set, "
            "so that nothing can be learnt of it"
        )
