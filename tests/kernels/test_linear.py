from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

FEATURES = 64
ROWS = st.lists(st.dictionaries(st.integers(0, FEATURES - 1), st.integers(1, 9), max_size=12), max_size=6)
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 63: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}]


def matrix(rows: list[dict[int, int]]):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def model(heads: int, dtype, seed: int = 0):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (FEATURES, heads)).astype(dtype)
    scale, bias = rng.normal(size=(2, heads)).astype(np.float32)
    return weights, scale, rng.uniform(0.5, 8, FEATURES).astype(np.float32), bias


def check(rows, heads: int = 3, dtype=np.int8, oracle=naive.linear) -> None:
    arguments = (*matrix(rows), *model(heads, dtype))
    naive.agree("linear", kernels.linear(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], SAMPLE, [{1: 1, 2: 2}] * 20])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("heads", [1, 8, 9, 16])
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_every_number_of_heads_agrees_with_the_oracle(heads, dtype):
    check(SAMPLE, heads, dtype)


def test_a_row_of_100k_features_agrees_with_the_oracle():
    rng = np.random.default_rng(1)
    indptr, indices = np.array([0, 100_000], np.int64), np.arange(100_000, dtype=np.int32)
    counts, idf = rng.integers(1, 5, 100_000).astype(np.float32), rng.uniform(1, 9, 100_000).astype(np.float32)
    weights = rng.integers(-127, 128, (100_000, 2)).astype(np.int8)
    one = np.ones(2, np.float32)
    arguments = (indptr, indices, counts, weights, one, idf, one)
    naive.agree("linear", kernels.linear(*arguments), naive.linear(*arguments))


@settings(max_examples=60)
@given(ROWS)
def test_any_rows_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=30)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.linear(*matrix([rows[i] for i in order]), *model(8, np.int8), threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], kernels.linear(*matrix([rows[i]]), *model(8, np.int8))[0])


def test_a_row_without_features_gets_the_bias():
    weights, scale, idf, bias = model(4, np.int8)
    assert np.array_equal(kernels.linear(*matrix([{}]), weights, scale, idf, bias)[0], bias)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("1.0 + math.log(n)", "float(n)"),
        ("/ (norm or 1.0)", ""),
        (" + float(bias[h])", ""),
        ("weights[i, h]", "weights[i, h - 1]"),
        ("sum(x * x for x", "sum(abs(x) for x"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("linear", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    indptr, indices, counts = matrix([{1: 1}, {63: 2}])
    weights, scale, idf, bias = model(3, np.int8)
    wrong = {
        "indptr": (indptr[:2] * 9, indices, counts, weights, scale, idf, bias),
        "indices": (indptr, indices + 1, counts, weights, scale, idf, bias),
        "counts": (indptr, indices, counts[:1], weights, scale, idf, bias),
        "weights": (indptr, indices, counts, weights.astype(np.float64), scale, idf, bias),
        "scale": (indptr, indices, counts, weights, scale[:2], idf, bias),
        "idf": (indptr, indices, counts, weights[:60], scale, idf, bias),
        "bias": (indptr, indices, counts, weights, scale, idf, bias[None]),
    }
    for argument, arguments in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.linear(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("linear", argument)
