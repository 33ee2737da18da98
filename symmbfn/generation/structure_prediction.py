"""Structures for a composition: its likely templates, and the generator that fills them.

Each draw is one crystal. Most draws take the template of a known crystal, the likeliest first; for
the others the generator is given the composition alone and finds a template itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from symmbfn.conditions.chemistry import counts_of
from symmbfn.conditions.choices import MOST_ATOMS
from symmbfn.conditions.draw import draw
from symmbfn.conditions.known_templates import TEMPLATES_FILE, KnownTemplates
from symmbfn.conditions.request import Request
from symmbfn.crystals.crystal import Crystal
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import load_model, weights_folder
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.checks import whole_number

NETWORK = "network"
OPEN_EVERY = 5  # one draw in so many is left to the network


@dataclass(frozen=True)
class Draw:
    """One crystal to be made for a composition.

    Attributes:
        formula: of the composition, as it was asked for.
        request: for this crystal.
        source: "network", or name and formula of the known crystal that the template is of.
        probability: of the template among those of known crystals; None for "network".
    """

    formula: str
    request: Request
    source: str = NETWORK
    probability: float | None = None


@dataclass(frozen=True)
class Prediction:
    """One predicted structure.

    Attributes:
        draw: how it was made.
        crystal: its record, whatever its status.
    """

    draw: Draw
    crystal: Crystal


def draws_of(
    formula: str,
    model: SymmBFN,
    known: KnownTemplates,
    *,
    atoms: int | None = None,
    space_group_number: Any = None,
    draws: int = 20,
    seed: int = 0,
) -> list[Draw]:
    """What to make for a composition: no known template twice, and every fifth draw open.

    Args:
        formula: such as "LiFePO4", whole numbers.
        model: that will make them.
        known: templates of its training data.
        atoms: of the primitive cell; None for any number.
        space_group_number: groups to choose from, as in a `Request`; None for all.
        draws: how many.
        seed: of the noise.

    Raises:
        ValueError: the formula cannot be read, or no crystal that the model knows can have it, and
            why.
    """
    whole_number("draws", draws)
    base = Request.of(
        n=1, seed=seed, composition=formula, atoms=atoms, space_group_number=space_group_number
    )
    counts = counts_of(formula)
    in_formula = sum(counts.values())
    most = max(in_formula, MOST_ATOMS)
    formulas = range(1, most // in_formula + 1) if atoms is None else [atoms // in_formula]
    found = known.candidates(counts, formulas=formulas, groups=set(base.space_groups) or None)
    reason = _refusal(base, model)
    n_known = draws if reason else draws - draws // OPEN_EVERY
    templates = (
        Draw(formula, request, f"{one.source} ({one.formula})", one.probability)
        for one in found
        if not _refusal(request := replace(base, template=one.template), model)
    )
    chosen = list(islice(templates, n_known))
    if not reason:
        return [*chosen, *[Draw(formula, base)] * (draws - len(chosen))]
    if not chosen:
        raise ValueError(reason)
    # known templates are all there is, so they come again, with other noise
    return list(islice(cycle(chosen), draws))


def _refusal(request: Request, model: SymmBFN) -> str:
    """Why the model cannot meet a request; empty if it can."""
    try:
        draw(request, model.config, model.statistics)
    except ValueError as error:
        return str(error)
    return ""


def structures_of(draws: Sequence[Draw], model: SymmBFN, **settings: Any) -> list[Prediction]:
    """Make the crystals of draws, of one or several compositions, in shared batches.

    Args:
        draws: of one seed.
        model: that makes them.
        settings: of `generate`, such as n_steps.

    Returns:
        One prediction for each draw, in order.
    """
    crystals = generate([one.request for one in draws], weights=model, **settings)
    return [Prediction(*pair) for pair in zip(draws, crystals, strict=True)]


def predict_structures(
    formula: str | Sequence[str],
    *,
    atoms: int | None = None,
    space_group_number: Any = None,
    draws: int = 20,
    seed: int = 0,
    weights: str = "default",
    **settings: Any,
) -> list[Prediction]:
    """Structures for one or several compositions.

    Args:
        formula: such as "LiFePO4", or several.
        atoms, space_group_number, draws, seed: as in `draws_of`, for each formula.
        weights: name of shipped weights, or a model folder; with templates beside them.
        settings: of `generate`.

    Returns:
        The draws of each formula, the likeliest templates first.

    Raises:
        ValueError: as in `draws_of`, naming the formula; or the weights have no templates.
    """
    formulas = [formula] if isinstance(formula, str) else list(formula)
    model, known = load_model(weights), templates_of(weights)
    planned: list[Draw] = []
    for one in formulas:
        try:
            planned += draws_of(
                one,
                model,
                known,
                atoms=atoms,
                space_group_number=space_group_number,
                draws=draws,
                seed=seed,
            )
        except ValueError as error:
            raise ValueError(f"{one!r}: {error}") from None
    return structures_of(planned, model, **settings)


def templates_of(weights: str) -> KnownTemplates:
    """The templates beside weights.

    Raises:
        ValueError: there are none.
    """
    folder = weights_folder(weights)
    if not (folder / TEMPLATES_FILE).is_file():
        raise ValueError(f"weights {weights!r} have no {TEMPLATES_FILE}, which prediction needs")
    return KnownTemplates.load(folder)
