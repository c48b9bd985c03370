"""tokenize on the CPU: the word rule, FNV-1a, one probe sequence a word."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.errors import KernelError
from aimds.kernels import ragged, words
from aimds.kernels.cpu.jit import I32, I64, U8, U64, compiled, reads, writes
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME, HALF, MIX
from aimds.kernels.registry import register

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@compiled(I64(reads(U8), reads(I64), I64, I64, reads(U8), I64, writes(U64), writes(I64), writes(I32), writes(I32)))
def _words(
    values: Any,  # uint8 (N,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    fold: Any,  # uint8 (256,)
    max_tokens: Any,  # 0: all
    hashes: Any,  # uint64 (T,)
    word_offsets: Any,  # int64 (last - first + 1,)
    starts: Any,  # int32 (T,)
    ends: Any,  # int32 (T,)
) -> Any:
    n = np.int64(0)
    word_offsets[0] = 0
    for row in range(first, last):
        begin, stop = offsets[row], offsets[row + 1]
        most = n + (max_tokens if max_tokens > 0 else stop - begin)
        i = begin
        while i < stop and n < most:
            byte = fold[values[i]]
            if byte == 32:
                i += 1
                continue
            at = i
            word = FNV_BASIS
            alone = 0
            while i < stop:
                byte = fold[values[i]]
                if byte == 32:
                    break
                if (
                    0xE3 <= byte <= 0xEF
                    and i + 2 < stop
                    and values[i + 1] & 0xC0 == 0x80
                    and values[i + 2] & 0xC0 == 0x80
                ):
                    if i > at:
                        break
                    alone = 3
                word = (word ^ np.uint64(byte)) * FNV_PRIME
                i += 1
                if alone > 0:
                    alone -= 1
                    if alone == 0:
                        break
            word = (word ^ (word >> HALF)) * MIX
            hashes[n] = word ^ (word >> HALF)
            starts[n] = np.int32(at - begin)
            ends[n] = np.int32(i - begin)
            n += 1
        word_offsets[row - first + 1] = n
    return n


@compiled(types.void(reads(U64), reads(U64), reads(I32), I32, writes(I32)))
def _look_up(hashes: Any, keys: Any, ids: Any, unknown: Any, tokens: Any) -> None:
    mask = np.uint64(len(keys) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & mask
        tokens[i] = unknown
        while ids[slot] >= 0:
            if keys[slot] == hashes[i]:
                tokens[i] = ids[slot]
                break
            slot = (slot + np.uint64(1)) & mask


_SIZES: dict[int, tuple[weakref.ref[Ints], int]] = {}
"""Words in each table that never changes, by the id of its array, with the array itself: ids are given out again."""


def _size(ids: Ints) -> int:
    # Words in the table: the id of all others.
    known = _SIZES.get(id(ids))
    if known is not None and known[0]() is ids:
        return known[1]
    size = int(ids.max()) + 1
    if not ids.flags.writeable:
        _SIZES[id(ids)] = weakref.ref(ids, functools.partial(_forget, id(ids))), size
    return size


def _forget(key: int, gone: weakref.ref[Ints]) -> None:
    if key in _SIZES and _SIZES[key][0] is gone:
        del _SIZES[key]


@register("tokenize", "cpu")
def tokenize(
    values: Bytes, offsets: Offsets, keys: npt.NDArray[np.uint64], ids: Ints, max_tokens: int, *, threads: int
) -> tuple[Ints, Offsets, Ints, Ints]:
    unknown = _size(ids)

    def part(first: int, last: int) -> tuple[Offsets, Ints, Ints, Ints]:
        hashes, word_offsets, starts, ends = _cut(values, offsets, first, last, max_tokens)
        tokens = np.empty(len(hashes), np.int32)
        _look_up(hashes, keys, ids, unknown, tokens)
        return word_offsets, tokens, starts, ends

    word_offsets, tokens, starts, ends = ragged.rejoined(ragged.each(part, offsets, threads) or [part(0, 0)])
    return tokens, word_offsets, starts, ends


def _cut(
    values: Bytes, offsets: Offsets, first: int, last: int, max_tokens: int
) -> tuple[npt.NDArray[np.uint64], Offsets, Ints, Ints]:
    most = int(offsets[last] - offsets[first])
    hashes, word_offsets = np.empty(most, np.uint64), np.empty(last - first + 1, np.int64)
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    n = _words(values, offsets, first, last, words.FOLD, max_tokens, hashes, word_offsets, starts, ends)
    return hashes[:n], word_offsets, starts[:n], ends[:n]


def hash_words(vocabulary: list[bytes]) -> npt.NDArray[np.uint64]:
    """The hash of each word, uint64 (W,).

    Raises:
        KernelError: an entry is not exactly one word of the word rule, so no text could ever match it.
    """
    offsets = np.zeros(len(vocabulary) + 1, np.int64)
    np.cumsum([len(word) for word in vocabulary], out=offsets[1:])
    values = np.frombuffer(b"".join(vocabulary), np.uint8)
    hashes, word_offsets, starts, ends = _cut(values, offsets, 0, len(vocabulary), 0)
    for i, word in enumerate(vocabulary):
        at = word_offsets[i]
        if word_offsets[i + 1] - at != 1 or starts[at] != 0 or ends[at] != len(word):
            raise KernelError("tokenize", "words", f"{word!r} is not one word")
    return hashes
