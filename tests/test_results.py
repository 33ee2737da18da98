"""What is stated can be found, made again, and belongs to the weights that ship."""

import hashlib
import json
from pathlib import Path

import pytest

from symmbfn import results
from symmbfn.results import Claim, claim, claims, record

# what every reader of a figure may ask for
KEYS = {"name", "value", "unit", "n", "seed", "interval", "aim", "met"}
KEYS |= {"command", "device", "versions", "commit", "date", "note"}


def test_a_claim_is_replaced_by_its_namesake_and_others_stay(tmp_path: Path) -> None:
    record("a", [Claim("x.rate", 0.5, "old"), Claim("x.other", 1, "other")], tmp_path)
    record("a", [Claim("x.rate", 0.75, "new", n=40, interval=(0.6, 0.86))], tmp_path)
    record("b", [Claim("y.rate", "none", "third")], tmp_path)
    assert claim("x.rate", tmp_path)["value"] == 0.75
    assert claim("x.rate", tmp_path)["interval"] == [0.6, 0.86]
    assert [entry["name"] for entry in claims("*", tmp_path)] == ["x.other", "x.rate", "y.rate"]
    assert len(claims("x.*", tmp_path)) == 2


def test_a_claim_carries_all_it_takes_to_judge_it(tmp_path: Path) -> None:
    record("a", [Claim("x.rate", 0.5, "make", versions={"weights/default": "0f"})], tmp_path)
    found = claim("x.rate", tmp_path)
    assert set(found) == KEYS
    assert found["versions"]["weights/default"] == "0f" and found["versions"]["torch"]
    assert found["device"].startswith("CPU ")


def test_unknown_and_unfit_claims_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x.rate"):
        claim("x.rate", tmp_path)
    with pytest.raises(ValueError, match="dotted"):
        record("a", [Claim("Rate", 0.5, "make")], tmp_path)
    with pytest.raises(ValueError, match="not finite"):
        record("a", [Claim("x.rate", float("nan"), "make")], tmp_path)
    assert not list(tmp_path.iterdir())


def stored_claims() -> list[dict]:
    return claims("*")


def test_stored_claims_are_complete_and_named_once() -> None:
    names = [entry["name"] for entry in stored_claims()]
    assert len(names) == len(set(names))
    for entry in stored_claims():
        assert set(entry) == KEYS, entry["name"]
        assert (entry["aim"] is None) == (entry["met"] is None), entry["name"]


def test_stored_claims_are_of_the_weights_that_ship() -> None:
    stale = []
    for entry in stored_claims():
        for key, digest in entry["versions"].items():
            if key.startswith("weights/"):
                path = results.REPOSITORY / "symmbfn" / key / "model.safetensors"
                if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                    stale.append(entry["name"])
    assert not stale, f"measured with other weights, `make results` measures again: {stale}"


def test_files_are_written_by_the_writer_only() -> None:
    for path in sorted(results.RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        if "claims" in content:
            names = [entry["name"] for entry in content["claims"]]
            assert names == sorted(names), path.name
