from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cpu.attention import attention as twin
from aimds.kernels.cuda import attention

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

SAMPLE = (3, 0, 1, 17)
SHAPES = {
    "empty": (),
    "empty rows": (0, 0),
    "one large": (700,),
    "few big": (160, 0, 64, 129),
    "many small": (2, 3, 0) * 20,
}


def batch(sizes, heads: int, size: int):
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    qkv = rng.normal(size=(int(offsets[-1]), 3 * heads * size)).astype(np.float32)
    return qkv, rng.normal(size=3 * heads * size).astype(np.float32), offsets, heads


def check(sizes, host: Host | None = None, heads: int = 2, size: int = 12, oracle=naive.attention) -> None:
    arguments = batch(sizes, heads, size)
    naive.agree("attention", attention.run(host or Host(), *arguments), oracle(*arguments))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_batch_agrees_with_the_oracle(shape):
    def same(*arguments):
        return twin(*arguments, threads=1)

    check(SHAPES[shape], oracle=same if shape == "one large" else naive.attention)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("heads", "size"), [(1, 1), (1, 64), (12, 32), (3, 7)])
def test_every_number_and_size_of_heads_agrees_with_the_oracle(order, heads, size):
    check(SAMPLE, Host(order), heads, size)


def test_scores_far_from_zero_leave_no_number_infinite():
    qkv, bias, offsets, heads = batch((9,), 1, 8)
    qkv[:, :16] *= 100
    found = attention.run(Host(), qkv, bias, offsets, heads)
    assert np.isfinite(found).all()
    assert np.allclose(found, naive.attention(qkv, bias, offsets, heads), atol=2e-3)


def test_states_that_are_not_aligned_give_the_same():
    qkv, *rest = batch(SAMPLE, 2, 12)
    moved = np.frombuffer(b"...." + qkv.tobytes(), np.float32)[1:].reshape(qkv.shape)
    assert np.array_equal(attention.run(Host(), qkv, *rest), attention.run(Host(), moved, *rest))


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    qkv, bias, offsets, heads = batch((3, 70, 0, 17), 2, 12)
    whole = attention.run(Host(), qkv, bias, offsets, heads)
    for low, high in itertools.pairwise(offsets):
        for order in ORDERS:
            alone = attention.run(Host(order), qkv[low:high].copy(), bias, np.array([0, high - low]), heads)
            assert np.array_equal(whole[low:high], alone)


MUTANTS = (
    ("1.0f / sqrtf(float(COLUMNS))", "1.0f"),
    (
        "end - from < TILE ? int(end - from) : TILE;\n            __syncthreads();",
        "end - from < TILE ? int(end - from) : TILE;",
    ),
    ("            }\n            __syncthreads();", "            }"),
    ("= token[width]", "= token[0]"),
    ("token[2 * width] +", "token[width] +"),
    ("query[c] + bias[own + c]", "query[c] + bias[c]"),
    ("int(blockIdx.y) * COLUMNS", "0"),
    ("total *= fade;", ""),
    ("sums[c] *= fade;", ""),
    ("best = fmaxf(best, scores[s]);", "best = scores[s];"),
    ("total += weight;", "total += s ? weight : 0.0f;"),
    ("top = best;", ""),
    ("float top = none", "float top = 0.0f"),
    ("i64 from = begin; from < end; from += TILE", "i64 from = begin; from < end; from += TILE + 1"),
    ("mixed + i * width + own", "mixed + i * width"),
)


def probe(host: Host) -> None:
    qkv, bias, offsets, heads = batch((66, 3, 131), 2, 8)
    # A score among smaller ones that no exponent holds, larger ones late in a row, and a query with none but small ones.
    signs = 60 * np.sign(qkv[:, :16] + bias[:16])
    qkv[3, 16:32] += signs[0]
    qkv[60:66, 16:32] *= 4
    qkv[66:69, 16:32] -= signs[66]
    arguments = qkv, bias, offsets, heads
    found = attention.run(host, *arguments)
    assert np.isfinite(found).all()
    assert np.allclose(found, twin(*arguments, threads=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("attention", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
