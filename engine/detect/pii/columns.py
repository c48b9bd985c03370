"""Tables inside a text (CSV, TSV, Markdown): the heading of the column that a value stands in says what the value is.

A table is a run of lines with the same number of cells; its first line holds the headings. RFC 4180 quotes are known
within a line, not across lines.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np

SEPARATORS = b",;\t|"
MAX_HEADING = 40
"""Bytes of the longest cell that is taken for a heading."""

MAX_BYTES = 1 << 20
"""In a longer text no tables are looked for: their edges take memory."""

_QUOTE = 34
_BREAK = 10
_EDGES = np.zeros(256, np.bool_)
_EDGES[[*SEPARATORS, _QUOTE, _BREAK]] = True


class Columns:
    """The tables of one text, found on first use; O(N) for N bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._lines: list[int] = []
        self._cells: dict[int, list[list[int]]] = {}
        self._first: dict[int, list[int]] = {}

    def headings(self, start: int) -> Iterator[tuple[int, int]]:
        """Byte ranges of what may be the heading over the byte ``start``: at most one for each separator."""
        if len(self._raw) > MAX_BYTES:
            return
        if not self._lines:
            self._read()
        line = bisect_right(self._lines, start) - 1
        for separator in SEPARATORS:
            first = self._first[separator][line]
            if first == line:
                continue
            place = bisect_left(self._cells[separator][line], start)
            edges = self._cells[separator][first]
            low = edges[place - 1] + 1 if place else self._lines[first]
            high = edges[place] if place < len(edges) else self._lines[first + 1] - 1
            if 0 < high - low <= MAX_HEADING:
                yield low, high

    def _read(self) -> None:
        # One pass: where lines begin, and where separators outside quotes stand in each.
        self._lines = [0]
        self._cells = {separator: [[]] for separator in SEPARATORS}
        quoted = False
        values = np.frombuffer(self._raw, np.uint8)
        places = np.flatnonzero(_EDGES[values])
        for place, byte in zip(places.tolist(), values[places].tolist(), strict=True):
            if byte == _BREAK:
                quoted = False
                self._lines.append(place + 1)
                for cells in self._cells.values():
                    cells.append([])
            elif byte == _QUOTE:
                quoted = not quoted
            elif not quoted:
                self._cells[byte][-1].append(place)
        for separator, cells in self._cells.items():
            first = list(range(len(cells)))
            for line in range(1, len(cells)):
                if cells[line] and len(cells[line]) == len(cells[line - 1]):
                    first[line] = first[line - 1]
            self._first[separator] = first
