"""Guidance: the network's answers with and without properties, set further apart."""

from collections.abc import Callable

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.compilation import mapped

Predictor = Callable[[Variables, Conditions, Float[Tensor, "B"], Variables | None], Variables]
LEAST = -30.0  # log-probability; the difference of two smaller ones says nothing


def guided(predict: Predictor, weight: Float[Tensor, "B"]) -> Predictor:
    """Let the classes follow the properties more strongly than was learnt.

    Of the two answers, with the properties (c) and without them (u), the log-probabilities of
    elements, pointers and letters become u + w (c - u), normalised. Numbers stay those of c:
    guided as well, coordinates and lattices get worse before the chemistry gets better. Both
    answers come from one call, which has a second row for each crystal whose w is not 1.

    Args:
        predict: the network.
        weight: w of each crystal, shape (B,); 1 changes nothing, 0 leaves the properties out.

    Source: Ho and Salimans 2022; ours: the classes alone.
    """
    n, is_guided = len(weight), weight != 1
    rows = torch.cat([torch.arange(n, device=weight.device), is_guided.nonzero().squeeze(-1)])

    def answer(
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None,
    ) -> Variables:
        asked = mapped(lambda value: value[rows], (beliefs, conditions, t, previous))
        asked[1].properties[n:] = torch.nan
        answers = predict(*asked)
        classes = {}
        for name, log_p in answers.categorical.items():
            told, untold = log_p[:n][is_guided], log_p[n:].clamp_min(LEAST)
            w = weight[is_guided].reshape(-1, *(1,) * (log_p.ndim - 1))
            mixed = untold + w * (told.clamp_min(LEAST) - untold)
            # what is impossible stays so
            mixed = torch.where(told > LEAST, mixed, told).log_softmax(-1)
            classes[name] = log_p[:n].index_put((is_guided,), mixed)
        return Variables({name: x[:n] for name, x in answers.continuous.items()}, classes)

    return answer
