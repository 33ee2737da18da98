"""Channels: how the classes of a crystal enter the network, and how it answers about them.

A model has one channel for its elements and one for its symmetry. Each states how many numbers a
site and the crystal read of it, so that no other place has to know.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model.reading import Reading
from symmbfn.model.variables import Conditions
from symmbfn.networks.class_table import ClassTable
from symmbfn.networks.element_slots import ElementSlots, atom_features
from symmbfn.networks.wyckoff_positions import WyckoffPositions

N_AXES, N_AXIS_CLASSES = 15, 13

Classes = Mapping[str, tuple[Tensor, Tensor, Tensor]]  # as in `Reading`


class Channel(nn.Module, ABC):
    """The contract of a channel.

    Attributes:
        site_width: how many numbers each site reads.
        graph_width: how many numbers the crystal reads; 0 for none.
    """

    site_width: int = 0
    graph_width: int = 0

    @abstractmethod
    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Tensor:
        """What is made of the beliefs once a call, for the input and for the output.

        Args:
            classes: beliefs of the categorical variables.
            conditions: what the crystals are conditioned on.
            atoms: expected number of atoms of each site in the cell, 0 on padding.
        """

    def of_sites(self, reading: Reading) -> Float[Tensor, "B N F"]:
        """What the sites read, shape (B, N, site_width); here nothing."""
        return reading.x.new_zeros(*reading.x.shape[:2], 0)

    def of_graph(self, reading: Reading) -> Float[Tensor, "B G"]:
        """What the crystal reads, shape (B, graph_width); here nothing."""
        return reading.k.new_zeros(len(reading.k), 0)

    @abstractmethod
    def outputs(
        self, h: Float[Tensor, "B N H"], vector: Float[Tensor, "B H"], reading: Reading
    ) -> dict[str, Tensor]:
        """The network's answer about each variable of the channel, by its name.

        Args:
            h: states of the sites, 0 on padding, shape (B, N, H).
            vector: state of the crystal, shape (B, H).
            reading: what the network has read.
        """


class ElementChannel(Channel):
    """A channel that says which element each site holds."""

    @abstractmethod
    def of_each_site(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "B N K"]:
        """Probabilities of the element of each site from those of the variables."""


class SlotChannel(ElementSlots, ElementChannel):
    """Elements of the crystal in slots, and pointers of the sites, see `ElementSlots`."""

    def __init__(
        self,
        n_slots: int,
        n_elements: int,
        width: int,
        log_prior: Float[Tensor, "K"],
        reads_atoms: bool = False,
    ):
        super().__init__(n_slots, n_elements, width, log_prior, reads_atoms=reads_atoms)
        self.site_width = self.graph_width = width

    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B S E"]:
        """States of the slots."""
        features = None
        if self.reads_atoms:
            held = conditions.layout.over_sites(classes["pointers"][0] * atoms[..., None])
            wanted = conditions.composition
            wanted = torch.full_like(held, torch.nan) if wanted is None else wanted
            features = atom_features(held, wanted)
        return self.slots(*classes["elements"], conditions.is_slot, features)

    def of_sites(self, reading: Reading) -> Float[Tensor, "B N H"]:
        """The slots that a site points to."""
        layout = reading.conditions.layout
        return self.embed(reading.states["elements"], *reading.classes["pointers"], layout)

    def of_graph(self, reading: Reading) -> Float[Tensor, "B H"]:
        """All slots of the crystal."""
        return self.embed_all(reading.states["elements"])

    def outputs(self, h: Tensor, vector: Tensor, reading: Reading) -> dict[str, Tensor]:
        """Logits of the slots' elements and of the sites' pointers."""
        atoms = reading.atoms * reading.conditions.is_site
        slots, theta = reading.states["elements"], reading.theta("pointers")
        layout = reading.conditions.layout
        elements, pointers = self.logits(h, vector, slots, theta, atoms, layout)
        return {"elements": elements, "pointers": pointers}

    def of_each_site(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "B N K"]:
        """Through the pointers."""
        return (theta["pointers"][..., None] * theta["elements"][:, None]).sum(2)


class SiteElementChannel(ClassTable, ElementChannel):
    """An element for each site, as published."""

    def __init__(self, n_elements: int, width: int, log_prior: Float[Tensor, "K"]):
        super().__init__(n_elements, width, log_prior)
        self.site_width = width

    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B N K"]:
        """The probabilities themselves."""
        return classes["elements"][0]

    def of_sites(self, reading: Reading) -> Float[Tensor, "B N H"]:
        """A linear function of the probabilities."""
        return self.embed(reading.states["elements"])

    def outputs(self, h: Tensor, vector: Tensor, reading: Reading) -> dict[str, Tensor]:
        """Logits of the elements."""
        return {"elements": self.logits(h)}

    def of_each_site(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "B N K"]:
        """As they are."""
        return theta["elements"]


class SymmetryChannel(Channel):
    """A channel that says how often each site occurs in the cell."""

    def with_positions(self, conditions: Conditions) -> Conditions:
        """The same with all that depends on weights and space groups alone, made once."""
        return conditions

    def atoms(self, classes: Classes, conditions: Conditions) -> Float[Tensor, "B N"]:
        """Expected number of atoms of each site in the cell, 0 on padding; here one."""
        return conditions.is_site.float()


class LetterChannel(WyckoffPositions, SymmetryChannel):
    """Wyckoff letters as positions of the space group, see `WyckoffPositions`."""

    multiplicity: Tensor

    def __init__(self, width: int, log_prior: Float[Tensor, "P"]):
        super().__init__(width, log_prior=log_prior)
        multiplicity = torch.tensor(symmetry_tables().multiplicity).float()
        self.register_buffer("multiplicity", multiplicity, persistent=False)
        self.site_width = width

    def with_positions(self, conditions: Conditions) -> Conditions:
        """With the embeddings of the groups' positions."""
        return replace(conditions, positions=self.table(conditions.rows))

    def atoms(self, classes: Classes, conditions: Conditions) -> Float[Tensor, "B N"]:
        """Expected multiplicity of the position."""
        return (classes["letters"][0] * self.multiplicity[conditions.rows][:, None]).sum(-1)

    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B W E"]:
        """Embeddings of the groups' positions."""
        return self.table(conditions.rows) if conditions.positions is None else conditions.positions

    def of_sites(self, reading: Reading) -> Float[Tensor, "B N H"]:
        """Expected embeddings of the site's position and of those of the other sites."""
        letters, conditions = reading.classes["letters"], reading.conditions
        table = reading.states["symmetry"]
        return self.embed(table, *letters, conditions.is_site, conditions.layout)

    def outputs(self, h: Tensor, vector: Tensor, reading: Reading) -> dict[str, Tensor]:
        """Logits of the letters."""
        table, conditions = reading.states["symmetry"], reading.conditions
        return {"letters": self.logits(h, table, conditions.rows, conditions.layout)}


class AxisChannel(ClassTable, SymmetryChannel):
    """Site symmetry along each of 15 axes, as published."""

    def __init__(self, width: int):
        super().__init__(N_AXES * N_AXIS_CLASSES, width)
        self.site_width = width

    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B N K"]:
        """The probabilities of all axes in one row."""
        return classes["axes"][0].flatten(-2)

    def of_sites(self, reading: Reading) -> Float[Tensor, "B N H"]:
        """A linear function of the probabilities."""
        return self.embed(reading.states["symmetry"])

    def outputs(self, h: Tensor, vector: Tensor, reading: Reading) -> dict[str, Tensor]:
        """Logits of the classes of each axis."""
        return {"axes": self.logits(h).unflatten(-1, (N_AXES, N_AXIS_CLASSES))}


class NoSymmetryChannel(SymmetryChannel):
    """Nothing: the sites are all atoms of the cell."""

    def state(
        self, classes: Classes, conditions: Conditions, atoms: Float[Tensor, "B N"]
    ) -> Tensor:
        """Nothing, shape (B, 0)."""
        return conditions.lattice_fixed.new_zeros(len(conditions.lattice_fixed), 0)

    def outputs(self, h: Tensor, vector: Tensor, reading: Reading) -> dict[str, Tensor]:
        """No variable."""
        return {}
