"""New crystals: draw what is given, sharpen the beliefs step by step, decode and rebuild."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.checkpoints import load_model
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.found_symmetry import check_symmetry
from symmbfn.crystals.loci import nearest_point
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES, bucket_of, n_operations
from symmbfn.flows import categorical, solvers
from symmbfn.flows.schedules import log_snr_grid, uniform_grid
from symmbfn.model import Given, SymmBFN, Variables
from symmbfn.noise import normal, uniform

Predictor = Callable[[Variables, Given, Float[Tensor, "B"], Variables | None], Variables]

SOLVERS = ("bfn", "ode2")
STREAMS_PER_STEP = 16
GIVEN_STREAM, PRIOR_STEP, FINAL_STEP = -1, 0, 1_000_000
SETTLED = 0.9  # belief in a letter above which coordinates are projected onto its locus


@dataclass(frozen=True)
class SamplerConfig:
    """How beliefs are taken from t = 0 to t = 1.

    Attributes:
        solver: "bfn", the ancestral sampler of the paper, or "ode2": second order without
            noise for lattice and coordinates, noise-free sampled classes.
        n_steps: number of steps; one more network call gives the final estimate.
        start: first time; the model's average crystal stands for what came before.
        has_projection: coordinates of settled letters are moved onto their locus.
        is_drawn: final classes are drawn from their probabilities, as published, instead of
            the most likely ones.
    """

    solver: str = "ode2"
    n_steps: int = 50
    start: float = 0.005
    has_projection: bool = True
    is_drawn: bool = False

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}, got {self.solver!r}")
        if not (isinstance(self.n_steps, int) and self.n_steps >= 1):
            raise ValueError(f"steps must be a whole number of at least 1, got {self.n_steps!r}")
        if not 0 < self.start < 1:
            raise ValueError(f"start must lie in (0, 1), got {self.start}")


def preset_sampler(model: SymmBFN, **changes: Any) -> SamplerConfig:
    """The sampler that belongs to a model's preset: `ode2` with 50 steps, or the paper's."""
    if model.config.is_standardised:
        return replace(SamplerConfig(), **changes)
    paper = SamplerConfig("bfn", 100, start=1e-4, has_projection=False, is_drawn=True)
    return replace(paper, **changes)


@torch.no_grad()
def sample(
    model: SymmBFN,
    given: Given,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
    predict: Predictor | None = None,
) -> Variables:
    """Final estimates of one batch.

    Args:
        model: for its flows; and its network, unless `predict` stands in for it.
        given: what the crystals are conditioned on.
        sampler: solver, steps and start.
        seed: of the request.
        index: number of each crystal in the request, shape (B,): its noise depends on this
            and the seed alone.
        predict: (beliefs, given, t, previous) -> estimates.

    Returns:
        Estimates of the continuous variables and log-probabilities of the classes at t = 1.

    Source: Methods, "Sampling"; the other solvers as in `flows.solvers`.
    """
    predict = predict or model
    if sampler.solver == "ode2":
        grid = log_snr_grid(sampler.n_steps, model.schedules["coords"], sampler.start)
    else:
        grid = uniform_grid(sampler.n_steps).clamp_min(sampler.start)
    times = grid.to(given.is_site.device)
    beliefs = model.prior(given, float(times[0]), _noise(model, given, seed, index, PRIOR_STEP))
    ones = torch.ones(len(index), device=given.is_site.device)
    previous: Variables | None = None
    for step in range(1, len(times)):
        s, t = times[step - 1], times[step]
        estimates = confine(model, predict(beliefs, given, ones * s, previous), given)
        if sampler.has_projection:
            estimates = project_settled(model, estimates, given)
        noise = _noise(model, given, seed, index, step, is_ode=sampler.solver == "ode2")
        mean = {}
        for name in model.continuous:
            mu, x_hat = beliefs.continuous[name], estimates.continuous[name]
            schedule = model.schedules[name]
            gammas = [schedule.gamma(u) for u in (times[max(step - 2, 0)], s, t)]
            if sampler.solver == "ode2":
                before = None if previous is None else previous.continuous[name]
                mu = solvers.continuous_step_second_order(mu, x_hat, before, tuple(gammas))
            else:
                eta = solvers.ancestral_eta(schedule(s)[0], schedule(t)[0])
                mu = solvers.continuous_step(
                    mu, x_hat, gammas[1], gammas[2], eta, noise.continuous[name]
                )
            mean[name] = (mu * model.is_real(name, given)).float()
        logits = {}
        for stream, name in enumerate(model.categorical):
            z, log_p = beliefs.categorical[name], estimates.categorical[name]
            u = _uniform_like(log_p, seed, index, step, 8 + stream)
            e = categorical.sample_one_hot(log_p, u)
            beta_s, beta_t = (model.schedules[name](u)[0].reshape(1) for u in (s, t))
            eta = torch.zeros_like(beta_t)
            if sampler.solver == "bfn":
                eta = solvers.ancestral_eta(beta_s, beta_t)
            xi = noise.categorical.get(name, torch.zeros_like(z))
            logits[name] = solvers.categorical_step(z, e, beta_s, beta_t, eta, xi).float()
        beliefs, previous = Variables(mean, logits), estimates
    estimates = confine(model, predict(beliefs, given, ones, previous), given)
    return project_settled(model, estimates, given) if sampler.has_projection else estimates


def confine(model: SymmBFN, estimates: Variables, given: Given) -> Variables:
    """Keep estimated coordinates where data can be: clipped about the chart, or wrapped.

    Source: the wrap is the paper's, after every call; the clip ours (method.md 4.6).
    """
    x = model.fractional(estimates.continuous["coords"])
    x = x.clamp(CHART_END - 1.15, CHART_END + 0.15) if model.config.is_standardised else x % 1.0
    coords = (x - model.coords_mean) / model.coords_std * given.is_site[..., None]
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)


def project_settled(model: SymmBFN, estimates: Variables, given: Given) -> Variables:
    """Move the estimated coordinates of sites whose letter is settled onto its locus."""
    if "letters" not in estimates.categorical:
        return estimates
    belief, letter = estimates.categorical["letters"].max(-1)
    row = given.rows.gather(1, letter)
    x = model.fractional(estimates.continuous["coords"])
    on_locus = nearest_point(x.double().flatten(0, 1), row.flatten()).view_as(x).float()
    on_locus = (on_locus - model.coords_mean) / model.coords_std
    is_settled = (belief.exp() > SETTLED) & given.is_site
    coords = torch.where(is_settled[..., None], on_locus, estimates.continuous["coords"])
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)


def decode(
    model: SymmBFN,
    estimates: Variables,
    given: Given,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
) -> list[Crystal]:
    """Finished crystals from final estimates, one record each."""
    real = given.is_site
    elements = torch.tensor([*model.config.elements], device=real.device)
    log_p = dict(estimates.categorical)
    if sampler.is_drawn:
        for stream, (name, value) in enumerate(log_p.items()):
            e = categorical.sample_one_hot(
                value, _uniform_like(value, seed, index, FINAL_STEP, stream)
            )
            log_p[name] = torch.where(e > 0, 0.0, -1e3).to(value)
    if model.config.elements_as == "slots":
        slots = ascending_classes(log_p["elements"], given.is_slot)
        classes = slots.gather(1, every_slot_used(log_p["pointers"], given))
    else:
        classes = log_p["elements"].argmax(-1)
    batch = AsymmetricUnitBatch(
        given.space_group_number,
        model.lattice_k(estimates.continuous["lattice"], given),
        elements[classes] * real,
        torch.zeros_like(classes),
        model.fractional(estimates.continuous["coords"]),
        real,
    )
    return reconstruct(
        batch.to("cpu"),
        wyckoff_log_probs=_cpu(log_p.get("letters")),
        axis_log_probs=_cpu(log_p.get("axes")),
        indices=index.tolist(),
        seed=seed,
    )


def ascending_classes(
    log_probabilities: Float[Tensor, "B S K"], is_slot: Tensor
) -> Int[Tensor, "B S"]:
    """Most likely classes of the slots that strictly ascend: the elements of a crystal differ.

    Exact, by dynamic programming over the slots. Source: ours.
    """
    n_slots, n_classes = log_probabilities.shape[1:]
    scores = log_probabilities.clamp_min(-1e4) * is_slot[..., None]
    best, came_from = scores[:, 0], []
    for s in range(1, n_slots):
        top, at = best.cummax(-1)
        shifted = torch.cat([torch.full_like(top[:, :1], -1e9), top[:, :-1]], dim=-1)
        at = torch.cat([torch.zeros_like(at[:, :1]), at[:, :-1]], dim=-1)
        # Slots beyond the last element stay where they are.
        real = is_slot[:, s, None]
        here = torch.arange(n_classes, device=at.device).expand_as(at)
        best = torch.where(real, shifted + scores[:, s], best)
        came_from.append(torch.where(real, at, here))
    choice = [best.argmax(-1)]
    for at in reversed(came_from):
        choice.append(at.gather(1, choice[-1][:, None]).squeeze(1))
    return torch.stack(choice[::-1], dim=1)


def every_slot_used(log_pointers: Float[Tensor, "B N S"], given: Given) -> Int[Tensor, "B N"]:
    """Most likely pointers such that each element of the crystal has at least one site.

    A slot without a site takes the one that loses least by moving, among sites whose slot keeps
    another. Source: ours.
    """
    log_p = log_pointers.clamp_min(-1e4)
    pointers = log_p.argmax(-1)
    crystal, slot = (given.is_slot & ~_used(pointers, given)).nonzero(as_tuple=True)
    for b, s in zip(crystal.tolist(), slot.tolist(), strict=True):
        own = pointers[b]
        count = torch.bincount(own[given.is_site[b]], minlength=log_p.shape[-1])
        loss = log_p[b].gather(1, own[:, None]).squeeze(1) - log_p[b, :, s]
        loss = loss.masked_fill((count[own] < 2) | ~given.is_site[b], torch.inf)
        if loss.isfinite().any():
            pointers[b, loss.argmin()] = s
    return pointers


def _used(pointers: Int[Tensor, "B N"], given: Given) -> Tensor:
    used = torch.zeros_like(given.is_slot, dtype=torch.long)
    return used.scatter_reduce(1, pointers, given.is_site.long(), reduce="amax").bool()


def _cpu(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.cpu()


def _uniform_like(
    log_p: Tensor, seed: int, index: Int[Tensor, "B"], step: int, stream: int
) -> Tensor:
    return uniform(seed, index, step * STREAMS_PER_STEP + stream, tuple(log_p.shape[1:-1]))


def _noise(
    model: SymmBFN,
    given: Given,
    seed: int,
    index: Int[Tensor, "B"],
    step: int,
    is_ode: bool = False,
) -> Variables:
    """Standard normal noise of one step; nothing is drawn for a step without noise."""
    if is_ode:
        return Variables({}, {})
    names = [*model.continuous, *model.categorical]
    draws = {
        name: normal(seed, index, step * STREAMS_PER_STEP + stream, model.shape(name, given)[1:])
        for stream, name in enumerate(names)
    }
    return Variables(
        {name: draws[name] for name in model.continuous},
        {name: draws[name] for name in model.categorical},
    )


# ---- requests ---------------------------------------------------------------------------------


def draw_given(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    *,
    seed: int,
    space_group_number: tuple[int, ...] | None = None,
) -> Int[Tensor, "B 3"]:
    """Space group, number of sites and number of elements of each crystal, as in training.

    Args:
        model: its statistics hold the training histogram.
        index: number of each crystal in the request.
        seed: of the request.
        space_group_number: groups to restrict the histogram to; None for all.

    Raises:
        ValueError: if none of the groups occurs in the training data.
    """
    rows, count = model.statistics.given, model.statistics.given_count.double()
    if space_group_number is not None:
        count = count * torch.isin(rows[:, 0], torch.tensor(space_group_number))
    if not count.sum() > 0:
        raise ValueError(f"no training crystal has a space group of {space_group_number}")
    u = uniform(seed, index.cpu(), GIVEN_STREAM, ())
    row = torch.searchsorted(count.cumsum(0), u * count.sum(), right=True)
    last = int(count.nonzero().max())
    return rows[row.clamp_max(last)]


def generate_indices(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    sampler: SamplerConfig,
    *,
    seed: int = 0,
    space_group_number: tuple[int, ...] | None = None,
    batch_size: int = 128,
    predict: Predictor | None = None,
) -> Iterator[list[Crystal]]:
    """Crystals with the given numbers, in batches of like size; each is independent of the rest.

    Yields:
        Finished batches, in order of size and not of index.
    """
    device = next(model.parameters()).device
    given = draw_given(model, index, seed=seed, space_group_number=space_group_number)
    for chunk in size_batches(given, batch_size):
        groups, n_sites, n_elements = given[chunk].unbind(-1)
        is_site = torch.arange(int(n_sites.max())) < n_sites[:, None]
        batch = model.given(groups.to(device), is_site.to(device), n_elements.to(device))
        place = index[chunk].to(device)
        estimates = sample(model, batch, sampler, seed=seed, index=place, predict=predict)
        yield decode(model, estimates, batch, sampler, seed=seed, index=place)


def size_batches(given: Int[Tensor, "n 3"], batch_size: int) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together: about as many sites and operations.

    Args:
        given: space group, number of sites, number of elements of each crystal.
        batch_size: most rows in a batch.

    Raises:
        ValueError: batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    groups, n_sites, _ = given.t().contiguous()
    sites = bucket_of(n_sites, SITE_EDGES)
    operations = bucket_of(n_operations(groups), OPERATION_EDGES)
    key = operations * len(SITE_EDGES) + sites
    return [
        chunk
        for value in key.unique().tolist()
        for chunk in (key == value).nonzero().squeeze(-1).split(batch_size)
    ]


def generate(
    n: int,
    *,
    weights: str | SymmBFN = "default",
    space_group_number: int | str | tuple[int, ...] | None = None,
    solver: str | None = None,
    n_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 128,
) -> list[Crystal]:
    """Generate n crystals; crystal i depends on (weights, settings, seed, i) alone.

    Args:
        n: number of crystals, at least 1.
        weights: name of shipped weights, a model folder, or a model.
        space_group_number: number, symbol, crystal system, a list of these or None for all.
        solver: "bfn" or "ode2"; None takes the preset's own.
        n_steps: sampling steps; None takes the preset's own.
        seed: of the request.
        device: "auto", "cpu" or "cuda".
        batch_size: most crystals in one network call.

    Returns:
        One record per request, in order, whatever its status; "symmetry_mismatch" where the
        structure has neither the asked space group nor a supergroup of it.

    Raises:
        ValueError: for a value that cannot be met, naming it.
    """
    check_request(n, seed)
    model = (
        weights if isinstance(weights, SymmBFN) else load_model(weights, device=pick_device(device))
    )
    changes = {"solver": solver, "n_steps": n_steps}
    sampler = preset_sampler(model, **{k: v for k, v in changes.items() if v is not None})
    groups = None if space_group_number is None else space_group_numbers(space_group_number)
    crystals: list[Crystal] = []
    for batch in generate_indices(
        model,
        torch.arange(n),
        sampler,
        seed=seed,
        space_group_number=groups,
        batch_size=batch_size,
    ):
        crystals += [check_symmetry(crystal) for crystal in batch]
    return sorted(crystals, key=lambda crystal: crystal.index)


def check_request(n: int, seed: int) -> None:
    """Refuse a number of crystals or a seed that cannot be met.

    Raises:
        ValueError: n below 1, or a seed that is no whole number from 0 to 2^63 - 1.
    """
    if not (isinstance(n, int) and n >= 1):
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    if not (isinstance(seed, int) and 0 <= seed < 2**63):
        raise ValueError(f"seed must be a whole number from 0 to 2^63 - 1, got {seed!r}")


def pick_device(device: str) -> torch.device:
    """The device asked for.

    Raises:
        ValueError: for an unknown name or a CUDA that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no CUDA device")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
