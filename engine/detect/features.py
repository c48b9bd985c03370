"""Windows over folded views: the pieces of text that the scoring stages see.

A long text is judged piece by piece, so that an attack in the middle of 100 KB counts as much as one on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize import Views, normalize

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

WINDOW_BYTES = 400
STRIDE_BYTES = 200
SINGLE_BYTES = 600
"""A view up to this long is one window."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Pieces of views. ``values`` uint8 (N,) and ``offsets`` int64 (W+1,) hold the text of W windows;
    ``view`` and ``row`` int32 (W,) say where each comes from, ``base`` int64 (W,) its first byte inside its view."""

    values: Bytes
    offsets: Offsets
    view: Ints
    row: Ints
    base: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.view)

    def take(self, chosen: Offsets) -> tuple[Bytes, Offsets]:
        """Text of the windows ``chosen`` int64 (K,): values uint8 and offsets int64 (K+1,)."""
        offsets = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(self.offsets[chosen + 1] - self.offsets[chosen], out=offsets[1:])
        return _gather(self.values, self.offsets[chosen], offsets), offsets


def windows(
    views: Views,
    *,
    window_bytes: int = WINDOW_BYTES,
    stride_bytes: int = STRIDE_BYTES,
    single_bytes: int = SINGLE_BYTES,
) -> Windows:
    """Cut the folded ``views`` into windows of about ``window_bytes``, starting every ``stride_bytes`` at a space.

    Windows of one view come in order and cover it whole; a view up to ``single_bytes`` is one window, also when empty.
    """
    values, offsets, view, base = cut(
        views.values, views.offsets[:-1], views.offsets[1:], window_bytes, stride_bytes, single_bytes
    )
    return Windows(values, offsets, view, views.rows[view], base)


def windows_of(texts: Sequence[str]) -> Windows:
    """The windows of ``texts``, folded and decoded."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return windows(normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets))


def highest(scores: npt.NDArray[np.float32], owner: Ints, rows: int) -> npt.NDArray[np.float32]:
    """The highest of ``scores`` float32 (W,) of each of B ``rows``, float32 (B,); -inf for a row without any."""
    return first_best(scores, owner, rows)[0]


def first_best(
    scores: npt.NDArray[np.float32], owner: Ints, rows: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The highest of ``scores`` float32 (W,) of each of B ``rows`` and the first that has it: float32 (B,), int64 (B,).

    A row without any has -inf and 0.
    """
    top, at = _first_best(scores, owner, rows)
    return top, at


@njit(cache=True, nogil=True)
def _first_best(scores, owner, rows):  # type: ignore[no-untyped-def]
    top, at = np.full(rows, -np.inf, np.float32), np.zeros(rows, np.int64)
    for k in range(len(scores)):
        # What is not a number stays visible.
        if scores[k] > top[owner[k]] or np.isnan(scores[k]):
            top[owner[k]], at[owner[k]] = scores[k], k
    return top, at


def cut(
    values: Bytes, first: Offsets, last: Offsets, window_bytes: int, stride_bytes: int, single_bytes: int
) -> tuple[Bytes, Offsets, Ints, Offsets]:
    """Cut the texts ``values[first[i]:last[i]]`` into pieces.

    Returns:
        values uint8 (N,) and offsets int64 (W+1,) of the pieces, the text of each int32 (W,), and where in its text
        each begins int64 (W,).
    """
    starts, offsets, owner, base = _cuts(values, first, last, window_bytes, stride_bytes, single_bytes)
    whole = len(starts) == len(first) and offsets[-1] == len(values)
    return values if whole else _gather(values, starts, offsets), offsets, owner, base


def joined_parts(values: Bytes, first: Offsets, last: Offsets) -> tuple[Bytes, Offsets]:
    """The texts ``values[first[i]:last[i]]``, K of them, one after another: values uint8 and offsets int64 (K+1,)."""
    offsets = np.zeros(len(first) + 1, np.int64)
    np.cumsum(last - first, out=offsets[1:])
    return _gather(values, np.ascontiguousarray(first), offsets), offsets


@njit(cache=True, nogil=True)
def _boundary(values, position, low, high):  # type: ignore[no-untyped-def]
    # The byte after the last space at or before `position`, looking back at most to `low`; never inside a character.
    if position >= high:
        return high
    at = position
    while at > low:
        if values[at - 1] == 32 or values[at - 1] == 10:
            return at
        at -= 1
    at = position
    while at > low and (values[at] & 0xC0) == 0x80:
        at -= 1
    return at if at > low else position


@njit(cache=True, nogil=True)
def _cuts(values, first, last, window_bytes, stride_bytes, single_bytes):  # type: ignore[no-untyped-def]
    n = len(first)
    total = 0
    for v in range(n):
        length = last[v] - first[v]
        total += 1 if length <= single_bytes else length // (stride_bytes // 2) + 2
    starts = np.empty(total, np.int64)
    ends = np.empty(total, np.int64)
    view = np.empty(total, np.int32)
    w = 0
    slack = stride_bytes // 4
    for v in range(n):
        begin, stop = first[v], last[v]
        if stop - begin <= single_bytes:
            starts[w], ends[w], view[w] = begin, stop, v
            w += 1
            continue
        at = begin
        while True:
            end = _boundary(values, at + window_bytes, at + window_bytes - slack, stop)
            starts[w], ends[w], view[w] = at, end, v
            w += 1
            if end >= stop:
                break
            at = _boundary(values, at + stride_bytes, at + stride_bytes - slack, stop)
    offsets, base = np.zeros(w + 1, np.int64), np.empty(w, np.int64)
    for k in range(w):
        offsets[k + 1] = offsets[k] + ends[k] - starts[k]
        base[k] = starts[k] - first[view[k]]
    return starts[:w], offsets, view[:w], base


@njit(cache=True, nogil=True)
def _gather(values, starts, offsets):  # type: ignore[no-untyped-def]
    out = np.empty(offsets[-1], np.uint8)
    for w in range(len(starts)):
        size = offsets[w + 1] - offsets[w]
        out[offsets[w] : offsets[w + 1]] = values[starts[w] : starts[w] + size]
    return out
