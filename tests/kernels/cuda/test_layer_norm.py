from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import layer_norm

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

PIECES, PLACES, KINDS = 50, 300, 3
SAMPLE = [[1, 7, 7], [], [49], list(range(40)), [0, 3]]
SHAPES = {
    "empty": [],
    "empty rows": [[], []],
    "one large": [[k % PIECES for k in range(300)]],
    "few big": [[3] * 160, [], [k % 7 for k in range(129)]],
    "many small": [[1, 2], [], [48]] * 30,
}


def text(rows):
    kinds = np.random.default_rng(0).integers(0, KINDS, len(rows)).astype(np.int32)
    return *naive.ragged(rows, np.int32), kinds


def tables(width: int):
    rng = np.random.default_rng(1)
    drawn = (rng.normal(0.3, 1, (count, width)).astype(np.float32) for count in (PIECES, PLACES, KINDS))
    return *drawn, *rng.normal(1, 0.5, (2, width)).astype(np.float32)


def states(count: int, width: int):
    rng = np.random.default_rng(2)
    rows = rng.normal(0.5, 2, (2, count, width)).astype(np.float32)
    return *rows, *rng.normal(1, 0.5, (3, width)).astype(np.float32)


def check_embed(rows, width: int, host: Host | None = None) -> None:
    arguments = (*text(rows), *tables(width))
    naive.agree("embed", layer_norm.embed(host or Host(), *arguments), naive.embed(*arguments))


def check_add_norm(count: int, width: int, host: Host | None = None) -> None:
    arguments = states(count, width)
    naive.agree("add_norm", layer_norm.add_norm(host or Host(), *arguments), naive.add_norm(*arguments))


@pytest.mark.parametrize("shape", SHAPES)
def test_embeddings_of_every_shape_of_batch_agree_with_the_oracle(shape):
    check_embed(SHAPES[shape], 24)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 130])
def test_sums_of_any_number_of_tokens_agree_with_the_oracle(count):
    check_add_norm(count, 24)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("width", [2, 31, 32, 33, 384, 1024])
def test_every_width_agrees_with_the_oracle(order, width):
    check_embed(SAMPLE, width, Host(order))
    check_add_norm(5, width, Host(order))


def test_values_far_from_zero_are_normalised_as_well():
    one, *rest = states(4, 64)
    far = one + np.float32(1000)
    found = layer_norm.add_norm(Host(), far, *rest)
    assert np.allclose(found, naive.add_norm(far, *rest), atol=2e-4)


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    tokens, offsets, kinds = text(SAMPLE)
    whole = layer_norm.embed(Host(), tokens, offsets, kinds, *tables(40))
    one, other, *rest = states(9, 40)
    added = layer_norm.add_norm(Host(), one, other, *rest)
    for order in ORDERS:
        for r, row in enumerate(SAMPLE):
            alone = layer_norm.embed(Host(order), *naive.ragged([row], np.int32), kinds[r : r + 1], *tables(40))
            assert np.array_equal(whole[offsets[r] : offsets[r + 1]], alone)
        assert np.array_equal(added[5:7], layer_norm.add_norm(Host(order), one[5:7], other[5:7], *rest))


MUTANTS = (
    ("int step = 16; step", "int step = 8; step"),
    ("if (lane + 32 * c < width) square", "square"),
    ("square += row[c] * row[c]", "square += fabsf(row[c])"),
    ("scale * gain[d] + bias[d]", "scale * bias[d] + gain[d]"),
    ("if (d < width) out[d]", "if (d + 1 < width) out[d]"),
    ("begin + threadIdx.x / 32; t < end; t += WARPS", "begin + threadIdx.x / 32; t < end; t += WARPS + 1"),
    ("position + (t - begin) * width", "position + threadIdx.x / 32 * width"),
    ("channel + i64(kinds[blockIdx.x]) * width", "channel"),
    ("(product[t * width + d] + shift[d])", "product[t * width + d]"),
    ("blockIdx.x) * WARPS + threadIdx.x / 32", "blockIdx.x) * WARPS"),
    ("if (t >= count) return;", ""),
)


def probe(host: Host) -> None:
    check_embed(SAMPLE, 40, host)
    check_add_norm(5, 40, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("layer_norm", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
