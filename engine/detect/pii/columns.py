"""Tables inside a text (CSV, TSV, Markdown): the heading of the column that a value stands in says what the value is.

A table is a run of lines with the same number of cells; its first line holds the headings. RFC 4180 quotes are known
within a line, not across lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

SEPARATORS = b",;\t|"
MAX_HEADING = 40
"""Bytes of the longest cell that is taken for a heading."""

MAX_BYTES = 1 << 20
"""In a longer text no tables are looked for: their edges take memory, up to ten bytes a byte of the text."""

_QUOTE = 34
_BREAK = 10


class _Cells(NamedTuple):
    """Where one separator stands outside quotes in L lines: ``edges`` int32, ascending, those of line i in
    ``edges[bounds[i]:bounds[i + 1]]``; ``first`` int32 (L,), the first line of the table that each line is in."""

    edges: Ints
    bounds: Ints
    first: Ints


class Columns:
    """The tables of one text, found on first use; O(N) for N bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._lines: Ints | None = None
        self._cells: list[_Cells] = []

    def headings(self, start: int) -> Iterator[tuple[int, int]]:
        """Byte ranges of what may be the heading over the byte ``start``: at most one for each separator."""
        if len(self._raw) > MAX_BYTES:
            return
        lines = self._read() if self._lines is None else self._lines
        line = int(np.searchsorted(lines, start, "right")) - 1
        for edges, bounds, first_of in self._cells:
            first = int(first_of[line])
            if first == line:
                continue
            place = int(np.searchsorted(edges[bounds[line] : bounds[line + 1]], start))
            over = edges[bounds[first] : bounds[first + 1]]
            low = int(over[place - 1]) + 1 if place else int(lines[first])
            high = int(over[place]) if place < len(over) else int(lines[first + 1]) - 1
            if 0 < high - low <= MAX_HEADING:
                yield low, high

    def _read(self) -> Ints:
        values = np.frombuffer(self._raw, np.uint8)
        lines = np.concatenate([np.zeros(1, np.int32), _places(values, _BREAK) + np.int32(1)])
        quotes = _places(values, _QUOTE)
        for separator in SEPARATORS:
            edges = _places(values, separator)
            if len(quotes):
                begins = lines[np.searchsorted(lines, edges, "right") - 1]
                before = np.searchsorted(quotes, edges) - np.searchsorted(quotes, begins)
                edges = edges[before % 2 == 0]
            bounds = np.searchsorted(edges, np.append(lines, np.int32(len(values)))).astype(np.int32)
            cells = np.diff(bounds)
            goes_on = (cells[1:] > 0) & (cells[1:] == cells[:-1])
            if not goes_on.any():
                continue
            first = np.arange(len(lines), dtype=np.int32)
            first[1:][goes_on] = 0
            self._cells.append(_Cells(edges, bounds, np.maximum.accumulate(first)))
        self._lines = lines
        return lines


def _places(values: npt.NDArray[np.uint8], byte: int) -> Ints:
    return np.flatnonzero(values == byte).astype(np.int32)
