"""From a potential's total energies to formation energies: what an atom of each element counts."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from symmbfn._shapes import Float
from symmbfn.evaluation.energies.entries import Amounts, mean_of
from symmbfn.runtime.files import write_whole

SHIPPED = "chgnet_references.json"
ELEMENTAL = "elemental_references.json"


@dataclass(frozen=True)
class ElementReferences:
    """Reference energies mu of the elements: e_form = E / atoms - sum of x_i mu_i.

    Args:
        energies: element symbol -> eV/atom.
        n_crystals: how many they were fitted on; 0 for the elements' own energies.
        digest: SHA-256 of the files with the crystals and the elements' own energies.
        potential: whose total energies they belong to, with its version.
        n_by_element: element symbol -> how many of the crystals contain it.
        held_out_mae: mean absolute error of formation energies on crystals that they were not
            fitted to, eV/atom; None where it was not measured.
        n_held_out: how many these are.
    """

    energies: dict[str, float]
    n_crystals: int = 0
    digest: str = ""
    potential: str = ""
    n_by_element: dict[str, int] = field(default_factory=dict)
    held_out_mae: float | None = None
    n_held_out: int = 0

    def formation_energy(self, composition: Amounts, energy_per_atom: float) -> float:
        """Formation energy, eV/atom; NaN where an element has no reference.

        Args:
            composition: element symbol -> amount.
            energy_per_atom: the potential's total energy, eV/atom.
        """
        if not self.energies.keys() >= composition.keys():
            return math.nan
        return energy_per_atom - mean_of(self.energies, composition)

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest says of them."""
        names = ("digest", "n_crystals", "held_out_mae", "n_held_out")
        return {name: getattr(self, name) for name in names}

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        write_whole(path, json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> "ElementReferences":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            references = cls(**json.loads(path.read_text()))
            known = all(math.isfinite(mu) for mu in references.energies.values())
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} holds no element references: {error!r}") from None
        if not (references.energies and known):
            raise ValueError(f"{path.name} has no or no finite energies")
        return references


@cache
def chgnet_references() -> ElementReferences:
    """The references of CHGNet 0.3.0, as `python -m scripts.evaluation.hull fit` made them."""
    with as_file(files("symmbfn.evaluation.energies") / SHIPPED) as path:
        return ElementReferences.load(path)


@cache
def elemental_references() -> ElementReferences:
    """The elements' own energies in the Materials Project, eV/atom, corrected; nothing is fitted.

    Those of 2023-02-07 of 89 elements, on whose scale CHGNet's energies lie.

    Source: Jain et al. 2013 (Materials Project): data under CC BY 4.0, from the file
    2023-02-07-mp-elemental-reference-entries.json.gz of janosh/matbench-discovery (MIT).
    """
    with as_file(files("symmbfn.evaluation.energies") / ELEMENTAL) as path:
        return ElementReferences.load(path)


def fit_references(
    compositions: Sequence[Amounts],
    energy_per_atom: Float[np.ndarray, "n"],
    formation_energy_per_atom: Float[np.ndarray, "n"],
    *,
    elemental: Mapping[str, float],
    strength: float = 1.0,
) -> ElementReferences:
    """Fit references to crystals whose formation energy is known by other means.

    Minimises the sum over crystals of (E - e_form - sum of x_i mu_i)^2 plus `strength` times
    the sum over elements of (mu_i - elemental_i)^2, so an element of few crystals stays near
    its own energy, and one of none keeps it. What the potential gets wrong on average for an
    element goes into its reference.

    Args:
        compositions: element symbol -> amount, n of them.
        energy_per_atom: the potential's total energies E, eV/atom, shape (n,).
        formation_energy_per_atom: known formation energies e_form, eV/atom, shape (n,).
        elemental: energies of the pure elements on the potential's scale, eV/atom.
        strength: weight of these; 1 counts as one crystal of the pure element.

    Raises:
        ValueError: a strength that is not positive, energies that are not finite, or an
            element without energy of its own.

    Source: ours: ridge regression.
    """
    if not strength > 0:
        raise ValueError(f"strength must be positive, got {strength}")
    symbols = sorted(elemental)
    column = {symbol: i for i, symbol in enumerate(symbols)}
    occurring = {symbol for composition in compositions for symbol in composition}
    if unknown := sorted(occurring - column.keys()):
        raise ValueError(f"no elemental energy of {', '.join(unknown)}")
    shares = np.zeros((len(compositions), len(symbols)))
    for row, composition in zip(shares, compositions, strict=True):
        for symbol, amount in composition.items():
            row[column[symbol]] = amount / sum(composition.values())
    prior = np.array([elemental[symbol] for symbol in symbols])
    gap = energy_per_atom - formation_energy_per_atom - shares @ prior
    if not np.isfinite(gap).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(gap))} energies are not finite")
    moments = shares.T @ shares + strength * np.eye(len(symbols))
    fitted = prior + np.linalg.solve(moments, shares.T @ gap)
    counts = np.count_nonzero(shares, axis=0)
    return ElementReferences(
        dict(zip(symbols, fitted.tolist(), strict=True)),
        n_crystals=len(compositions),
        n_by_element=dict(zip(symbols, counts.tolist(), strict=True)),
    )


def residuals(
    references: ElementReferences,
    compositions: Sequence[Amounts],
    energy_per_atom: Float[np.ndarray, "n"],
    formation_energy_per_atom: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """Formation energy from the potential minus the known one, eV/atom, shape (n,)."""
    pairs = zip(compositions, energy_per_atom, strict=True)
    predicted = [references.formation_energy(c, float(energy)) for c, energy in pairs]
    return np.array(predicted) - formation_energy_per_atom
