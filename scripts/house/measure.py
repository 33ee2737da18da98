"""Measure how the code is laid out, for `results/house.json`.

    python -m scripts.house.measure

Lengths of files and functions, fields of configurations, and imports between the rooms of the
package. A room is what lies at the top of `symmbfn/`: a folder, or a file beside the folders.
"""

import argparse
import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from symmbfn.claims.store import REPOSITORY, Claim, record

COMMAND = "python -m scripts.house.measure"
FOLDERS = ("symmbfn", "scripts")
# imports point from a room to rooms before it
ROOMS = (
    "_shapes",
    "intervals",
    "runtime",
    "crystals",
    "datasets",
    "flows",
    "networks",
    "model",
    "conditions",
    "training",
    "generation",
    "evaluation",
    "screening",
    "figures",
    "pages",
    "claims",
    "benchmark",
    "cli",
    "__main__",
)
CONFIGURATIONS = ("Config", "Settings", "Request")
LIMITS = {
    "files.longest_lines": 400,
    "functions.longest_lines": 60,
    "config.most_fields": 12,
    "imports.floors": 10,
    "imports.upwards": 0,
}
UNITS = {
    "files.longest_lines": "lines",
    "functions.longest_lines": "lines",
    "config.most_fields": "fields",
    "imports.floors": "packages",
    "imports.upwards": "imports",
    "packages.n": "packages",
    "files.at_top": "files",
}
Sized = tuple[int, str]


def modules(root: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file of the package and the scripts, with its syntax tree."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def file_lengths(root: Path) -> list[Sized]:
    """Lines of each file, and its path."""
    return [
        (len(path.read_text().splitlines()), str(path.relative_to(root)))
        for path, _ in modules(root)
    ]


def function_lengths(root: Path) -> list[Sized]:
    """Lines of each function and method from `def` to its end, and where it is."""
    return [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(root)}:{node.name}")
        for path, tree in modules(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]


def configuration_sizes(root: Path) -> list[Sized]:
    """Fields of each dataclass that configures something, by its name."""
    return [
        (sum(isinstance(part, ast.AnnAssign) for part in node.body), node.name)
        for _, tree in modules(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and node.name.endswith(CONFIGURATIONS)
        and any("dataclass" in ast.unparse(mark) for mark in node.decorator_list)
    ]


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a piece of code imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"a relative import hides its direction: {ast.unparse(node)}")
            if node.module == "symmbfn":
                yield from (f"symmbfn.{alias.name}" for alias in node.names)
            else:
                yield node.module


def room_imports(root: Path) -> list[tuple[str, str]]:
    """Rooms of each import between two rooms of the package: who imports, what is imported."""
    package, found = root / "symmbfn", []
    for path, tree in modules(root):
        if not path.is_relative_to(package) or path == package / "__init__.py":
            continue
        mine = path.relative_to(package).with_suffix("").parts[0]
        theirs = (name.split(".")[1] for name in imported(tree) if name.startswith("symmbfn."))
        found += [(mine, room) for room in theirs if room != mine]
    return found


def longest_chain(imports: list[tuple[str, str]]) -> tuple[str, ...]:
    """The longest chain of rooms of which each is imported by the next.

    Raises:
        graphlib.CycleError: some rooms import each other in a circle.
    """
    below: dict[str, set[str]] = {}
    for mine, theirs in imports:
        below.setdefault(mine, set()).add(theirs)
    chains: dict[str, tuple[str, ...]] = {}
    for room in TopologicalSorter(below).static_order():
        under = (chains[other] for other in sorted(below.get(room, ())))
        chains[room] = (*max(under, key=len, default=()), room)
    return max(chains.values(), key=len, default=())


def upward_imports(imports: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Imports of a room that comes later in `ROOMS`."""
    return [(mine, other) for mine, other in imports if ROOMS.index(other) > ROOMS.index(mine)]


def layout(root: Path = REPOSITORY) -> list[Claim]:
    """Every figure of the layout, with what it was found at."""
    package = root / "symmbfn"
    packages = sorted(path.parent.name for path in package.glob("*/__init__.py"))
    imports = room_imports(root)
    upwards = upward_imports(imports)
    between = [pair for pair in imports if {*pair} <= {*packages}]
    chain = longest_chain(between)
    at_top = sorted(path.name for path in package.glob("*.py"))
    return [
        _largest("files.longest_lines", file_lengths(root)),
        _largest("functions.longest_lines", function_lengths(root)),
        _largest("config.most_fields", configuration_sizes(root)),
        _claim("imports.floors", len(chain), len(between), " <- ".join(chain)),
        _claim(
            "imports.upwards",
            len(upwards),
            len(imports),
            ", ".join(f"{mine} imports {other}" for mine, other in upwards),
        ),
        _claim("packages.n", len(packages), None, ", ".join(packages)),
        _claim("files.at_top", len(at_top), None, ", ".join(at_top)),
    ]


def _largest(name: str, sizes: list[Sized]) -> Claim:
    size, place = max(sizes)
    return _claim(name, size, len(sizes), f"the largest: {place}")


def _claim(name: str, value: int, n: int | None, note: str) -> Claim:
    limit = LIMITS.get(name)
    return Claim(
        name,
        value,
        COMMAND,
        unit=UNITS[name],
        n=n,
        aim=None if limit is None else f"at most {limit}",
        met=None if limit is None else value <= limit,
        note=note,
    )


def main() -> None:
    """Print the figures and record them."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    claims = layout()
    for claim in claims:
        judged = "" if claim.met is None else f"; {claim.aim}: {'met' if claim.met else 'FAILED'}"
        print(f"{claim.name} = {claim.value} {claim.unit} ({claim.note}){judged}")
    print(record("house", claims))


if __name__ == "__main__":
    main()
