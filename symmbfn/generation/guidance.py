"""Guidance: the network's answers with and without properties, set further apart."""

from collections.abc import Callable
from dataclasses import replace

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.model.variables import Conditions, Variables

Predictor = Callable[[Variables, Conditions, Float[Tensor, "B"], Variables | None], Variables]
LEAST = -30.0  # log-probability; the difference of two smaller ones says nothing


def guided(predict: Predictor, weight: Float[Tensor, "B"]) -> Predictor:
    """Let the classes follow the properties more strongly than was learnt.

    Of the two answers, with the properties (c) and without them (u), the log-probabilities of
    elements, pointers and letters become u + w (c - u), normalised. Numbers stay those of c:
    guided as well, coordinates and lattices get worse before the chemistry gets better.

    Args:
        predict: the network.
        weight: w of each crystal, shape (B,); 1 changes nothing, 0 leaves the properties out.

    Source: Ho and Salimans 2022; ours: the classes alone.
    """

    def answer(
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None,
    ) -> Variables:
        told = predict(beliefs, conditions, t, previous)
        assert conditions.properties is not None
        nothing = torch.full_like(conditions.properties, torch.nan)
        untold = predict(beliefs, replace(conditions, properties=nothing), t, previous)
        classes = {}
        for name, log_p in told.categorical.items():
            without = untold.categorical[name].clamp_min(LEAST)
            w = weight.reshape(-1, *(1,) * (log_p.ndim - 1))
            mixed = without + w * (log_p.clamp_min(LEAST) - without)
            # what is impossible stays so
            mixed = torch.where(log_p > LEAST, mixed, log_p)
            classes[name] = mixed.log_softmax(-1)
        return Variables(told.continuous, classes)

    return answer
