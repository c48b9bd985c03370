"""Excerpts of hostile text that are safe to look at: marked, shortened, every invisible character made visible.

Marks are byte offsets in the original UTF-8, as in VERDICTS. The terminal and the report share this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

EVIDENCE = "evidence"
PII = "pii"
GAP = "gap"
PLAIN = ""


class Mark(NamedTuple):
    """A stretch of the original text to point out: bytes, end exclusive."""

    start: int
    end: int
    kind: str
    """EVIDENCE or PII."""
    label: str
    """Pattern id or entity kind."""


class Piece(NamedTuple):
    """A run of text drawn in one style."""

    text: str
    kind: str
    """PLAIN, EVIDENCE, PII, or GAP (text left out; ``label`` says how much)."""
    label: str


def excerpt(text: bytes, marks: Iterable[Mark], *, budget: int = 900, context: int = 160) -> list[Piece]:
    """The parts of ``text`` around ``marks``, in order, with gaps where something was left out.

    At most about ``budget`` bytes are shown, ``context`` of them on either side of a mark; a mark longer than a third
    of the budget loses its middle. Without marks the beginning is shown. Marks outside the text are cut to it; where
    marks overlap, PII wins. Invalid UTF-8 becomes U+FFFD. Never longer than the budget by more than a few characters.
    """
    kept = _valid(marks, len(text))
    borders: list[Piece] = []
    position = 0
    for start, end in _windows(text, kept, budget, context):
        if start > position:
            borders.append(Piece("", GAP, size(start - position)))
        borders.extend(_styled(text, start, end, kept))
        position = end
    if position < len(text):
        borders.append(Piece("", GAP, size(len(text) - position)))
    return borders


def size(n_bytes: int) -> str:
    """``n_bytes`` in words of at most six characters: 812 B, 4.1 KB, 9.9 MB."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    for unit in ("KB", "MB", "GB"):
        n_bytes_f = n_bytes / 1000
        if n_bytes_f < 999.5 or unit == "GB":
            return f"{n_bytes_f:.0f} {unit}" if n_bytes_f >= 10 else f"{n_bytes_f:.1f} {unit}"
        n_bytes //= 1000
    raise AssertionError("unreachable")


def _valid(marks: Iterable[Mark], length: int) -> list[Mark]:
    cut = (mark._replace(start=max(0, mark.start), end=min(length, mark.end)) for mark in marks)
    return sorted({mark for mark in cut if mark.start < mark.end})


def _windows(text: bytes, marks: list[Mark], budget: int, context: int) -> list[tuple[int, int]]:
    """Byte ranges to show, disjoint and ascending, cut at character borders, together about ``budget`` long."""
    if len(text) <= budget:
        return [(0, len(text))]
    if not marks:
        return [(0, _border(text, budget))]
    longest = max(budget // 3, 24)
    wanted: list[list[int]] = []
    spent = 0
    for mark in marks:
        ranges = [(mark.start - context, mark.end + context)]
        if mark.end - mark.start > longest:
            half = longest // 2
            ranges = [(mark.start - context, mark.start + half), (mark.end - half, mark.end + context)]
        for low, high in ranges:
            low, high = max(0, low), min(len(text), high)
            if wanted and low <= wanted[-1][1]:
                low = wanted[-1][1]
            if high <= low:
                continue
            if spent >= budget:
                return _merged(text, wanted)
            high = min(high, low + budget - spent)
            spent += high - low
            if wanted and low == wanted[-1][1]:
                wanted[-1][1] = high
            else:
                wanted.append([low, high])
    return _merged(text, wanted)


def _merged(text: bytes, ranges: list[list[int]]) -> list[tuple[int, int]]:
    return [
        (low, high) for low, high in ((_border(text, low), _border(text, high)) for low, high in ranges) if low < high
    ]


def _border(text: bytes, position: int) -> int:
    """``position`` moved back to the start of the UTF-8 character it falls into (at most three bytes)."""
    for back in range(4):
        at = position - back
        if at <= 0 or at >= len(text) or text[at] & 0xC0 != 0x80:
            return max(0, min(at, len(text)))
    return position


def _styled(text: bytes, start: int, end: int, marks: list[Mark]) -> Iterator[Piece]:
    """The pieces of ``text[start:end]``: cut where a mark begins or ends."""
    inside = [mark for mark in marks if mark.start < end and mark.end > start]
    cuts = {start, end}
    for mark in inside:
        cuts.update(_border(text, at) for at in (max(start, mark.start), min(end, mark.end)))
    edges = sorted(cuts)
    for low, high in pairwise(edges):
        over = [mark for mark in inside if mark.start < high and mark.end > low]
        top = max(over, key=lambda mark: (mark.kind == PII, mark.start), default=None)
        kind, label = (top.kind, top.label) if top else (PLAIN, "")
        yield Piece(text[low:high].decode("utf-8", "replace"), kind, label)
