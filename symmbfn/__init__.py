"""SymmBFN: new crystals from a symmetry-aware Bayesian flow network.

The names below are imported on first use, so that `import symmbfn` costs milliseconds and a
missing optional library is met only by the code that needs it.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symmbfn.conditions.request import Request as Request
    from symmbfn.crystals.asymmetric_unit import AsymmetricUnit as AsymmetricUnit
    from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch as AsymmetricUnitBatch
    from symmbfn.crystals.crystal import Crystal as Crystal
    from symmbfn.crystals.reconstruction import reconstruct as reconstruct
    from symmbfn.crystals.records import read_crystals as read_crystals
    from symmbfn.crystals.structure import asymmetric_unit as asymmetric_unit
    from symmbfn.crystals.structure import parse_cif as parse_cif
    from symmbfn.crystals.symmetry import space_group_numbers as space_group_numbers
    from symmbfn.datasets.cache import EncodedDataset as EncodedDataset
    from symmbfn.datasets.encoding import encode_dataset as encode_dataset
    from symmbfn.datasets.registry import load_dataset as load_dataset
    from symmbfn.flows.sampler_config import SamplerConfig as SamplerConfig
    from symmbfn.generation.generate import generate as generate
    from symmbfn.model.config import ModelConfig as ModelConfig
    from symmbfn.model.symmbfn import SymmBFN as SymmBFN
    from symmbfn.screening.predictions import predict as predict

_HOMES = {
    "AsymmetricUnit": "crystals.asymmetric_unit",
    "AsymmetricUnitBatch": "crystals.asymmetric_unit",
    "Crystal": "crystals.crystal",
    "EncodedDataset": "datasets.cache",
    "ModelConfig": "model.config",
    "Request": "conditions.request",
    "SamplerConfig": "flows.sampler_config",
    "SymmBFN": "model.symmbfn",
    "asymmetric_unit": "crystals.structure",
    "encode_dataset": "datasets.encoding",
    "generate": "generation.generate",
    "load_dataset": "datasets.registry",
    "parse_cif": "crystals.structure",
    "predict": "screening.predictions",
    "read_crystals": "crystals.records",
    "reconstruct": "crystals.reconstruction",
    "space_group_numbers": "crystals.symmetry",
}
__all__ = ["__version__", *_HOMES]

try:
    __version__ = version("symmbfn")
except PackageNotFoundError:  # a source tree on the path, never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'symmbfn' has no attribute {name!r}")
    value = getattr(import_module(f"symmbfn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
