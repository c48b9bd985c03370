"""Bit masks of patterns for the bit-parallel kernels: bit i of masks[symbol, word, lane] is set if it is at place i.

A lane is a pattern. Patterns of one length class share a word width, so that more lanes fit one vector register; those
of more than 64 symbols take several words of 64 bits, and past MOST_WORDS of them one stretch after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import I32, I64, U16, U32, U64, compiled, reads, writes
from aimds.kernels.cpu.scratch import scratch

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint8] | Ints
Word = type[np.unsignedinteger[Any]]

WORDS: Final[tuple[Word, ...]] = (np.uint16, np.uint32, np.uint64)
"""Widths of a lane: a pattern goes to the narrowest that holds it."""
MOST_WORDS: Final = 8
"""Words of 64 bits of a pattern whose masks are kept at once."""
_REACH: Final = np.array([16, 32, *range(64, 64 * MOST_WORDS + 1, 64)])
"""Symbols that a lane of one, or of one more, word holds."""
ROW_BYTES: Final = (1024, 512)
"""Size of the masks of one symbol in a block, for bytes and for ids: more lanes cost less each, until the masks of all
symbols leave the core's own cache."""
BYTE_SYMBOLS: Final = 256
UNIT_BYTES: Final = 64
"""Lanes fill whole units, so that no lane runs in a slower loop than another."""
DIRECT_SPAN: Final = 1 << 15
"""Widest range of token ids that are their own codes."""
DENSE_SPAN: Final = 1 << 22
"""Widest range of token ids that is looked up in a dense table."""


def encode(queries: Values, patterns: Values) -> tuple[Ints, Ints, int]:
    """Both as codes from 0, below the number of codes given; a symbol that no pattern holds has a code of none."""
    if not len(patterns):
        return np.zeros(len(queries), np.int32), np.zeros(0, np.int32), 1
    if queries.dtype == np.uint8:
        return queries.astype(np.int32), patterns.astype(np.int32), BYTE_SYMBOLS
    low, high = int(patterns.min()), int(patterns.max())
    span = high - low + 1
    if span <= DIRECT_SPAN:
        # The code past the span stands for all that lies outside it.
        places = np.minimum((queries.astype(np.int64) - low).view(np.uint64), np.uint64(span)).astype(np.int32)
        return places, (patterns - low).astype(np.int32), span + 1
    alphabet = np.unique(patterns)
    size = len(alphabet) + 1
    if span > DENSE_SPAN:
        places = np.minimum(np.searchsorted(alphabet, queries), size - 2)
        codes = np.where(alphabet[places] == queries, places + 1, 0).astype(np.int32)
        return codes, (np.searchsorted(alphabet, patterns) + 1).astype(np.int32), size
    table = np.zeros(span + 1, np.int32)
    table[alphabet.astype(np.int64) - low] = np.arange(1, size, dtype=np.int32)
    wide = np.minimum((queries.astype(np.int64) - low).view(np.uint64), np.uint64(span)).view(np.int64)
    return table[wide], table[patterns.astype(np.int64) - low], size


@dataclass(frozen=True, slots=True)
class Block:
    """Some patterns of one class, or a stretch of them.

    ``slots`` int32 (codes,) leads from a code to its row of ``masks`` word (symbols, words, lanes); row 0 is empty.
    ``valid`` word (words, lanes): the bits that belong to the pattern; a lane past ``count`` has none. ``base`` is the
    column of the first lane. ``stretch`` counts the stretches of a pattern; ``chained`` tells that there are several.
    """

    word: Word
    slots: Ints
    masks: npt.NDArray[Any]
    valid: npt.NDArray[Any]
    base: int
    count: int
    stretch: int
    chained: bool


@dataclass(frozen=True, slots=True)
class Class:
    """Patterns ``ids`` int32 of one width of lane; ``words`` of them hold the pattern, or a stretch of it."""

    word: Word
    words: int
    ids: Ints


def classes(offsets: Offsets) -> list[Class]:
    """All patterns by the lane that holds them, those that none holds by length."""
    lengths = np.diff(offsets)
    kind = np.searchsorted(_REACH, lengths)
    found = []
    for k in np.unique(kind).tolist():
        ids = np.flatnonzero(kind == k).astype(np.int32)
        if k == len(_REACH):
            found.append(Class(WORDS[-1], MOST_WORDS, ids[np.argsort(lengths[ids], kind="stable")]))
        else:
            found.append(Class(WORDS[min(k, len(WORDS) - 1)], max(k - len(WORDS) + 2, 1), ids))
    return found


def unordered(out: Ints, found: list[Class]) -> Ints:
    """``out`` int32 (B, P), whose columns stand in the order of ``found``, with those in the order of the patterns."""
    ids = np.concatenate([some.ids for some in found]) if found else np.zeros(0, np.int32)
    if (ids[1:] > ids[:-1]).all():
        return out
    back = np.empty_like(ids)
    back[ids] = np.arange(len(ids), dtype=np.int32)
    return np.ascontiguousarray(out[:, back])


def blocks(codes: Ints, offsets: Offsets, size: int, found: list[Class]) -> Iterator[Block]:
    """The masks of all patterns, so many lanes at a time that a block stays small; each is gone when the next is made.

    Args:
        codes: int32 (M,), below ``size``. offsets: int64 (P+1,).
    """
    slots = np.zeros(size, np.int32)
    lengths = np.diff(offsets)
    base = 0
    for some in found:
        item = np.dtype(some.word).itemsize
        room_bytes = max(ROW_BYTES[size > BYTE_SYMBOLS], UNIT_BYTES * some.words)
        most = room_bytes // (item * some.words)
        reach = 8 * item * some.words
        room = np.empty(0, some.word)
        for start in range(0, len(some.ids), most):
            ids = some.ids[start : start + most]
            lanes = -(-len(ids) * item // UNIT_BYTES) * UNIT_BYTES // item
            longest = int(lengths[ids].max())
            for skip in range(0, max(longest, 1), reach):
                symbols = 1 + min(size, int(np.clip(lengths[ids] - skip, 0, reach).sum()))
                if len(room) < symbols * some.words * lanes:
                    room = scratch(symbols * some.words * lanes, some.word)
                masks = room[: symbols * some.words * lanes].reshape(symbols, some.words, lanes)
                used = _fill(codes, offsets, ids, skip, reach, slots, masks)
                valid = _valid(lengths[ids] - skip, some.words, lanes, some.word)
                yield Block(
                    some.word, slots, masks[:used], valid, base + start, len(ids), skip // reach, longest > reach
                )
                _clear(codes, offsets, ids, skip, reach, slots)
        base += len(some.ids)


def over_blocks(
    q_values: Values,
    q_offsets: Offsets,
    p_values: Values,
    p_offsets: Offsets,
    work: Callable[[Block, Ints, npt.NDArray[np.uint8], Ints], Callable[[int, int], None]],
    threads: int,
) -> Ints:
    """int32 (B, P): what ``work(block, codes, carried, out)`` writes there, called for runs of rows (first, last).

    ``codes`` int32 are the symbols of the queries; ``carried`` uint8 (their number, lanes), zero for the first stretch,
    is kept from one stretch of a pattern to the next.
    """
    codes, p_codes, size = encode(q_values, p_values)
    out = np.zeros((len(q_offsets) - 1, len(p_offsets) - 1), np.int32)
    carried = np.empty((0, 0), np.uint8)
    found = classes(p_offsets)
    for block in blocks(p_codes, p_offsets, size, found):
        if block.chained and block.stretch == 0:
            carried = np.zeros((int(q_offsets[-1] - q_offsets[0]), block.valid.shape[1]), np.uint8)
        ragged.each(work(block, codes, carried, out), q_offsets, threads)
    return unordered(out, found)


def _valid(rest: Offsets, words: int, lanes: int, word: Word) -> npt.NDArray[Any]:
    width = 8 * np.dtype(word).itemsize
    bits = np.zeros((words, lanes), np.int64)
    bits[:, : len(rest)] = np.clip(rest - width * np.arange(words)[:, None], 0, width)
    # A shift by 64 is not defined.
    ones = np.uint64(0xFFFFFFFFFFFFFFFF) >> (64 - np.maximum(bits, 1)).astype(np.uint64)
    return np.where(bits > 0, ones, np.uint64(0)).astype(word)


@compiled(
    *(I64(reads(I32), reads(I64), reads(I32), I64, I64, writes(I32), writes(word, 3)) for word in (U16, U32, U64))
)
def _fill(codes: Any, offsets: Any, ids: Any, skip: Any, reach: Any, slots: Any, masks: Any) -> Any:
    width = 8 * masks.itemsize
    masks[0] = 0
    used = 1
    for lane in range(len(ids)):
        begin = offsets[ids[lane]] + skip
        for i in range(begin, min(begin + reach, offsets[ids[lane] + 1])):
            slot = slots[codes[i]]
            if slot == 0:
                slot = used
                slots[codes[i]] = slot
                masks[slot] = 0
                used += 1
            place = i - begin
            masks[slot, place // width, lane] |= np.uint64(1) << np.uint64(place % width)
    return used


@compiled(types.void(reads(I32), reads(I64), reads(I32), I64, I64, writes(I32)))
def _clear(codes: Any, offsets: Any, ids: Any, skip: Any, reach: Any, slots: Any) -> None:
    for pattern in ids:
        begin = offsets[pattern] + skip
        for i in range(begin, min(begin + reach, offsets[pattern + 1])):
            slots[codes[i]] = 0
