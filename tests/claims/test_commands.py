"""Every figure of `results/` has a command that makes it again, here or at the claim's commit."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from scripts.comparisons.variants import SAMPLERS, VARIANTS
from symmbfn.claims.comparisons import TAKEN_OUT
from symmbfn.claims.store import REPOSITORY, claims

COMMANDS = sorted({entry["command"] for entry in claims("*") if TAKEN_OUT not in entry["note"]})
ABLATIONS = "scripts.comparisons.ablations"
COMMIT = re.compile(r"[0-9a-f]{12}")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_names_is_there(command: str) -> None:
    """The module of the script; and the variant, where the command is one of the ablations."""
    program, *arguments = shlex.split(command)
    if program == "symmbfn":
        return
    assert program == "python" and arguments[0] == "-m"
    module, *arguments = arguments[1:]
    assert Path(REPOSITORY, *module.split(".")).with_suffix(".py").is_file()
    if module == ABLATIONS:
        line = argparse.ArgumentParser()
        line.add_argument("verb", choices=("train", "queue", "cost", "sample", "record"))
        line.add_argument("names", nargs="*")
        assert {*line.parse_args(arguments).names} <= {*VARIANTS, *SAMPLERS}


def test_the_command_of_a_variant_that_was_taken_out_is_that_of_its_commit() -> None:
    found = [entry for entry in claims("*") if TAKEN_OUT in entry["note"]]
    assert len({entry["name"].split(".")[1] for entry in found}) == 10
    for entry in found:
        kind, variant, *_ = entry["name"].split(".")
        assert kind == "ablation" and variant not in VARIANTS
        assert re.fullmatch(
            rf"python scripts/ablations\.py (queue|cost) {variant}", entry["command"]
        )
        assert COMMIT.fullmatch(entry["commit"])
