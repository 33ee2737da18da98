"""Configurations of elements and symmetry, each of which builds what it describes.

As in `number_configs`, each form of a variable is a class of its own, and `kind` is its name in
`config.json`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import MAX_POSITIONS, symmetry_tables
from symmbfn.flows.schedules import CategoricalSchedule
from symmbfn.model.beliefs.categorical import Categorical, Elements, Letters, Pointers
from symmbfn.model.channels import (
    N_AXES,
    N_AXIS_CLASSES,
    AxisChannel,
    ElementChannel,
    LetterChannel,
    NoSymmetryChannel,
    SiteElementChannel,
    SlotChannel,
    SymmetryChannel,
)
from symmbfn.model.variables import slots_and_pointers

CERTAINTY = 32.0  # K beta1 at which the right one of K classes leads by four deviations


@dataclass(frozen=True, kw_only=True)
class ElementSlotsConfig:
    """The elements of a crystal as a short list, and a pointer into it for each site.

    Attributes:
        beta1, pointer_beta1: final accuracies.
        n_slots: most elements that a crystal can have.
        weight, pointer_weight: in the training loss.
        reads_atoms: whether the network reads how many atoms each slot holds, and how many it
            should hold where the composition is a condition; see `Conditions`.

    Source: book, method-variables.
    """

    kind: ClassVar[str] = "slots"
    is_number_read: ClassVar[bool] = True  # the number of elements: it is that of the slots
    beta1: float
    pointer_beta1: float
    n_slots: int = 8
    weight: float = 2.0
    pointer_weight: float = 2.0
    reads_atoms: bool = False

    @classmethod
    def for_elements(cls, n_elements: int, n_slots: int = 8) -> "ElementSlotsConfig":
        """Accuracies that decide so many elements and slots by t = 1: 32 / K for K classes.

        Source: book, method-beta1.
        """
        beta1 = CERTAINTY / max(1, n_elements)
        pointers = CERTAINTY / n_slots
        return cls(beta1=beta1, pointer_beta1=pointers, n_slots=n_slots, reads_atoms=True)

    def beliefs(
        self, n_elements: int, log_prior: Float[Tensor, "K"], *, is_preconditioned: bool
    ) -> tuple[Categorical, ...]:
        """The beliefs about the slots' elements and about the pointers."""
        elements = Elements(
            name="elements",
            where="is_slot",
            weight=self.weight,
            schedule=CategoricalSchedule(self.beta1),
            n_classes=n_elements,
            log_prior=log_prior,
            is_preconditioned=is_preconditioned,
        )
        pointers = Pointers(
            name="pointers",
            where="is_site",
            weight=self.pointer_weight,
            is_accuracy_read=False,  # a multiple of the elements'
            schedule=CategoricalSchedule(self.pointer_beta1),
            n_classes=self.n_slots,
            is_preconditioned=is_preconditioned,
        )
        return elements, pointers

    def channel(self, n_elements: int, width: int, log_prior: Float[Tensor, "K"]) -> ElementChannel:
        """How elements and pointers enter and leave the network."""
        return SlotChannel(self.n_slots, n_elements, width, log_prior, self.reads_atoms)

    def most_elements(self, n_elements: int) -> int:
        """Most elements that a crystal can have, out of so many."""
        return self.n_slots

    def indices(
        self, classes: Int[Tensor, "B N"], is_site: Bool[Tensor, "B N"], n_elements: int
    ) -> dict[str, Tensor]:
        """The variables of crystals whose sites have these classes.

        Raises:
            ValueError: if a crystal has more elements than slots.
        """
        slots, pointers, _ = slots_and_pointers(classes, is_site, n_elements, self.n_slots)
        return {"elements": slots, "pointers": pointers}

    def occurrences(
        self, classes: Int[Tensor, "B N"], is_site: Bool[Tensor, "B N"], n_elements: int
    ) -> Int[Tensor, "M"]:
        """Classes as often as they occur in slots."""
        slots, _, n_used = slots_and_pointers(classes, is_site, n_elements, n_elements)
        return slots[torch.arange(slots.shape[1]) < n_used[:, None]]


@dataclass(frozen=True, kw_only=True)
class SiteElementsConfig:
    """An element for each site, as published.

    Attributes:
        beta1: final accuracy.
        weight: in the training loss.

    Source: Methods, "Atom types".
    """

    kind: ClassVar[str] = "sites"
    is_number_read: ClassVar[bool] = False
    beta1: float
    weight: float = 2.0

    def beliefs(
        self, n_elements: int, log_prior: Float[Tensor, "K"], *, is_preconditioned: bool
    ) -> tuple[Categorical, ...]:
        """The belief about the sites' elements."""
        elements = Elements(
            name="elements",
            where="is_site",
            weight=self.weight,
            schedule=CategoricalSchedule(self.beta1),
            n_classes=n_elements,
            log_prior=log_prior,
            is_preconditioned=is_preconditioned,
        )
        return (elements,)

    def channel(self, n_elements: int, width: int, log_prior: Float[Tensor, "K"]) -> ElementChannel:
        """How elements enter and leave the network."""
        return SiteElementChannel(n_elements, width, log_prior)

    def most_elements(self, n_elements: int) -> int:
        """Most elements that a crystal can have, out of so many: all of them."""
        return n_elements

    def indices(
        self, classes: Int[Tensor, "B N"], is_site: Bool[Tensor, "B N"], n_elements: int
    ) -> dict[str, Tensor]:
        """The variable of crystals whose sites have these classes: the classes."""
        return {"elements": classes}

    def occurrences(
        self, classes: Int[Tensor, "B N"], is_site: Bool[Tensor, "B N"], n_elements: int
    ) -> Int[Tensor, "M"]:
        """Classes as often as they occur on sites."""
        return classes[is_site]


@dataclass(frozen=True, kw_only=True)
class LettersConfig:
    """The Wyckoff letter of each site, one class out of the positions of its space group.

    Attributes:
        beta1: final accuracy.
        weight: in the training loss.

    Source: book, method-letters.
    """

    kind: ClassVar[str] = "letters"
    beta1: float = CERTAINTY / MAX_POSITIONS
    weight: float = 3.0

    def beliefs(
        self, log_prior: Float[Tensor, "P"], *, is_preconditioned: bool
    ) -> tuple[Categorical, ...]:
        """The belief about the letters; `log_prior` is that of all positions."""
        letters = Letters(
            name="letters",
            where="is_site",
            weight=self.weight,
            schedule=CategoricalSchedule(self.beta1),
            n_classes=MAX_POSITIONS,
            log_prior=log_prior,
            is_preconditioned=is_preconditioned,
        )
        return (letters,)

    def channel(self, width: int, log_prior: Float[Tensor, "P"]) -> SymmetryChannel:
        """How letters enter and leave the network."""
        return LetterChannel(width, log_prior)

    def indices(self, units: AsymmetricUnitBatch) -> dict[str, Tensor]:
        """The variable of these crystals."""
        return {"letters": units.wyckoff_positions}


@dataclass(frozen=True, kw_only=True)
class AxesConfig:
    """The symmetry of each site along 15 axes, as published.

    Attributes:
        beta1: final accuracy.
        weight: in the training loss.

    Source: Levy et al. 2025 (SymmCD); book, method-site-symmetry.
    """

    kind: ClassVar[str] = "axes"
    beta1: float = 2.5
    weight: float = 10.0

    def beliefs(
        self, log_prior: Float[Tensor, "P"], *, is_preconditioned: bool
    ) -> tuple[Categorical, ...]:
        """The belief about the axes, all classes alike before training."""
        axes = Categorical(
            name="axes",
            where="is_site",
            entries=(N_AXES,),
            weight=self.weight,
            schedule=CategoricalSchedule(self.beta1),
            n_classes=N_AXIS_CLASSES,
            is_preconditioned=is_preconditioned,
        )
        return (axes,)

    def channel(self, width: int, log_prior: Float[Tensor, "P"]) -> SymmetryChannel:
        """How axes enter and leave the network."""
        return AxisChannel(width)

    def indices(self, units: AsymmetricUnitBatch) -> dict[str, Tensor]:
        """The variable of these crystals."""
        row = position_row(units.space_group_number[:, None], units.wyckoff_positions)
        return {"axes": torch.tensor(symmetry_tables().encoding).to(row)[row]}


@dataclass(frozen=True, kw_only=True)
class NoSymmetryConfig:
    """No symmetry: the sites are all atoms of the cell, see `full_cells` and `primitive_cells`.

    Source: Methods, "Baseline".
    """

    kind: ClassVar[str] = "none"

    def beliefs(
        self, log_prior: Float[Tensor, "P"], *, is_preconditioned: bool
    ) -> tuple[Categorical, ...]:
        """No belief."""
        return ()

    def channel(self, width: int, log_prior: Float[Tensor, "P"]) -> SymmetryChannel:
        """A channel without variables."""
        return NoSymmetryChannel()

    def indices(self, units: AsymmetricUnitBatch) -> dict[str, Tensor]:
        """No variable."""
        return {}
