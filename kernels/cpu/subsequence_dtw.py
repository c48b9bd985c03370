"""subsequence_dtw on the CPU: lanes are patterns, four tokens at a time, costs looked up in an integer table.

The state is int16 where no path can leave it (255 * L < 2 ** 15), int32 elsewhere; both give the same integers. Of
single pairs of a row and a pattern, one after another.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I16, I32, I64, U8, compiled, inlined, reads, writes
from aimds.kernels.cpu.scratch import scratch
from aimds.kernels.registry import register

Ints = npt.NDArray[np.int32]
Costs = npt.NDArray[np.uint8]

LANES: Final = 512
"""Patterns whose state is kept near the core at once."""
NO_MATCH: Final = 1 << 20
"""Distance of every pattern from an empty text."""


def _signature(state: Any) -> Any:
    return types.void(
        *(reads(I32), reads(I64), reads(U8, 3), I64, I64),
        *(writes(state, 2), writes(state, 2), writes(state), writes(I32), writes(I32, 2), writes(I32, 2)),
    )


@compiled(_signature(I16), _signature(I32))
def _rows(
    tokens: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    cost: Any,  # uint8 (V, L, P)
    first: Any,
    last: Any,
    above: Any,  # state (L, LANES): D[i - 1, j] of each lane
    left: Any,  # state (5, LANES): D[i .. i + 3, j - 1] and D[i - 1, j - 1]
    best: Any,  # state (LANES,)
    where: Any,  # int32 (LANES,)
    distance: Any,  # int32 (B, P)
    end: Any,  # int32 (B, P)
) -> None:
    length, patterns = cost.shape[1], cost.shape[2]
    far = 32767 if above.itemsize == 2 else 1 << 30
    for row in range(first, last):
        begin, stop = offsets[row], offsets[row + 1]
        if begin == stop:
            distance[row, :] = NO_MATCH
            end[row, :] = -1
            continue
        for base in range(0, patterns, LANES):
            lanes = min(LANES, patterns - base)
            above[:, :] = far
            best[:] = far
            where[:] = -1
            i = begin
            while i + 4 <= stop:
                token0, token1, token2, token3 = tokens[i], tokens[i + 1], tokens[i + 2], tokens[i + 3]
                left[:, :] = 0
                for j in range(length):
                    # Slices, since an index of two parts might be negative for all the compiler knows.
                    cost0, cost1 = cost[token0, j, base : base + lanes], cost[token1, j, base : base + lanes]
                    cost2, cost3 = cost[token2, j, base : base + lanes], cost[token3, j, base : base + lanes]
                    for lane in range(lanes):
                        up = above[j, lane]
                        left0, left1, left2, left3 = left[0, lane], left[1, lane], left[2, lane], left[3, lane]
                        left[0, lane] = cost0[lane] + min(min(left[4, lane], up), left0)
                        left[1, lane] = cost1[lane] + min(min(left0, left[0, lane]), left1)
                        left[2, lane] = cost2[lane] + min(min(left1, left[1, lane]), left2)
                        left[3, lane] = cost3[lane] + min(min(left2, left[2, lane]), left3)
                        left[4, lane] = up
                        above[j, lane] = left[3, lane]
                position = np.int32(i - begin)
                for t in range(4):
                    for lane in range(lanes):
                        better = left[t, lane] < best[lane]
                        best[lane] = left[t, lane] if better else best[lane]
                        where[lane] = position + np.int32(t) if better else where[lane]
                i += 4
            while i < stop:
                token = tokens[i]
                left[:, :] = 0
                for j in range(length):
                    cost0 = cost[token, j, base : base + lanes]
                    for lane in range(lanes):
                        up = above[j, lane]
                        left[0, lane] = cost0[lane] + min(min(left[4, lane], up), left[0, lane])
                        left[4, lane] = up
                        above[j, lane] = left[0, lane]
                position = np.int32(i - begin)
                for lane in range(lanes):
                    better = left[0, lane] < best[lane]
                    best[lane] = left[0, lane] if better else best[lane]
                    where[lane] = position if better else where[lane]
                i += 1
            nearest, last_token = distance[row, base : base + lanes], end[row, base : base + lanes]
            for lane in range(lanes):
                nearest[lane] = best[lane]
                last_token[lane] = where[lane]


@register("subsequence_dtw", "cpu")
def subsequence_dtw(tokens: Ints, offsets: npt.NDArray[np.int64], cost: Costs, *, threads: int) -> tuple[Ints, Ints]:
    length, patterns = cost.shape[1:]
    distance = np.empty((len(offsets) - 1, patterns), np.int32)
    end = np.empty_like(distance)
    state = np.int16 if 255 * length < 1 << 15 else np.int32

    def part(first: int, last: int) -> None:
        above, left = scratch((length, LANES), state), scratch((5, LANES), state)
        best, where = scratch(LANES, state), scratch(LANES, np.int32)
        _rows(tokens, offsets, cost, first, last, above, left, best, where, distance, end)

    ragged.each(part, offsets, threads)
    return distance, end


@inlined
def _token(costs, above, length, behind):  # type: ignore[no-untyped-def]
    # One token of a pair, with ``behind`` others behind it: D[i, length - 1], and where its path starts. Of D[i - 1, j]
    # stands in ``above`` int64 (L,), afterwards of D[i, j], the cost and in the low bits how far the path's start lies
    # from the last token: so the least of these numbers is the cheapest path, and of these the one that starts latest.
    corner = left = behind
    for j in range(length):
        up = above[j]
        least = min(min(corner, up), left)
        corner = up
        left = least + (np.int64(costs[j]) << 32)
        above[j] = left
    return left


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(U8, 3), reads(I32), reads(I32), reads(I32), I64, I64),
        *(writes(I64), writes(I32), writes(I32), writes(I32)),
    )
)
def _pairs(
    tokens: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    cost: Any,  # uint8 (V, P, L)
    lengths: Any,  # int32 (P,)
    rows: Any,  # int32 (C,)
    patterns: Any,  # int32 (C,)
    first: Any,
    last: Any,
    above: Any,  # int64 (L,)
    distance: Any,  # int32 (C,)
    start: Any,  # int32 (C,)
    end: Any,  # int32 (C,)
) -> None:
    columns = cost.shape[2]
    for pair in range(first, last):
        begin, stop = offsets[rows[pair]], offsets[rows[pair] + 1]
        pattern = patterns[pair]
        length = np.int64(lengths[pattern])
        best = np.int64(NO_MATCH) << 32
        where = -1
        for j in range(length):
            above[j] = np.int64(1) << 62
        for i in range(begin, stop):
            costs = cost[tokens[i], pattern, columns - length :]
            left = _token(costs, above, length, stop - 1 - i)
            if left >> 32 < best >> 32:
                best = left
                where = i
        distance[pair] = best >> 32
        end[pair] = where - begin if where >= 0 else -1
        start[pair] = stop - 1 - (best & 0xFFFFFFFF) - begin if where >= 0 else -1


@compiled(types.void(reads(I64), reads(I32), reads(I32), reads(I32), writes(I64)))
def _cells(offsets: Any, lengths: Any, rows: Any, patterns: Any, cells: Any) -> None:
    # Cells of the table of each pair, summed up from 0 on: int64 (C+1,).
    cells[0] = 0
    for pair in range(len(rows)):
        row = rows[pair]
        cells[pair + 1] = cells[pair] + (offsets[row + 1] - offsets[row]) * lengths[patterns[pair]]


@register("subsequence_dtw_pairs", "cpu")
def subsequence_dtw_pairs(
    tokens: Ints,
    offsets: npt.NDArray[np.int64],
    cost: Costs,
    lengths: Ints,
    rows: Ints,
    patterns: Ints,
    *,
    threads: int,
) -> tuple[Ints, Ints, Ints]:
    pairs = len(rows)
    distance, start, end = np.empty(pairs, np.int32), np.empty(pairs, np.int32), np.empty(pairs, np.int32)
    cells = np.empty(pairs + 1, np.int64)
    _cells(offsets, lengths, rows, patterns, cells)

    def part(first: int, last: int) -> None:
        above = scratch(cost.shape[2], np.int64)
        _pairs(tokens, offsets, cost, lengths, rows, patterns, first, last, above, distance, start, end)

    ragged.each(part, cells, threads)
    return distance, start, end


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32, 2), reads(U8), reads(I32, 2), reads(I64, 2), reads(I32), reads(I64)),
        *(I64, I64, I64, writes(F32), writes(I32, 2)),
    )
)
def aligned(
    tokens: Any,  # int32 (T,)
    offsets: Any,  # int64 (W+1,)
    chosen: Any,  # int32 (2, C): window and pattern of each pair, in order of their blocks
    cost: Any,  # uint8 (S,): the tables (V, M, L) of all blocks of ``members`` patterns, one behind the other
    local: Any,  # int32 (K, R): the row in the table of each block of a token
    shapes: Any,  # int64 (K, 3): where the table of a block begins, its M and its L
    lengths: Any,  # int32 (P,)
    total: Any,  # int64 (P,): what a distance is divided by
    members: Any,
    first: Any,
    last: Any,
    distance: Any,  # float32 (C,)
    places: Any,  # int32 (2, C): start and end
) -> None:
    """As `subsequence_dtw_pairs` for the pairs from ``first`` to ``last``, with the costs read where they stand and
    ``distance`` normalised: Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4."""
    most = 0
    for k in range(first, last):
        most = max(most, offsets[chosen[0, k] + 1] - offsets[chosen[0, k]])
    above, rows = np.empty(shapes[:, 2].max(), np.int64), np.empty(most, np.int64)
    window = number = np.int64(-1)
    size = np.int64(0)
    for k in range(first, last):
        pattern = np.int64(chosen[1, k])
        begin, held, wide = shapes[pattern // members]
        if pattern // members != number or chosen[0, k] != window:
            number, window = pattern // members, np.int64(chosen[0, k])
            size = offsets[window + 1] - offsets[window]
            for i in range(size):
                rows[i] = begin + local[number, tokens[offsets[window] + i]] * held * wide
        length = np.int64(lengths[pattern])
        best, where = np.int64(NO_MATCH) << 32, np.int64(-1)
        for j in range(length):
            above[j] = np.int64(1) << 62
        for i in range(size):
            at = rows[i] + (pattern % members + 1) * wide - length
            costs = cost[at : at + length]
            left = _token(costs, above, length, size - 1 - i)
            if left >> 32 < best >> 32:
                best, where = left, np.int64(i)
        distance[k] = (best >> 32) / total[pattern]
        places[0, k] = size - 1 - (best & 0xFFFFFFFF) if where >= 0 else -1
        places[1, k] = where
