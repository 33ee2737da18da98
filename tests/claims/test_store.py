"""What is stated can be found, made again, and belongs to the weights that ship."""

import hashlib
import json
import multiprocessing
import subprocess
from pathlib import Path

import pytest

from symmbfn.claims import store as results
from symmbfn.claims.store import Claim, claim, claims, claims_table, record

# what every reader of a figure may ask for
KEYS = {"name", "value", "unit", "n", "seed", "interval", "aim", "met"}
KEYS |= {"command", "device", "versions", "commit", "date", "note"}


@pytest.fixture
def own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is read and written in place of the repository's."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_a_claim_is_replaced_by_its_namesake_and_others_stay(own_results: Path) -> None:
    record("a", [Claim("x.rate", 0.5, "old"), Claim("x.other", 1, "other")])
    record("a", [Claim("x.rate", 0.75, "new", n=40, interval=(0.6, 0.86))])
    record("b", [Claim("y.rate", "none", "third")])
    assert claim("x.rate")["value"] == 0.75
    assert claim("x.rate")["interval"] == [0.6, 0.86]
    assert [entry["name"] for entry in claims("*")] == ["x.other", "x.rate", "y.rate"]
    assert len(claims("x.*")) == 2


def test_a_claim_carries_all_it_takes_to_judge_it(own_results: Path) -> None:
    record("a", [Claim("x.rate", 0.5, "make", versions={"weights/default": "0f"})])
    found = claim("x.rate")
    assert set(found) == KEYS
    assert found["versions"]["weights/default"] == "0f" and found["versions"]["torch"]
    assert found["device"].startswith("CPU ")


def test_only_the_own_repository_names_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment inside another project, and a package beside the project's own files."""
    packages = tmp_path / "venv" / "site-packages"
    packages.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "theirs"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    for place in (packages, tmp_path):
        monkeypatch.setattr(results, "REPOSITORY", place)
        path = record("a", [Claim("x.rate", 0.5, "make")], tmp_path / "out")
        assert json.loads(path.read_text())["claims"][0]["commit"] == "unknown"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "symmbfn"\n')
    path = record("a", [Claim("x.rate", 0.5, "make")], tmp_path / "out")
    assert len(json.loads(path.read_text())["claims"][0]["commit"]) == 12


def test_unknown_and_unfit_claims_are_refused(own_results: Path) -> None:
    with pytest.raises(ValueError, match="x.rate"):
        claim("x.rate")
    with pytest.raises(ValueError, match="dotted"):
        record("a", [Claim("Rate", 0.5, "make")])
    with pytest.raises(ValueError, match="not finite"):
        record("a", [Claim("x.rate", float("nan"), "make")])
    assert not own_results.exists()


def test_a_table_keeps_the_line_of_what_was_not_measured(own_results: Path) -> None:
    mine = Claim("x.mine", 84.9333, "make", unit="%", n=3000, seed=[0, 1, 2], met=False, aim="85")
    other = Claim("x.other", 3, "make", interval=(0.05, 12.3456), aim="all", met=True)
    record("a", [mine, other])
    rows = {"paper": "x.paper", "mine": "x.mine", "other": "x.other"}
    lines = claims_table(rows).splitlines()
    assert lines[0].split() == ["value", "95", "%", "interval", "n", "seed", "met"]
    assert lines[1].split() == ["paper", "not", "measured", "yet"]
    assert lines[2].split() == ["mine", "84.93", "%", "-", "3000", "0,", "1,", "2", "no"]
    assert lines[3].split() == ["other", "3", "0.05", "to", "12.35", "-", "-", "yes"]


def test_a_table_of_measurements_of_models_fits_a_page() -> None:
    of_models = [*claims("floor*.d_*"), *claims("generate.*"), *claims("overfit_64.*")]
    rows = {str(row): entry["name"] for row, entry in enumerate(of_models)}
    assert max(map(len, claims_table(rows).splitlines())) <= 75


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


def _record_ten(start: int) -> None:
    for i in range(start, start + 10):
        record("topic", [Claim(f"a.b{i}", i, "command")])


def test_scripts_side_by_side_lose_no_claim(own_results: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_record_ten, args=(10 * i,)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(claims("a.*")) == 30
