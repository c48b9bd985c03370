from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing

from aimds import kernels
from aimds.kernels.cuda import lcs, levenshtein, masks

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

STEMS = ("lcs", "levenshtein")
RUN = {"lcs": lcs.run, "levenshtein": levenshtein.run}
# Lengths on both sides of each word, and of each stretch of 2048.
EDGES = [0, 1, 31, 32, 33, 63, 64, 65, 128, 129, 256, 257, 1024, 1025, 2048, 2049, 4097]


def symbols(lengths: list[int], kinds: int = 4, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, kinds, length).tolist() for length in lengths]


def check(stem, queries, patterns, dtype=np.int32, host: Host | None = None, oracle=None) -> None:
    arguments = (*naive.ragged(queries, dtype), *naive.ragged(patterns, dtype))
    naive.agree(stem, RUN[stem](host or Host(), *arguments), (oracle or getattr(naive, stem))(*arguments))


SAMPLE = [[], [0], [1, 2], [3] * 7, *symbols([9, 20, 70])]


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("queries", [[], [[]], [[], []], [[2]], SAMPLE])
@pytest.mark.parametrize("patterns", [[], [[]], [[2]], SAMPLE])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_small_batches_agree_with_the_oracle(stem, queries, patterns, dtype):
    check(stem, queries, patterns, dtype)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("queries", "patterns"), [([3000], [40, 60]), ([90, 111, 70], [300, 2049, 65]), ([3] * 300, [2] * 9)]
)
def test_one_large_few_big_and_many_small_agree_with_the_cpu(stem, order, queries, patterns):
    check(stem, symbols(queries), symbols(patterns, seed=1), np.uint8, Host(order), getattr(kernels, stem))


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kinds", [1, 2, 100])
def test_patterns_on_both_sides_of_a_word_agree_with_the_cpu(stem, kinds):
    queries = symbols([0, 1, 5, 66, 130], kinds, seed=1)
    check(stem, queries, symbols(EDGES, kinds, seed=2), oracle=getattr(kernels, stem))


@pytest.mark.parametrize("stem", STEMS)
def test_ids_may_be_negative_and_far_apart(stem):
    far = [[-(2**31), 2**31 - 1, 0], [5, -7, 2**31 - 1, 2**30]]
    check(stem, [*far, [1, 2, 3], [-(2**31)]], far)
    check(stem, [*far, [1, 2, 3]], [[4, 5, 6, -7]])


@pytest.mark.parametrize("stem", STEMS)
def test_patterns_are_taken_in_parts_that_fit(monkeypatch, stem):
    queries, patterns = symbols([40, 0, 33], 60), symbols([20, 50, 70, 2100, 130, 0] * 6, 60, seed=3)
    whole, part = Host(), Host()
    check(stem, queries, patterns, host=whole, oracle=getattr(kernels, stem))
    monkeypatch.setattr(masks, "ROOM_BYTES", 3000)
    check(stem, queries, patterns, host=part, oracle=getattr(kernels, stem))
    assert len(part.launched) > 2 * len(whole.launched)


@pytest.mark.parametrize("stem", STEMS)
def test_queries_and_patterns_may_lie_inside_longer_arrays(stem):
    values = np.arange(3000, dtype=np.int32) % 7
    q_offsets, p_offsets = np.array([5, 9, 40, 170], np.int64), np.array([100, 103, 170, 2999], np.int64)
    arguments = values, q_offsets, values, p_offsets
    naive.agree(stem, RUN[stem](Host(), *arguments), getattr(kernels, stem)(*arguments))


@pytest.mark.parametrize("stem", STEMS)
def test_a_row_does_not_depend_on_its_neighbours(stem):
    patterns = naive.ragged(symbols([5, 40, 66, 300]), np.int32)
    whole = RUN[stem](Host(), *naive.ragged(SAMPLE, np.int32), *patterns)
    for row, found in zip(SAMPLE, whole, strict=True):
        assert np.array_equal(RUN[stem](Host(), *naive.ragged([row], np.int32), *patterns)[0], found)


SHARED_MUTANTS = (
    ("for (i64 i = places.begin; i < places.end; i++) used", "for (i64 i = places.begin + 1; i < places.end; i++) used"),
    ("i64(slots[p_codes[i]]) * here * words + at", "i64(slots[p_codes[i]]) * here + at"),
    ("for (int i = 0; i < count; i++) column", "for (int i = 1; i < count; i++) column"),
    ("__shfl_up_sync(ALL_LANES, carry, 1, words)", "__shfl_up_sync(ALL_LANES, carry, 2, words)"),
    ("const int i = step - word;", "const int i = step;"),
    ("+ words - 1;\n", "+ words - 2;\n"),
    ("stretch ? kept[i64(i) * here] : ", ""),
    ("__shfl_xor_sync(ALL_LANES, gained, other, words);", "__shfl_xor_sync(ALL_LANES, gained, 1, words);"),
    ("+ skip + i64(word)", "+ i64(word)"),
)  # fmt: skip
"""Mutants of masks.cuh, for the tests of both kernels."""


def all_kernels(stem: str, host: Host) -> None:
    check(stem, SAMPLE, SAMPLE, np.uint8, host)
    queries = symbols([60, 7, 140], 3, seed=5)
    patterns = [*symbols([40, 70, 150, 290, 2100], 3, seed=6), [0] * 2050 + [1, 2] * 9]
    check(stem, queries, patterns, np.uint8, host, getattr(kernels, stem))
    check(stem, [[1], [9, 2]], [[9, 2], [7]], np.uint8, host)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("order", ORDERS)
def test_what_the_mutants_are_checked_with_passes_without_one(stem, order):
    all_kernels(stem, Host(order))
