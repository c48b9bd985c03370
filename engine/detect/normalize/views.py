"""Normalisation: every text of a batch as the later stages see it, folded, and what was found encoded in it.

The first views are the rows themselves; the decoded views follow, row by row. All of them carry the way back to the
bytes that came in. A row's views depend on that row only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize.candidates import candidates
from aimds.detect.normalize.ciphers import stretches
from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import Folded, fold
from aimds.detect.normalize.proposals import Text
from aimds.detect.normalize.spelling import respell
from aimds.detect.normalize.unwrap import KINDS, Limits, Opened, Unwrapping
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.detect.rowwise import any_bit
from aimds.errors import KernelError

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


MAX_ROW_BYTES = 1 << 30
"""Places in a row are int32, and decoding and folding may make it longer."""
NON_ASCII = int(Flag.NON_ASCII)
COVERED = {"base32": (4, b"\n"), "nato": (16, b"\n "), "bacon": (8, b"\n ")}
"""Encodings whose digits look like words: once read, they are blanks in the row itself, or stages that read words would
judge the encoding instead of what it says. With the bytes that stand behind one decoded byte at most, and the decoded
bytes that may stand for what lies between two encoded runs or words: that is anybody's text, and stays."""
UNWRAPPED = int(Flag.TAGS | Flag.VARIATION | Flag.DISGUISE | Flag.LEET)
"""Flags that by themselves call for unwrapping."""
_ENCODED = np.uint32(Flag.ENCODED)
_LIMITS = Limits()
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The unfolded text of one decoded view: ``text`` valid UTF-8 with its case, ``starts`` and ``ends`` int32
    (len(text),) the byte range in the row behind each of its bytes, ``kind`` one of `KINDS`, ``depth`` at least 1.
    """

    view: int
    row: int
    kind: str
    depth: int
    text: bytes
    starts: Ints
    ends: Ints


class Views(NamedTuple):
    """V views of B rows; the first B are the rows themselves, in order.

    ``rows`` int32 (V,) · ``kinds`` uint8 (V,) into `KINDS` · ``depths`` uint8 (V,), 0 for a row itself · ``values``
    uint8 (N,) folded text, valid UTF-8, with ``offsets`` int64 (V+1,) · ``starts``, ``ends`` int32 (N,) original byte
    range behind each folded byte · ``decoded`` one per view from B on · ``flags`` uint32 (B,) bits of `Flag` ·
    ``truncated`` bool (B,): a bound cut something off.
    """

    rows: Ints
    kinds: npt.NDArray[np.uint8]
    depths: npt.NDArray[np.uint8]
    values: Bytes
    offsets: Offsets
    starts: Ints
    ends: Ints
    decoded: tuple[Decoded, ...]
    flags: npt.NDArray[np.uint32]
    truncated: npt.NDArray[np.bool_]

    def span(self, view: int, start: int, end: int) -> tuple[int, int]:
        """The original byte range behind the folded bytes ``start`` to ``end`` of ``view``, relative to the view.

        An empty range gives an empty one at the same place.
        """
        base, stop = int(self.offsets[view]), int(self.offsets[view + 1])
        low, high = min(max(base + start, base), stop), min(base + end, stop)
        if low < high:
            first, last = _reach(self.starts, self.ends, low, high)
            return int(first), int(last)
        if base == stop:
            return 0, 0
        at = int(self.starts[low]) if low < stop else int(self.ends[stop - 1])
        return at, at


def normalize(
    values: Bytes, offsets: Offsets, limits: Limits | None = None, *, vocabulary: Vocabulary | None = None
) -> Views:
    """Fold and unwrap B texts.

    Args:
        values: uint8 (N,), UTF-8; bytes that are not become U+FFFD and set `Flag.INVALID_UTF8`.
        offsets: int64 (B+1,), need not begin at 0.
        limits: bounds on unwrapping.
        vocabulary: known words; the shipped ones by default.

    Raises:
        ArtefactError: the shipped vocabulary or folding table is missing or damaged.
        KernelError: a row is longer than `MAX_ROW_BYTES`.
    """
    longest = int(np.diff(offsets).max()) if offsets[-1] - offsets[0] > MAX_ROW_BYTES else 0
    if longest > MAX_ROW_BYTES:
        raise KernelError("normalize", "values", f"a row has {longest} bytes, more than {MAX_ROW_BYTES}")
    limits = limits or _LIMITS
    vocabulary = vocabulary or Vocabulary.load()
    values = np.ascontiguousarray(values[offsets[0] : offsets[-1]], np.uint8)
    offsets = np.ascontiguousarray(offsets - offsets[0], np.int64)
    rows = len(offsets) - 1
    folded = respell(fold(values, offsets, vocabulary), values, offsets, vocabulary)
    if not limits.max_depth:
        return _assembled(folded, [], np.zeros(rows, np.bool_))

    enciphered = stretches(folded.values, folded.offsets, vocabulary)
    truncated, masks = enciphered.cut, enciphered.masks
    _add_ascii(masks, candidates(values, offsets), folded.flags, NON_ASCII)
    foreign = np.flatnonzero(folded.flags & np.uint32(NON_ASCII)) if any_bit(folded.flags, NON_ASCII) else _NO_ROWS
    kept = folded
    if len(foreign):
        kept = fold(*_taken(values, offsets, foreign), vocabulary, keep_case=True)
        masks[foreign] |= candidates(kept.values, kept.offsets)

    opened: list[tuple[int, Opened]] = []
    for row in _called(masks, folded.flags, UNWRAPPED, enciphered.row).tolist():
        raw = values[offsets[row] : offsets[row + 1]]
        flags = int(folded.flags[row])
        if flags & NON_ASCII:
            cased = _row(kept, int(np.searchsorted(foreign, row)))
        else:
            places = np.arange(len(raw), dtype=np.int32)
            cased = Text(raw, places, places + 1)
        work = Unwrapping(limits, vocabulary)
        work.run(raw, cased, _row(folded, row), flags, int(masks[row]), enciphered.of(row))
        truncated[row] |= work.truncated
        opened.extend((row, item) for item in work.opened)
    return _assembled(folded, opened, truncated)


@njit(cache=True, nogil=True)
def _reach(starts, ends, low, high):  # type: ignore[no-untyped-def]
    first, last = starts[low], ends[low]
    for k in range(low + 1, high):
        first, last = min(first, starts[k]), max(last, ends[k])
    return first, last


@njit(cache=True, nogil=True)
def _add_ascii(masks, tried, flags, foreign):  # type: ignore[no-untyped-def]
    for row in range(len(masks)):
        if not flags[row] & foreign:
            masks[row] |= tried[row]


@njit(cache=True, nogil=True)
def _called(masks, flags, unwrapped, enciphered):  # type: ignore[no-untyped-def]
    # Rows to unwrap, int64, ascending; ``enciphered`` int32 (H,) are those with an enciphered stretch.
    called = np.zeros(len(masks), np.bool_)
    for row in enciphered:
        called[row] = True
    for row in range(len(masks)):
        called[row] |= masks[row] != 0 or flags[row] & unwrapped != 0
    return np.flatnonzero(called)


def _cover(folded: Folded, row: int, text: Text, most: int, between: bytes) -> None:
    # Blanks in the folded row where the bytes of ``text`` came from, but for those that came from more than ``most``
    # and for those ``between``.
    own = (text.ends - text.starts <= most) & ~np.isin(text.values, np.frombuffer(between, np.uint8))
    edges = np.zeros(int(text.ends.max()) + 1, np.int32)
    np.add.at(edges, text.starts[own], 1)
    np.add.at(edges, text.ends[own], -1)
    inside = np.append(np.cumsum(edges) > 0, False)
    part = slice(folded.offsets[row], folded.offsets[row + 1])
    folded.values[part][inside[np.minimum(folded.starts[part], len(inside) - 1)]] = 32


def _row(folded: Folded, row: int) -> Text:
    low, high = folded.offsets[row], folded.offsets[row + 1]
    return Text(folded.values[low:high], folded.starts[low:high], folded.ends[low:high])


def _taken(values: Bytes, offsets: Offsets, rows: npt.NDArray[np.int64]) -> tuple[Bytes, Offsets]:
    lengths = offsets[rows + 1] - offsets[rows]
    out = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    if not len(rows):
        return np.zeros(0, np.uint8), out
    return np.concatenate([values[offsets[row] : offsets[row + 1]] for row in rows.tolist()]), out


def _assembled(folded: Folded, opened: list[tuple[int, Opened]], truncated: npt.NDArray[np.bool_]) -> Views:
    rows = len(folded.flags)
    if not opened:
        kinds, depths = np.zeros(rows, np.uint8), np.zeros(rows, np.uint8)
        places = folded.values, folded.offsets, folded.starts, folded.ends
        return Views(np.arange(rows, dtype=np.int32), kinds, depths, *places, (), folded.flags, truncated)
    decoded: list[Decoded] = []
    values, starts, ends, lengths = [folded.values], [folded.starts], [folded.ends], [np.diff(folded.offsets)]
    for row, item in opened:
        text, view = item.text, item.folded
        decoded.append(
            Decoded(rows + len(decoded), row, item.kind, item.depth, text.values.tobytes(), text.starts, text.ends)
        )
        mapped = text.take(view.values, view.starts, view.ends - 1)
        if item.kind in COVERED and item.depth == 1:
            _cover(folded, row, text, *COVERED[item.kind])
        values.append(mapped.values)
        starts.append(mapped.starts)
        ends.append(mapped.ends)
        lengths.append(np.diff(view.offsets))
        folded.flags[row] |= _ENCODED
    offsets = np.zeros(rows + len(opened) + 1, np.int64)
    np.cumsum(np.concatenate(lengths), out=offsets[1:])
    of_decoded = np.array([row for row, _ in opened], np.int32)
    return Views(
        rows=np.concatenate([np.arange(rows, dtype=np.int32), of_decoded]),
        kinds=np.array([0] * rows + [KINDS.index(item.kind) for _, item in opened], np.uint8),
        depths=np.array([0] * rows + [item.depth for _, item in opened], np.uint8),
        values=np.concatenate(values),
        offsets=offsets,
        starts=np.concatenate(starts),
        ends=np.concatenate(ends),
        decoded=tuple(decoded),
        flags=folded.flags,
        truncated=truncated,
    )
