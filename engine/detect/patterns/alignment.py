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
from aimds.kernels import ragged
from aimds.kernels.cpu.subsequence_dtw import aligned
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


def on_host(tables: Tables, total: Offsets, survey: Survey, threads: int) -> Alignment:
    """Alignments of the pairs of ``survey``, block by block; ``total`` is `similarity.Index`'s.

    The costs are read where they stand: to gather those of a single window for `kernels.subsequence_dtw_pairs` takes
    longer than to align it.
    """
    pairs = len(survey.windows)
    chosen, cells = np.empty((2, pairs), np.int32), np.empty(pairs + 1, np.int64)
    blocks = len(tables.blocks)
    _by_block(survey.windows, survey.patterns, survey.offsets, tables.lengths, MEMBERS, blocks, chosen, cells)
    distance, places = np.empty(pairs, np.float32), np.empty((2, pairs), np.int32)
    table = tables.cost, tables.local, tables.shapes, tables.lengths, total

    def part(first: int, last: int) -> None:
        aligned(survey.tokens, survey.offsets, chosen, *table, MEMBERS, first, last, distance, places)

    ragged.each(part, cells, threads)
    return Alignment(chosen[0], chosen[1], distance, places[0], places[1])


@njit(cache=True, nogil=True)
def _by_block(windows, patterns, offsets, lengths, members, blocks, chosen, cells):  # type: ignore[no-untyped-def]
    # The C pairs in order of their blocks, windows still ascending in each, into ``chosen`` int32 (2, C), and the cells
    # of the table of each, summed up from 0 on, into ``cells`` int64 (C+1,).
    edges = np.zeros(blocks + 1, np.int64)
    for pattern in patterns:
        edges[pattern // members + 1] += 1
    for block in range(blocks):
        edges[block + 1] += edges[block]
    for k in range(len(windows)):
        block = patterns[k] // members
        chosen[0, edges[block]], chosen[1, edges[block]] = windows[k], patterns[k]
        edges[block] += 1
    cells[0] = 0
    for k in range(len(windows)):
        window = chosen[0, k]
        cells[k + 1] = cells[k] + (offsets[window + 1] - offsets[window]) * lengths[chosen[1, k]]


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
