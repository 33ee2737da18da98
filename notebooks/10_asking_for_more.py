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
# (nb:asking)=
# # Asking for more
#
# **A request can name elements, a formula, Wyckoff positions, a cell,
# atoms to keep, and properties, all at once. What can be met exactly is
# met exactly, and checked on every crystal; what can only be made more
# likely is counted, beside what would have come without asking.**
#
# :::{admonition} This chapter
# :class: note
#
# - **You will learn** which conditions are hard and which are soft; how
#   elements, formulas and templates enter the flow; what a property
#   changes before the first network call and during all of them; what
#   guidance is and what it costs; and how to read a hit rate.
# - **Before it:** {ref}`nb:sampling`, {ref}`nb:judging`.
# - **Run time:** {claim}`chapter.10_asking_for_more.seconds` on one
#   processor core.
# - **Hardware:** any; no data, no network. What takes hours was measured
#   once and is read from `results/`.
# :::

# %% tags=["parameters"]
scale: str = "cpu"  # "full": 400 crystals in place of 32
seed: int = 0
weights: str = "default"  # or a model folder of this preset

# %%
from collections import Counter
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import torch

import symmbfn
from symmbfn.conditions.check import unmet
from symmbfn.conditions.draw import draw
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.templates import Templates, primitive_multiplicities
from symmbfn.figures.plots import (
    COLOURS,
    draw_crystal,
    formula_mathtext,
    use_style,
)
from symmbfn.generation.final_estimates import decode
from symmbfn.generation.generate import conditions_of_drawn
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.checkpoints import load_model

use_style()
blue, orange, green, red, sky, pink, black = COLOURS.values()
tables = symmetry_tables()
model = load_model(weights)
n = 32 if scale == "cpu" else 400

# %% [markdown]
# (sec:ask-kinds)=
# ## Hard and soft
#
# | condition | Python | command line | kind |
# |---|---|---|---|
# | space group | `space_group_number="Pnma"` | `--space-group` | hard |
# | exactly these elements | `elements="Li,Fe,P,O"` | `--elements` | hard |
# | no others than | `only="Li,Na,O,S"` | `--only` | hard |
# | these and perhaps others | `require="Li"` | `--require` | hard |
# | none of these | `exclude="Pb,Tl"` | `--exclude` | hard |
# | exact formula, size of cell | `composition="LiFePO4", atoms=28` | `--composition`, `--atoms` | hard |
# | positions and elements of all sites | `template="62: Li 4a, Fe 4c, ..."` | `--template` | hard |
# | the cell | `lattice=(10.3, 6.0, 4.7, 90, 90, 90)` | `--lattice` | hard |
# | some sites with their coordinates | `keep=("olivine.cif", [1, 3])` | `--keep` | hard |
# | properties | `properties={"band_gap": (1, 2)}` | `--property` | soft |
#
# A *hard* condition holds or it does not. It is written into the beliefs
# before the first step: a class that is given is certain from $t = 0$ on,
# a class that is forbidden has probability 0 at every $t$, and a number
# that is given does not move. At the end every crystal is compared with
# its request, before any other check. One that misses a condition keeps
# its place in the list, with the status `condition_not_met` and the
# reason. Conditions that exclude each other are refused at once, in one
# line:

# %%
for asked in (
    {"elements": "Li,O", "exclude": "O"},
    {"composition": "LiFePO4", "atoms": 30},
    {"template": "62: Li 4b", "space_group_number": 225},
    {"template": "225: Na 4a, Cl 4a"},
    {"lattice": (4, 5, 6, 90, 90, 90), "space_group_number": "cubic"},
    {"properties": {"band_gap": (3, 2)}},
):
    try:
        symmbfn.generate(n=1, weights=model, **asked)
    except ValueError as error:
        print(error)

# %% [markdown]
# (sec:ask-elements)=
# ## Elements
#
# The elements of a crystal stand in slots, in the order of the Mendeleev
# scale ({ref}`nb:model`). "Contains lithium" says that one slot holds
# lithium, and not which. So the slot is drawn first. Let $\pi_k$ be the
# frequency of class $k$ in the slots of the training crystals. Of $M$
# elements, those that are asked for divide the scale into gaps, and the
# others fall into the gaps as independent draws from $\pi$ would:
#
# $$
# P(n_0, n_1, \dots) \;\propto\; \prod_g \frac{m_g^{\,n_g}}{n_g!} ,
# \qquad m_g = \sum_{k \in g} \pi_k , \qquad
# \sum_g n_g = M - \#\{\text{asked}\} ,
# $$ (eq:ask-slots)
#
# with $n_g$ others in gap $g$. What is excluded has $\pi_k = 0$. That the
# formula is what drawing and waiting would give, for lithium in crystals
# of three elements:

# %%
prior = model.statistics.element_log_prior.double().exp().numpy()
lithium = model.config.elements.index(element_number("Li"))
below, above = prior[:lithium].sum(), prior[lithium + 1 :].sum()
formula = np.array([above**2 / 2, below * above, below**2 / 2])
formula /= formula.sum()
rng = np.random.default_rng(seed)
triples = np.sort(rng.choice(len(prior), (400_000, 2), p=prior), axis=1)
others = triples[(triples != lithium).all(1)]
slots = np.bincount((others < lithium).sum(1), minlength=3) / len(others)
print("slot of lithium, of 0, 1, 2:", *(f"{p:.3f}" for p in formula))
print("drawn and waited, the same:", np.abs(formula - slots).max() < 0.005)

# %% [markdown]
# Then the network fills the other slots, and the elements come out as the
# most likely ascending list, by the dynamic programme of
# {ref}`sec:cat-slots`. Nothing is drawn in vain:

# %%
asked = {"require": "Li,O", "exclude": "Pb,Tl,Hg,Cd", "seed": seed}
oxides = symmbfn.generate(n=n, weights=model, **asked)
request = symmbfn.Request.of(n=n, **asked)
kept = [c for c in oxides if c.has_structure and not unmet(request, c)]
print(f"lithium and oxygen, nothing poisonous: {len(kept)} of {n}")
only = symmbfn.generate(n=n, weights=model, only="Li,Na,O,S", seed=seed)
found = {
    SYMBOLS[z] for c in only if c.has_structure for z in c.atomic_numbers
}
print("elements found:", *sorted(found))

# %% tags=["nbval-ignore-output"]
print(*(c.formula for c in kept[:10]))
print(*(c.formula for c in only[:10]))

# %% [markdown]
# (sec:ask-template)=
# ## Formulas and templates
#
# A *template* says which Wyckoff position each site has and which element
# it holds; only coordinates and cell are left. A formula does not say so
# much, and it is the harder condition: the multiplicities of the sites
# have to add up. How many templates are there? Let a position $w$ have
# $\mu_w$ atoms in the primitive cell. A position with free coordinates may
# be taken any number of times, a point once. So the number of templates
# with $c_e$ atoms of each element $e$ on $D$ sites is the coefficient of
# $y^D \prod_e x_e^{c_e}$ in
#
# $$
# \prod_{w\ \mathrm{free}} \prod_e \frac{1}{1 - y\, x_e^{\mu_w}}
# \;\cdot \prod_{w\ \mathrm{point}} \Big( 1 + y \sum_e x_e^{\mu_w} \Big) .
# $$ (eq:ask-templates)
#
# With a weight in front of each $y$, the frequency of the position in the
# training data, the coefficient is how much all these templates weigh
# together. `Templates` reads both off by a dynamic programme over the
# positions, and draws templates by their weight without a list of them.
# By hand: rock salt, NaCl in group 225, has one atom each in the primitive
# cell. Only 4a and 4b have room for one, so there are two ways. A
# perovskite in group 221 has four: calcium on 1a or 1b, titanium on the
# other, oxygen on 3c or 3d.

# %%
for name, group, atoms in (
    ("NaCl", 225, (1, 1)),
    ("CaTiO3", 221, (1, 1, 3)),
    ("LiFePO4, 28 atoms", 62, (4, 4, 4, 16)),
    ("MgAl2O4, 14 atoms", 227, (2, 4, 8)),
    ("MgAl2O4, 14 atoms", 1, (2, 4, 8)),
):
    most = sum(atoms)
    by_sites = Templates(group, atoms, most_sites=most).by_sites
    total, most_ways = by_sites.sum(), int(by_sites.argmax())
    text = f"{total:.0f} ways, {most_ways} sites in most"
    print(f"{name:<18} group {group:>3}: {text}")


# %% [markdown]
# The same number by trying everything, for MgAl$_2$O$_4$ in group 227,
# where every position with few enough atoms is listed:


# %%
def ways(group, atoms):
    """Number of templates, by listing all choices for each element."""
    multiplicity = primitive_multiplicities(group)
    free = tables.degrees_of_freedom[positions_of(group)]

    def fills(count, start, points):
        """Sites for so many atoms, positions in ascending order."""
        if count == 0:
            yield points
        for w in range(start, len(multiplicity)):
            if multiplicity[w] > count or w in points:
                continue
            taken = points | {w} if free[w] == 0 else points
            yield from fills(count - multiplicity[w], w, taken)

    states = [frozenset()]
    for count in atoms:
        states = [s for points in states for s in fills(count, 0, points)]
    return len(states)


for group, atoms in ((227, (2, 4, 8)), (62, (4, 4, 4, 16))):
    listed = ways(group, atoms)
    total = Templates(group, atoms, most_sites=sum(atoms)).weight
    print(f"group {group}: {listed} listed, the same: {listed == total}")

# %% [markdown]
# A request with a formula goes in two passes. In the first, each slot is
# told how many atoms the cell shall have of its element, next to how many
# the beliefs amount to. Its last answers about letters and pointers are
# made exact: the most likely choice of a position and an element for every
# site under which the atoms add up. The second pass gets this template,
# and finds coordinates and cell for it. A crystal that is told its
# template, olivine's, fills up:

# %%
olivine = "62: Li 4a, Fe 4c, P 4c, O 4c, O 4c, O 8d"
request = symmbfn.Request.of(n=16, template=olivine, seed=seed)
sampler = preset_sampler(model)
drawn = draw(request, model.config, model.statistics)
conditions = conditions_of_drawn(model, drawn)
notes = []


def taking_notes(beliefs, conditions, t, previous):
    estimates = model(beliefs, conditions, t, previous)
    notes.append((float(t[0]), estimates))
    return estimates


call = {"seed": seed, "index": request.index}
end = sample(model, conditions, sampler, **call, predict=taking_notes)
movie = [
    decode(model, estimates, conditions, sampler, **call)
    for _, estimates in notes
]
met = [c.has_structure and not unmet(request, c) for c in movie[-1]]
print("olivines with exactly these sites:", sum(met), "of", len(met))
star = int(np.nanargmax([c.contact_ratio for c in movie[-1]]))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig:ask-template", "caption": "A template fills up: what the network's answers make of LiFePO$_4$ at six of its calls, when group, elements and positions of all sites are given. Of sixteen crystals the roomiest."}, "image": {"alt": "Six drawn unit cells from left to right. In the first ones the atoms lie in a heap; in the last ones they are spread over the cell."}}
fig, axes = plt.subplots(1, 6, figsize=(6.5, 1.9))
frames = np.linspace(0, len(notes) - 1, 6).round().astype(int)
for ax, frame in zip(axes, frames, strict=True):
    ax.set_axis_off()
    ax.set_title(f"t = {notes[frame][0]:.2g}", loc="center", fontsize=9)
    if movie[frame][star].has_structure:
        draw_crystal(ax, movie[frame][star])
plt.show()
