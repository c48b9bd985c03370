from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing, source
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import subsequence_dtw

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

SAMPLE = [[], [0], [1, 2], [3, 3, 3, 3], [0, 1, 2, 3, 4, 0, 1], [], [4, 2, 0, 1, 3, 2, 2, 1, 0, 4, 4, 1]]


def costs(length: int, patterns: int, tokens: int = 5, high: int = 255, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high + 1, (tokens, length, patterns)).astype(np.uint8)


def texts(*sizes: int, seed: int = 0) -> list[list[int]]:
    return [np.random.default_rng(seed + k).integers(0, 5, size).tolist() for k, size in enumerate(sizes)]


def check(rows, cost, host: Host | None = None, oracle=naive.subsequence_dtw) -> None:
    arguments = (*naive.ragged(rows, np.int32), cost)
    naive.agree("subsequence_dtw", subsequence_dtw.run(host or Host(), *arguments), oracle(*arguments))


def pairs_of(rows, cost, lengths=None, seed: int = 0):
    """Every row with every pattern, in an order of no meaning; ``cost`` as `subsequence_dtw` takes it."""
    cost = np.ascontiguousarray(cost.transpose(0, 2, 1))
    every = np.random.default_rng(seed).permutation(len(rows) * cost.shape[1]).astype(np.int32)
    if lengths is None:
        lengths = np.random.default_rng(seed).integers(1, cost.shape[2] + 1, cost.shape[1])
    chosen = every // cost.shape[1], every % cost.shape[1]
    return (*naive.ragged(rows, np.int32), cost, np.asarray(lengths, np.int32), *chosen)


def check_pairs(arguments, host: Host | None = None, oracle=naive.subsequence_dtw_pairs) -> None:
    found = subsequence_dtw.run_pairs(host or Host(), *arguments)
    naive.agree("subsequence_dtw_pairs", found, oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[2]], SAMPLE])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (3, 41), (48, 4), (49, 5), (3, 0)])
def test_small_batches_agree_with_the_oracle(rows, shape):
    check(rows, costs(*shape))
    check_pairs(pairs_of(rows, costs(*shape)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("sizes", "shape"), [((900,), (3, 3)), ((40, 31, 33), (128, 5)), ((3,) * 300, (3, 9))])
def test_one_large_few_big_and_many_small_agree_with_the_cpu(order, sizes, shape):
    check(texts(*sizes), costs(*shape), Host(order), kernels.subsequence_dtw)
    check_pairs(pairs_of(texts(*sizes), costs(*shape)), Host(order), kernels.subsequence_dtw_pairs)


@pytest.mark.parametrize("length", [48, 49, 124, 125, 128, 512, 513])
@pytest.mark.parametrize("least", [0, 255])
def test_the_longest_patterns_keep_every_cost_at_its_largest(length, least):
    cost = np.full((2, length, 3), 255, np.uint8)
    cost[1] = least
    rows = [[0] * 3, [0, 1, 0, 0, 1, 1], [0] * 40]
    check(rows, cost, None, kernels.subsequence_dtw)
    check_pairs(pairs_of(rows, cost, [length] * 3), None, kernels.subsequence_dtw_pairs)


def test_the_first_of_equal_ends_and_the_latest_of_equal_starts_are_taken():
    cost = np.zeros((1, 3, 5), np.uint8)
    _, end = subsequence_dtw.run(Host(), *naive.ragged([[0] * 11], np.int32), cost)
    assert (end == 0).all()
    check_pairs(pairs_of(texts(40, 41), costs(3, 9, high=1)))
    check_pairs(pairs_of(texts(40, 41), costs(64, 9, high=1)))


def test_columns_that_go_on_in_stretches_are_done_in_parts_that_fit(monkeypatch):
    monkeypatch.setattr(subsequence_dtw, "ROOM_BYTES", 3000)
    rows, cost, host = texts(50, 0, 33), costs(1030, 17), Host()
    check(rows, cost, host, kernels.subsequence_dtw)
    assert len(host.launched) == 3
    check_pairs(pairs_of(rows, cost, [1030, 1, 512, 513] * 4 + [600]), host, kernels.subsequence_dtw_pairs)
    assert len(host.launched) > 6


def test_a_row_too_long_for_a_short_key_agrees_with_the_cpu():
    rows = [np.random.default_rng(1).integers(0, 5, (1 << 18) + 9).tolist(), [1, 2, 3]]
    check_pairs(pairs_of(rows, costs(3, 2), [3, 2]), None, kernels.subsequence_dtw_pairs)


def test_a_cost_table_that_begins_at_any_byte_is_read():
    for skip in range(1, 4):
        bytes_ = np.random.default_rng(1).integers(0, 256, 5 * 3 * 4 + skip).astype(np.uint8)
        check(SAMPLE, bytes_[skip:].reshape(5, 3, 4))


def test_a_row_does_not_depend_on_its_neighbours():
    cost = costs(64, 6)
    whole = subsequence_dtw.run(Host(), *naive.ragged(SAMPLE, np.int32), cost)
    for k, row in enumerate(SAMPLE):
        alone = subsequence_dtw.run(Host(), *naive.ragged([row], np.int32), cost)
        assert all(np.array_equal(a[0], b[k]) for a, b in zip(alone, whole, strict=True))


def test_float16_orders_the_packed_integers_as_they_are():
    # sm_80 takes their minimum as float16, in which no sum may be infinite or not a number.
    far = 0x7BFF
    assert f"FAR = 0x{far:X};" in source("subsequence_dtw")
    assert far > 255 * subsequence_dtw.NARROW_COLUMNS
    values = np.arange(far + 1, dtype=np.uint16).view(np.float16)
    assert np.isfinite(values).all()
    assert (np.diff(values.astype(np.float64)) > 0).all()


MUTANTS = (
    ("const u32 both = u32(value) | u32(value) << 16;", "const u32 both = u32(value);"),
    ("__vimin3_s16x2(a, b, c)", "__vmins2(a, b)"),
    ("__byte_perm(costs, 0, 0x4342)", "__byte_perm(costs, 0, 0x4140)"),
    ("a.at[k] += int(costs >> (8 * k) & 255);", "a.at[k] += int(costs >> 8 & 255);"),
    ("__shfl_up_sync(ALL_LANES, a.high, 1)", "__shfl_up_sync(ALL_LANES, a.high, 2)"),
    ("__shfl_up_sync(ALL_LANES, a.at[k], 1)", "__shfl_up_sync(ALL_LANES, a.at[k], 0)"),
    ("row[0] = low0 ? row[0] : i, row[1] = low1 ? row[1] : i;", "row[0] = low0 ? row[0] : i, row[1] = low0 ? row[1] : i;"),
    ("row[k] = last.at[k] < cost.at[k] ? i : row[k];", "row[k] = last.at[k] <= cost.at[k] ? i : row[k];"),
    ("if (first + k < patterns) {", "{"),
    ("corner = up, between = first;", "corner = first, between = first;"),
    ("second = plus(least(between, first, second)", "second = plus(least(between, up, second)"),
    ("for (; i + 1 < count; i += 2) {", "for (; i + 1 < count; i += 3) {"),
    ("        best.take(first, i);\n", ""),
    ("best.take(second, i + 1);", "best.take(second, i);"),
    ("fours, -column);", "fours, 0);"),
    ("stretch ? kept[i64(i) * here] : filled(State{}, 0);", "filled(State{}, 0);"),
    ("stretch || lane ? State::FAR : 0);", "lane ? State::FAR : 0);"),
    ("                corner = left;\n                if (lane == 31) {", "                if (lane == 31) {"),
    ("step < count + 31; step++) {\n            const int i = step - lane;\n            const bool", "step < count + 30; step++) {\n            const int i = step - lane;\n            const bool"),
    ("int(left & ((Number(1) << Key::SHIFT) - 1))", "int(left & ((Number(1) << Key::SHIFT) - 2))"),
    ("Number left = Number(count - 1 - i), corner = left;", "Number left = Number(i), corner = left;"),
    ("Number(c < skip ? 0 : costs[c])", "Number(costs[c])"),
    ("        if (here < best) {\n            best = here, ends = i;", "        if (here <= best) {\n            best = here, ends = i;"),
    ("__shfl_up_sync(ALL_LANES, last, 1);\n            if (i < 0", "__shfl_down_sync(ALL_LANES, last, 1);\n            if (i < 0"),
    ("left = stretch ? kept[i] : u64(count - 1 - i);", "left = u64(count - 1 - i);"),
    ("last = value, corner = left;", "last = value;"),
    ("u64(column + c < 0 ? 0 : costs[c])", "u64(column + c <= 0 ? 0 : costs[c])"),
    ("        __syncwarp();\n    }\n    if (lane == 31) distance", "    }\n    if (lane == 30) distance"),
)  # fmt: skip


def stepped() -> np.ndarray:
    """A pattern of tokens 0, 1, 2: all others cost 9."""
    cost = np.full((8, 3, 4), 9, np.uint8)
    cost[[0, 1, 2], [0, 1, 2]] = 0
    return cost


def all_kernels(host: Host) -> None:
    check(SAMPLE, costs(3, 6), host)
    check([[0, 1, 1, 2], [7, 0, 1, 1, 2]], stepped(), host)
    few = texts(20, 37)
    check(few, costs(70, 6, high=20), host, kernels.subsequence_dtw)
    check(few, costs(211, 5, high=9), host, kernels.subsequence_dtw)
    check_pairs(pairs_of(texts(20, 37, 0, 9), costs(3, 6, high=2)), host)
    check_pairs(pairs_of(few, costs(211, 5, high=2), [211, 3, 130, 192, 193]), host, kernels.subsequence_dtw_pairs)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant, monkeypatch):
    monkeypatch.setattr(subsequence_dtw, "LANE_COLUMNS", 3)
    refused("subsequence_dtw", MUTANTS, mutant, all_kernels)


def test_what_the_mutants_are_checked_with_passes_without_one(monkeypatch):
    monkeypatch.setattr(subsequence_dtw, "LANE_COLUMNS", 3)
    for order in ORDERS:
        all_kernels(Host(order))
