"""Which texts, and which windows of them, the deep stage judges.

In profile ``cascade`` it sees the gray zone: texts that the stages before it find unusual, but not so much that they
are certain. In ``full`` it sees every text that is not. Of a long text it sees the windows with the strongest
signature, with the nearest pattern and those the linear heads rank highest, cut into paragraphs: what is planted in a
document is a small part of any window of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aimds.detect import agreement
from aimds.detect.classifier import ATTACK, INDIRECT
from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows
from aimds.detect.normalize import Views
from aimds.kernels.placement import HOST, Place

if TYPE_CHECKING:
    from aimds.detect.deep import Column, Deep

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PROFILES = ("fast", "cascade", "full")
GRAY = 0.2
"""Texts with a p-value up to this are in the gray zone, where nothing else is said."""
CERTAIN = 5e-4
"""Texts with a p-value up to this are certain without the deep stage."""
MAX_WINDOWS = 4
"""Windows of one text the deep stage sees."""
PARAGRAPH_BYTES = 20
"""Lines shorter than this are one paragraph with the next."""
_NONE = np.zeros(0, np.int64)


def rows(profile: str, p_value: F64, gray: float) -> Rows:
    """Rows the deep stage judges, ascending, from the fused ``p_value`` float64 (B,) of the stages before it."""
    if profile == "fast":
        return _NONE
    return np.flatnonzero((p_value > CERTAIN) & (p_value <= (gray if profile == "cascade" else 1.0)))


def windows(pieces: Windows, logits: F32, chosen: Rows, untrusted: npt.NDArray[np.bool_], marked: Rows = _NONE) -> Rows:
    """Windows to judge, at most MAX_WINDOWS of each row of ``chosen``, in order of the rows and best first.

    ``logits`` float32 (W, H) are those of the linear heads, ``untrusted`` bool (B,) of all rows; ``marked`` int64 (M,)
    are windows that come before all others of their row.
    """
    row = pieces.row
    mine = np.flatnonzero(np.isin(row, chosen))
    rank = logits[mine, ATTACK]
    rank = np.where(untrusted[row[mine]], np.maximum(rank, logits[mine, INDIRECT]), rank)
    order = mine[np.lexsort((mine, -rank, ~np.isin(mine, marked), row[mine]))]
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    return np.asarray(order[place < MAX_WINDOWS], np.int64)


def marked(views: Views, pieces: Windows, logits: F32, margin: F32, found: Sequence[Evidence], chosen: Rows) -> Rows:
    """Of each row of ``chosen`` with more windows than are judged that with the strongest signature and that with the
    nearest pattern, int64 (M,), where there is any; the heads decide between equals.

    ``margin`` float32 (W,) is that of the nearest pattern, -1 for none; ``found`` are the signatures of all rows.
    """
    row = pieces.row
    many = np.flatnonzero(np.bincount(row, minlength=len(views.flags)) > MAX_WINDOWS)
    mine = np.flatnonzero(np.isin(row, np.intersect1d(chosen, many)))
    if not len(mine):
        return _NONE
    strength, _ = agreement.signed(row[mine], *agreement.spans(views, pieces, mine), found)
    best = []
    for score, nothing in ((strength, 0.0), (margin[mine], -1.0)):
        order = mine[np.lexsort((-logits[mine, ATTACK], -score, row[mine]))]
        _, first = np.unique(row[order], return_index=True)
        some = np.zeros(len(pieces), np.float32)
        some[mine] = score
        best.append(order[first][some[order[first]] > nothing])
    return np.unique(np.concatenate(best))


def judge(
    deep: Deep,
    pieces: Windows,
    chosen: Rows,
    untrusted: npt.NDArray[np.bool_],
    units: F64,
    *,
    more: Column | None = None,
    threads: int = 1,
    place: Place = HOST,
) -> F32:
    """What ``deep`` makes of the windows ``chosen`` int64 (D,), all that are judged of their rows: float32 (D, 1), the
    attack margin of each, or (D, 2) with what ``more`` gives beside it.

    ``untrusted`` bool (B,) and ``units`` float64 (B,) are of all rows: those longer than one text are judged by
    paragraph, and a window has the highest of its own. Of more parts the highest is higher: from the margins ln of the
    number of parts that were looked at in the row is taken (Bonferroni's bound, in nats).
    """
    row = pieces.row[chosen]
    values, offsets, owner = paragraphs(*pieces.take(chosen), units[row] > 1.0)
    found = deep.score(values, offsets, untrusted[row[owner]], more=more, threads=threads, place=place)
    found = np.delete(found, 1, axis=1)  # harmful requests are not judged here (docs/design/0014)
    highest = np.full((len(chosen), found.shape[1]), -np.inf, np.float32)
    np.maximum.at(highest, owner, found)
    highest[:, 0] -= np.log(np.maximum(np.bincount(row[owner], minlength=len(units)), 1))[row]
    return highest


def paragraphs(
    values: npt.NDArray[np.uint8], offsets: Rows, long: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint8], Rows, Rows]:
    """Windows, those of long texts in paragraphs: values uint8, offsets int64 (P+1,), the window int64 (P,) of each.

    ``values`` uint8 and ``offsets`` int64 (W+1,) are the windows, ``long`` bool (W,) tells which are of a long text.
    """
    if not long.any():
        return values, offsets, np.arange(len(long))
    parts, owner = [], []
    for place, whole in enumerate(long.tolist()):
        text = values[offsets[place] : offsets[place + 1]].tobytes()
        cut = _paragraphs(text) if whole else [text]
        parts += cut
        owner += [place] * len(cut)
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return np.frombuffer(b"".join(parts), np.uint8), ends, np.array(owner, np.int64)


def _paragraphs(text: bytes) -> list[bytes]:
    parts, held = [], b""
    for line in text.split(b"\n"):
        held = held + b"\n" + line if held else line
        if len(held) >= PARAGRAPH_BYTES:
            parts.append(held)
            held = b""
    return [*parts, held] if held or not parts else parts
