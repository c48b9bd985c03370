from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aimds import kernels
from aimds.errors import KernelError

ROWS = st.lists(st.lists(st.integers(0, 4), max_size=11), max_size=5)


def costs(length: int, patterns: int, tokens: int = 5, high: int = 255, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high + 1, (tokens, length, patterns)).astype(np.uint8)


def check(rows: list[list[int]], cost: np.ndarray, oracle=naive.subsequence_dtw) -> None:
    arguments = (*naive.ragged(rows, np.int32), cost)
    naive.agree("subsequence_dtw", kernels.subsequence_dtw(*arguments), oracle(*arguments))


SAMPLE = [[], [0], [1, 2], [3, 3, 3, 3], [0, 1, 2, 3, 4, 0, 1], [4, 2, 0, 1, 3, 2, 2, 1, 0, 4, 4, 1]]


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[2]], SAMPLE, [[1] * 9] * 4])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (12, 40)])
def test_small_batches_agree_with_the_oracle(rows, shape):
    check(rows, costs(*shape))


@pytest.mark.parametrize("length", [127, 128, 129, 140])
def test_the_longest_patterns_keep_every_cost_at_its_largest(length):
    check([[0] * 3, [0] * 6], np.full((1, length, 2), 255, np.uint8))


@pytest.mark.parametrize("patterns", [511, 512, 513, 1030])
def test_patterns_past_one_block_agree_with_the_oracle(patterns):
    check([[0, 1, 2, 3, 4, 4], [3]], costs(2, patterns))


def test_a_row_of_100k_tokens_agrees_with_the_oracle():
    rng = np.random.default_rng(1)
    check([rng.integers(0, 5, 100_000).tolist()], costs(3, 2))


def test_the_first_of_equal_ends_is_taken():
    _, end = kernels.subsequence_dtw(*naive.ragged([[0] * 11], np.int32), np.zeros((1, 3, 4), np.uint8))
    assert (end == 0).all()


def test_columns_of_cost_zero_in_front_change_nothing():
    cost = costs(4, 6)
    padded = np.concatenate([np.zeros((5, 3, 6), np.uint8), cost], axis=1)
    batch = naive.ragged(SAMPLE, np.int32)
    short, long = kernels.subsequence_dtw(*batch, cost), kernels.subsequence_dtw(*batch, padded)
    assert all(np.array_equal(a, b) for a, b in zip(short, long, strict=True))


@settings(deadline=None, max_examples=80)
@given(ROWS, hnp.arrays(np.uint8, st.tuples(st.just(5), st.integers(1, 6), st.integers(1, 5))))
def test_any_input_agrees_with_the_oracle(rows, cost):
    check(rows, cost)


@settings(deadline=None, max_examples=40)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    cost = costs(4, 37, high=9)
    order = random.sample(range(len(rows)), len(rows))
    distance, end = kernels.subsequence_dtw(*naive.ragged([rows[i] for i in order], np.int32), cost, threads=2)
    for place, i in enumerate(order):
        alone = kernels.subsequence_dtw(*naive.ragged([rows[i]], np.int32), cost)
        assert np.array_equal(distance[place], alone[0][0])
        assert np.array_equal(end[place], alone[1][0])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("min(corner, last[j], beside)", "min(corner, last[j])"),
        ("min(corner, last[j], beside)", "min(corner, beside)"),
        ("min(corner, last[j], beside)", "min(last[j], beside)"),
        ("[FAR] * length", "[0.0] * length"),
        ("last[j - 1] if j", "last[j] if j"),
        ("d[-1] < best", "d[-1] <= best"),
        ("best, where = d[-1], i", "best, where = d[-1], i + 1"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, costs(5, 40, high=9), naive.mutant("subsequence_dtw", right, wrong))


def starts(oracle=naive.subsequence_dtw_start, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(40):
        tokens, cost = rng.integers(0, 5, rng.integers(1, 12)).astype(np.int32), costs(3, 1, high=4, seed=seed)[..., 0]
        for end in range(len(tokens)):
            got = kernels.subsequence_dtw_start(tokens, cost, end)
            naive.agree("subsequence_dtw_start", got, oracle(tokens, cost, end))


def test_starts_agree_with_the_oracle():
    for seed in range(5):
        starts(seed=seed)


def test_a_start_in_100k_equal_tokens_is_the_end():
    tokens = np.zeros(100_000, np.int32)
    assert kernels.subsequence_dtw_start(tokens, np.zeros((1, 4), np.uint8), 99_999) == 99_999


def test_the_stretch_found_costs_the_distance_found():
    cost = costs(5, 20)
    tokens, offsets = naive.ragged(SAMPLE[1:], np.int32)
    distance, end = kernels.subsequence_dtw(tokens, offsets, cost)
    for r, row in enumerate(SAMPLE[1:]):
        for p in range(20):
            last = int(end[r, p])
            first = kernels.subsequence_dtw_start(np.array(row, np.int32), np.ascontiguousarray(cost[:, :, p]), last)
            piece = naive.ragged([row[first : last + 1]], np.int32)
            assert kernels.subsequence_dtw(*piece, cost)[0][0, p] == distance[r, p]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return max(", "return min("),
        ("range(end + 1) if", "range(end) if"),
        ("tokens[begin : end + 1]", "tokens[begin:end]"),
        ("[FAR] *", "[0.0] *"),
    ],
)
def test_a_wrong_oracle_of_starts_is_noticed(right, wrong):
    with pytest.raises((AssertionError, ValueError)):
        starts(naive.mutant("subsequence_dtw_start", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    tokens, offsets = naive.ragged([[0, 4], [1]], np.int32)
    cost = costs(3, 2)
    wrong = {
        "tokens": (tokens + 1, offsets, cost),
        "offsets": (tokens, offsets + 1, cost),
        "cost": (tokens, offsets, cost[:, :0]),
    }
    for argument, arguments in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.subsequence_dtw(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("subsequence_dtw", argument)
    for argument, start_arguments in {
        "tokens": (tokens - 1, cost[..., 0], 1),
        "cost": (tokens, cost, 1),
        "end": (tokens, cost[..., 0], 3),
    }.items():
        with pytest.raises(KernelError) as caught:
            kernels.subsequence_dtw_start(*start_arguments)
        assert (caught.value.kernel, caught.value.argument) == ("subsequence_dtw_start", argument)
