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


@settings(max_examples=80)
@given(ROWS, hnp.arrays(np.uint8, st.tuples(st.just(5), st.integers(1, 6), st.integers(1, 5))))
def test_any_input_agrees_with_the_oracle(rows, cost):
    check(rows, cost)


@settings(max_examples=40)
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


def pairs(oracle=naive.subsequence_dtw_pairs, seeds: int = 5, threads: int = 1) -> None:
    for seed in range(seeds):
        some_pairs(np.random.default_rng(seed), oracle, threads)


def some_pairs(rng: np.random.Generator, oracle, threads: int) -> None:
    texts = [rng.integers(0, 5, size).tolist() for size in rng.integers(0, 12, 6)]
    cost = rng.integers(0, 5, (5, 4, 6)).astype(np.uint8)
    lengths = rng.integers(1, 7, 4).astype(np.int32)
    rows, patterns = (rng.integers(0, most, 40).astype(np.int32) for most in (6, 4))
    arguments = (*naive.ragged(texts, np.int32), cost, lengths, rows, patterns)
    got = kernels.subsequence_dtw_pairs(*arguments, threads=threads)
    naive.agree("subsequence_dtw_pairs", got, oracle(*arguments))


@pytest.mark.parametrize("threads", [1, 2])
def test_pairs_agree_with_the_oracle(threads):
    pairs(seeds=20, threads=threads)


def test_no_pairs_give_nothing():
    none = np.empty(0, np.int32)
    arguments = (*naive.ragged([[1]], np.int32), np.zeros((2, 1, 1), np.uint8), np.ones(1, np.int32), none, none)
    assert [len(part) for part in kernels.subsequence_dtw_pairs(*arguments)] == [0, 0, 0]


def test_pairs_are_the_cells_of_the_whole_batch():
    cost = costs(6, 20)
    lengths = np.full(20, 6, np.int32)
    batch = naive.ragged(SAMPLE, np.int32)
    distance, end = kernels.subsequence_dtw(*batch, cost)
    rows, patterns = (part.ravel().astype(np.int32) for part in np.indices(distance.shape))
    alone = kernels.subsequence_dtw_pairs(
        *batch, np.ascontiguousarray(cost.transpose(0, 2, 1)), lengths, rows, patterns
    )
    assert np.array_equal(alone[0], distance.ravel())
    assert np.array_equal(alone[2], end.ravel())


def test_the_stretch_found_costs_the_distance_found():
    cost = np.random.default_rng(3).integers(0, 256, (5, 20, 3)).astype(np.uint8)
    lengths = np.full(20, 3, np.int32)
    rows, patterns = (part.ravel().astype(np.int32) for part in np.indices((len(SAMPLE) - 1, 20)))
    found = kernels.subsequence_dtw_pairs(*naive.ragged(SAMPLE[1:], np.int32), cost, lengths, rows, patterns)
    for row, pattern, distance, start, end in zip(rows, patterns, *found, strict=True):
        piece = naive.ragged([SAMPLE[1:][row][start : end + 1]], np.int32)
        one = np.zeros(1, np.int32)
        again = kernels.subsequence_dtw_pairs(*piece, cost, lengths, one, one + pattern)
        assert again[0][0] == distance


def test_the_longest_pattern_at_the_largest_cost_does_not_run_over():
    cost = np.full((1, 1, 3000), 255, np.uint8)
    one = np.zeros(1, np.int32)
    arguments = (*naive.ragged([[0] * 4], np.int32), cost, one + 3000, one, one)
    distance, start, end = kernels.subsequence_dtw_pairs(*arguments)
    assert (distance[0], start[0], end[0]) == (255 * 3000, 0, 0)


def test_in_100k_equal_tokens_the_first_is_the_stretch():
    one = np.zeros(1, np.int32)
    tokens, offsets = np.zeros(100_000, np.int32), np.array([0, 100_000], np.int64)
    distance, start, end = kernels.subsequence_dtw_pairs(
        tokens, offsets, np.ones((1, 1, 4), np.uint8), one + 4, one, one
    )
    assert (distance[0], start[0], end[0]) == (4, 0, 0)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("max(begins)", "min(begins)"),
        ("range(end + 1) if", "range(end) if"),
        ("text[begin : end + 1]", "text[begin:end]"),
        ("[FAR] *", "[0.0] *"),
        ("min(steps)", "max(steps)"),
        ("cost.shape[2] - lengths[pattern]", "0"),
        ("whole.index(min(whole))", "len(whole) - 1"),
    ],
)
def test_a_wrong_oracle_of_pairs_is_noticed(right, wrong):
    with pytest.raises((AssertionError, ValueError, IndexError, OverflowError)):
        pairs(naive.mutant("subsequence_dtw_pairs", right, wrong))


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
    one = np.ones(1, np.int32)
    by_pattern = np.ascontiguousarray(cost.transpose(0, 2, 1))
    fits = {"lengths": np.full(2, 3, np.int32), "rows": one, "patterns": one}
    for argument, changed in {
        "rows": {"rows": one + 1},
        "patterns": {"patterns": one + 1},
        "lengths": {"lengths": np.array([0, 4], np.int32)},
    }.items():
        with pytest.raises(KernelError) as caught:
            kernels.subsequence_dtw_pairs(tokens, offsets, by_pattern, **{**fits, **changed})
        assert (caught.value.kernel, caught.value.argument) == ("subsequence_dtw_pairs", argument)
