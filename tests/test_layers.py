"""Imports point one way: a room imports rooms before it in the list, and none after it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.house.measure import ROOMS, imported

PACKAGE = Path(__file__).resolve().parents[1] / "symmbfn"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
# these must load where only torch, what it brings, NumPy and safetensors are: where one trains
LIGHT_ROOMS = {"_shapes", "flows", "networks", "model", "conditions"}
LIGHT_MODULES = {
    "runtime.files",
    "runtime.checks",
    "runtime.compilation",
    "runtime.distributed",
    "crystals.symmetry",
    "crystals.lattice",
    "crystals.asymmetric_unit",
    "crystals.reconstruction",
    "crystals.elements",
    "datasets.cache",
    "datasets.batches",
    "runtime.signals",
    "training.config",
    "training.steps",
    "training.draws",
    "training.updates",
    "training.budget",
    "training.validation",
    "training.checkpoint",
    "training.logs",
    "training.trainer",
    "generation.sampler",
    "generation.constraints",
    "generation.final_estimates",
    "generation.generate",
}
LIGHT_LIBRARIES = {"torch", "numpy", "safetensors", "filelock", "symmbfn", "tqdm"}
# the readable reference is torch_geometric's by definition; _shapes does without jaxtyping
EXCEPTIONS = {"networks.cspnet_pyg": {"torch_geometric"}, "_shapes": {"jaxtyping"}}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_on_load(tree: ast.Module) -> Iterator[str]:
    """What a module imports when it is loaded, type checking aside."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_to_rooms_before(path: Path) -> None:
    assert room(dotted(path)) in ROOMS, f"{dotted(path)} lies in no room"
    mine = ROOMS.index(room(dotted(path)))
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("symmbfn."):
            theirs = room(name.removeprefix("symmbfn."))
            assert ROOMS.index(theirs) <= mine, f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_training_and_sampling_need_torch_and_numpy_only(path: Path) -> None:
    module = dotted(path)
    if room(module) not in LIGHT_ROOMS and module not in LIGHT_MODULES:
        return
    allowed = LIGHT_LIBRARIES | EXCEPTIONS.get(module, set())
    for name in imported_on_load(ast.parse(path.read_text())):
        library = name.split(".")[0]
        assert library in allowed or library in sys.stdlib_module_names, f"{module}: {name}"


def test_the_check_sees_a_wrong_direction() -> None:
    tree = ast.parse("def f():\n    from symmbfn.cli.verbs import main\n")
    assert list(imported(tree)) == ["symmbfn.cli.verbs"]


def test_only_one_module_knows_chgnet() -> None:
    importers = {
        dotted(path)
        for path in MODULES
        if any(name.split(".")[0] == "chgnet" for name in imported(ast.parse(path.read_text())))
    }
    assert importers == {"evaluation.energies.potentials"}


def test_only_one_module_draws_bars() -> None:
    """Elsewhere a bare bar would say nothing where there is no terminal."""
    importers = {
        dotted(path) for path in MODULES if "tqdm" in imported(ast.parse(path.read_text()))
    }
    assert importers == {"runtime.progress"}
