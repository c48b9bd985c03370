"""Bit masks of patterns for the bit-parallel kernels: bit i of masks[symbol, lane] is set if it is at place i."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.jit import I32, I64, U16, U32, U64, compiled, reads, writes

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint8] | Ints

WORDS: Final = (np.uint16, np.uint32, np.uint64)
"""Widths of a lane: a pattern goes to the narrowest that holds it."""
BLOCK_BYTES: Final = 512
"""Size of one word of every lane of a block."""
DENSE_SPAN: Final = 1 << 22
"""Widest range of token ids that is looked up in a dense table."""


def encode(queries: Values, patterns: Values) -> tuple[Ints, Ints, int]:
    """Both as codes: 0 for a symbol that no pattern holds, else 1 .. ; and the number of codes."""
    alphabet = np.unique(patterns)
    size = len(alphabet) + 1
    if size == 1:
        return np.zeros(len(queries), np.int32), np.zeros(len(patterns), np.int32), size
    low, span = int(alphabet[0]), int(alphabet[-1]) - int(alphabet[0]) + 1
    if span > DENSE_SPAN:
        places = np.minimum(np.searchsorted(alphabet, queries), size - 2)
        codes = np.where(alphabet[places] == queries, places + 1, 0).astype(np.int32)
        return codes, (np.searchsorted(alphabet, patterns) + 1).astype(np.int32), size
    table = np.zeros(span + 1, np.int32)
    table[alphabet.astype(np.int64) - low] = np.arange(1, size, dtype=np.int32)
    places = queries.astype(np.int64) - low
    # The last entry of the table is 0: it stands for all that lies outside the span.
    places[(places < 0) | (places >= span)] = span
    return table[places], table[patterns.astype(np.int64) - low], size


def groups(offsets: Offsets) -> tuple[list[tuple[type[np.unsignedinteger[Any]], Ints]], Ints]:
    """The patterns by the word that holds them, and those that fit none."""
    lengths = np.diff(offsets)
    found = []
    low = -1
    for word in WORDS:
        high = 8 * np.dtype(word).itemsize
        ids = np.flatnonzero((lengths > low) & (lengths <= high)).astype(np.int32)
        if len(ids):
            found.append((word, ids))
        low = high
    return found, np.flatnonzero(lengths > low).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Block:
    """Patterns ``ids`` int32 (lanes,), one a lane. ``slots`` int32 (codes,) leads from a code to its row of ``masks``
    (symbols, lanes); row 0 is empty. ``lengths`` int64 (lanes,)."""

    ids: Ints
    slots: Ints
    masks: npt.NDArray[Any]
    lengths: Offsets


def blocks(codes: Ints, offsets: Offsets, size: int, word: type[np.unsignedinteger[Any]], ids: Ints) -> Iterator[Block]:
    """The masks of patterns ``ids``, so many lanes at a time that a block stays small whatever the vocabulary."""
    most = BLOCK_BYTES // np.dtype(word).itemsize
    for start in range(0, len(ids), most):
        some = ids[start : start + most]
        lengths = np.diff(offsets)[some]
        slots = np.zeros(size, np.int32)
        used = _slots(codes, offsets, some, slots)
        masks = np.zeros((used, len(some)), word)
        _fill(codes, offsets, some, slots, masks)
        yield Block(some, slots, masks, lengths)


@compiled(I64(reads(I32), reads(I64), reads(I32), writes(I32)))
def _slots(codes: Any, offsets: Any, ids: Any, slots: Any) -> Any:
    used = 1
    for pattern in ids:
        for i in range(offsets[pattern], offsets[pattern + 1]):
            if slots[codes[i]] == 0:
                slots[codes[i]] = used
                used += 1
    return used


@compiled(*(types.void(reads(I32), reads(I64), reads(I32), reads(I32), writes(word, 2)) for word in (U16, U32, U64)))
def _fill(codes: Any, offsets: Any, ids: Any, slots: Any, masks: Any) -> None:
    for lane in range(len(ids)):
        begin = offsets[ids[lane]]
        for i in range(begin, offsets[ids[lane] + 1]):
            masks[slots[codes[i]], lane] |= np.uint64(1) << np.uint64(i - begin)
