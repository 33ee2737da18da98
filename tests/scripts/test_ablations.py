"""What ablations claim: rates over all seeds, differences that chance does not make, equal time."""

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from symmbfn.claims.store import Claim

RATES = ("validity_structural", "contacts", "validity_smact", "group_kept", "p1")


@pytest.fixture
def ablations() -> ModuleType:
    from scripts.comparisons import claims

    return claims


def run(seed: int, bound: float = 34.0, **counts: int) -> dict[str, Any]:
    """An outcome of 100 requests."""
    made = {**dict.fromkeys(RATES, 80), "n": 100, "d_rho": 0.1, "d_elem": 0.2, "d_g": 0.3}
    losses = {"bound": bound + seed, "letters": 1.0 + seed}
    return {"seed": seed, "generated": {**made, **counts}, "val": losses, "crystals": 1000}


def test_seeds_share_a_rate_and_bound_a_mean(ablations: ModuleType) -> None:
    runs = {0: run(0, contacts=60), 1: run(1, contacts=70)}
    found = {c.name: c for c in ablations.figures(Claim("a.b", 0.0, "make", note="N."), runs)}
    contacts, bound = found["a.b.contacts"], found["a.b.bound"]
    assert contacts.value == 65 and contacts.n == 200 and contacts.seed == [0, 1]
    assert contacts.interval is not None and contacts.interval[0] < 65 < contacts.interval[1]
    assert bound.value == 34.5 and bound.interval is None and bound.unit == "nats"
    assert found["a.b.d_g"].value == pytest.approx(0.3)
    assert (bound.n, found["a.b.d_g"].n) == (2, 160), "runs, valid crystals"


def test_what_a_seed_does_to_all_is_no_difference(ablations: ModuleType) -> None:
    # noise of 0.5 a run; the second seed lifts all by 3; "c" has one seed
    rng = np.random.default_rng(0)
    truth = {"base": 0.0, "a": 4.0, "b": 0.0, "c": 4.0, "d": 0.0, "e": 0.0}
    covered, halves = 0, []
    for _ in range(400):
        values = {
            name: {seed: mean + 3 * seed + rng.normal(0, 0.5) for seed in (0, 1)}
            for name, mean in truth.items()
        }
        del values["c"][1]
        found = ablations.changes(values, dict.fromkeys(truth, "base"))
        assert "base" not in found and found["c"].seeds == [0] and found["a"].seeds == [0, 1]
        assert found["c"].half == pytest.approx(math.sqrt(2) * found["a"].half)
        covered += sum(abs(found[name].value - truth[name]) < found[name].half for name in found)
        halves.append(found["a"].half)
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)
    assert np.median(halves) == pytest.approx(2.78 * 0.5, rel=0.1), "t of 4 degrees x sigma"
    few = {name: values[name] for name in ("base", "a", "c")}
    assert ablations.changes(few, dict.fromkeys(few, "base")) == {}, "nothing to read chance off"


def test_of_many_changes_only_the_sure_ones_differ(ablations: ModuleType) -> None:
    def change(p: float) -> Any:
        return ablations.Change(1.0, 0.5, p, [0])

    found = {
        "a": {"bound": change(0.001)},
        "b": {"bound": change(0.03)},
        "c": {"letters": change(0)},
    }
    # 0.03 would pass by itself, and after "a" is out (Holm); losses of one variable are not asked
    assert ablations.differing(found) == {"a": ["bound"], "b": ["bound"], "c": []}
    found |= {"d": {"bound": change(0.9)}}
    assert ablations.differing(found) == {"a": ["bound"], "b": [], "c": [], "d": []}


def test_claims_say_by_how_much_and_in_what(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablations, "WORK", tmp_path)
    crowd = {
        "base": {0: run(0), 1: run(1)},
        "no_images": {0: run(0, 36.0, contacts=30), 1: run(1, 36.1, contacts=31)},
        "raw": {0: run(0, 34.1), 1: run(1, 34.0, contacts=82)},
        "axes": {0: run(0, 35.0)},
    }
    del crowd["axes"][0]["val"]["letters"]
    found = {claim.name: claim for claim in ablations.claims_of(crowd)}
    contacts = found["ablation.no_images.change.contacts"]
    assert contacts.value == -49.5 and contacts.unit == "points" and contacts.seed == [0, 1]
    assert found["ablation.no_images.differs"].value == "bound, contacts"
    assert found["ablation.raw.differs"].value == "nothing"
    assert "ablation.base.differs" not in found
    assert "ablation.axes.change.bound" not in found, "of other variables"
    assert "ablation.axes.change.contacts" in found
    note = found["ablation.no_images.expected"].note
    assert note.startswith("About coords, contacts. 1,000 crystals seen") and "against base" in note


def test_equal_time_lies_between_runs_of_the_base(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = {0.75: 35.0, 1.0: 34.0, 1.5: 32.0}
    assert ablations.gained(1.0, curve) == 0.0 and ablations.gained(1.5, curve) == -2.0
    assert -2.0 < ablations.gained(1.2, curve) < 0.0 < ablations.gained(0.9, curve) < 1.0
    assert ablations.gained(9.0, curve) == -2.0, "never beyond what was run"
    monkeypatch.setattr(ablations, "WORK", tmp_path)
    for name, bound in (("shorter", 35.0), ("base", 34.0), ("longer", 32.0)):
        ablations.folder_of(name, 0).mkdir()
        (ablations.folder_of(name, 0) / "outcome.json").write_text(json.dumps(run(0, bound)))
    about, change = Claim("ablation.raw", 0.0, "make"), ablations.Change(0.5, 0.1, 0.0, [0])
    for cost, expected in ((1.5, 2.5), (1.0, 0.5), (0.5, None)):
        content = {"ratio": cost, "interval": [cost, cost], "rounds": 5}
        (tmp_path / "raw-cost.json").write_text(json.dumps(content))
        found = {claim.name: claim.value for claim in ablations.cost_claims(about, change)}
        assert found["ablation.raw.cost"] == cost
        assert found.get("ablation.raw.equal_time") == expected
