"""Energies, forces and stresses of cells: CHGNet, or any calculator of ASE."""

import contextlib
import ctypes
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.cell import Cell

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

POTENTIAL = "0.3.0"  # of CHGNet: what the published tables use, on the scale of GGA and GGA+U
CHGNET = f"CHGNet {POTENTIAL}"  # its name, as that of a judge and as the source of a phase
MAX_ATOMIC_NUMBER = 94  # of the elements that CHGNet knows
SAME_PLACE = 1e-8  # angstrom: two atoms so close count as one, as in CHGNet's own graphs
# a forward on an accelerator; on a processor batches lose to single crystals
CRYSTALS_AT_ONCE = 256
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@dataclass(frozen=True, eq=False)
class SinglePoint:
    """What a potential says of one cell as it stands.

    Args:
        energy_per_atom: eV.
        forces: Cartesian, eV/angstrom, shape (A, 3).
        stress: eV/cubic angstrom, symmetric, positive under tension, shape (3, 3).
    """

    energy_per_atom: float
    forces: Float[np.ndarray, "A 3"]
    stress: Float[np.ndarray, "3 3"]


# one point for each cell; a ValueError says that a cell is none it can take
Potential = Callable[[Sequence[Cell]], list[SinglePoint]]


@cache
def own_potential(make: Callable[[], Potential]) -> Potential:
    """The potential of a worker process, which does nothing else, made once."""
    _keep_freed_memory()
    return make()


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: every step needs the same again, and pages are dear.

    A quarter of the time of a step of 9 atoms went into handing memory back and forth.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(option, 1 << 30)


class AsePotential:
    """A calculator of ASE as a potential, one cell after the other.

    Args:
        calculator: knows energy, forces and stress of periodic cells.
    """

    def __init__(self, calculator: "Calculator"):
        self.calculator = calculator

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        """One point for each cell."""
        try:
            return [self._point(cell) for cell in cells]
        except Exception:
            # of the same crystal it would say something else the second time
            if hasattr(self.calculator, "reset"):
                self.calculator.reset()
            raise

    def _point(self, cell: Cell) -> SinglePoint:
        atoms = cell.to_ase()
        atoms.calc = self.calculator
        energy = float(atoms.get_potential_energy()) / len(cell)
        return SinglePoint(energy, atoms.get_forces(), atoms.get_stress(voigt=False))


class Chgnet:
    """The universal potential CHGNet 0.3.0 with the weights of its package.

    Forces and stress come from one backward pass over coordinates and lattice; magnetic
    moments are left out.

    Args:
        device: where it computes. On a processor the crystals go one by one.

    Needs the package chgnet.

    Source: Deng et al. 2023 (CHGNet).
    """

    def __init__(self, *, device: torch.device | str = "cpu"):
        from chgnet.model import CHGNet

        self.device = torch.device(device)
        # it reports to the console whatever it is asked
        with contextlib.redirect_stdout(io.StringIO()):
            model = CHGNet.load(model_name=POTENTIAL, use_device="cpu", verbose=False)
        self.model = model.to(self.device).eval().requires_grad_(False)

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        """One point for each cell.

        Raises:
            ValueError: an atom without neighbour within 6 angstrom, or an element past
                plutonium; names the cells by their place.
        """
        graphs = self._graphs(cells)
        return [point for some in self._portions(graphs) for point in self._points(some)]

    def describe(
        self, cells: Sequence[Cell]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n 64"]]:
        """Energies and features of cells as they stand, without forces.

        Returns:
            Energies per atom in eV, shape (n,); CHGNet's crystal features over the number of
            atoms, so that they do not depend on the choice of the cell, shape (n, 64).

        Raises:
            ValueError: as for a call.
        """
        energies, features = [np.zeros(0)], [np.zeros((0, 64))]
        with torch.no_grad():
            for graphs in self._portions(self._graphs(cells)):
                found = self.model(graphs, task="e", return_crystal_feas=True)
                n_atoms = found["atoms_per_graph"].unsqueeze(-1)
                energies.append(found["e"].double().cpu().numpy())
                features.append((found["crystal_fea"] / n_atoms).double().cpu().numpy())
        return np.concatenate(energies), np.concatenate(features)

    def _points(self, graphs: list[Any]) -> list[SinglePoint]:
        with warnings.catch_warnings():
            # it copies volumes that it needs no slope of, and torch wonders about that
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad")
            found = self.model(graphs, task="e")
        energies = found["e"].double()
        total = (found["e"] * found["atoms_per_graph"]).sum()
        leaves = [graph.atom_frac_coord for graph in graphs] + [graph.lattice for graph in graphs]
        gradients = [slope.double().cpu() for slope in torch.autograd.grad(total, leaves)]
        lattices = [graph.lattice.detach().double().cpu() for graph in graphs]
        by_coords, by_lattice = gradients[: len(graphs)], gradients[len(graphs) :]
        return [
            _single_point(*one)
            for one in zip(energies.tolist(), by_coords, by_lattice, lattices, strict=True)
        ]

    def _portions(self, graphs: list[Any]) -> list[list[Any]]:
        step = 1 if self.device.type == "cpu" else CRYSTALS_AT_ONCE
        return [graphs[start : start + step] for start in range(0, len(graphs), step)]

    def _graphs(self, cells: Sequence[Cell]) -> list[Any]:
        heavy = [i for i, c in enumerate(cells) if c.atomic_numbers.max() > MAX_ATOMIC_NUMBER]
        if heavy:
            raise ValueError(f"cells {heavy} have elements past number {MAX_ATOMIC_NUMBER}")
        neighbours = [Neighbours.of(cell, self.model.graph_converter) for cell in cells]
        isolated = [i for i, found in enumerate(neighbours) if found.n_isolated]
        if isolated:
            cutoff = self.model.graph_converter.atom_graph_cutoff
            raise ValueError(f"cells {isolated} have atoms alone within {cutoff:g} angstrom")
        return [self._graph(cell, found) for cell, found in zip(cells, neighbours, strict=True)]

    def _graph(self, cell: Cell, found: "Neighbours") -> Any:
        from chgnet.graph import CrystalGraph

        def whole(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.int32, device=self.device)

        def real(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=self.device)

        converter = self.model.graph_converter
        return CrystalGraph(
            atomic_number=whole(cell.atomic_numbers),
            atom_frac_coord=real(cell.fractional_coords).requires_grad_(),
            lattice=real(cell.lattice_matrix).requires_grad_(),
            atom_graph=whole(found.pairs),
            neighbor_image=real(found.images),
            directed2undirected=whole(found.bond_of_edge),
            undirected2directed=whole(found.edge_of_bond),
            bond_graph=whole(found.angles),
            atom_graph_cutoff=converter.atom_graph_cutoff,
            bond_graph_cutoff=converter.bond_graph_cutoff,
        )


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of atoms and pairs of bonds that CHGNet looks at, in whole arrays.

    CHGNet's own converter makes the same lists from objects of pymatgen and loops.

    Args:
        pairs: centre and neighbour of every directed edge, shape (E, 2).
        images: cell of the neighbour, shape (E, 3).
        bond_of_edge: number of the undirected edge, shape (E,).
        edge_of_bond: one of the two directed edges, shape (E / 2,).
        angles: centre, bond, edge, bond, edge; all pairs of short edges at one centre,
            shape (T, 5).
        n_isolated: atoms without neighbour.
    """

    pairs: Int[np.ndarray, "E 2"]
    images: Int[np.ndarray, "E 3"]
    bond_of_edge: Int[np.ndarray, "E"]
    edge_of_bond: Int[np.ndarray, "U"]
    angles: Int[np.ndarray, "T 5"]
    n_isolated: int

    @classmethod
    def of(cls, cell: Cell, cutoffs: Any) -> "Neighbours":
        """Find them within `atom_graph_cutoff` and `bond_graph_cutoff`, angstrom."""
        from pymatgen.optimization.neighbors import find_points_in_spheres

        positions = np.ascontiguousarray(cell.fractional_coords @ cell.lattice_matrix)
        centre, neighbour, images, distance = find_points_in_spheres(
            positions,
            positions,
            r=float(cutoffs.atom_graph_cutoff),
            pbc=np.ones(3, dtype=np.int64),
            lattice=np.ascontiguousarray(cell.lattice_matrix, dtype=float),
            tol=SAME_PLACE,
        )
        is_other = (centre != neighbour) | (distance > SAME_PLACE)
        centre, neighbour, images = (
            found[is_other].astype(np.int64) for found in (centre, neighbour, images)
        )
        bond_of_edge, edge_of_bond = _pair_edges(centre, neighbour, images)
        short = np.flatnonzero(distance[is_other] < cutoffs.bond_graph_cutoff)
        first, second = _pairs_at_one_centre(centre, short)
        bonds = bond_of_edge[first], bond_of_edge[second]
        return cls(
            pairs=np.stack([centre, neighbour], axis=1),
            images=images,
            bond_of_edge=bond_of_edge,
            edge_of_bond=edge_of_bond,
            angles=np.stack([centre[first], bonds[0], first, bonds[1], second], axis=1),
            n_isolated=len(cell) - len(np.unique(centre)),
        )


def _pair_edges(
    centre: np.ndarray, neighbour: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the undirected edges: an edge and its reverse are one."""
    there = np.column_stack([centre, neighbour, images])
    back = np.column_stack([neighbour, centre, -images])
    # the smaller of the two descriptions, in lexicographic order, stands for both
    differs = there != back
    column = differs.argmax(axis=1)
    row = np.arange(len(there))
    is_smaller = there[row, column] < back[row, column]
    name = np.where(is_smaller[:, None], there, back)
    _, edge_of_bond, bond_of_edge = np.unique(name, axis=0, return_index=True, return_inverse=True)
    return bond_of_edge.reshape(-1), edge_of_bond


def _pairs_at_one_centre(centre: np.ndarray, short: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of two different edges that leave the same atom."""
    ordered = short[np.argsort(centre[short], kind="stable")]
    _, start, count = np.unique(centre[ordered], return_index=True, return_counts=True)
    n_partners = np.repeat(count, count)
    first = np.repeat(np.arange(len(ordered)), n_partners)
    within = np.arange(len(first)) - np.repeat(np.cumsum(n_partners) - n_partners, n_partners)
    second = np.repeat(np.repeat(start, count), n_partners) + within
    differs = first != second
    return ordered[first[differs]], ordered[second[differs]]


def _single_point(
    energy_per_atom: float, by_coords: Tensor, by_lattice: Tensor, lattice: Tensor
) -> SinglePoint:
    """Chain rule: x = f L, and a strain takes L to L (1 + strain) with f kept."""
    forces = -torch.linalg.solve(lattice, by_coords.T).T
    virial = lattice.T @ by_lattice
    stress = (virial + virial.T) / (2 * torch.linalg.det(lattice).abs())
    return SinglePoint(energy_per_atom, forces.numpy(), stress.numpy())
