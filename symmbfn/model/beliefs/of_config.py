"""Which variables a model has, and of which kind."""

from symmbfn.crystals.symmetry import MAX_POSITIONS
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.schedules import CategoricalSchedule, ContinuousSchedule
from symmbfn.model.beliefs.categorical import Axes, Categorical, Letters, Pointers
from symmbfn.model.beliefs.circular import Circular
from symmbfn.model.beliefs.continuous import Continuous
from symmbfn.model.config import ModelConfig
from symmbfn.model.variables import Statistics

Number = Continuous | Circular
Kind = Number | Categorical


def variables_of(
    config: ModelConfig, statistics: Statistics
) -> tuple[dict[str, Number], dict[str, Categorical]]:
    """The variables of a model: lattice and coordinates; elements and symmetry."""
    c = config
    lattice = ContinuousSchedule(c.sigma1_lattice)
    numbers: list[Number] = [
        Continuous("lattice", "lattice_free", is_told=False, schedule=lattice, target=c.target)
    ]
    if c.coords_as == "circular":
        messages = MessageSchedule(c.n_messages, c.beta1_coords)
        numbers.append(Circular("coords", "is_site", (3,), schedule=messages))
    else:
        sigma1 = min(c.sigma1_coords / float(statistics.coords_std.mean()), 0.5)
        coords = ContinuousSchedule(sigma1)
        numbers.append(Continuous("coords", "is_site", (3,), schedule=coords, target=c.target))
    classes = [
        Categorical(
            "elements",
            "is_slot" if c.elements_as == "slots" else "is_site",
            schedule=CategoricalSchedule(c.beta1_elements, c.categorical_power),
            n_classes=len(c.elements),
            log_prior=statistics.element_log_prior,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
    ]
    if c.elements_as == "slots":
        pointers = Pointers(
            "pointers",
            "is_site",
            is_told=False,  # a multiple of the elements'
            schedule=CategoricalSchedule(c.beta1_pointers, c.categorical_power),
            n_classes=c.n_slots,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(pointers)
    symmetry = CategoricalSchedule(c.beta1_symmetry, c.categorical_power)
    if c.symmetry == "letters":
        letters = Letters(
            "letters",
            "is_site",
            schedule=symmetry,
            n_classes=MAX_POSITIONS,
            log_prior=statistics.position_log_prior,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(letters)
    elif c.symmetry == "axes":
        axes = Axes(
            "axes",
            "is_site",
            (15,),
            schedule=symmetry,
            n_classes=13,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(axes)
    return {v.name: v for v in numbers}, {v.name: v for v in classes}
