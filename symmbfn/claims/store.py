"""Claims: every figure that the project states, with what it takes to make it again.

`results/<topic>.json` holds them. Scripts write through `record`, chapters and README read
through `claim`; a number that is in no file is not stated.
"""

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from symmbfn.runtime.files import locked, write_whole
from symmbfn.runtime.run_folder import versions

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "results"
NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


@dataclass(frozen=True)
class Claim:
    """One figure.

    Args:
        name: dotted, such as "encode.mp_20.failures"; unique over all topics.
        value: a number, or text.
        command: makes it again.
        unit: empty for plain numbers.
        n: how many crystals, requests or repeats it rests on.
        seed: of the random numbers, or all the seeds it averages over.
        interval: lowest and highest value at 95 % confidence; of timings, of their rounds.
        aim: what was to be reached, in words.
        met: whether it was; None without an aim.
        note: what a reader must know beside the number.
        versions: beyond the packages' own; for figures of a model "weights/<name>" and the
            SHA-256 of its weights.
        device: None takes the processor; name the accelerator where one was used.
    """

    name: str
    value: float | int | str
    command: str
    unit: str = ""
    n: int | None = None
    seed: int | list[int] | None = None
    interval: tuple[float, float] | None = None
    aim: str | None = None
    met: bool | None = None
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    device: str | None = None


def record(topic: str, claims: Iterable[Claim], folder: Path | None = None) -> Path:
    """Write claims into `<folder>/<topic>.json`, each in place of its namesake.

    Args:
        topic: name of the file.
        claims: what was measured now; date, commit, device and versions are filled in.
        folder: None takes the repository's `results/`, which `claims` reads.

    Returns:
        The file.

    Raises:
        ValueError: a name that is not dotted lower case, or a value that is not finite.
    """
    here = {
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
    }
    path = (folder or RESULTS) / f"{topic}.json"
    entries = {claim_.name: _entry(claim_, here) for claim_ in claims}
    with locked(path):  # scripts that measure side by side write into one file
        stored = {entry["name"]: entry for entry in _entries(path)} if path.is_file() else {}
        stored |= entries
        ordered = [stored[name] for name in sorted(stored)]
        write_whole(path, json.dumps({"claims": ordered}, indent=1, allow_nan=False) + "\n")
    return path


def claim(name: str) -> dict[str, Any]:
    """Return the claim of this name.

    Raises:
        ValueError: no file of results has it.
    """
    found = claims(name)
    if not found:
        raise ValueError(f"no claim {name!r} in {RESULTS.name}/*.json")
    return found[0]


def claims(pattern: str) -> list[dict[str, Any]]:
    """Return the claims whose name matches a shell pattern such as "generate.default.*"."""
    entries = (entry for path in sorted(RESULTS.glob("*.json")) for entry in _entries(path))
    return [entry for entry in entries if fnmatchcase(entry["name"], pattern)]


def claims_table(rows: Mapping[str, str], *, interval: str = "95 % interval") -> str:
    """Text of claims for a chapter, one line each and 75 characters wide.

    What nobody measured keeps its line and says so: a gap that closes up would put the next
    value under a wrong name.

    Args:
        rows: label, of at most 24 characters -> name of a claim.
        interval: heading of the intervals, where these are something else.
    """
    found = {entry["name"]: entry for entry in claims("*")}
    lines = [f"{'':<25}{'value':<16}{interval:<17}{'n':<6}{'seed':<8}met"]
    for label, name in rows.items():
        if name not in found:
            lines.append(f"{label:<24} not measured yet")
            continue
        entry = found[name]
        value = f"{_digits(entry['value'])} {entry['unit']}"
        ends = " to ".join(_digits(end) for end in entry["interval"] or ()) or "-"
        seeds = entry["seed"] if isinstance(entry["seed"], list) else [entry["seed"]]
        seed = ", ".join("-" if value is None else str(value) for value in seeds)
        n = "-" if entry["n"] is None else str(entry["n"])
        met = {True: "yes", False: "no", None: "-"}[entry["met"]]
        lines.append(f"{label:<24} {value:<15} {ends:<17}{n:<6}{seed:<8}{met}")
    return "\n".join(lines)


def _digits(value: float | int | str) -> str:
    """Four significant digits, as in the book's tables."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _entries(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_text())
    return content.get("claims", []) if isinstance(content, dict) else []


def _entry(claim_: Claim, here: dict[str, Any]) -> dict[str, Any]:
    if not NAME.fullmatch(claim_.name):
        raise ValueError(f"claim name {claim_.name!r} is not dotted lower case")
    numbers = [claim_.value, *(claim_.interval or ())]
    if any(isinstance(x, float) and not abs(x) < float("inf") for x in numbers):
        raise ValueError(f"claim {claim_.name} is not finite: {numbers}")
    entry = asdict(claim_) | {"commit": here["commit"], "date": here["date"]}
    entry["versions"] = here["versions"] | claim_.versions
    entry["device"] = claim_.device or _processor()
    return entry


def _processor() -> str:
    """Name of the processor, as the operating system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"CPU {platform.processor() or platform.machine()}"
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU {models[0]}" if models else f"CPU {platform.machine()}"


def _commit() -> str:
    """Short commit id; "+changes" where the code is not what was committed.

    An installed package has none, though it may lie inside a repository of others.
    """
    project = REPOSITORY / "pyproject.toml"
    has_both = (REPOSITORY / ".git").exists() and project.is_file()
    if not (has_both and 'name = "symmbfn"' in project.read_text()):
        return "unknown"
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "symmbfn", "scripts")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
