from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aimds import kernels
from aimds.errors import KernelError

VALUES = st.floats(-1000, 1000, width=32, allow_subnormal=False)
ROWS = st.lists(st.lists(VALUES, max_size=10), max_size=5)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SAMPLE = [[], [1.5], normal(2).tolist(), [0.0] * 5, normal(9).tolist(), normal(16, seed=2).tolist()]


def check(rows, patterns, oracle=naive.dtw) -> None:
    arguments = (*naive.ragged(rows, np.float32), np.asarray(patterns, np.float32))
    naive.agree("dtw", kernels.dtw(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[2.0]], SAMPLE, [[1.0] * 9] * 4])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 2), (64, 5), (65, 7)])
def test_small_batches_agree_with_the_oracle(rows, shape):
    check(rows, normal(*shape, seed=3))


def test_a_row_of_100k_values_agrees_with_the_oracle():
    # Whole numbers, so that float32 sums of 100k terms are exact.
    rng = np.random.default_rng(1)
    check([rng.integers(-2, 3, 100_000).tolist()], rng.integers(-2, 3, (2, 3)))


def test_equal_series_have_distance_zero():
    series = normal(1, 33)
    assert kernels.dtw(series[0], np.array([0, 33], np.int64), series)[0, 0] == 0.0


@settings(max_examples=80)
@given(ROWS, hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=VALUES))
def test_any_input_agrees_with_the_oracle(rows, patterns):
    check(rows, patterns)


@settings(max_examples=40)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    patterns = normal(70, 9)
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.dtw(*naive.ragged([rows[i] for i in order], np.float32), patterns, threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], kernels.dtw(*naive.ragged([rows[i]], np.float32), patterns)[0])


def test_a_pattern_does_not_depend_on_its_place_in_the_bank():
    batch, patterns = naive.ragged(SAMPLE, np.float32), normal(130, 9)
    order = np.random.default_rng(5).permutation(130)
    assert np.array_equal(kernels.dtw(*batch, patterns)[:, order], kernels.dtw(*batch, patterns[order]))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("min(last[j], last[j + 1], d[j])", "min(last[j + 1], d[j])"),
        ("min(last[j], last[j + 1], d[j])", "min(last[j], d[j])"),
        ("min(last[j], last[j + 1], d[j])", "min(last[j], last[j + 1])"),
        ("(value - place) ** 2", "abs(value - place)"),
        ("d = [FAR]", "d = [0.0]"),
        ("last[-1] if row", "last[-2] if row"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, normal(5, 7, seed=3), naive.mutant("dtw", right, wrong))


@pytest.mark.parametrize(
    ("argument", "values", "patterns"),
    [
        ("values", np.array([np.nan], np.float32), np.ones((1, 1), np.float32)),
        ("values", np.ones(1), np.ones((1, 1), np.float32)),
        ("patterns", np.ones(1, np.float32), np.full((1, 1), np.inf, np.float32)),
        ("patterns", np.ones(1, np.float32), np.ones((2, 0), np.float32)),
        ("patterns", np.ones(1, np.float32), np.ones(3, np.float32)),
    ],
)
def test_an_argument_that_does_not_fit_is_named(argument, values, patterns):
    with pytest.raises(KernelError) as caught:
        kernels.dtw(values, np.array([0, 1], np.int64), patterns)
    assert (caught.value.kernel, caught.value.argument) == ("dtw", argument)
