"""Alignments of the pairs of a window and a pattern that the bound leaves: block by block on the host, all blocks of a
slice at once on a GPU. Both give the same integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import kernels
from aimds.detect.patterns.tables import MEMBERS, Tables
from aimds.kernels.placement import Place

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

PAIR_BYTES = 40
"""Memory on a GPU for a token, or for a pair with its result."""


class Survey(NamedTuple):
    """What W windows hold that the bank knows. ``tokens`` int32 (T,) without words of weight 0, ``offsets`` int64
    (W+1,), ``starts`` and ``ends`` int32 (T,): bytes in the window. ``windows`` and ``patterns`` int32 (C,): the pairs
    that may match, windows ascending."""

    tokens: Ints
    offsets: Offsets
    starts: Ints
    ends: Ints
    windows: Ints
    patterns: Ints


class Alignment(NamedTuple):
    """Alignments of C pairs that may match: ``window`` and ``pattern`` int32 (C,), the normalised ``distance`` float32
    (C,), and ``start`` and ``end`` int32 (C,), first and last token of the stretch, counted in the window."""

    window: Ints
    pattern: Ints
    distance: F32
    start: Ints
    end: Ints

    @classmethod
    def joined(cls, parts: Sequence[Alignment]) -> Alignment:
        """The pairs of all ``parts``, in their order."""
        none = np.empty(0, np.int32)
        return cls(
            np.concatenate([none, *(part.window for part in parts)]),
            np.concatenate([none, *(part.pattern for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.distance for part in parts)]),
            np.concatenate([none, *(part.start for part in parts)]),
            np.concatenate([none, *(part.end for part in parts)]),
        )

    def take(self, chosen: Any) -> Alignment:
        """Those of the pairs ``chosen``, an index or a mask."""
        return Alignment(
            self.window[chosen], self.pattern[chosen], self.distance[chosen], self.start[chosen], self.end[chosen]
        )


def on_host(tables: Tables, total: Offsets, survey: Survey, threads: int) -> Iterator[Alignment]:
    """Alignments of the pairs of ``survey``, window by window or block by block, whichever takes fewer calls of the
    kernel; ``total`` is `similarity.Index`'s."""
    blocks = tables.blocks
    windows, patterns, members, edges, held, used = _by_block(survey.windows, survey.patterns, MEMBERS, len(blocks))
    if held < used:
        yield from _by_window(tables, total, survey, threads)
        return
    bounds = edges.tolist()
    for number, block in enumerate(blocks):
        low, high = bounds[number], bounds[number + 1]
        if low == high:
            continue
        tokens, offsets, row = _rows(survey.tokens, survey.offsets, windows[low:high], block.local)
        found = kernels.subsequence_dtw_pairs(
            tokens, offsets, block.cost, block.lengths, row, members[low:high], threads=threads
        )
        yield _normalised(windows[low:high], patterns[low:high], total, *found)


def _by_window(tables: Tables, total: Offsets, survey: Survey, threads: int) -> Iterator[Alignment]:
    low = 0
    while low < len(survey.windows):
        high, *arguments = _gathered(
            survey.tokens, survey.offsets, survey.windows, survey.patterns, low,
            tables.cost, tables.local, tables.shapes, tables.lengths, MEMBERS,
        )  # fmt: skip
        found = kernels.subsequence_dtw_pairs(*arguments, threads=threads)
        yield _normalised(survey.windows[low:high], survey.patterns[low:high], total, *found)
        low = high


@njit(cache=True, nogil=True)
def _gathered(tokens, offsets, windows, patterns, low, table, local, shapes, lengths, members):  # type: ignore[no-untyped-def]
    # Of the pairs from ``low`` on those with the same window: where they end, and what the kernel takes for them. Its
    # costs, uint8 (V, C, L), are those of each of the window's V different tokens for each of the patterns.
    window, high, longest = windows[low], low, 0
    while high < len(windows) and windows[high] == window:
        longest = max(longest, lengths[patterns[high]])
        high += 1
    first, size = offsets[window], offsets[window + 1] - offsets[window]
    ids, different, count = np.empty(size, np.int32), np.empty(size, np.int32), 0
    for i in range(size):
        k = 0
        while k < count and different[k] != tokens[first + i]:
            k += 1
        if k == count:
            different[k] = tokens[first + i]
            count += 1
        ids[i] = k
    cost = np.empty((count, high - low, longest), np.uint8)
    columns = lengths[patterns[low:high]]
    for k in range(high - low):
        number, member = patterns[low + k] // members, patterns[low + k] % members
        begin, held, wide = shapes[number]
        for i in range(count):
            at = begin + (local[number, different[i]] * held + member + 1) * wide - columns[k]
            for j in range(columns[k]):
                cost[i, k, longest - columns[k] + j] = table[at + j]
    pairs = np.arange(high - low).astype(np.int32)
    return high, ids, np.array([0, size]), cost, columns, np.zeros_like(pairs), pairs


@njit(cache=True, nogil=True)
def _by_block(windows, patterns, members, blocks):  # type: ignore[no-untyped-def]
    # The C pairs in order of their blocks, windows still ascending in each: windows, patterns and their places in the
    # block, int32 (C,), where each block begins, int64 (blocks + 1,), how many windows and how many blocks there are.
    edges = np.zeros(blocks + 1, np.int64)
    for pattern in patterns:
        edges[pattern // members + 1] += 1
    for block in range(blocks):
        edges[block + 1] += edges[block]
    filled = edges.copy()
    out = np.empty((3, len(windows)), np.int32)
    for k in range(len(windows)):
        block = patterns[k] // members
        place = filled[block]
        filled[block] += 1
        out[0, place], out[1, place], out[2, place] = windows[k], patterns[k], patterns[k] % members
    held = used = 0
    for k in range(len(windows)):
        held += k == 0 or windows[k] != windows[k - 1]
    for block in range(blocks):
        used += edges[block] < edges[block + 1]
    return out[0], out[1], out[2], edges, held, used


def on_device(tables: Tables, total: Offsets, survey: Survey, place: Place) -> Iterator[Alignment]:
    """The same in ``place``: tokens and pairs go there once, and the results of all blocks come back together."""

    def part(first: int, last: int) -> Alignment:
        low, high = np.searchsorted(survey.windows, (first, last)).tolist()
        if low == high:
            return Alignment.joined([])
        owner = survey.patterns[low:high] // MEMBERS
        order = low + np.argsort(owner, kind="stable")
        windows, patterns, held = survey.windows[order], survey.patterns[order], np.bincount(owner)
        tokens, offsets = place.ragged(survey.tokens, survey.offsets, first, last)
        row, member = place.put(windows - np.int32(first)), place.put(patterns % MEMBERS)
        found: list[Any] = []
        edges = np.concatenate([[0], np.cumsum(held)]).tolist()
        for number in np.flatnonzero(held).tolist():
            here = slice(edges[number], edges[number + 1])
            block = tables.blocks[number]
            local, cost, lengths = place.resident(block.local, block.cost, block.lengths)
            found += kernels.subsequence_dtw_pairs(local[tokens], offsets, cost, lengths, row[here], member[here])
        columns = place.fetch(*found)
        return _normalised(windows, patterns, total, *(np.concatenate(columns[k::3]) for k in range(3)))

    # A window takes room for its tokens and for its pairs.
    rooms = survey.offsets + np.searchsorted(survey.windows, np.arange(len(survey.offsets)))
    yield from place.each(part, rooms, PAIR_BYTES)


def _normalised(windows: Ints, patterns: Ints, total: Offsets, distance: Ints, start: Ints, end: Ints) -> Alignment:
    share = np.empty(len(patterns), np.float32)
    _shares(distance, patterns, total, share)
    return Alignment(windows, patterns, share, start, end)


@njit(cache=True, nogil=True)
def _shares(distance, patterns, total, share):  # type: ignore[no-untyped-def]
    for k in range(len(patterns)):
        share[k] = distance[k] / total[patterns[k]]


@njit(cache=True, nogil=True)
def _rows(tokens, offsets, windows, local):  # type: ignore[no-untyped-def]
    # The tokens of the different ones of ``windows`` int32 (C,), ascending, as rows: values int32, offsets int64, and
    # the row of each of the C.
    row, rows, size = np.empty(len(windows), np.int32), 0, 0
    for k in range(len(windows)):
        if k == 0 or windows[k] != windows[k - 1]:
            rows += 1
            size += offsets[windows[k] + 1] - offsets[windows[k]]
        row[k] = rows - 1
    values, out = np.empty(size, np.int32), np.zeros(rows + 1, np.int64)
    at = 0
    for k in range(len(windows)):
        if k and row[k] == row[k - 1]:
            continue
        for i in range(offsets[windows[k]], offsets[windows[k] + 1]):
            values[at] = local[tokens[i]]
            at += 1
        out[row[k] + 1] = at
    return values, out, row
