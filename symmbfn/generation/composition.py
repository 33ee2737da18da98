"""An exact composition: the template is decoded from a first pass, and given to a second one."""

from dataclasses import replace

import numpy as np
import torch

from symmbfn._shapes import Bool, Tensor
from symmbfn.crystals.composition_decoding import decode_composition
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.model.variables import Conditions, FixedParts, Variables


def with_templates(estimates: Variables, conditions: Conditions) -> Conditions:
    """The same conditions, and with a composition letters and pointers that have its atoms.

    They are the most likely ones by the estimates. A crystal for which there are none keeps its
    conditions; it will have other atoms, and its record says so.

    Args:
        estimates: log-probabilities of letters and pointers at t = 1, of the first crystals; those
            beyond keep their conditions.
        conditions: `composition` says how many atoms each slot should have.

    Source: book, method-composition.
    """
    assert conditions.composition is not None and conditions.fixed is not None
    fixed = conditions.fixed
    values = dict(fixed.values.categorical)
    where = dict(fixed.where)
    for name in ("letters", "pointers"):
        values[name], where[name] = values[name].clone(), where[name].clone()
    has_composition = (~conditions.composition.isnan()).any(-1)[: len(estimates["letters"])]
    for row in has_composition.nonzero().flatten().tolist():
        choice = _most_likely(estimates, conditions, row)
        if choice is None:
            continue
        is_site = conditions.is_site[row]
        for name, classes in zip(("letters", "pointers"), choice, strict=True):
            values[name][row, is_site] = torch.from_numpy(classes).to(values[name])
            where[name][row] = is_site
    new = FixedParts(Variables(fixed.values.continuous, values), where)
    return replace(conditions, fixed=new)


def _most_likely(
    estimates: Variables, conditions: Conditions, row: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Position and slot of each site of one crystal; None where none has the atoms."""
    assert conditions.composition is not None and conditions.fixed is not None
    is_site, is_slot = conditions.is_site[row], conditions.is_slot[row]
    rows = positions_of(int(conditions.space_group_number[row]))
    tables, where = symmetry_tables(), conditions.fixed.where

    def scores(name: str, is_class: Bool[Tensor, "K"]) -> np.ndarray:
        """Log-probabilities, -inf for the classes that a fixed one is not."""
        log_p = estimates[name][row, is_site][:, is_class].double()
        is_other = log_p < log_p.max(-1, keepdim=True).values
        is_fixed = where[name][row, is_site]
        return log_p.masked_fill(is_fixed[:, None] & is_other, -torch.inf).cpu().numpy()

    return decode_composition(
        scores("letters", conditions.is_position[row]),
        scores("pointers", is_slot),
        tables.multiplicity[rows].astype(np.int64),
        tables.degrees_of_freedom[rows] == 0,
        conditions.composition[row, is_slot].cpu().numpy().astype(np.int64),
    )
