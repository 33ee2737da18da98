"""A potential of the user's, named as "module:factory"."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import numpy as np

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.fitting import fit_judge
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import AsePotential, Potential
from symmbfn.evaluation.energies.references import ElementReferences

_FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
# what a potential says of them is its fingerprint, since its weights may be anywhere
PROBES = (
    Cell(3.6 * _FCC, np.array([29]), np.zeros((1, 3))),
    Cell(5.4 * _FCC, np.array([14, 14]), np.array([[0.0] * 3, [0.25] * 3])),
    Cell(4.2 * _FCC, np.array([12, 8]), np.array([[0.0] * 3, [0.5] * 3])),
)


def own_judge(text: str, *, workers: int = 1) -> Judge:
    """A judge whose potential the user gives, its references fitted on the data at hand.

    Its name is the text with the version of the package that the module belongs to. Its digest
    is of this name and of its energies of copper, silicon and magnesium oxide, to the meV.

    Args:
        text: "module:factory". The factory takes no arguments and gives a calculator of ASE or a
            `Potential`; each worker process imports the module.
        workers: processes of the fit.

    Raises:
        ValueError: nothing that can be called is there, or it gives something else; or as
            `fit_judge`.
    """
    name = " ".join([text, *_package_of(text)])
    digest = hashlib.sha256(json.dumps([name, fingerprint(make_own(text))]).encode()).hexdigest()
    bare = Judge(name, digest, partial(make_own, text), ElementReferences({}))
    return fit_judge(bare, workers=workers)


def make_own(text: str) -> Potential:
    """The potential that a "module:factory" gives.

    Raises:
        ValueError: it gives none; in one line.
    """
    factory = factory_of(text)
    try:
        found = factory()
    except Exception as error:  # code of others: whatever it is, the user reads one line
        raise ValueError(f"potential {text!r}: {type(error).__name__}: {error}") from None
    if hasattr(found, "get_potential_energy"):
        return AsePotential(found)
    if not callable(found):
        kind = type(found).__name__
        raise ValueError(f"potential {text!r}: it gives {kind}, which is no calculator of ASE")
    return found


def factory_of(text: str) -> Callable[[], Any]:
    """The callable that a "module:factory" names.

    Raises:
        ValueError: no such module or attribute, or one that cannot be called.
    """
    module, _, attribute = text.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        raise ValueError(f"potential {text!r}: {error}") from None
    except AttributeError:
        raise ValueError(f"potential {text!r}: {module!r} has no {attribute!r}") from None
    if not callable(found):
        raise ValueError(f"potential {text!r}: {attribute!r} is no function or class")
    return found


def fingerprint(potential: Potential) -> list[float | None]:
    """Energies of the probes, eV/atom; None for one that the potential does not take."""
    energies: list[float | None] = []
    for cell in PROBES:
        try:
            energies.append(round(potential([cell])[0].energy_per_atom, 3))
        except Exception:  # code of others, of a potential that need not know these elements
            energies.append(None)
    return energies


def _package_of(text: str) -> list[str]:
    """Name and version of the package, where the module belongs to an installed one."""
    top = text.partition(":")[0].partition(".")[0]
    try:
        return [f"({name} {version(name)})" for name in packages_distributions().get(top, [])[:1]]
    except PackageNotFoundError:
        return []
