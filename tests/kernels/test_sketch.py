from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

FEATURES = 512
ROWS = st.lists(st.dictionaries(st.integers(0, FEATURES - 1), st.integers(1, 9), max_size=12), max_size=6)
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 63: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}]
IDF = np.random.default_rng(0).uniform(0.5, 8, FEATURES).astype(np.float32)


def matrix(rows: list[dict[int, int]]):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def check(rows, dim: int = 32, oracle=naive.sketch) -> None:
    arguments = (*matrix(rows), IDF, dim)
    naive.agree("sketch", kernels.sketch(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], SAMPLE, [{1: 1, 2: 2}] * 20])
@pytest.mark.parametrize("dim", [1, 48, 256])
def test_small_batches_agree_with_the_oracle(rows, dim):
    check(rows, dim)


def test_a_row_of_100k_features_agrees_with_the_oracle():
    indptr, indices = np.array([0, 100_000], np.int64), np.arange(100_000, dtype=np.int32)
    arguments = (indptr, indices, np.full(100_000, 2, np.float32), np.ones(100_000, np.float32), 256)
    naive.agree("sketch", kernels.sketch(*arguments), naive.sketch(*arguments))


@settings(max_examples=60)
@given(ROWS)
def test_any_rows_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=30)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.sketch(*matrix([rows[i] for i in order]), IDF, threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], kernels.sketch(*matrix([rows[i]]), IDF)[0])


def test_inner_products_estimate_the_cosine_of_the_full_vectors():
    rng = np.random.default_rng(3)
    shared = set(rng.choice(FEATURES, 60, replace=False).tolist())
    rows = [dict.fromkeys(shared | {i}, 1) for i in range(8)]
    sketches = kernels.sketch(*matrix(rows), np.ones(FEATURES, np.float32), 4096)
    assert (sketches @ sketches.T > 0.9).all()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(i + 1)", "i"),
        ("1 << 20", "1 << 21"),
        ("else -1.0", "else 1.0"),
        ("/= norm or 1.0", "/= 1.0"),
        ("+= sign", "= sign"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("sketch", right, wrong))


@pytest.mark.parametrize(("argument", "dim", "size"), [("dim", 0, 512), ("dim", 65537, 512), ("indices", 64, 100)])
def test_an_argument_that_does_not_fit_is_named(argument, dim, size):
    with pytest.raises(KernelError) as caught:
        kernels.sketch(*matrix(SAMPLE), IDF[:size], dim)
    assert (caught.value.kernel, caught.value.argument) == ("sketch", argument)
