from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

ROWS = st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=4)
# Lengths on both sides of each machine word, and of each stretch of 512.
EDGES = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 511, 512, 513, 1024, 1100]


def symbols(lengths: list[int], kinds: int = 4, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, kinds, length).tolist() for length in lengths]


def check(queries, patterns, dtype=np.int32, oracle=naive.lcs) -> None:
    arguments = (*naive.ragged(queries, dtype), *naive.ragged(patterns, dtype))
    naive.agree("lcs", kernels.lcs(*arguments), oracle(*arguments))


SAMPLE = [[], [0], [1, 2], [3] * 7, *symbols([9, 20, 70])]


@pytest.mark.parametrize("queries", [[], [[]], [[], []], [[2]], SAMPLE])
@pytest.mark.parametrize("patterns", [[], [[]], [[2]], SAMPLE])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_small_batches_agree_with_the_oracle(queries, patterns, dtype):
    check(queries, patterns, dtype)


@pytest.mark.parametrize("kinds", [1, 2, 100])
def test_patterns_on_both_sides_of_a_word_agree_with_the_oracle(kinds):
    check(symbols([0, 1, 5, 66], kinds, seed=1), symbols(EDGES, kinds, seed=2))


def test_more_patterns_than_a_block_holds_agree_with_the_oracle():
    check(symbols([6, 9]), symbols([5] * 300 + [20] * 150 + [40] * 70))


@pytest.mark.parametrize(("query", "pattern"), [(100_000, 3), (3, 100_000)])
def test_100k_symbols_agree_with_the_oracle(query, pattern):
    check(symbols([query], 3), symbols([pattern], 3, seed=1), np.uint8)


def test_100k_equal_symbols_against_themselves():
    values, offsets = np.full(100_000, 7, np.uint8), np.array([0, 100_000], np.int64)
    assert kernels.lcs(values, offsets, values, offsets)[0, 0] == 100_000


def test_20k_distinct_ids_against_themselves_in_reverse():
    values, offsets = np.arange(20_000, dtype=np.int32), np.array([0, 20_000], np.int64)
    assert kernels.lcs(values, offsets, values[::-1].copy(), offsets)[0, 0] == 1


def test_ids_may_be_negative_and_far_apart():
    far = [[-(2**31), 2**31 - 1, 0], [5, -7, 2**31 - 1, 2**30]]
    check([*far, [1, 2, 3], [-(2**31)]], far)
    check([*far, [1, 2, 3]], [[4, 5, 6, -7]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@settings(max_examples=60)
@given(queries=ROWS, patterns=ROWS)
def test_any_input_agrees_with_the_oracle(dtype, queries, patterns):
    check(queries, patterns, dtype)


@settings(max_examples=40)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    patterns = naive.ragged([*symbols(EDGES), *symbols([12] * 20)], np.int32)
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.lcs(*naive.ragged([rows[i] for i in order], np.int32), *patterns, threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], kernels.lcs(*naive.ragged([rows[i]], np.int32), *patterns)[0])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if symbol == other", "if symbol != other"),
        ("last[j] + 1", "last[j + 1] + 1"),
        ("max(last[j + 1], d[j])", "max(last[j], d[j])"),
        ("max(last[j + 1], d[j])", "0"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, SAMPLE, oracle=naive.mutant("lcs", right, wrong))


@pytest.mark.parametrize(
    ("argument", "q_dtype", "p_dtype", "shift"),
    [
        ("p_values", np.uint8, np.int32, 0),
        ("q_values", np.int64, np.int64, 0),
        ("q_offsets", np.uint8, np.uint8, 1),
    ],
)
def test_an_argument_that_does_not_fit_is_named(argument, q_dtype, p_dtype, shift):
    q_values, q_offsets = naive.ragged([[1, 2], [3]], q_dtype)
    p_values, p_offsets = naive.ragged([[1]], p_dtype)
    with pytest.raises(KernelError) as caught:
        kernels.lcs(q_values, q_offsets + shift, p_values, p_offsets)
    assert (caught.value.kernel, caught.value.argument) == ("lcs", argument)
