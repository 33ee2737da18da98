"""What a crystal costs at least: operations and bytes counted from shapes, rates measured.

A stage takes no less than its operations at the rate of the processor's matrix products, and
no less than the bytes that must come from memory and go back. What is counted is what any
engine must do: padding, copies and what could stay in the cache are not in it.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from typing import cast

import torch
from torch import nn

from symmbfn.benchmark.timing import now
from symmbfn.crystals.symmetry import MAX_POSITIONS
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.networks.cspnet import Layer
from symmbfn.networks.element_slots import ElementSlots
from symmbfn.runtime.compilation import onednn_products

FLOAT = 4  # bytes
# operations, an exponential or a root as ten
SILU, EXPONENTIAL = 13, 10
IMAGE = 130  # of one image of one pair: wrapping, length, flips, two exponentials, sums
PER_CLASS = 65  # of one belief and step: noise, softmax, draw, update
PROJECTION = 30  # of one site onto one position
DISTANCE = 40  # between two atoms
SLOT_FEATURES, POSITION_FEATURES = 128, 96
COPIED = 2**26  # bytes, beyond every cache
PRODUCTS = ((4096, 256, 256), (1024, 1024, 1024), (4096, 4096, 4096))  # the last on a GPU


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one stage.

    Attributes:
        products: operations in matrix products, two for each multiply-add.
        others: all other operations on numbers.
        bytes: that must be read from and written to memory.
    """

    products: float
    others: float
    bytes: float

    def seconds(self, rate: float, bandwidth: float) -> float:
        """Least time at so many operations (half of it outside of products) and bytes a second."""
        return max(self.products / rate + self.others / (rate / 2), self.bytes / bandwidth)


def network_products(model: SymmBFN, b: int, n: int) -> dict[str, int]:
    """Operations in the matrix products of one call, by part, positions embedded before.

    Args:
        model: its configuration and widths count.
        b, n: crystals, and sites of each.
    """
    c, shape = model.config, model.config.network
    h, depth, layers = shape.width, shape.depth, shape.edge_layers
    k, s, w, e = len(c.elements), c.most_elements, MAX_POSITIONS, SLOT_FEATURES
    net, site, pair = model.network, b * n, b * n * n
    first, reads_graph = cast(Layer, net.layers[0]), cast(nn.Linear, net.graph_in[0])
    edge = first.edge.in_features
    macs = {
        "site_in": site * net.site_in.in_features * h,
        "graph": b * (reads_graph.in_features * h + 2 * h * h),
        "compress": pair * net.compress.in_features * edge if net.compress is not None else 0,
        "pairs": depth * pair * (edge * h + (h * h if layers == 2 else 0)),
        "sites": depth * site * h * h * (5 + (1 if layers == 1 else 0)),
        "modulation": depth * b * 3 * h * h if shape.is_modulated else 0,
        "heads": site * 3 * h + b * (2 * h * h + 6 * h),
    }
    if "pointers" in model.classes:
        slot, read = b * s, cast(ElementSlots, model.elements).read_slot.in_features
        macs["elements"] = (
            slot * read * e
            + slot * 2 * (3 * e * e)
            + site * ((e + 3 * s) * h + s * e + h * e + s * e + h * s + s * h)
            + b * e * h
            + slot * ((e + 2 * h + 2) * h + h * h + h * k + h * e)
        )
    else:
        macs["elements"] = site * 2 * k * h
    if (head := model.displacements) is not None:
        d, reads = head.receiver.out_features, head.edge.in_features
        macs["displacements"] = site * 2 * h * d + pair * d * (reads + head.amount.out_features)
    if model.properties is not None:
        linear = [layer for layer in model.properties.modules() if isinstance(layer, nn.Linear)]
        macs["properties"] = b * sum(layer.weight.numel() for layer in linear)
    f = POSITION_FEATURES
    if "letters" in model.classes:
        macs["symmetry"] = site * (4 * w * f + 4 * f * h + h * f + w * f)
    elif "axes" in model.classes:
        macs["symmetry"] = site * 2 * 15 * 13 * h
    return {name: 2 * value for name, value in macs.items()}


def values_of(model: SymmBFN, n: int) -> int:
    """Numbers in the beliefs about one crystal of n sites."""
    c, classes = model.config, model.classes
    k, s = len(c.elements), c.most_elements
    letters = MAX_POSITIONS if "letters" in classes else 15 * 13 if "axes" in classes else 0
    elements = s * (k + n) if "pointers" in classes else n * k
    return 6 + n * (3 + letters) + elements


def stage_costs(
    model: SymmBFN, n: int, n_operations: int, n_atoms: float, batch_size: int = 128
) -> dict[str, Cost]:
    """Cost of a crystal by stage: network and sampler of one step, decode and rebuild once.

    Args:
        model: the model.
        n, n_operations: sites and operations of the crystal.
        n_atoms: atoms of its cell.
        batch_size: crystals that share one reading of the weights.
    """
    c, shape, values = model.config, model.config.network, values_of(model, n)
    weights = FLOAT * sum(p.numel() for p in model.parameters()) / batch_size
    beside = n * n * (6 * 3 * shape.n_frequencies + 2 * len(c.elements))
    beside += shape.depth * (n * n * shape.width * (4 + SILU) + 2 * n * shape.width * SILU)
    beside += 2 * n * c.most_elements * len(c.elements) if "pointers" in model.classes else 0
    if c.images:
        beside += n * n * n_operations * IMAGE
    decided = n * MAX_POSITIONS * PROJECTION + n_atoms**2 * DISTANCE / 2
    return {
        "network": Cost(
            float(sum(network_products(model, 1, n).values())),
            float(beside),
            weights + 3 * FLOAT * values,
        ),
        "sampler": Cost(0.0, float(values * PER_CLASS), float(4 * FLOAT * values)),
        "decode": Cost(0.0, float(2 * values), float(FLOAT * values)),
        "rebuild": Cost(0.0, decided, FLOAT * values + 8 * 4 * n_atoms),
    }


def ceilings(device: torch.device, repeats: int = 5) -> dict[str, float]:
    """Rates of this machine now: matrix products by library and type, and copying.

    Returns:
        `float32_mkl` (torch's default), `float32_onednn` (what our engine switches to where it
        is exact) and `bf16` in operations a second, the best of several shapes; `copy` in bytes
        a second, read and written.
    """
    shapes = PRODUCTS if device.type == "cuda" else PRODUCTS[:-1]

    def product_rate(dtype: torch.dtype) -> float:
        return max(_product_rate(shape, dtype, device, repeats) for shape in shapes)

    with onednn_products(device) if device.type == "cpu" else nullcontext():
        onednn = product_rate(torch.float32)
    source = torch.ones(COPIED // FLOAT, device=device)
    target = torch.empty_like(source)
    return {
        "float32_mkl": product_rate(torch.float32),
        "float32_onednn": onednn,
        "bf16": product_rate(torch.bfloat16),
        "copy": 2 * COPIED / _least_typical(lambda: target.copy_(source), device, repeats),
    }


def _product_rate(
    shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, repeats: int
) -> float:
    m, k, n = shape
    a = torch.randn(m, k, device=device).to(dtype)
    b = torch.randn(k, n, device=device).to(dtype)
    out = torch.empty(m, n, device=device, dtype=dtype)
    return 2 * m * k * n / _least_typical(lambda: torch.mm(a, b, out=out), device, repeats)


def _least_typical(action: Callable, device: torch.device, repeats: int) -> float:
    """Median of the times of one call; each measurement lasts long enough for the clock."""
    action()
    begin = time.perf_counter()
    action()
    calls = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-6)))
    times = []
    for _ in range(repeats):
        begin = now(device)
        for _ in range(calls):
            action()
        times.append((now(device) - begin) / calls)
    return median(times)
