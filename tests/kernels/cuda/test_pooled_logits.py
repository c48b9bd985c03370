from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import pooled_logits

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

SAMPLE = (3, 0, 1, 17)
SHAPES = {"empty": (), "empty rows": (0, 0), "one large": (3000,), "few big": (160, 0, 400), "many small": (2, 0) * 30}


def batch(sizes, width: int = 24, heads: int = 3):
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    states, weights = (rng.normal(size=shape).astype(np.float32) for shape in ((offsets[-1], width), (width, heads)))
    return states, offsets, weights, rng.normal(size=heads).astype(np.float32)


def check(sizes, host: Host | None = None, width: int = 24, heads: int = 3) -> None:
    arguments = batch(sizes, width, heads)
    naive.agree("pooled_logits", pooled_logits.run(host or Host(), *arguments), naive.pooled_logits(*arguments))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_batch_agrees_with_the_oracle(shape):
    check(SHAPES[shape])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("width", "heads"), [(1, 1), (127, 2), (384, 3), (1024, 1), (9, 0)])
def test_every_width_and_number_of_heads_agrees_with_the_oracle(order, width, heads):
    check(SAMPLE, Host(order), width, heads)


def test_a_row_without_tokens_gets_the_bias():
    *arguments, bias = batch((0,))
    assert np.array_equal(pooled_logits.run(Host(), *arguments, bias)[0], bias)


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    states, offsets, *head = batch(SAMPLE)
    whole = pooled_logits.run(Host(), states, offsets, *head)
    for r, (low, high) in enumerate(itertools.pairwise(offsets)):
        for order in ORDERS:
            alone = pooled_logits.run(Host(order), states[low:high].copy(), np.array([0, high - low]), *head)
            assert np.array_equal(whole[r], alone[0])


MUTANTS = (
    ("/ double(end - begin)", ""),
    ("i64 t = begin; t < end", "i64 t = begin; t + 1 < end"),
    ("weights[i64(d) * heads + h]", "weights[i64(d) * heads]"),
    ("dot + double(bias[h])", "dot"),
    ("double(end - begin) : 0.0", "double(end - begin) : 1.0"),
    (
        "    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;\n    __syncthreads();",
        "    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;",
    ),
    ("logits[i64(blockIdx.x) * heads + h]", "logits[i64(blockIdx.x) * heads]"),
)


def probe(host: Host) -> None:
    check((9, 0, 2), host, 140)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("pooled_logits", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
