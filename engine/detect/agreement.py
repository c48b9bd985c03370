"""What classifier, patterns and signatures say of one window together, in texts longer than ordinary ones.

In a document of 100 KB each stage finds something unusual somewhere; that all find it in the same place is rare. A
window's p-values are taken together by Fisher's method (1932), as if the stages were independent on ordinary text. The
smallest of a text is held against the next smallest elsewhere in it: of p-values of ordinary text, however many, the
smallest is a share of the second smallest that is uniform in [0, 1] (spacings: Rényi 1953), and a document that is
unusual everywhere has a second one. The false alarms that follow are in docs/design/0007.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows, joined_parts
from aimds.detect.normalize import Views
from aimds.detect.tail import Tail

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Again = Callable[[npt.NDArray[np.uint8], Rows, Rows], F64]
"""p-value of reading like an attack of the texts ``values``, ``offsets`` of the rows ``owner``."""

TORN = "adversarial_suffix"
"""Torn text looks like an attack to the heads as well: signatures of its shape say nothing beside them."""
APART_BYTES = 600
"""Windows farther apart than this in the text as sent, in bytes, count as different places."""
LINE_BYTES = 200
"""A signature's own line is followed at most this far to either side."""


def strongest(
    tails: Mapping[str, Tail],
    views: Views,
    pieces: Windows,
    chosen: Rows,
    like: F64,
    margin: F32,
    found: Sequence[Evidence],
    rows: int,
    again: Again | None,
) -> tuple[F64, F64, Rows]:
    """The least p-value of a window of each of B rows, its share of the least elsewhere in the row, and that window:
    float64 (B,), float64 (B,) and int64 (B,).

    1, 1 and 0 for a row of which no window is ``chosen``.

    Args:
        chosen: int64 (K,), windows that are looked at, at least one.
        like: float64 (K,), p-value of their reading like an attack.
        margin: float32 (K,), their best pattern's margin, -1 for none.
        found: what the signatures found in all rows.
        again: judges the line that a signature is in, without the rest of its window; None where nothing can.
    """
    known = np.where(margin <= -1.0, 1.0, tails["patterns"].p_value(margin))
    owner = pieces.row[chosen]
    first, last = _folded(views, pieces, chosen)
    start, end = views.starts[first], views.ends[last - 1]
    strength, which = signed(owner, start, end, found)
    ruled = np.where(strength <= 0.0, 1.0, tails["rules"].p_value(strength))
    marked = np.flatnonzero(which >= 0)
    if again is not None and len(marked):
        stop = views.offsets[pieces.view[chosen] + 1]
        lines = np.array([_line_of(views, found[which[k]], first[k], last[k], stop[k]) for k in marked], np.int64)
        at = marked[lines[:, 0] < lines[:, 1]]
        if len(at):
            lines = lines[lines[:, 0] < lines[:, 1]]
            like = like.copy()
            like[at] = again(*joined_parts(views.values, lines[:, 0], lines[:, 1]), owner[at].astype(np.int64))
    p, other, best = _two_least(product_of_three(like, known, ruled), owner, start, end, APART_BYTES, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(other == 0.0, 1.0, p / other)
    return p, share, chosen[best]


def product_of_three(p: F64, q: F64, r: F64) -> F64:
    """p-value of the product of three independent ones, float64 of any one shape (Fisher 1932)."""
    product = p * q * r
    with np.errstate(divide="ignore", invalid="ignore"):
        log = -np.log(product)
        return np.where(product == 0.0, product, np.minimum(product * (1.0 + log + log * log / 2.0), 1.0))


def spans(views: Views, pieces: Windows, chosen: Rows) -> tuple[Places, Places]:
    """Where the windows ``chosen`` int64 (K,) lie in the texts as sent, in bytes: int32 (K,) each, the end excluded."""
    first, last = _folded(views, pieces, chosen)
    return views.starts[first], views.ends[last - 1]


def _folded(views: Views, pieces: Windows, chosen: Rows) -> tuple[Rows, Rows]:
    first = views.offsets[pieces.view[chosen]] + pieces.base[chosen]
    return first, first + np.maximum(pieces.offsets[chosen + 1] - pieces.offsets[chosen], 1)


def signed(row: Places, start: Places, end: Places, found: Sequence[Evidence]) -> tuple[F32, Rows]:
    """The strength float32 (K,) of the strongest signature that overlaps each of K windows in the text as sent, 0 for
    none, and its place in ``found``, int64 (K,), -1 for none.

    Args:
        row, start, end: (K,) each, the row of a window and where it lies (`spans`).
    """
    out, which = np.zeros(len(row), np.float32), np.full(len(row), -1, np.int64)
    wanted = set(np.unique(row).tolist())
    for place, item in enumerate(found):
        if item.row in wanted and item.threat != TORN:
            better = (row == item.row) & (start < item.end) & (end > item.start) & (np.float32(item.score) > out)
            out[better], which[better] = np.float32(item.score), place
    return out, which


def _line_of(views: Views, item: Evidence, first: int, last: int, stop: int) -> tuple[int, int]:
    # The folded bytes of the line around what ``item`` holds of the window from ``first`` to ``last``.
    low = first + int(np.searchsorted(views.ends[first:last], item.start, side="right"))
    high = first + int(np.searchsorted(views.starts[first:last], item.end, side="left"))
    if low >= high:
        return 0, 0
    begin = int(views.offsets[np.searchsorted(views.offsets, first, side="right") - 1])
    line: tuple[int, int] = _line(views.values, begin, stop, low, high, LINE_BYTES)
    return line


@njit(cache=True, nogil=True)
def _line(values, begin, stop, low, high, most):  # type: ignore[no-untyped-def]
    left, right = low, high
    while left > begin and low - left < most and values[left - 1] != 10:
        left -= 1
    while right < stop and right - high < most and values[right] != 10:
        right += 1
    # Never inside a character.
    while left < low and (values[left] & 0xC0) == 0x80:
        left += 1
    while high < right < stop and (values[right] & 0xC0) == 0x80:
        right -= 1
    return left, right


@njit(cache=True, nogil=True)
def _two_least(p, owner, start, end, apart, rows):  # type: ignore[no-untyped-def]
    # Of each row the least p, the least of a window apart from that one, and the place of the first.
    least, other, best = np.ones(rows), np.ones(rows), np.full(rows, -1, np.int64)
    for k in range(len(p)):
        row = owner[k]
        # What is not a number stays visible.
        if best[row] < 0 or p[k] < least[row] or np.isnan(p[k]):
            least[row], best[row] = p[k], k
    for k in range(len(p)):
        row = owner[k]
        at = best[row]
        if (start[k] >= end[at] + apart or end[k] + apart <= start[at]) and p[k] < other[row]:
            other[row] = p[k]
    return least, other, np.maximum(best, 0)
