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
# (nb:symmetry)=
# # Crystals and symmetry
#
# **A space group fixes most of a crystal. It leaves open a few lattice
# numbers, a choice of Wyckoff positions, and the free coordinates of one
# atom per orbit: these are what a model has to draw.**
#
# :::{admonition} This chapter
# :class: note
#
# - **You will learn** what an orbit, a Wyckoff position and its site
#   symmetry are; how six numbers $k$ describe every lattice; and what a
#   space group still leaves open (its normaliser).
# - **Before it:** fractional coordinates and matrices. No group theory.
# - **Run time:** {claim}`chapter.01_crystals_and_symmetry.seconds` on one
#   processor core; the aim is 40 s.
# - **Hardware:** any; no data, no network.
# :::

# %% tags=["parameters"]
scale: str = "cpu"  # "full": MP-20 val in place of the prototypes
seed: int = 0

# %%
from collections import Counter
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.linalg import logm

from symmbfn.crystals.file_formats import operation_texts
from symmbfn.crystals.lattice import (
    k_to_metric,
    k_to_parameters,
    lattice_constraints,
    metric_to_k,
    parameters_to_matrix,
    parameters_to_metric,
)
from symmbfn.crystals.structure import asymmetric_unit, parse_cif
from symmbfn.crystals.symmetry import (
    AXIS_CLASSES,
    CRYSTAL_FAMILIES,
    operations_of,
    orbit_of,
    positions_of,
    symmetry_tables,
)
from symmbfn.datasets.registry import load_dataset
from symmbfn.figures.plots import COLOURS, use_style

use_style()
blue, orange, green, red, sky, pink, black = COLOURS.values()
tables = symmetry_tables()

# %% [markdown]
# (sec:operations)=
# ## 230 groups as tables
#
# A crystal repeats itself in three directions, and usually it has more
# symmetry than that. Every symmetry operation is a matrix $W$ and a
# translation $w$ that act on fractional coordinates:
#
# $$
# x' = W x + w .
# $$ (eq:operation)
#
# All operations of a crystal form its space group $G$. Up to a change of
# axes there are 230 of them, listed in the International Tables
# {cite:p}`ita2016`. We never compute with a symmetry program while a
# model trains or samples. A script asked PyXtal
# {cite:p}`fredericks2021pyxtal` once, the answers were checked against
# spglib {cite:p}`togo2024spglib`, and the package carries them as arrays.
#
# Group 14, $P2_1/c$, is the most common one among molecular crystals. Per
# cell it has four operations:

# %%
for text in operation_texts(14):
    print(text)

# %% [markdown]
# A list of operations is a group only if the product of any two is in the
# list again (up to whole cells). That is easy to check for all 230. Every
# translation is a multiple of 1/24, so an operation is twelve small whole
# numbers, and these make one key.


# %%
def key(rotations, twentyfourths):
    digits = rotations.reshape(-1, 9).astype(int) + 1
    shifts = twentyfourths.reshape(-1, 3) % 24
    return digits @ 3 ** np.arange(9) + 3**9 * (shifts @ [1, 24, 576])


is_closed = []
for number in range(1, 231):
    W, w = operations_of(number)
    w = np.rint(24 * w).astype(int)
    shifts = np.einsum("aij,bj->abi", W, w) + w[:, None]
    products = key(W[:, None] @ W, shifts)
    is_closed.append(set(products) == set(key(W, w)))
print(sum(is_closed), "of 230 groups are closed")

# %% [markdown]
# (sec:orbits)=
# ## Orbits and Wyckoff positions
#
# Put an atom at $x$. The group forces atoms at every $W x + w$: the
# *orbit* of $x$. Most points have an orbit as long as the group. A point
# on a mirror or on an axis is its own image under some operations, and
# its orbit is shorter. With $|G|$ operations per cell,
#
# $$
# \text{multiplicity}(x) \times
# |\{(W, w) \in G : W x + w \equiv x\}| = |G| .
# $$ (eq:orbit)
#
# The operations that are counted are the *site group* of $x$. Points whose
# site groups are alike make a *Wyckoff position*; it has a multiplicity
# and a letter. The points of a position fill a *locus*: a point, a line,
# a plane, or all of space, with 0, 1, 2 or 3 free coordinates. Our
# tables store it as an affine map that sends space onto the locus and
# leaves the locus alone,
#
# $$
# x = R u + t, \qquad R R = R, \quad R t = 0 .
# $$ (eq:locus)
#
# Rutile, TiO$_2$, has the group $P4_2/mnm$, number 136. Here are its
# positions, from the table:


# %%
def affine(row, shift):
    factors = zip(row, "xyz", strict=True)
    text = "".join(f"{f:+g}{n}".replace("1", "") for f, n in factors if f)
    constant = str(Fraction(shift).limit_denominator(24))
    text += f"+{constant}" if text and shift else ""
    return (text or constant).removeprefix("+")


rows = positions_of(136)
print("position  free  locus")
for index, row in enumerate(range(rows.start, rows.stop)):
    R, t = (part[0] for part in orbit_of(136, index))
    name = f"{tables.multiplicity[row]}{tables.letter[row]}"
    locus = ", ".join(map(affine, R, t))
    print(f"{name:>8}  {tables.degrees_of_freedom[row]:>4}  {locus}")

# %% [markdown]
# Titanium sits on 2a and oxygen on 4f, $x, x, 0$. The whole structure is
# two lattice lengths and one free number, $x \approx 0.305$. The picture
# shows what happens when a general point walks onto the line $x, x, 0$:
# sixteen atoms become four.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:orbits", "caption": "Orbits in the cell of group 136, seen along c. The colour is the distance from the nearest plane z = 0 or z = 1; in the first two cells every dot is two atoms, at z and at 1 - z. Near the diagonals the sixteen atoms gather in groups of four; on them each group is one atom of 4f."}, "image": {"alt": "Four square cells with 8, 8, 4 and 2 dots: the orbits of a general point, of a point near the diagonal, of a point on it, and of the corner. Near the diagonals the dots stand in pairs of one colour, on them each pair is one dot of that colour."}}
panels = [
    ("16k, general", 0, (0.41, 0.22, 0.16)),
    ("16k, near 4f", 0, (0.325, 0.285, 0.03)),
    ("4f, on x, x, 0", 5, (0.305, 0.305, 0)),
    ("2a, the corner", 10, (0, 0, 0)),
]
fig, axes = plt.subplots(
    2, 2, figsize=(6.2, 5.4), sharex=True, sharey=True
)
for ax, (title, index, x) in zip(axes.flat, panels, strict=True):
    R, t = orbit_of(136, index)
    atoms = np.unique(((R @ x + t) % 1).round(6), axis=0)
    ax.plot([0, 1], [0, 1], "-", color="0.8", zorder=0)
    ax.plot([0, 1], [1, 0], "-", color="0.8", zorder=0)
    z = np.minimum(atoms[:, 2], 1 - atoms[:, 2])
    dots = ax.scatter(*atoms.T[:2], c=z, vmin=0, vmax=0.5, s=34, zorder=2)
    ax.set(title=f"{title}: {len(atoms)} atoms", aspect="equal")
    ax.set(xlim=(-0.05, 1), ylim=(-0.05, 1))
for ax in axes[1]:
    ax.set_xlabel("x / cell edge")
for ax in axes[:, 0]:
    ax.set_ylabel("y / cell edge")
fig.colorbar(
    dots, ax=axes, label="distance from z = 0 / cell edge", shrink=0.7
)
plt.show()

# %% [markdown]
# Equation {eq}`eq:orbit` must hold for all positions of all groups. We
# put a point with irrational coordinates on every locus and count.

# %%
generic = np.sqrt([2, 3, 5])
is_right = []
for number in range(1, 231):
    W, w = operations_of(number)
    for row in range(1731)[positions_of(number)]:
        first = tables.orbit_start[row]
        R, t = (
            tables.orbit_rotations[first],
            tables.orbit_translations[first],
        )
        moved = W @ (R @ generic + t) + w - (R @ generic + t)
        is_fixed = (abs(moved - moved.round()) < 1e-6).all(axis=1)
        product = is_fixed.sum() * tables.multiplicity[row]
        is_right.append(product == len(W))
print(f"{sum(is_right)} of {len(is_right)} positions")
print(len(tables.orbit_rotations), "maps from representatives to atoms")

# %% [markdown]
# (sec:site-symmetry)=
# ## Site symmetry as 15 x 13
#
# A letter means something within its group only: 4a in group 14 and 4a in
# group 225 share a name and nothing else. SymmCD {cite:p}`levy2025symmcd`
# and the paper {cite:p}`ruple2026symmbfn` describe a position by its site
# group instead. There are 15 directions along which a rotation axis or a
# mirror's normal can lie, in any of the 230 groups, and along each there
# is one of 13 symbols: `1`, `-1`, `2`, `m`, `3`, ..., `6/m`. So a
# position is 15 classes of 13, or a matrix of 195 zeros and ones with
# one 1 per row. Group 225, $Fm\bar{3}m$, looks like this:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:encoding", "caption": "Site symmetries of the twelve positions of group 225 along the 15 directions. The rows of a and b are equal, and those of h and i: the encoding cannot tell them apart."}, "image": {"alt": "Table of twelve Wyckoff positions against fifteen directions; each cell holds a symbol such as 4/m."}}
directions = ["100", "010", "001", "111", "1-1-1", "-11-1", "-1-11"]
directions += ["1-10", "110", "01-1", "011", "-101", "101"]
directions += ["120", "210"]
rows = positions_of(225)
encoding = tables.encoding[rows]
fig, ax = plt.subplots(figsize=(6.5, 4.4))
ax.imshow(encoding, cmap="cividis", vmax=16, aspect="auto")
ax.grid(False)
for (i, j), symbol in np.ndenumerate(encoding):
    colour = "white" if symbol < 8 else "black"
    look = {"ha": "center", "va": "center", "fontsize": 8.5}
    ax.text(j, i, AXIS_CLASSES[symbol], color=colour, **look)
names = [
    f"{tables.multiplicity[row]}{tables.letter[row]}"
    for row in range(1731)[rows]
]
ax.set_xticks(range(15), [f"[{d}]" for d in directions], rotation=60)
ax.set_yticks(range(len(names)), names)
ax.set(xlabel="direction / cell axes", ylabel="Wyckoff position")
plt.show()

# %% [markdown]
# Positions with equal rows *collide*: their sites are surrounded by the
# same symmetry in the same orientation, at different places. How often?

# %%
by_group = [tables.encoding[positions_of(g)] for g in range(1, 231)]
n_positions = np.array([len(rows) for rows in by_group])
n_distinct = np.array([len(np.unique(rows, axis=0)) for rows in by_group])
print("positions:", n_positions.sum())
print("distinct within their group:", n_distinct.sum())
print("distinct at all:", len(np.unique(tables.encoding, axis=0)))
print("groups without a collision:", (n_distinct == n_positions).sum())

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:collisions", "caption": "Each circle stands for the groups with that many positions and distinct encodings; its area is the number of groups (230 in all). On the line no positions collide."}, "image": {"alt": "Scatter of distinct encodings against Wyckoff positions per group; most circles lie below the diagonal."}}
groups = Counter(
    zip(n_positions.tolist(), n_distinct.tolist(), strict=True)
)
fig, ax = plt.subplots(figsize=(5.5, 3.4))
ax.plot([0, 28], [0, 28], "-", color="0.6", label="no collisions")
ax.scatter(
    *zip(*groups, strict=True),
    s=[14 * n for n in groups.values()],
    facecolor=sky,
    edgecolor=blue,
    alpha=0.8,
)
ax.set(xlabel="Wyckoff positions / group", ylabel="encodings / group")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# The paper has a setting with ten common groups only ("10 SGs"). In each
# of the ten, letters collide:

# %%
for number in (2, 12, 14, 62, 63, 139, 166, 194, 221, 225):
    alike: dict[bytes, str] = {}
    for row in reversed(range(1731)[positions_of(number)]):
        code = tables.encoding[row].tobytes()
        alike[code] = alike.get(code, "") + tables.letter[row]
    shared = [letters for letters in alike.values() if len(letters) > 1]
    symbol = tables.hermann_mauguin[number - 1]
    print(f"{number:>4} {symbol:<9}{' '.join(shared)}")

# %% [markdown]
# So with the 15 x 13 encoding the letter is known only once the
# coordinates are: a site of group 225 with the symmetry of row a may
# still be at 0 or at 1/2. The `paper` preset keeps the encoding. The
# `default` preset draws the letter itself, one class among the at most 27
# positions of the group, and gives the encoding to the network as a
# description of each letter.
#
# (sec:lattice)=
# ## Six numbers for every lattice
#
# The rows of the lattice matrix $L$ are the cell vectors. Rotating the
# crystal changes $L$ but not the metric $M = L L^\mathsf{T}$, which holds
# the lengths and angles. $M$ is symmetric and positive, so it has a
# logarithm, again a symmetric matrix, and any symmetric matrix is the
# logarithm of some metric. We write half of it over six basis matrices:
#
# $$
# \tfrac12 \log M = \sum_{i=1}^{6} k_i B_i .
# $$ (eq:k)
#
# $B_1, B_2, B_3$ have a pair of ones off the diagonal, at $(1,2)$, $(1,3)$
# and $(2,3)$; $B_4 = \mathrm{diag}(1, -1, 0)$,
# $B_5 = \mathrm{diag}(1, 1, -2)$, and $B_6$ is the identity. The first
# three tilt the axes towards each other, the next two stretch one axis
# and shrink another, and $k_6$ is the size: $V = e^{3 k_6}$. *Any* six
# numbers are a lattice, which is what a model that draws numbers wants.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:k", "caption": "A cube (grey, dashed) and what it becomes when one coefficient is raised by 0.25. All cells but the last have the volume of the cube."}, "image": {"alt": "Six drawings of a cell: three sheared, two stretched, one swollen, each beside a dashed cube."}}
corners = np.array(list(np.ndindex(2, 2, 2)), dtype=float)
edges = [
    (i, j)
    for i in range(8)
    for j in range(i)
    if abs(corners[i] - corners[j]).sum() == 1
]
fig, axes = plt.subplots(
    2, 3, figsize=(6.5, 4.2), subplot_kw={"projection": "3d"}
)
for i, ax in enumerate(axes.flat):
    for value, colour, style in ((0, "0.6", "--"), (0.25, blue, "-")):
        k = torch.zeros(6).double()
        k[i] = value
        # the symmetric root of the metric has the cell vectors as rows
        half = (corners - 0.5) @ k_to_metric(k / 2).numpy()
        for edge in edges:
            ax.plot(*half[list(edge)].T, style, color=colour)
    ax.set(title=f"$k_{i + 1}$", aspect="equal")
    ax.set_axis_off()
plt.show()

# %% [markdown]
# A crystal family fixes some of the $k_i$. This is the table that the
# paper has as its Supplementary Table 7, printed from the code:

# %%
print(f"{'family':<13}{'groups':<9}", end="")
print("".join(f"{f'k{i}':>8}" for i in range(1, 7)))
for family, name in enumerate(CRYSTAL_FAMILIES):
    numbers = np.flatnonzero(tables.crystal_family == family) + 1
    free, fixed = lattice_constraints(torch.from_numpy(numbers))
    assert (free == free[0]).all() and (fixed == fixed[0]).all()
    row = [
        "free" if is_free else f"{value:.4g}"
        for is_free, value in zip(free[0], fixed[0], strict=True)
    ]
    groups = f"{numbers[0]}-{numbers[-1]}"
    print(f"{name:<13}{groups:<9}" + "".join(f"{x:>8}" for x in row))

# %% [markdown]
# The hexagonal *family* holds two crystal *systems*, the trigonal groups
# (143 to 167, in hexagonal axes) and the hexagonal ones (168 to 194).
# Lattices go by family, so "hexagonal" means the family in this chapter
# and the next; a request for groups by name means the system. The
# constant is $-\tfrac14 \ln 3$, from $\gamma = 120^\circ$. What the rows
# mean for a cell shows when the same random $k$ is read in each family:

# %%
generator = torch.Generator().manual_seed(seed)
k = 0.2 * torch.randn(6, generator=generator).double()
k[5] = 1.5
print("group     a     b     c  alpha   beta  gamma")
for number in (1, 3, 16, 75, 143, 195):
    *lengths, alpha, beta, gamma = k_to_parameters(k, number).tolist()
    print(f"{number:>5}" + "".join(f"{x:>6.2f}" for x in lengths), end="")
    print(f"{alpha:>7.1f}{beta:>7.1f}{gamma:>7.1f}")

# %% [markdown]
# (sec:triangular)=
# ### Which logarithm?
#
# The coefficients can also be read off $\log L$ of a triangular $L$, as
# the code of SymmCD does. But $\log L$ is not symmetric, and what its
# symmetric part forgets is not always put back by the family. We compare
# both for one monoclinic cell while its angle grows.

# %%
angles = torch.arange(90.0, 131.0, 5.0)
cell = torch.tensor([6.0, 5.0, 8.0, 90.0, 90.0, 90.0])
cells = cell.repeat(len(angles), 1)
cells[:, 4] = angles


def through_metric(cells, number):
    k = metric_to_k(parameters_to_metric(cells))
    return k_to_parameters(k, number)


def through_triangle(cells, number):
    logarithms = [logm(L) for L in parameters_to_matrix(cells).numpy()]
    S = torch.tensor(np.array(logarithms))
    # the metric whose half logarithm is the symmetric part of log L
    k = metric_to_k(torch.linalg.matrix_exp(S + S.mT))
    return k_to_parameters(k, number)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:triangular", "caption": "Error of the cell after a round trip through k, for a = 6, b = 5, c = 8 angstrom: by the logarithm of the metric (circles, zero) and by the symmetric part of the logarithm of a triangular matrix (squares)."}, "image": {"alt": "Two panels against beta from 90 to 130 degrees: angle error and length error. The triangular map errs by up to five degrees and twelve percent, the metric map not at all."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.8))
for label, colour, marker, back in (
    ("metric", blue, "o", through_metric(cells, 14)),
    ("triangular", red, "s", through_triangle(cells, 14)),
):
    look = {"color": colour, "marker": marker, "label": label, "ls": "-"}
    left.plot(angles, abs(back - cells)[:, 4], **look)
    worst = 100 * abs(back / cells - 1)[:, :3].amax(1)
    right.plot(angles, worst, **look)
left.set(ylabel="error of beta / degrees")
right.set(ylabel="largest error of an edge / %")
for ax in (left, right):
    ax.set(xlabel="beta / degrees")
    ax.legend()
plt.show()

# %% [markdown]
# (sec:normaliser)=
# ## What a group leaves open: its normaliser
#
# Rock salt has sodium on 4a and chlorine on 4b of group 225. Or chlorine
# on 4a and sodium on 4b: it is a matter of where the origin is put. The
# group cannot tell, because the shift by $(\tfrac12, \tfrac12, \tfrac12)$
# maps its symmetry elements onto each other.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:origin", "caption": "One layer of rock salt, Na black and Cl open. Both frames are cells of group 225 in its standard setting: 4a is the corner, with Na there in one and Cl in the other."}, "image": {"alt": "A checkerboard of filled and open circles with two square frames, the second shifted by half an edge."}}
points = np.array(list(np.ndindex(6, 4))) / 2
is_sodium = (2 * points).sum(axis=1) % 2 == 0
fig, ax = plt.subplots(figsize=(5.5, 3.6))
for mask, face in ((is_sodium, "black"), (~is_sodium, "white")):
    look = {"facecolor": face, "edgecolor": "black", "zorder": 2}
    ax.scatter(*points[mask].T, s=70, **look)
for x, colour, style, name in (
    (0, blue, "-", "Na"),
    (1.5, red, "--", "Cl"),
):
    ax.plot(
        [x, x + 1, x + 1, x, x], [0, 0, 1, 1, 0], color=colour, ls=style
    )
    label = f"{name} on 4a"
    ax.text(x + 0.5, 1.25, label, color=colour, ha="center", va="center")
ax.set(aspect="equal", xlabel="x / cell edge", ylabel="y / cell edge")
ax.grid(False)
plt.show()

# %% [markdown]
# All changes of axes and origin $n = (W, t)$ that keep the metric and map
# the group onto itself make the *Euclidean normaliser*,
#
# $$
# n\, g\, n^{-1} \in G \quad \text{for all } g \in G .
# $$ (eq:normaliser)
#
# Every member is a description of the same crystal in the same group that
# looks different. Members that differ by an operation of $G$ look the
# same, so one of each class is enough: for the 162 groups with a fixed
# origin these are 1 to 24, for the other 68 the origin may also slide
# along one or more polar axes. We check {eq}`eq:normaliser` for them all.

# %%
normalises = []
for number in range(1, 231):
    V, v = operations_of(number)
    v = np.rint(24 * v).astype(int)
    first, last = tables.normaliser_start[number - 1 : number + 1]
    for row in range(first, last):
        W = tables.normaliser_rotations[row].astype(int)
        t = np.rint(24 * tables.normaliser_translations[row]).astype(int)
        moved = W @ V @ np.rint(np.linalg.inv(W)).astype(int)
        shifts = v @ W.T + t - moved @ t
        normalises.append(set(key(moved, shifts)) == set(key(V, v)))
print(sum(normalises), "of", len(normalises), "keep their group")

# %%
is_polar = tables.polar_axes.any(axis=1)
n_settings = np.diff(tables.normaliser_start)
print(is_polar.sum(), "groups with a polar axis; of the others")
for n, count in zip(
    *np.unique(n_settings[~is_polar], return_counts=True), strict=True
):
    print(f"{count:>3} groups with {n:>2} settings")

# %% [markdown]
# A model that is shown rock salt in both ways has to learn it twice. The
# next chapter picks one setting for each crystal, always the same one.
#
# (sec:real)=
# ## Real crystals
#
# pymatgen {cite:p}`ong2013pymatgen` carries 288 crystal structures from
# the AFLOW library of prototypes {cite:p}`mehl2017aflow`: rock salt,
# perovskite, spinel, quartz and many more. They need no download, so they
# are our test crystals throughout. We bring each into its standard cell
# (how, is the subject of {ref}`the next chapter <nb:unit>`).

# %%
if scale == "full":
    rows = load_dataset("mp_20", "val")
else:
    rows = load_dataset("prototypes")
units = [asymmetric_unit(parse_cif(text)) for text in rows["cif"]]
number = torch.tensor([unit.space_group_number for unit in units])
lattice_k = torch.tensor(np.array([unit.lattice_k for unit in units]))
family = tables.crystal_family[number - 1]
print(len(units), "crystals in", len(number.unique()), "space groups")
for name, count in zip(CRYSTAL_FAMILIES, np.bincount(family), strict=True):
    print(f"{name:<13}{count:>4}")

# %% [markdown]
# First the lattices. Through the metric every cell returns; the fixed
# coefficients are as the table says.

# %%
cells = k_to_parameters(lattice_k, number)
free, fixed = lattice_constraints(number)
miss = (lattice_k - fixed).masked_fill(free, 0)
back = through_metric(cells, number)
print("fixed k agree to 1e-9:", bool(miss.abs().max() < 1e-9))
print("cells return to 1e-9:", bool((back / cells - 1).abs().max() < 1e-9))
volume = torch.linalg.det(parameters_to_matrix(cells))
ratio = torch.exp(3 * lattice_k[:, 5]) / volume
print("V = exp(3 k6) to 1e-9:", bool((ratio - 1).abs().max() < 1e-9))

# %% [markdown]
# Where a coefficient is free, how is it spread? Flows need to know
# ({ref}`nb:continuous`).

# %%
print("        k1     k2     k3     k4     k5     k6")
spread = [lattice_k[free[:, i], i] for i in range(6)]
for name, take in (("mean", torch.mean), ("sd", torch.std)):
    values = "".join(f"{take(k):>7.2f}" for k in spread)
    print(f"{name:<4}{values}")
print("n   " + "".join(f"{len(k):>7}" for k in spread))

# %% [markdown]
# The triangular matrix does worse:

# %%
print("triangular log  edges / %     angles / degrees")
error = through_triangle(cells, number) - cells
edges = 100 * (error / cells)[:, :3].abs().amax(1)
angles = error[:, 3:].abs().amax(1)
for index, name in enumerate(CRYSTAL_FAMILIES):
    edge, angle = edges[family == index], angles[family == index]
    print(
        f"{name:<16}{edge.mean():.1f} (max {edge.max():>2.0f})", end="  "
    )
    print(f"{angle.mean():.1f} (max {angle.max():.0f})")

# %% [markdown]
# Then the sites. How many numbers does a crystal need once its group and
# letters are known? Three per atom and six for the cell without
# symmetry; with it, the degrees of freedom of the positions and the free
# $k_i$.

# %%
positions = [unit.wyckoff_positions for unit in units]
start = tables.position_start[number - 1]
sites = [first + w for first, w in zip(start, positions, strict=True)]


def of_crystals(values):
    return np.array([values[rows].sum() for rows in sites])


n_atoms = of_crystals(tables.multiplicity)
n_free = of_crystals(tables.degrees_of_freedom)
n_sites = of_crystals(np.ones_like(tables.multiplicity))
collides = np.concatenate(
    [(rows[:, None] == rows).all(-1).sum(1) > 1 for rows in by_group]
)
n_colliding = of_crystals(collides)
print("mean over the crystals      all  free")
print(f"coordinates     {3 * n_atoms.mean():>15.1f}{n_free.mean():>6.1f}")
print(f"lattice         {6:>15}{free.sum(1).double().mean():>6.1f}")
shares = {
    "crystals without a free coordinate": (n_free == 0).mean(),
    "sites with a colliding letter": n_colliding.sum() / n_sites.sum(),
    "crystals with such a site": (n_colliding > 0).mean(),
}
for label, share in shares.items():
    print(f"{label:<36}{share:.0%}")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:free", "caption": "Free numbers (coordinates and lattice) against all numbers (three per atom of the conventional cell, and six), one point a crystal. Below the line symmetry pays."}, "image": {"alt": "Log-log scatter of free against all numbers; most points lie one to two orders of magnitude below the diagonal, cubic crystals lowest."}}
markers = "ovsDP*"
palette = [black, red, orange, green, sky, blue]
total = 3 * n_atoms + 6
left_open = n_free + free.sum(1).numpy()
fig, ax = plt.subplots(figsize=(6, 3.8))
ax.plot([6, 700], [6, 700], "-", color="0.6", zorder=0)
for index, name in enumerate(CRYSTAL_FAMILIES):
    chosen = family == index
    ax.scatter(
        total[chosen],
        left_open[chosen],
        marker=markers[index],
        color=palette[index],
        label=name,
        s=18,
        alpha=0.7,
    )
ax.set(xscale="log", yscale="log")
ax.set(xlabel="all numbers / crystal", ylabel="free numbers / crystal")
ax.legend(ncols=2, fontsize="small", title="crystal family")
plt.show()

# %% [markdown]
# ## Against the paper
#
# | | paper {cite:p}`ruple2026symmbfn` | ours | n |
# |---|---|---|---|
# | description of a site | 15 axes of 13 symbols | the same (`paper`), or the letter, one of at most 27 (`default`) | |
# | groups in which it gives the letter | not stated | {claim}`tables.injective_groups` of 230 | 230 groups |
# | letter from the encoding | nearest encoding of the group, ties by coordinates | the same in `paper` | |
# | lattice | six $k$ over $B_1 \ldots B_6$, masked by family (Supplementary Table 7) | the same, the table printed above | 230 groups |
# | lattice logarithm | not stated; code of SymmCD {cite:p}`levy2025symmcd`: triangular | of the metric, exact | 288 cells |
# | setting of the group | PyXtal's | one of the normaliser's, by rule ({ref}`nb:unit`) | |
#
# The supplement was not at hand when this was written. Its table is the
# one printed above if it follows from the same basis; we derived ours.
# All numbers here are exact counts, without seeds or intervals.
# The tables as a whole, checked by scripts:
#
# ```{claims} tables.*
# :columns: name value unit n aim met
# ```
#
# ## What can go wrong
#
# - **Settings.** 24 groups have two choices of origin, the rhombohedral
#   ones two choices of axes, the monoclinic ones many. We use origin
#   choice 2, hexagonal axes, unique axis b, cell choice 1. spglib's
#   default differs for the 24; letters read in one setting and used in
#   another are wrong without any error.
# - **Directions in hexagonal axes.** PyXtal prints the directions
#   [120] and [210] as 1-20 and 2-10, after a change of metric. Rows of its
#   encoding differ from ours in trigonal and hexagonal groups; which
#   letters collide does not.
# - **Chirality.** The normaliser contains mirrors where the group admits
#   them. Left- and right-handed quartz are told apart by their groups (152
#   and 154), but in a group such as $P2_12_12_1$ mirror twins are one
#   crystal to us.
# - **Tolerance.** What the group *is* depends on how far atoms may be off.
#   We use 0.1 angstrom, and 0.01 for Perov-5.
#
# ## Summary
#
# - A crystal is a group, six numbers of which some are fixed, and for each
#   orbit an element, a Wyckoff position and a point of its locus.
# - Site symmetry in 15 x 13 form describes a position, but names it in 59
#   groups only.
# - The logarithm of the metric gives every cell back exactly; that of a
#   triangular matrix does not where an angle is free.
# - The group leaves its normaliser open: up to 24 settings, or a
#   continuum, describe one crystal.
#
# ## Exercises
#
# **1.** Cubic perovskite ABO$_3$ has the group $Pm\bar{3}m$ with sites on
# 1a, 1b and 3c. How many numbers does it take?
#
# :::{admonition} Solution
# :class: dropdown
#
# One, $k_6$: the three positions are points, and a cubic lattice has one
# free coefficient. In {numref}`fig:free` it lies at the very bottom.
# :::
#
# **2.** Show that $k_1 = -\tfrac14 \ln 3$ in the hexagonal family.
#
# :::{admonition} Solution
# :class: dropdown
#
# The block of $M$ in the plane is $a^2$ times a matrix with 1 on the
# diagonal and $-\tfrac12$ off it. Its eigenvectors are $(1, 1)$ and
# $(1, -1)$, with eigenvalues $\tfrac12 a^2$ and $\tfrac32 a^2$. The
# element off the diagonal of the logarithm is half the difference of the
# two logarithms, $\tfrac12 \ln(\tfrac12 / \tfrac32) = -\tfrac12 \ln 3$,
# and $k_1$ is half of that, since {eq}`eq:k` has $\tfrac12 \log M$.
# :::
#
# **3.** Which positions can be occupied twice in one crystal, by
# different orbits?
#
# :::{admonition} Solution
# :class: dropdown
#
# Those with at least one free coordinate. A position without one is a
# fixed set of points, and two orbits there would coincide. The decoder
# uses this: it gives away each point once.
# :::
#
# ## References
#
# {cite:t}`ita2016` for groups, positions and normalisers;
# {cite:t}`fredericks2021pyxtal` and {cite:t}`togo2024spglib` for the
# programs behind the tables; {cite:t}`levy2025symmcd` for the 15 x 13
# encoding and $k$; {cite:t}`jiao2024diffcsppp` for the logarithm of the
# metric; {cite:t}`mehl2017aflow` for the prototypes. In full:
# {doc}`../book/bibliography`.
