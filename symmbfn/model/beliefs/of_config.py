"""The beliefs of a model, by name of their variable."""

from collections.abc import Iterable
from typing import TypeVar

from symmbfn.model.beliefs.belief import Belief
from symmbfn.model.beliefs.categorical import Categorical
from symmbfn.model.config import ModelConfig
from symmbfn.model.number_configs import Number
from symmbfn.model.statistics import Statistics

AnyBelief = TypeVar("AnyBelief", bound=Belief)


def beliefs_of(
    config: ModelConfig, statistics: Statistics
) -> tuple[dict[str, Number], dict[str, Categorical]]:
    """Beliefs about numbers (lattice, coordinates) and about classes (elements, symmetry)."""
    numbers = (config.lattice.belief(), config.coords.belief(statistics.coords_std))
    how = {"is_preconditioned": config.is_preconditioned}
    n_elements, log_prior = len(config.elements), statistics.element_log_prior
    elements = config.composition.beliefs(n_elements, log_prior, **how)
    symmetry = config.symmetry.beliefs(statistics.position_log_prior, **how)
    return _by_name(numbers), _by_name((*elements, *symmetry))


def _by_name(beliefs: Iterable[AnyBelief]) -> dict[str, AnyBelief]:
    return {belief.name: belief for belief in beliefs}
