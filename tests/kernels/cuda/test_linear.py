from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import linear

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

FEATURES = 300
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 63: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}, {299: 1, 8: 4}]


def matrix(rows):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def model(heads: int, dtype):
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (FEATURES, heads)).astype(dtype)
    scale, bias = rng.normal(size=(2, heads)).astype(np.float32)
    return weights, scale, rng.uniform(0.5, 8, FEATURES).astype(np.float32), bias


def check(rows, host: Host | None = None, heads: int = 3, dtype=np.int8) -> None:
    arguments = (*matrix(rows), *model(heads, dtype))
    naive.agree("linear", linear.run(host or Host(), *arguments), naive.linear(*arguments))


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], [{1: 1, 2: 2}] * 40])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("heads", [1, 8, 9, 20])
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_every_number_of_heads_agrees_with_the_oracle(order, heads, dtype):
    check(SAMPLE, Host(order), heads, dtype)


def test_weights_that_are_not_aligned_give_the_same():
    weights, scale, idf, bias = model(8, np.int8)
    moved = np.frombuffer(b"." + weights.tobytes(), np.int8)[1:].reshape(weights.shape)
    hosts = Host(), Host()
    whole, parts = (
        linear.run(h, *matrix(SAMPLE), w, scale, idf, bias) for h, w in zip(hosts, (weights, moved), strict=True)
    )
    assert np.array_equal(whole, parts)
    assert {host.launched[0].kernel for host in hosts} == {"linear_int8_whole", "linear_int8"}


def test_a_row_of_100k_features_agrees_with_the_oracle():
    rng = np.random.default_rng(1)
    indptr, indices = np.array([0, 100_000], np.int64), np.arange(100_000, dtype=np.int32)
    counts, idf = rng.integers(1, 5, 100_000).astype(np.float32), rng.uniform(1, 9, 100_000).astype(np.float32)
    weights = rng.integers(-127, 128, (100_000, 2)).astype(np.int8)
    one = np.ones(2, np.float32)
    arguments = (indptr, indices, counts, weights, one, idf, one)
    naive.agree("linear", linear.run(Host(), *arguments), naive.linear(*arguments))


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    turned = SAMPLE[::-1]
    whole = linear.run(Host(), *matrix(turned), *model(9, np.int8))
    for place, row in enumerate(turned):
        for order in ORDERS:
            assert np.array_equal(whole[place], linear.run(Host(order), *matrix([row]), *model(9, np.int8))[0])


def test_a_row_without_features_gets_the_bias():
    weights, scale, idf, bias = model(4, np.int8)
    assert np.array_equal(linear.run(Host(), *matrix([{}]), weights, scale, idf, bias)[0], bias)


MUTANTS = (
    ("        }\n        __syncthreads();\n        if (int", "        }\n        if (int"),
    ("square += parts[w][HEADS]", "square += parts[0][HEADS]"),
    ("begin + threadIdx.x; z < end", "begin + threadIdx.x; z + 1 < end"),
    ("feature) * heads + head;", "feature) * heads;"),
    ("h < here) sums", "h + 1 < here) sums"),
    ("double(eight.heads[h])", "double(eight.heads[0])"),
)


def probe(host: Host) -> None:
    check(SAMPLE, host, 8)
    check(SAMPLE, host, 9)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("linear", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
