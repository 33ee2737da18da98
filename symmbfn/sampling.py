"""New crystals: draw what is given, sharpen the beliefs step by step, decode and rebuild."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.checkpoints import load_model
from symmbfn.compilation import compiled, onednn_products
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.found_symmetry import check_symmetry
from symmbfn.crystals.loci import nearest_point
from symmbfn.crystals.reconstruction import cells_as_they_are, reconstruct
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.datasets.batches import (
    OPERATION_EDGES,
    SITE_EDGES,
    edge_of,
    n_operations,
)
from symmbfn.flows import categorical, solvers
from symmbfn.flows.schedules import (
    CategoricalSchedule,
    ContinuousSchedule,
    log_snr_grid,
    uniform_grid,
)
from symmbfn.model import Given, SymmBFN, Variables
from symmbfn.noise import normal, uniform

Predictor = Callable[[Variables, Given, Float[Tensor, "B"], Variables | None], Variables]

SOLVERS = ("bfn", "ode2", "sde2")
DTYPES = ("float32", "bf16")
STREAMS_PER_STEP = 16
GIVEN_STREAM, PRIOR_STEP, FINAL_STEP = -1, 0, 1_000_000
REBUILT_AT_ONCE = 1000  # crystals
ROWS = 8  # a batch on the CPU holds a multiple of it
NARROWEST = 96  # width from which oneDNN takes every product, however few its rows
PAIRS = 36  # of sites in each crystal of a full batch; larger crystals take fewer rows
SETTLED = 0.9  # belief in a letter above which coordinates are projected onto its locus


@dataclass(frozen=True)
class SamplerConfig:
    """How beliefs are taken from t = 0 to t = 1.

    Attributes:
        solver: "bfn", first order on a uniform grid; "ode2" or "sde2", second order without and
            with noise for lattice and coordinates on a grid uniform in the half log-SNR.
        n_steps: number of steps; one more network call gives the final estimate.
        eta: share of fresh noise in a first-order step, in [0, 1]; 0 is the probability-flow ODE,
            1 redraws the beliefs from the flow. None: the ancestral share of the paper for
            "bfn" and "sde2", 0 for "ode2"; in these two it concerns the classes only.
        has_expected_classes: probabilities enter the update instead of one class drawn from them.
        start: first time; the model's average crystal stands for what came before.
        has_projection: coordinates of settled letters are moved onto their locus.
        is_drawn: final classes are drawn from their probabilities, as published, instead of
            the most likely ones.
    """

    solver: str = "bfn"
    n_steps: int = 31
    eta: float | None = None
    has_expected_classes: bool = False
    start: float = 0.005
    has_projection: bool = True
    is_drawn: bool = False

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}, got {self.solver!r}")
        if not (isinstance(self.n_steps, int) and self.n_steps >= 1):
            raise ValueError(f"steps must be a whole number of at least 1, got {self.n_steps!r}")
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        if not 0 < self.start < 1:
            raise ValueError(f"start must lie in (0, 1), got {self.start}")

    @property
    def is_noisy(self) -> bool:
        """Whether a step adds fresh noise."""
        return self.solver != "ode2" if self.eta is None else self.eta > 0

    def noise_share(self, accuracy_s: Tensor, accuracy_t: Tensor) -> Tensor:
        """Share of fresh noise in a step from one accuracy to the next."""
        if self.eta is None and self.solver != "ode2":
            return solvers.ancestral_eta(accuracy_s, accuracy_t)
        return torch.full_like(accuracy_t, self.eta or 0.0)


def preset_sampler(model: SymmBFN, **changes: Any) -> SamplerConfig:
    """The sampler that belongs to a model's preset: 31 ancestral steps, or the paper's 100.

    Chosen on MP-20 val (`scripts/few_steps.py`): with fewer than 32 network calls some figure
    falls out of the interval that 100 have. At equal cost noise-free steps leave more short
    contacts, and more noise than the ancestral share draws closer to the training set.
    """
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
    predict, device = predict or model, given.is_site.device
    times = time_grid(model, sampler).to(device)
    ones = torch.ones(len(index), device=device)

    def estimate(beliefs: Variables, t: Tensor, previous: Variables | None) -> Variables:
        estimates = confine(model, predict(beliefs, given, ones * t, previous), given)
        return project_settled(model, estimates, given) if sampler.has_projection else estimates

    is_wide = model.config.width >= NARROWEST
    with onednn_products(device) if is_wide else nullcontext():
        given = model.with_positions(given)
        noise = _noise(model, given, seed, index, PRIOR_STEP)
        beliefs = model.prior(given, float(times[0]), noise)
        previous: Variables | None = None
        for step in range(1, len(times)):
            instants = times[max(step - 2, 0)], times[step - 1], times[step]
            estimates = estimate(beliefs, instants[1], previous)
            noise = Variables({}, {})
            if sampler.is_noisy:
                noise = _noise(model, given, seed, index, step)
            mean, logits = {}, {}
            for name in model.continuous:
                mu = continuous_update(
                    model.schedules[name],
                    beliefs.continuous[name],
                    estimates.continuous[name],
                    None if previous is None else previous.continuous[name],
                    instants,
                    sampler,
                    noise.continuous.get(name),
                )
                mean[name] = mu * model.is_real(name, given)
            for stream, name in enumerate(model.categorical):
                log_p = estimates.categorical[name]
                if sampler.has_expected_classes:
                    e = log_p.exp()
                else:
                    u = _uniform_like(log_p, seed, index, step, 8 + stream)
                    e = categorical.sample_one_hot(log_p, u)
                logits[name] = categorical_update(
                    model.schedules[name],
                    beliefs.categorical[name],
                    e,
                    instants[1:],
                    sampler,
                    noise.categorical.get(name),
                )
            beliefs, previous = Variables(mean, logits), estimates
        return estimate(beliefs, times[-1], previous)


def predictor(model: SymmBFN, *, is_compiled: bool = False, dtype: str = "float32") -> Predictor:
    """The network of a model in a faster form.

    Args:
        model: on its device.
        is_compiled: compile it, see `compilation.compiled`: a minute for twice the speed.
        dtype: "float32" or "bf16", in which the matrix products are done.

    Raises:
        ValueError: another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    device = next(model.parameters()).device
    fast = compiled(model, device) if is_compiled else model
    has_previous = model.config.has_self_conditioning

    def predict(
        beliefs: Variables, given: Given, t: Float[Tensor, "B"], previous: Variables | None
    ) -> Variables:
        # the first call of a batch has no estimate to read: not worth a compilation of its own
        network = model if has_previous and previous is None else fast
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16"):
            return network(beliefs, given, t, previous if has_previous else None)

    return predict


def time_grid(model: SymmBFN, sampler: SamplerConfig) -> Float[Tensor, "S"]:
    """Times of the network calls, shape (n_steps + 1,), from the sampler's start to 1."""
    if sampler.solver != "bfn":
        return log_snr_grid(sampler.n_steps, model.schedules["coords"], sampler.start)
    return uniform_grid(sampler.n_steps).clamp_min(sampler.start)


def continuous_update(
    schedule: ContinuousSchedule,
    mu: Float[Tensor, "*X"],
    x_hat: Float[Tensor, "*X"],
    x_hat_previous: Float[Tensor, "*X"] | None,
    instants: tuple[Tensor, Tensor, Tensor],
    sampler: SamplerConfig,
    noise: Float[Tensor, "*X"] | None,
) -> Float[Tensor, "*X"]:
    """Mean of a continuous belief at the last of three instants.

    Args:
        schedule: of the variable.
        mu: mean at the second instant.
        x_hat, x_hat_previous: estimates at the second and, or None, at the first instant.
        instants: times of the previous call, of this one and of the next.
        sampler: solver and share of noise.
        noise: standard normal; None for a sampler without it.
    """
    gamma_r, gamma_s, gamma_t = (schedule.gamma(u) for u in instants)
    if sampler.solver != "bfn":
        gammas = (gamma_r, gamma_s, gamma_t)
        xi = noise if sampler.solver == "sde2" else None
        step = solvers.continuous_step_second_order
        return step(mu, x_hat, x_hat_previous, gammas, xi).float()
    eta = sampler.noise_share(*(schedule(u)[0] for u in instants[1:]))
    xi = torch.zeros_like(mu) if noise is None else noise
    return solvers.continuous_step(mu, x_hat, gamma_s, gamma_t, eta, xi).float()


def categorical_update(
    schedule: CategoricalSchedule,
    z: Float[Tensor, "*X K"],
    e: Float[Tensor, "*X K"],
    instants: tuple[Tensor, Tensor],
    sampler: SamplerConfig,
    noise: Float[Tensor, "*X K"] | None,
) -> Float[Tensor, "*X K"]:
    """Logits of a categorical belief at the second instant.

    Args:
        schedule: of the variable.
        z: logits at the first instant.
        e: the estimated class, one-hot, or the probabilities.
        instants: times of this call and of the next.
        sampler: share of noise.
        noise: standard normal; None for a sampler without it.
    """
    beta_s, beta_t = (schedule(u)[0].reshape(1) for u in instants)
    xi = torch.zeros_like(z) if noise is None else noise
    eta = sampler.noise_share(beta_s, beta_t)
    # times are float64; an array of classes is not to become so
    beta_s, beta_t, eta = (value.to(z) for value in (beta_s, beta_t, eta))
    return solvers.categorical_step(z, e, beta_s, beta_t, eta, xi)


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


@dataclass(frozen=True)
class Settled:
    """Final classes and coordinates of a batch, before letters are decided and cells filled.

    Attributes:
        units: elements, coordinates and lattice; no letters yet.
        letters, axes: log-probabilities of the letters (B, N, 27) or of the axes, whichever the
            model knows; of neither where the sites are all atoms.
        index: number of each crystal in the request.
    """

    units: AsymmetricUnitBatch
    letters: Tensor | None
    axes: Tensor | None
    index: Int[Tensor, "B"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice) -> "Settled":
        letters, axes = (None if v is None else v[rows] for v in (self.letters, self.axes))
        return Settled(self.units[rows], letters, axes, self.index[rows])


def settle(
    model: SymmBFN,
    estimates: Variables,
    given: Given,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
) -> Settled:
    """Decide the elements of final estimates, on the model's device."""
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
    units = AsymmetricUnitBatch(
        given.space_group_number,
        model.lattice_k(estimates.continuous["lattice"], given),
        elements[classes] * real,
        torch.zeros_like(classes),
        model.fractional(estimates.continuous["coords"]),
        real,
    )
    return Settled(units, log_p.get("letters"), log_p.get("axes"), index)


def rebuild(settled: list[Settled], seed: int) -> list[Crystal]:
    """Finished crystals of several batches at once, one record each, on the batches' device."""
    most = max(part.units.is_site.shape[1] for part in settled)

    def joined(values: list[Tensor]) -> Tensor:
        return torch.cat([_padded(value, most) for value in values])

    names = ("atomic_numbers", "wyckoff_positions", "fractional_coords", "is_site")
    units = AsymmetricUnitBatch(
        space_group_number=torch.cat([part.units.space_group_number for part in settled]),
        lattice_k=torch.cat([part.units.lattice_k for part in settled]),
        **{name: joined([getattr(part.units, name) for part in settled]) for name in names},
    )
    log_p = {
        name: joined([getattr(part, name) for part in settled])
        for name in ("letters", "axes")
        if getattr(settled[0], name) is not None
    }
    indices = torch.cat([part.index for part in settled]).tolist()
    if not log_p:
        return cells_as_they_are(units, indices=indices, seed=seed)
    return reconstruct(
        units,
        wyckoff_log_probs=log_p.get("letters"),
        axis_log_probs=log_p.get("axes"),
        indices=indices,
        seed=seed,
    )


def _padded(value: Tensor, n_sites: int) -> Tensor:
    """Pad the second axis with zeros."""
    missing = n_sites - value.shape[1]
    return nn.functional.pad(value, (0, 0) * (value.ndim - 2) + (0, missing))


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
    return rebuild([settle(model, estimates, given, sampler, seed=seed, index=index)], seed)


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
) -> Variables:
    """Standard normal noise of one step."""
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


def groups_not_in_training(model: SymmBFN, space_group_number: tuple[int, ...] | None) -> list[int]:
    """Those of the space groups that no training crystal has, in order; they are never drawn."""
    return sorted({*(space_group_number or ())} - {*model.statistics.given[:, 0].tolist()})


def generate_indices(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    sampler: SamplerConfig,
    *,
    seed: int = 0,
    space_group_number: tuple[int, ...] | None = None,
    batch_size: int = 256,
    predict: Predictor | None = None,
) -> Iterator[list[Crystal]]:
    """Crystals with the given numbers, in batches of like size; each is independent of the rest.

    Every batch is padded to the edges of its bucket, in sites, operations and rows, so that a
    crystal meets products of the same shape whatever else is asked for.

    Yields:
        Finished crystals, about a thousand at once, in order of size and not of index.
    """
    device = next(model.parameters()).device
    given = draw_given(model, index, seed=seed, space_group_number=space_group_number)
    settled: list[Settled] = []
    for chunk in size_batches(given, batch_size):
        most = int(edge_of(given[chunk, 1].max(), SITE_EDGES))
        rows = full_rows(chunk, most, batch_size, device)
        batch = model_given(model, given[rows])
        place = index[rows].to(device)
        estimates = sample(model, batch, sampler, seed=seed, index=place, predict=predict)
        settled.append(settle(model, estimates, batch, sampler, seed=seed, index=place))
        settled[-1] = settled[-1][: len(chunk)]
        if sum(map(len, settled)) >= REBUILT_AT_ONCE:
            yield rebuild(settled, seed)
            settled = []
    if settled:
        yield rebuild(settled, seed)


def model_given(model: SymmBFN, rows: Int[Tensor, "B 3"]) -> Given:
    """What drawn rows (space group, sites, elements) mean to a model, on its device.

    Sites are padded to the edge of their bucket.
    """
    device = next(model.parameters()).device
    groups, n_sites, n_elements = rows.to(device).unbind(-1)
    most = int(edge_of(rows[:, 1].max(), SITE_EDGES))
    is_site = torch.arange(most, device=device) < n_sites[:, None]
    return model.given(groups, is_site, n_elements)


def full_rows(
    chunk: Int[Tensor, "r"], n_sites: int, batch_size: int, device: torch.device
) -> Int[Tensor, "B"]:
    """Fill a batch of crystals with so many sites up with its last row.

    On a GPU to a full batch: one shape a bucket, so that its graph is captured once and its
    products do not depend on the request. On the CPU the rows of a product do not depend on their
    number once there are a few: a multiple of 8 crystals and of 16 sites is enough.
    """
    multiple = max(ROWS, 2 * ROWS // n_sites)
    n = -(-len(chunk) // multiple) * multiple
    if device.type == "cuda":
        n = rows_of_bucket(n_sites, batch_size)
    return torch.cat([chunk, chunk[-1:].expand(max(0, n - len(chunk)))])


def size_batches(given: Int[Tensor, "n 3"], batch_size: int) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together: one bucket of sites and of operations.

    Args:
        given: space group, number of sites, number of elements of each crystal.
        batch_size: most rows in a batch; crystals of many sites take fewer, so that the pairs
            of a batch, which are most of its memory, stay about as many.

    Raises:
        ValueError: batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    groups, n_sites, _ = given.t().contiguous()
    sizes = torch.stack(
        [edge_of(n_operations(groups), OPERATION_EDGES), edge_of(n_sites, SITE_EDGES)], dim=-1
    )
    chunks = []
    for size in sizes.unique(dim=0):
        rows = rows_of_bucket(int(size[1]), batch_size)
        chunks += (sizes == size).all(-1).nonzero().squeeze(-1).split(rows)
    return chunks


def rows_of_bucket(n_sites: int, batch_size: int) -> int:
    """Rows of a full batch of crystals with so many sites, padding included."""
    return min(batch_size, max(ROWS, batch_size * PAIRS // n_sites**2 // ROWS * ROWS))


def generate(
    n: int,
    *,
    weights: str | SymmBFN = "default",
    space_group_number: int | str | tuple[int, ...] | None = None,
    solver: str | None = None,
    n_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 256,
    is_compiled: bool = False,
    dtype: str = "float32",
) -> list[Crystal]:
    """Generate n crystals; crystal i depends on (seed, i) and the settings alone.

    It is the same bit for bit in every request, whatever else is asked for, on one machine with
    one number of threads.

    Args:
        n: number of crystals, at least 1.
        weights: name of shipped weights, a model folder, or a model.
        space_group_number: number, symbol, crystal system, a list of these or None for all.
        solver: "bfn", "ode2" or "sde2"; None takes the preset's own.
        n_steps: sampling steps; None takes the preset's own.
        seed: of the request.
        device: "auto", "cpu" or "cuda"; a model stays where it is.
        batch_size: most crystals in one network call.
        is_compiled, dtype: see `predictor`.

    Returns:
        One record per request, in order, whatever its status; "symmetry_mismatch" where the
        structure has neither the asked space group nor a supergroup of it.

    Raises:
        ValueError: for a value that cannot be met, naming it.
        UserWarning: if some of the space groups never occur in the training data.
    """
    check_request(n, seed)
    model = (
        weights if isinstance(weights, SymmBFN) else load_model(weights, device=pick_device(device))
    )
    changes = {"solver": solver, "n_steps": n_steps}
    sampler = preset_sampler(model, **{k: v for k, v in changes.items() if v is not None})
    groups = None if space_group_number is None else space_group_numbers(space_group_number)
    if unknown := groups_not_in_training(model, groups):
        warnings.warn(
            f"never drawn, since no training crystal has them: space groups {unknown}", stacklevel=2
        )
    crystals: list[Crystal] = []
    for batch in generate_indices(
        model,
        torch.arange(n),
        sampler,
        seed=seed,
        space_group_number=groups,
        batch_size=batch_size,
        predict=predictor(model, is_compiled=is_compiled, dtype=dtype),
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
