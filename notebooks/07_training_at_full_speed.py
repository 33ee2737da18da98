# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# (nb:speed)=
# # Training at full speed
#
# **Speed is no second program here. The same functions run on batches of
# few shapes, and whatever is done to them is held against the plain form:
# estimates to a hundred-thousandth, crystals to the last bit.**
#
# :::{admonition} This chapter
# :class: note
#
# - **You will learn** what a network call costs and why the dense form
#   costs less; how padding is kept small; what makes a crystal the same
#   in every request; how far from the machine's limits we are; how few
#   calls do; and how a training keeps to a time budget and is divided
#   among processes.
# - **Before it:** {ref}`nb:model` and {ref}`nb:sampling`.
# - **Run time:** {claim}`chapter.07_training_at_full_speed.seconds` on
#   one processor core.
# - **Hardware:** any; no data, no network. Timings are not taken here but
#   read from `results/engine.json`.
# :::

# %% tags=["parameters"]
scale: str = "cpu"  # "full": a training of ten minutes
seed: int = 0
weights: str = "default"  # or a model folder of this preset

# %%
import json
import tempfile
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import TqdmWarning

# PyTorch Geometric asks for progress bars that not every notebook has
warnings.simplefilter("ignore", TqdmWarning)
import symmbfn
from symmbfn.claims.store import RESULTS, claims, claims_table
from symmbfn.datasets.batches import (
    OPERATION_EDGES,
    SITE_EDGES,
    BucketedBatches,
    edge_of,
    n_operations,
)
from symmbfn.datasets.full_cell import full_cells
from symmbfn.figures.plots import COLOURS, use_style
from symmbfn.generation.batching import full_rows, size_batches
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import NetworkConfig, default_config
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.networks.cspnet import CSPNet
from symmbfn.networks.cspnet_pyg import CSPNetPyG, with_pyg_network
from symmbfn.networks.embeddings import (
    CONTACT_RANGE,
    gaussian_basis,
    summed_basis,
)
from symmbfn.runtime.compilation import difference, mapped
from symmbfn.runtime.distributed import Ranks
from symmbfn.training.budget import warmup_advance
from symmbfn.training.config import TrainingConfig
from symmbfn.training.steps import (
    batch_loss,
    draw_noise,
    learning_rate_factor,
    stratified_times,
)
from symmbfn.training.trainer import Trainer
from symmbfn.training.validation import validate

use_style()
blue, orange, green, red, sky, pink, black = COLOURS.values()
model = load_model(weights)
dataset = symmbfn.encode_dataset("prototypes")
found = {entry["name"]: entry for entry in claims("*")}

# %% [markdown]
# (sec:speed-work)=
# ## What a call costs
#
# A crystal of $D$ sites has $D^2$ ordered pairs, and each of them sends a
# message in every layer. The asymmetric unit is the first and largest
# gain, for its $D$ is small. The same 288 prototypes, once as units and
# once with all atoms of the conventional cell written out; and the
# crystals of MP-20, whose sizes are stored with the weights:

# %%
statistics = model.statistics
rows = statistics.conditions.repeat_interleave(
    statistics.condition_count, 0
)
sizes = {
    "prototypes, units": dataset.n_sites,
    "prototypes, full cells": full_cells(dataset).n_sites,
    "MP-20, units": rows[:, 1],
}
print(f"{'':<24}crystals  mean D  mean D^2  largest D")
for name, D in sizes.items():
    mean, pairs = D.double().mean(), D.double().square().mean()
    shown = f"{len(D):>8}{mean:>8.1f}{pairs:>10.1f}{int(D.max()):>11}"
    print(f"{name:<24}{shown}")

# %% [markdown]
# The mean of $D^2$ is far above the square of the mean: few large
# crystals make most of the work.
#
# ### One matrix, three blocks
#
# As published, the first matrix $W$ of a layer reads the states of both
# sites and the features of the pair, put one after the other
# {cite:p}`jiao2023diffcsp`. But a product with a long vector is the sum of
# the products with its parts:
#
# $$
# W \begin{pmatrix} h_i \\ h_j \\ \phi_{ij} \end{pmatrix}
# = W_r h_i + W_s h_j + W_e \phi_{ij} .
# $$ (eq:speed-blocks)
#
# On the right, $W_r h_i$ and $W_s h_j$ have to be worked out once for
# each site and not for each pair. With width $H$ and $E = 6F$ features
# of a pair ($F$ harmonics), the multiply-adds of a layer are
#
# $$
# \begin{aligned}
# \text{edge list:}\quad & D^2 \big[(2H + E) H + H^2\big] + 3 D H^2, \\
# \text{in blocks:}\quad & D^2 \big[E H + H^2\big] + 5 D H^2 .
# \end{aligned}
# $$ (eq:speed-count)
#
# Our preset goes on from there: it compresses the features to $E' = 96$
# numbers once for all layers, and takes the mean of the messages *before*
# the second matrix, which then acts on sites too. That is another
# function, the column `one matrix` (without the compression, which comes
# once in a call). The two columns before are one function in two forms:

# %%
print("  H    F   D   edge list  in blocks  one matrix  factors")
for H, F, D in (
    (512, 128, 1),
    (512, 128, 5),
    (512, 128, 20),
    (512, 24, 20),
    (256, 24, 5),
    (256, 24, 20),
):
    E, sites = 6 * F, D * H**2
    as_list = D**2 * ((2 * H + E) * H + H**2) + 3 * sites
    in_blocks = D**2 * (E * H + H**2) + 5 * sites
    one_matrix = D**2 * 96 * H + 6 * sites
    work = [x / 1e6 for x in (as_list, in_blocks, one_matrix)]
    shown = f"{work[0]:>10.1f} {work[1]:>10.1f} {work[2]:>10.1f} "
    factors = f"{work[0] / work[1]:>7.1f} {work[0] / work[2]:>5.1f}"
    print(f"{H:>4} {F:>4} {D:>3} {shown} {factors}")
print("in millions of multiply-adds a layer")

# %% [markdown]
# Formulas can miss something, so let PyTorch count the products that the
# two networks really ask for. What one more layer adds:

# %%
H, F, D = 512, 128, 5
E, options = 6 * F, {"edge_layers": 2, "is_modulated": False}
with torch.device("meta"):  # shapes without numbers
    sites, graph, pairs = (torch.empty(D, 7), torch.empty(1, 6), D**2)
    edges = torch.empty(2, pairs, dtype=torch.long)
    place = torch.empty(D, dtype=torch.long)
    listed = sites, graph, edges, torch.empty(pairs, E), place
    real = torch.ones(1, D, dtype=torch.bool)
    dense = sites[None], graph, torch.empty(1, D, D, E), real
    for form, inputs in ((CSPNetPyG, listed), (CSPNet, dense)):
        counts = []
        for depth in (1, 2):
            net = form(
                7, 6, E, width=H, depth=depth, edge_width=0, **options
            )
            with FlopCounterMode(display=False) as counter:
                net(*inputs)
            counts.append(counter.get_total_flops() / 2)
        added = (counts[1] - counts[0]) / 1e6
        print(f"{form.__name__:<10} D = {D}: {added:.1f} millions")

# %% [markdown]
# And they are one function. The shipped model answers for 64 prototypes
# with its dense network, and again with the same weights in PyTorch
# Geometric {cite:p}`fey2019pyg`. The negative control forgets the mask,
# so that padding sends messages:

# %%
units = dataset.batch(torch.arange(len(dataset)))
classes = torch.tensor([0, *model.config.elements])
known = torch.isin(units.atomic_numbers, classes).all(1)
dataset = dataset.subset(known.nonzero().squeeze(-1))
small = (dataset.n_sites <= 20).nonzero().squeeze(-1)[:64]
data, conditions = model.encode(dataset.batch(small))
generator, cpu = torch.Generator().manual_seed(seed), torch.device("cpu")
t = stratified_times(len(small), 0.01, generator, cpu)
noise = draw_noise(model, conditions, generator, cpu)
beliefs = model.flow(data, conditions, t, noise)
twin = with_pyg_network(model)
with torch.no_grad():
    answers = [net(beliefs, conditions, t) for net in (model, twin)]
    mask = model.network.register_forward_pre_hook(
        lambda _, inputs: (*inputs[:3], torch.ones_like(inputs[3]))
    )
    answers.append(model(beliefs, conditions, t))
    mask.remove()
for name, other in (("PyTorch Geometric", 1), ("without the mask", 2)):
    off = max(
        difference(answers[0].continuous[key], value)
        for key, value in answers[other].continuous.items()
    )
    print(f"{name:<18} lattice and coordinates within 1e-5: {off < 1e-5}")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-work", "caption": "Multiply-adds of one layer for a crystal of D sites, width 512: the published form over an edge list, the same function in blocks, the same with 24 harmonics in place of 128, and one edge matrix after compression. Dotted: where the messages of pairs come to be most of the work in the last form."}, "image": {"alt": "Four rising curves on two logarithmic axes, the edge list on top; the lowest one is flatter up to about thirty sites."}}
H, D = 512, np.arange(1, 209)
curves = {
    "edge list, F = 128": D**2 * (3 * H + 768) * H + 3 * D * H**2,
    "in blocks, F = 128": D**2 * (H + 768) * H + 5 * D * H**2,
    "in blocks, F = 24": D**2 * (H + 144) * H + 5 * D * H**2,
    "one matrix, 96 features": D**2 * 96 * H + 6 * D * H**2,
}
fig, ax = plt.subplots(figsize=(6.2, 3.4))
for (name, work), colour in zip(
    curves.items(), (red, orange, green, blue), strict=True
):
    ax.loglog(D, work / 1e6, color=colour, label=name)
ax.axvline(6 * H / 96, color="0.4", ls=":", lw=1.2)
ax.set(xlabel="sites D / 1", ylabel="multiply-adds a layer / 10$^6$")
ax.set_xticks([1, 2, 5, 10, 20, 50, 100, 200])
ax.xaxis.set_major_formatter("{x:g}")
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# The counts are of products only. An edge list also costs what is no
# arithmetic: states are copied to both ends of every pair, messages are
# gathered back, and the list itself is made anew for every batch. What all
# of it takes together is measured [below](sec:speed-floors).
#
# One thing the dense form has too much of: the hidden states of all pairs
# of a batch are by far its largest tensor, and every sweep over it waits
# for the memory. On a processor they are made, used and forgotten for a
# few crystals at a time, while they lie in the cache, and made again for
# the gradient (`symmbfn.networks.mean_messages`). The numbers are the
# same; the memory of a training step no longer grows with the number of
# layers.
#
# (sec:speed-buckets)=
# ## Size buckets
#
# The dense form pays for padding: all crystals of a batch are as large as
# the largest. So crystals share a batch with others of like size, in
# buckets of sites *and* of operations, because a group of 192 operations
# makes 192 images of every pair ({ref}`sec:model-images`). The upper
# edges of the buckets are printed first. Four ways to form batches of 128
# from the crystals of the histogram:

# %%
print("sites:     ", *SITE_EDGES)
print("operations:", *OPERATION_EDGES)
rows = rows[torch.randperm(len(rows), generator=generator)]
plan = BucketedBatches(
    rows[:, 1], rows[:, 0], batch_size=128, generator=generator
)
kind = rows[:, 1] * 1000 + n_operations(rows[:, 0])
exact = [(kind == value).nonzero().squeeze(-1) for value in kind.unique()]
ways = {
    "any order": list(torch.arange(len(rows)).split(128)),
    "buckets, training": [next(plan) for _ in range(len(plan))],
    "buckets, sampling": size_batches(rows, 128),
    "exact sizes": [part for all_ in exact for part in all_.split(128)],
}

# %% [markdown]
# In training, what a bucket leaves over joins the next larger one; in
# sampling, every bucket is padded to its edge. The share of computed pairs
# that are pairs of real sites, the same for images of pairs, and how many
# batches and shapes there are:

# %%
useful, n_shapes = {}, []
print(f"{'':<20}batches  shapes  pairs / %  images / %")
for name, batches in ways.items():
    done, shapes = np.zeros((2, 2)), set()
    for batch in batches:
        D, G = rows[batch, 1], n_operations(rows[batch, 0])
        edge = edge_of(G.max(), OPERATION_EDGES)
        size = int(D.max()), int(G.max() if "exact" in name else edge)
        if name == "buckets, sampling":
            size = int(edge_of(D.max(), SITE_EDGES)), size[1]
        shapes.add(size)
        pairs, images = int((D**2).sum()), int((D**2 * G).sum())
        every = len(batch) * size[0] ** 2
        done += [[pairs, images], [every, every * size[1]]]
    useful[name] = 100 * done[0] / done[1]
    n_shapes.append(len(shapes))
    counts = f"{len(batches):>7}{len(shapes):>8}"
    print("{:<20}{}{:>11.1f}{:>12.1f}".format(name, counts, *useful[name]))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-buckets", "caption": "Left: share of computed pairs, and of computed images of pairs, that belong to real sites and operations, for batches of 128 crystals with the sizes of MP-20 (n = 26,384, seed 0). Right: how many different shapes of batches there are, and how many batches a request for 1,000 of the crystals makes (none for training)."}, "image": {"alt": "Left: for any order both bars are below ten percent, for the buckets they are between 66 and 93, for exact sizes both are at 100. Right: any order makes a dozen shapes and 8 batches, buckets some thirty, exact sizes 186 shapes and a hundred batches."}}
for n in (100, 1000, 10_000):
    computed = 0
    for chunk in size_batches(rows[:n], 128):
        most = int(edge_of(rows[chunk, 1].max(), SITE_EDGES))
        computed += len(full_rows(chunk, most, 128, cpu))
    share = f"{n / computed:.0%} of the rows computed are asked for"
    print(f"request of {n:>6}: {share}")
in_kinds = kind[:1000].unique(return_counts=True)[1]
of_1000 = [8, np.nan, len(size_batches(rows[:1000], 128))]
of_1000.append(int((in_kinds / 128).ceil().sum()))
place = np.arange(len(useful))[::-1]
hatched = {"color": "white", "edgecolor": orange, "hatch": "//"}
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 3), sharey=True)
for ax, labels, values in (
    (left, ("pairs", "images"), np.array(list(useful.values())).T),
    (right, ("shapes", "batches of 1,000"), (n_shapes, of_1000)),
):
    ax.barh(place + 0.2, values[0], 0.4, color=blue, label=labels[0])
    ax.barh(place - 0.2, values[1], 0.4, label=labels[1], **hatched)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
left.set_yticks(place, list(useful))
left.set(xlabel="useful share / %", xlim=(0, 100))
right.set(xlabel="number / 1")
plt.show()

# %% [markdown]
# Exact sizes waste nothing, but have several times as many shapes, each to
# be checked and, on a GPU, captured, and cut a request of usual size into
# batches of ten crystals. The buckets are the compromise. Small requests
# would pay in another way: the sampler fills batches up with rows that
# nobody reads, for the reason that
# [the next but one section](sec:speed-bits) gives. So on the CPU crystals
# of several buckets share a *mixed* batch where they fill none of their
# own (`symmbfn.crystals.layout`): their sites and pairs stand in lists;
# only sums are taken bucket by bucket, so that no bit changes.
#
# (sec:speed-images)=
# ## Images from two exponentials
#
# Images as neighbours are the other large item: for every pair and every
# operation a distance, and for every distance a row of Gaussians about
# centres $c_j$, summed over the operations. The centres are equally
# spaced, $w$ apart, and $w$ is the Gaussians' width too. With
# $u = (d - \bar c) / w$ and $j$ counted from the middle $\bar c$,
#
# $$
# e^{-(u - j)^2 / 2} = e^{-u^2 / 2}\, \big(e^{u}\big)^{j}\, e^{-j^2 / 2} ,
# $$ (eq:speed-basis)
#
# two exponentials of each distance and then one product a centre; the
# last factor does not depend on the distance and waits until after the
# sum. Nothing is approximated, only rounded:

# %%
first, last, n_centres = CONTACT_RANGE
centres = torch.linspace(first, last, n_centres)
d = torch.linspace(0, 60, 60_001)[:, None]
plain = gaussian_basis(d, centres).sum(-2)
quick = summed_basis(d, *CONTACT_RANGE)
off = float((plain - quick).abs().max())
print(f"one distance, 0 to 60 radii: off by less than 5e-6: {off < 5e-6}")
d = 3 * torch.rand(1000, 192, generator=generator)
plain = gaussian_basis(d, centres).sum(-2)
quick = summed_basis(d, *CONTACT_RANGE)
off = float(((plain - quick) / plain).abs().max())
print(f"192 images: relative error below 5e-6: {off < 5e-6}")
print(f"exponentials of a distance: {n_centres} and 2")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-basis", "caption": "Left: the Gaussians of one distance, in sums of covalent radii (lines), and what two exponentials and products make of them (marks, every twentieth). Right: the largest error over all Gaussians. It grows towards the outer centres, which take most products; dotted, the rounding of a single number of float32 between 0.5 and 1."}, "image": {"alt": "Left: twelve overlapping bell curves with marks lying on them. Right: a ragged error curve of about a millionth at both ends and less in the middle, zero beyond the last Gaussian."}}
d = torch.linspace(0, 3.2, 401)[:, None]
plain = gaussian_basis(d, centres)[:, 0]
quick = summed_basis(d, *CONTACT_RANGE)
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.9))
left.plot(d, plain, color=blue, ls="-", lw=1)
left.plot(d[::20], quick[::20], "o", color=red, ms=3)
left.set(xlabel="distance / sum of radii", ylabel="value / 1")
right.plot(d, 1e6 * (plain - quick).abs().amax(-1), color=blue, lw=1)
right.axhline(1e6 * 2**-25, color="0.4", ls=":")
right.set(xlabel="distance / sum of radii", ylabel="error / $10^{-6}$")
plt.show()

# %% [markdown]
# (sec:speed-bits)=
# ## The same bits in every request
#
# Crystal $i$ of a request depends on the seed and on $i$ alone. For its
# noise that is easy ({ref}`sec:sample-given`). For the arithmetic it is
# not: a library chooses its way through a product by the product's shape,
# and another order of the same sum rounds differently. A row multiplied
# alone need not be the same bits as that row among others:

# %% tags=["nbval-ignore-output"]
states = torch.randn(1024, 256, generator=generator)
matrix = torch.randn(256, 256, generator=generator)
everything = states @ matrix
for n in (1, 2, 8, 64, 512):
    alone = states[:n] @ matrix
    differ = int((alone != everything[:n]).sum())
    print(f"{n:>4} of 1024 rows: {differ:>5} of {n * 256} numbers differ")

# %% [markdown]
# From a few rows on, their number does not matter on a processor. So the
# sampler pads what a crystal meets to sizes that do not depend on what
# else is asked for: sites and operations to the edges of the bucket, and
# rows to a multiple of eight or, for single sites, sixteen. (On a GPU, to
# a full batch.) Forty-eight crystals in one request, and some of them in
# smaller ones, in another order; the bits of coordinates, lattice,
# elements and letters are compared. A changed seed is the negative
# control:

# %%
way = preset_sampler(model, n_steps=3)


def request(index, seed):
    """Asymmetric units as bytes, by the number of the crystal."""
    asked, numbers = symmbfn.Request(n=48, seed=seed), torch.tensor(index)
    parts = generate_batches(model, asked, way, index=numbers)
    return {
        crystal.index: b"".join(
            np.asarray(value).tobytes()
            for value in vars(crystal.unit).values()
        )
        for part in parts
        for crystal in part
    }


whole = request(range(48), seed)
for name, index, other in (
    ("one alone", [7], seed),
    ("three", [40, 3, 11], seed),
    ("half of them, backwards", range(47, 0, -2), seed),
    ("three of another seed", [40, 3, 11], seed + 1),
):
    few = request(index, other)
    pairs = [zip(few[i], whole[i], strict=False) for i in few]
    bits = sum((a ^ b).bit_count() for pair in pairs for a, b in pair)
    same = all(few[i] == whole[i] for i in few)
    shown = bits if same else "many"
    print(f"{name:<24} same: {same!s:<6} differing bits: {shown}")

# %% [markdown]
# This holds for one machine and one number of threads. It is why a run can
# be cut into parts, resumed, and divided among machines of one kind
# without anybody seeing it in the crystals.
#
# (sec:speed-floors)=
# ## How far from the limit
#
# "Twice as fast" says little: as what? A stage cannot take less time than
# its operations at the rate of the processor's matrix products, nor less
# than the bytes that it must move, whichever is longer
# {cite:p}`williams2009roofline`:
#
# $$
# t \ge \max\!\Big(\frac{\text{operations}}{\text{rate}},\;
# \frac{\text{bytes}}{\text{bandwidth}}\Big) .
# $$ (eq:speed-floor)
#
# `symmbfn.benchmark.cost_model` counts operations and bytes from shapes,
# without padding or copies, and measures rate and bandwidth on the machine
# itself. Microseconds a crystal, of network and sampler for one step;
# `reached` is what the engine takes, padding, copies and all:

# %%
stages = ("network", "sampler", "decode", "rebuild")
kinds = ("floor.{}.us", "reached.{}.us", "floor.{}.share")
print(f"{'stage':<12}{'floor':>14}{'reached':>14}{'floor/reached':>16}")
for stage in stages:
    entries = [found.get(kind.format(stage)) for kind in kinds]
    if None in entries:
        print(f"{stage:<12}  not measured yet")
        continue
    least, taken, share = (entry["value"] for entry in entries)
    print(f"{stage:<12}{least:>14.4g}{taken:>14.4g}{share:>16.2g}")
rates = ("float32_mkl", "float32_onednn", "bf16", "copy")
print(claims_table({f"rate, {k}": f"ceiling.{k}" for k in rates}))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-floors", "caption": "Left: least time of each stage (filled) and the time reached (outline), per crystal, of network and sampler per step. Right: time of one step per crystal against its number of sites in a full batch (space group 62); the dotted lines grow like the sites and like the pairs."}, "image": {"alt": "Left: four pairs of horizontal bars on a logarithmic axis, the filled ones shorter. Right: a rising curve on two logarithmic axes between lines of slope one and two."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 3))
place = np.arange(len(stages))[::-1]
look = {"color": "white", "edgecolor": blue, "hatch": "//"}
for kind, height, style in (
    ("reached", 0.7, look),
    ("floor", 0.35, {"color": blue}),
):
    us = [found.get(f"{kind}.{k}.us", {"value": np.nan}) for k in stages]
    values = [entry["value"] for entry in us]
    left.barh(place, values, height, label=kind, **style)
left.set_yticks(place, stages)
left.set(xscale="log", xlabel="time / microseconds", xlim=(0.03, 1e4))
left.grid(axis="y", visible=False)
fig.legend(loc="outside upper left", ncols=2)
points = [(e["name"][8:-3], e["value"]) for e in claims("sites.n_*.us")]
points = sorted((int(n), us) for n, us in points)
if points:
    n, us = np.array(points).T
    right.loglog(n, us, "o-", color=blue)
    for power in (1, 2):
        right.loglog(n, us[-1] * (n / n[-1]) ** power, ":", color="0.5")
    right.set(ylim=(us.min() / 2, us.max() * 2))
    right.set_xticks(n, [f"{x:g}" for x in n])
    right.minorticks_off()
right.set(xlabel="sites / 1", ylabel="time / microseconds")
for ax, is_there in ((left, "floor.network.us" in found), (right, points)):
    if not is_there:
        text = "not measured yet"
        ax.text(0.5, 0.5, text, ha="center", transform=ax.transAxes)
plt.show()

# %% [markdown]
# The other question is how much faster than code that is written as such
# networks usually are. The baselines are whole models in PyTorch
# Geometric, of equal width and depth, run in turns with ours in one
# process:
#
# | baseline | what it is |
# |---|---|
# | layers | our model with the published layers |
# | same function | our model itself, weight for weight |
# | published | the published model, its edges made crystal by crystal |
# | ..., oneDNN | one of these, given the library of products that ours takes |
#
# A sampling step is one network call with its updates; a training step
# goes forward, back and through the optimiser. First `layers`, for which
# an aim was set (one that is not reached stays, with its "no"), then all:

# %%
aims = {
    f"{kind}, {name}": f"{kind}.speedup_vs_pyg.{data}"
    for kind in ("sample", "train")
    for name, data in (("MP-20", "mp_20"), ("MPTS", "mpts_52"))
}
print(claims_table(aims) + "\n")
compared = {"layers": "", "same function": ".same_function"}
compared |= {"published": ".as_published"}
compared |= {"layers, oneDNN": ".with_onednn"}
compared |= {"same, oneDNN": ".same_function_with_onednn"}
compared |= {"ours plain": ".uncompiled", "both bf16": ".bf16"}
print(f"{'times faster':<15}" + "".join(f"{name:>15}" for name in aims))
for label, suffix in compared.items():
    line = f"{label:<15}"
    for name in aims.values():
        entry, text = found.get(name + suffix), "not measured"
        if entry:
            ends = "-".join(f"{x:.2g}" for x in entry["interval"])
            text = f"{entry['value']:.2g} ({ends})"
        line += f"{text:>15}"
    print(line)

# %% [markdown]
# Intervals of speeds are the lowest and the highest of the rounds, and no
# statement about other machines. `ours plain` is `layers` over our model
# uncompiled: what the form of the mathematics and the library give by
# themselves. The rest is `torch.compile` {cite:p}`ansel2024pytorch`, which
# joins what is done to the same numbers one thing after another.
# `symmbfn.runtime.compilation.compiled` compares the first call of every
# shape with the plain function, and goes back to it where they differ.
#
# (sec:speed-steps)=
# ## Few steps
#
# The largest factor is not in the code: it is how many times the network
# is called. The share of 2,000 requests without a short contact (no pair
# closer than 0.7 sums of radii), in percent with 95 % intervals, for three
# solvers: `bfn` and `ode2` of {ref}`sec:sample-solvers`, and `sde2`, of
# second order with the noise of the former.

# %%
solvers = ("bfn", "ode2", "sde2")
calls = {
    int(name.split(".")[1].split("_")[1])
    for name in found
    if name.startswith("steps.bfn_")
}
print("calls" + "".join(f"{solver:>20}" for solver in solvers))
for n in sorted(calls):
    line = f"{n:>5}"
    for solver in solvers:
        entry = found.get(f"steps.{solver}_{n}.contacts")
        text = "not measured yet"
        if entry:
            low, high = entry["interval"]
            text = f"{entry['value']:.1f} ({low:.1f}-{high:.1f})"
        line += f"{text:>20}"
    print(line)
print(claims_table({"fewest calls that do": "steps.default"}))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-steps", "caption": "Quality against the number of network calls, for three solvers and the shipped weights, with 95 % intervals: shares of 2,000 requests without a short contact, and with a valid structure; and the distance of the Wyckoff positions from those of MP-20 val (Jensen-Shannon). Grey: interval of bfn with most calls. Dotted: the default, the fewest calls of which every figure lies inside."}, "image": {"alt": "Three panels with three curves each. Contacts rise with the number of calls and level off at about thirty, validity earlier; the distance falls and levels off earlier, too. A dotted line stands where the curves reach the grey band."}}
shown = {
    "contacts": "without short contact / %",
    "validity_structural": "valid structure / %",
    "d_letters": "distance of positions / 1",
}
fig, axes = plt.subplots(1, 3, figsize=(6.5, 3.1))
for ax, (kind, label) in zip(axes, shown.items(), strict=True):
    for solver, marker, colour in zip(
        solvers, "osD", (blue, orange, green), strict=True
    ):
        names = {n: f"steps.{solver}_{n}.{kind}" for n in sorted(calls)}
        rows_ = [(n, found[k]) for n, k in names.items() if k in found]
        x = np.array([n for n, _ in rows_])
        y = np.array([entry["value"] for _, entry in rows_])
        ends = np.array([entry["interval"] for _, entry in rows_])
        if len(x):
            off = np.abs(ends.T - y)
            ax.errorbar(
                x,
                y,
                off,
                marker=marker,
                ms=4,
                color=colour,
                lw=1.2,
                capsize=2,
                label=solver,
            )
    if calls:
        best = found[f"steps.bfn_{max(calls)}.{kind}"]["interval"]
        ax.axhspan(*best, color="0.5", alpha=0.2, lw=0)
    if "steps.default" in found:
        ax.axvline(found["steps.default"]["value"], color="0.3", ls=":")
    ax.set(xscale="log", xlabel="network calls / 1", ylabel=label)
    ax.set_xticks([4, 8, 16, 32, 100], ["4", "8", "16", "32", "100"])
    ax.minorticks_off()
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# With an exact estimate the second order needs a fraction of the calls
# ({ref}`nb:continuous`). With a network that errs this is only so where
# calls are fewest, and for the positions. In contacts `ode2` is behind
# from eight calls on and ends lower; `sde2`, which has noise, does not.
# Fresh noise corrects errors of earlier estimates
# {cite:p}`karras2022edm`; whether that is the reason here, nothing above
# tests. The default is `bfn` with one step less than the calls in the
# table, because the last call takes no step.
#
# (sec:speed-learning)=
# ## What a crystal seen is worth
#
# The shipped weights were trained on one core: `default` in one run of 240
# epochs, `paper` in two, 100 epochs and 60 more that began from the
# averaged weights with a fresh optimiser and a new seed. The log says so
# in a line of its own. The validation bound and its parts against the
# crystals seen:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-learning", "caption": "Validation bound of the averaged weights against the crystals seen, for both presets (left; their variables differ, so the levels do not compare), and the parts of the default preset's relative to the first validation (right). Vertical lines: the second run of `paper` starts from the saved weights, with a fresh optimiser; the learning rate of `default` begins to fall."}, "image": {"alt": "Left: two falling curves that flatten; the upper one rises a little behind a dotted line and falls again, the lower one falls faster behind another one. Right: five falling curves, the pointers highest, the coordinates lowest; behind the line the lattice falls most, the elements least."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 3.3))
print(
    "epoch" + "".join(f"{preset:>12}" for preset in ("default", "paper"))
)
table = {}
for preset, marker, colour in (
    ("default", "o", blue),
    ("paper", "s", red),
):
    text = (RESULTS / f"training_{preset}.jsonl").read_text()
    log = [json.loads(line) for line in text.splitlines()]
    again = [i for i, row in enumerate(log) if row.get("continued_from")]
    marks = [log[i - 1]["crystals"] / 1e6 for i in again]
    checks = [row for row in log if row["kind"] == "validation"]
    seen = [row["crystals"] / 1e6 for row in checks]
    bound = [row["bound"] for row in checks]
    table[preset] = {round(r["epoch"]): r["bound"] for r in checks}
    steps = [row for row in log if row["kind"] == "train"]
    if not again:  # one run, whose learning rate falls at its end
        share = 1 - log[0]["decay_fraction"]
        marks = [share * steps[-1]["crystals"] / 1e6]
    left.plot(seen, bound, marker=marker, ms=3, color=colour, label=preset)
    for ax in (left, right) if preset == "default" else (left,):
        for place in marks:
            ax.axvline(place, color=colour, ls=":")
    if preset == "default":
        for name in (*model.continuous, *model.categorical):
            part = np.array([row[name] for row in checks])
            right.plot(seen, part / part[0], label=name)
for epoch in (5, 20, 60, 100, 105, 120, 140, 160, 200, 240):
    bounds = [table[p].get(epoch) for p in ("default", "paper")]
    shown = ["" if b is None else f"{b:.2f}" for b in bounds]
    print(f"{epoch:>5}" + "".join(f"{text:>12}" for text in shown))
print("default, nats per crystal")
parts = ("lattice", "coords", "elements", "pointers", "letters")
rows = {
    f"{part}, {split}": f"default.after.{split}.{part}"
    for part in parts
    for split in ("train", "val")
}
print(claims_table(rows))
left.set(yscale="log", ylabel="bound / nats per crystal")
left.set_yticks([25, 30, 40, 50, 60, 80], [25, 30, 40, 50, 60, 80])
left.minorticks_off()
right.set(ylabel="part of the bound / first value", ylim=(0, 1.05))
for ax in (left, right):
    ax.set(xlabel="crystals seen / 10$^6$", xlim=(0, None))
    ax.legend()
plt.show()

# %% [markdown]
# Where the second run begins the bound first rises, since the learning
# rate is high again and the optimiser's moments begin anew; twenty epochs
# go by before it is below where the first had ended. What an epoch brings
# shrinks and shrinks, until the learning rate falls: while it does, two
# nats more go. The crystals that the network has seen cost less than those
# of val, most of all in their elements: to some degree they are learnt by
# heart.
#
# A run that is stopped midway never sees its fall of the learning rate.
# Who has ten minutes should not run the first ten minutes of a long
# training, but a short one with its own fall. That is what `minutes=`
# does: the schedule follows the clock. And a warm-up of 500 steps, right
# for a long run, would not end where a step takes two seconds; it is made
# to end with a tenth of the budget:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:speed-schedule", "caption": "Learning rate over a budget of ten minutes, relative to its peak, on a machine that takes 0.05 s a step and on one that takes 2 s; and on the latter if the warm-up were 500 steps whatever they take."}, "image": {"alt": "Two curves that rise within the first minute, stay at 1 until minute six and fall to zero at ten. A third one rises all the time to about 0.36, where it meets the fall."}}
budget = TrainingConfig(minutes=10)
seconds = 60 * budget.minutes
fig, ax = plt.subplots(figsize=(6, 2.8))
for step_time, has_budget, label in (
    (0.05, True, "0.05 s a step"),
    (2.0, True, "2 s a step"),
    (2.0, False, "2 s, 500 steps of warm-up"),
):
    progress = np.arange(0, 1, step_time / seconds)
    steps = budget.optimiser.warmup_steps
    each = warmup_advance(step_time / seconds, steps) if has_budget else 1
    factor = [
        learning_rate_factor(each * step, done, budget.optimiser)
        for step, done in enumerate(progress)
    ]
    ax.plot(budget.minutes * progress, factor, label=label)
ax.set(xlabel="time / minutes", ylabel="learning rate / peak")
fig.legend(loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# A budget of some seconds, with a tiny model on the prototypes. How far it
# comes depends on the machine; that it ends with a falling learning rate,
# and better than it began, does not:

# %%
small = NetworkConfig(width=48, depth=2, n_frequencies=8, edge_width=32)
tiny = replace(default_config(model.config.elements), network=small)
torch.manual_seed(seed)
tiny_model = SymmBFN(tiny, statistics)
before = validate(tiny_model, dataset, n_crystals=64)["bound"]
run = TrainingConfig(
    minutes=0.08 if scale == "cpu" else 10, batch_size=32, seed=seed
)
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(tiny_model, dataset, None, run, folder)
    average = trainer.run()
after = validate(average, dataset, n_crystals=64)["bound"]
last = trainer.updates.optimiser.param_groups[0]["lr"]
rate = last / run.optimiser.learning_rate
print("budget used:", trainer.progress == 1.0)
print("last learning rate below half of the peak:", rate < 0.5)
print("bound fell:", after < before)

# %% [markdown]
# (sec:speed-ranks)=
# ## Several processes
#
# `torchrun --nproc-per-node 4 -m symmbfn train ...` trains with four
# processes, *ranks*. Every rank draws the same batch, times and noise,
# and takes every fourth crystal of it. The gradient of the batch's mean is
# a sum over crystals, so it is the sum of what the ranks find:
#
# $$
# \nabla \frac1B \sum_{b=1}^{B} \mathcal L_b
# = \sum_{r=0}^{R-1} \frac1B \sum_{b\, \in\, r + R \mathbb Z}
# \nabla \mathcal L_b .
# $$ (eq:speed-ranks)
#
# One sum over the ranks, of all gradients in one piece, is all that they
# say to each other in a step. So the run is the same for any number of
# ranks but for rounding, and may be resumed with another number. Here the
# ranks take their turns in one process, with a batch of 30 that four
# cannot divide. The control takes the mean of the ranks' own means:

# %%
index = torch.arange(30)
data, conditions = tiny_model.encode(dataset.batch(index))
t = stratified_times(len(index), tiny.loss.min_t, generator, cpu)
batch = [
    data,
    conditions,
    t,
    draw_noise(tiny_model, conditions, generator, cpu),
]
gradients = {}
for size, is_own_mean in ((1, False), (2, False), (4, False), (4, True)):
    trainer.updates.sums.zero_()
    for rank in range(size):
        mine = Ranks(rank, size).share
        part = mapped(lambda tensor, mine=mine: tensor[mine], batch)
        losses, _ = batch_loss(tiny_model, *part, False)
        n = size * len(losses) if is_own_mean else len(index)
        (losses.sum() / n).backward()
    gradients[size, is_own_mean] = trainer.updates.gradient.clone()
one = gradients.pop((1, False))
for (size, is_own_mean), gradient in gradients.items():
    off = float((gradient - one).norm() / one.norm())
    name = "mean of means" if is_own_mean else "sum"
    print(f"{size} ranks, {name:<14} off by less than 1e-5: {off < 1e-5}")

# %% [markdown]
# (sec:speed-gpu)=
# ## On a GPU
#
# The same code runs there, with these differences:
#
# - Every bucket has one shape: batches are filled up to full size, and
#   `compiled` captures the kernels of each shape in a graph, which is
#   replayed with one launch in place of one for every kernel.
# - Products may be done in bf16 {cite:p}`kalamkar2019bfloat16`; phases,
#   image geometry, flows and losses stay in float32.
# - Data and averages live on the device, batches are gathered there beside
#   the running step, and whether a loss was finite is decided there too.
#   The host looks once in 100 steps.
# - Several GPUs sum their gradients by NCCL.
#
# `make gpu` runs the measurements of this chapter on one and records them
# under names of their own. What is not recorded is not stated:

# %%
names = {
    "network, floor": "floor.network.us",
    "network, reached": "reached.network.us",
    "crystal, 10 steps": "end_to_end.steps_10.ms",
    "crystal, 100 steps": "end_to_end.steps_100.ms",
    "sampling, MP-20": "sample.speedup_vs_pyg.mp_20",
    "sampling, MPTS-52": "sample.speedup_vs_pyg.mpts_52",
    "training, MP-20": "train.speedup_vs_pyg.mp_20",
    "memory": "memory.peak.mib",
}
print(claims_table({key: f"gpu.{name}" for key, name in names.items()}))
if not claims("gpu.*"):
    print("\nno run on a GPU has been recorded")

# %% [markdown]
# ## Against the paper
#
# The paper gives times of a crystal on MP-20 and on MPTS-52, whose
# crystals are larger, for its model, for the same model on all atoms of
# the cell, and for a Bayesian flow network of another family
# {cite:p}`ruple2026symmbfn,wu2025crysbfn`. Neither the hardware nor what
# is inside the 7 ms is named; so the factors compare, and the
# milliseconds do not.
#
# | | published | n | interval |
# |---|---|---|---|
# | asymmetric unit, MPTS-52 / MP-20 | 8 ms / 7 ms = 1.14 | not given | not given |
# | full cell, MPTS-52 / MP-20 | 53 ms / 16 ms = 3.31 | not given | not given |
# | CrysBFN, MPTS-52 / MP-20 | 95 ms / 28 ms = 3.39 | not given | not given |
# | full cell / asymmetric unit, MP-20 | 16 ms / 7 ms = 2.3 | not given | not given |
# | full cell / asymmetric unit, MPTS-52 | 53 ms / 8 ms = 6.6 | not given | not given |
# | a crystal of MP-20, 100 steps | 7 ms | not given | not given |
#
# Ours, on one processor core; "default" is our preset, "paper" the
# published network on sites, and "cell" the same on all atoms:

# %%
rows = {
    "MPTS/MP, default": "scaling.symmbfn",
    "MPTS/MP, paper": "scaling.paper",
    "MPTS/MP, cell": "scaling.full_cell",
    "cell/paper, MP-20": "scaling.full_cell_over_sites.mp_20",
    "cell/paper, MPTS-52": "scaling.full_cell_over_sites.mpts_52",
    "crystal, 100 steps": "end_to_end.steps_100.ms",
    "crystal, 10 steps": "end_to_end.steps_10.ms",
    "rebuilding, its share": "rebuild.share",
}
print(claims_table(rows))

# %% [markdown]
# A factor of growth measures two things: how much larger the crystals are,
# and how much of the time does not depend on their size. The less a
# program wastes on the latter, the *larger* its factor can be. On a GPU
# that waits for launches, a network call takes as long for 4 sites as for
# 8, and the factor is near 1; on a busy core it shows the pairs.
#
# ## What can go wrong
#
# - **A mean over padding.** Dividing by the padded number of sites instead
#   of the real one changes the network quietly. The test above, with and
#   without the mask, sees it.
# - **Timing the first call.** Compilation, shapes met for the first time
#   and cold caches belong to another line. On a GPU the clock must wait
#   for the device, or it times how quickly work is handed over.
# - **Comparing a fast form with a slow day.** On a shared machine two runs
#   an hour apart differ more than two programs. What is compared here ran
#   in turns, in one process, charged by its own processor time.
# - **Phases in bf16.** It has eight bits: between 128 and 256, where
#   $2 \pi \cdot 24 x$ can be, its numbers are one radian apart. Autocast
#   is for the products.
# - **Buckets that are always in the same order.** Small crystals first,
#   large ones last, and every epoch ends by forgetting the small ones. The
#   order of the batches is shuffled over all buckets.
#
# ## Summary
#
# - Pairs are the work. The dense form in blocks needs fewer products for
#   them than the edge list, and is the same function.
# - Buckets keep most pairs useful, with a number of shapes that a
#   compiler can live with.
# - A crystal has the same bits in every request; a training the same
#   gradient on any number of ranks, but for rounding.
# - Floors say what is left to gain; calls of the network are the largest
#   factor, and their number is chosen by measured quality.
#
# ## Exercises
#
# **1.** By what factor do blocks reduce the products of large crystals, at
# most? Take equation {eq}`eq:speed-count` with $H = 512$, and $F = 128$ or
# 24. Why is there no gain for $D = 1$?
#
# :::{admonition} Solution
# :class: dropdown
#
# For large $D$ only the pairs count:
#
# $$
# \frac{(2H + E) H + H^2}{E H + H^2} = \frac{3H + E}{H + E} ,
# $$
#
# 1.8 for $E = 768$ and 2.6 for $E = 144$. For $D = 1$ there is one pair
# and one site, $2 H^2$ more for the one and $2 H^2$ less for the other.
# :::
#
# **2.** Equation {eq}`eq:speed-basis` counts centres from the middle, not
# from the first one. What would go wrong with 14 centres counted from the
# first, for $u$ up to 20? And why may distances beyond the last centre be
# left out?
#
# :::{admonition} Solution
# :class: dropdown
#
# The last product is $e^{13 u} = e^{260}$, beyond float32 at $e^{88}$,
# times $e^{-u^2/2} = e^{-200}$, which float32 rounds to zero: infinity
# times zero is not a number. From the middle, powers go to 6.5 only, and
# `summed_basis` stops at $u = 13$: $e^{84.5}$ still fits. There the last
# Gaussian, 6.5 widths away, is $e^{-21}$, less than a billionth.
# :::
#
# **3.** A library averages the gradients of the ranks instead of adding
# them, each rank having taken the mean over its own crystals. For a batch
# of 30 on four ranks, how much more does a crystal of the last rank count
# than one of the first? How is it put right?
#
# :::{admonition} Solution
# :class: dropdown
#
# The ranks have 8, 8, 7 and 7 crystals, so weights are $1/32$ and $1/28$:
# one seventh more. Multiply each rank's mean by its number of crystals,
# add, and divide by 30 once; or drop the two that are left over.
# :::
#
# ## References
#
# {cite:t}`jiao2023diffcsp` for CSPNet; {cite:t}`fey2019pyg` for the
# scatter form; {cite:t}`ansel2024pytorch` for compilation;
# {cite:t}`williams2009roofline` for limits from rates and bytes;
# {cite:t}`kalamkar2019bfloat16` for bf16; {cite:t}`ruple2026symmbfn` and
# {cite:t}`wu2025crysbfn` for the published times;
# {cite:t}`lu2022dpmsolverpp` for the solvers of second order. In full:
# {doc}`../book/bibliography`.
