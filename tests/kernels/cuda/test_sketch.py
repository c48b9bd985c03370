from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import sketch

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

FEATURES = 512
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 63: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}, {511: 1, 8: 4}]
IDF = np.random.default_rng(0).uniform(0.5, 8, FEATURES).astype(np.float32)


def matrix(rows):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def check(rows, host: Host | None = None, dim: int = 32) -> None:
    arguments = (*matrix(rows), IDF, dim)
    naive.agree("sketch", sketch.run(host or Host(), *arguments), naive.sketch(*arguments))


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], [{1: 1, 2: 2}] * 40])
@pytest.mark.parametrize("dim", [1, 256])
def test_small_batches_agree_with_the_oracle(rows, dim):
    check(rows, dim=dim)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dim", [1, 48, 256, 4096, 4097, 65536])
def test_every_number_of_columns_agrees_with_the_oracle(order, dim):
    check(SAMPLE, Host(order), dim)


def test_a_row_of_100k_features_agrees_with_the_oracle():
    indptr, indices = np.array([0, 100_000], np.int64), np.arange(100_000, dtype=np.int32)
    arguments = (indptr, indices, np.full(100_000, 2, np.float32), np.ones(100_000, np.float32), 256)
    naive.agree("sketch", sketch.run(Host(), *arguments), naive.sketch(*arguments))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_length_of_the_vector_does_not_matter(size):
    idf = (IDF * size).astype(np.float32)
    naive.agree("sketch", sketch.run(Host(), *matrix(SAMPLE), idf, 64), naive.sketch(*matrix(SAMPLE), IDF, 64))


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    turned = SAMPLE[::-1]
    whole = sketch.run(Host(), *matrix(turned), IDF, 100)
    for place, row in enumerate(turned):
        for order in ORDERS:
            assert np.array_equal(whole[place], sketch.run(Host(order), *matrix([row]), IDF, 100)[0])


MUTANTS = (
    ("sums.set(c, 0);\n        __syncthreads();", "sums.set(c, 0);"),
    ("unit);\n        }\n        __syncthreads();", "unit);\n        }"),
    ("mixed >> 20 & 1", "mixed >> 21 & 1"),
    (">> 32) - first;", ">> 32);"),
    ("c < size; c += THREADS) visit", "c < size - 1; c += THREADS) visit"),
    (
        "if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;\n    __syncthreads();",
        "if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;",
    ),
)


def probe(host: Host) -> None:
    check(SAMPLE, host)
    check(SAMPLE, host, 6000)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("sketch", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
