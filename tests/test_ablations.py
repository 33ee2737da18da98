"""What ablations claim: rates over all seeds, a verdict from them, and equal time."""

from types import ModuleType
from typing import Any

import pytest

from symmbfn.results import REPOSITORY, Claim

RATES = ("validity_structural", "contacts", "validity_smact", "group_kept", "p1")


@pytest.fixture
def ablations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    import ablation_claims

    return ablation_claims


def run(seed: int, **counts: int) -> dict[str, Any]:
    """An outcome of 100 requests."""
    found = {**dict.fromkeys(RATES, 80), "n": 100, "d_rho": 0.1, "d_elem": 0.2, "d_g": 0.3}
    return {"seed": seed, "generated": {**found, **counts}, "val": {"bound": 34.0 + seed}}


def test_seeds_share_a_rate_and_bound_a_mean(ablations: ModuleType) -> None:
    runs = [run(0, contacts=60), run(1, contacts=70)]
    found = {c.name: c for c in ablations.figures(Claim("a.b", 0.0, "make", note="N."), runs, [])}
    contacts, bound = found["a.b.contacts"], found["a.b.bound"]
    assert contacts.value == 65 and contacts.n == 200 and contacts.seed == [0, 1]
    assert contacts.interval is not None and contacts.interval[0] < 65 < contacts.interval[1]
    assert bound.value == 34.5 and bound.interval == (34.0, 35.0) and bound.unit == "nats"
    assert "a.b.outcome" not in found and found["a.b.d_g"].value == pytest.approx(0.3)
    assert (bound.n, found["a.b.d_g"].n) == (2, 200), "runs, crystals"


def test_a_verdict_names_what_chance_does_not_make(ablations: ModuleType) -> None:
    base = [run(0), run(1)]
    assert ablations.verdict([run(0, contacts=82), run(1)], base).startswith("no rate differs")
    assert ablations.verdict([run(0, contacts=50), run(1)], base) == "contacts -15.0 points"
    low, high = ablations.difference_interval(56, 48, 70, 80)
    # Newcombe 1998, Table II, column (a): 56/70 - 48/80
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_equal_time_lies_between_two_runs_of_the_base(ablations: ModuleType) -> None:
    assert ablations.bound_at(1.0, 34.0, 32.0) == 34.0
    assert ablations.bound_at(ablations.LONGER, 34.0, 32.0) == pytest.approx(32.0)
    assert 32.0 < ablations.bound_at(1.2, 34.0, 32.0) < 34.0
    assert ablations.bound_at(0.9, 34.0, 32.0) > 34.0
