"""ngram_hash on the CPU: one pass over the bytes, counts in a dense table, ids in order from a bitmap of two levels."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged, words
from aimds.kernels.cpu.bits import trailing_zeros
from aimds.kernels.cpu.jit import F32, I32, I64, U8, U64, compiled, reads, writes
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME
from aimds.kernels.registry import register

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

MASK3: Final = np.uint64(0xFFFFFF)
MASK4: Final = np.uint64(0xFFFFFFFF)
MASK5: Final = np.uint64(0xFFFFFFFFFF)
GRAM3: Final = np.uint64(0x9E3779B97F4A7C15)
GRAM4: Final = np.uint64(0xC2B2AE3D27D4EB4F)
GRAM5: Final = np.uint64(0x165667B19E3779F9)
WORD1: Final = np.uint64(0xD6E8FEB86659FD93)
WORD2: Final = np.uint64(0xA0761D6478BD642F)
ONE: Final = np.uint64(1)
SIX: Final = np.uint64(6)
EIGHT: Final = np.uint64(8)
TWELVE: Final = np.uint64(12)
LOW6: Final = np.uint64(63)


@compiled(types.void(U64, writes(I32), writes(U64), writes(U64)))
def _add(feature: Any, tally: Any, touched: Any, summary: Any) -> None:
    tally[feature] += np.int32(1)
    touched[feature >> SIX] |= ONE << (feature & LOW6)
    summary[feature >> TWELVE] |= ONE << ((feature >> SIX) & LOW6)


@compiled(
    I64(
        *(reads(U8), reads(I64), I64, I64, reads(U8), U64),
        *(writes(I32), writes(U64), writes(U64)),
        *(writes(I64), writes(I32), writes(F32)),
    ),
)
def _rows(
    values: Any,  # uint8 (N,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    fold: Any,  # uint8 (256,)
    shift: Any,  # 64 - bits
    tally: Any,  # int32 (2 ** bits,), zero before and after
    touched: Any,  # uint64 (2 ** bits / 64,), zero before and after: which entries of tally are not zero
    summary: Any,  # uint64 (2 ** bits / 4096,), zero before and after: which words of touched are not zero
    indptr: Any,  # int64 (last - first + 1,)
    indices: Any,  # int32
    counts: Any,  # float32
) -> Any:
    written = np.int64(0)
    indptr[0] = 0
    for row in range(first, last):
        begin, stop = offsets[row], offsets[row + 1]
        gram = np.uint64(32)
        size = np.int64(1)
        word = FNV_BASIS
        before = np.uint64(0)
        inside = False
        own = 0
        for i in range(begin, stop + 1):
            byte = fold[values[i]] if i < stop else np.uint8(32)
            if byte == 32:
                if gram & np.uint64(255) == np.uint64(32):
                    continue
                own = 0
            elif (
                0xE3 <= byte <= 0xEF and i + 2 < stop and values[i + 1] & 0xC0 == 0x80 and values[i + 2] & 0xC0 == 0x80
            ):
                own = 3
            if inside and (byte == 32 or own == 3):
                _add((word * WORD1) >> shift, tally, touched, summary)
                if before != 0:
                    _add(((word + before * np.uint64(3)) * WORD2) >> shift, tally, touched, summary)
                before = word
                word = FNV_BASIS
                inside = False
            gram = (gram << EIGHT) | np.uint64(byte)
            size += 1
            if size >= 3:
                _add(((gram & MASK3) * GRAM3) >> shift, tally, touched, summary)
            if size >= 4:
                _add(((gram & MASK4) * GRAM4) >> shift, tally, touched, summary)
            if size >= 5:
                _add(((gram & MASK5) * GRAM5) >> shift, tally, touched, summary)
            if byte != 32:
                word = (word ^ np.uint64(byte)) * FNV_PRIME
                inside = True
                if own > 0:
                    own -= 1
                    if own == 0:
                        _add((word * WORD1) >> shift, tally, touched, summary)
                        if before != 0:
                            _add(((word + before * np.uint64(3)) * WORD2) >> shift, tally, touched, summary)
                        before = word
                        word = FNV_BASIS
                        inside = False
        for high in range(len(summary)):
            blocks = summary[high]
            summary[high] = 0
            while blocks != 0:
                block = (np.uint64(high) << SIX) | trailing_zeros(blocks)
                blocks &= blocks - ONE
                bits = touched[block]
                touched[block] = 0
                while bits != 0:
                    feature = (block << SIX) | trailing_zeros(bits)
                    bits &= bits - ONE
                    indices[written] = np.int32(feature)
                    counts[written] = np.float32(tally[feature])
                    tally[feature] = 0
                    written += 1
        indptr[row - first + 1] = written
    return written


class _Scratch(threading.local):
    """Tables of one thread; they are all zero between calls, so they are cleared once and kept."""

    def __init__(self) -> None:
        self.tables: dict[int, tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = {}

    def get(self, bits: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        if bits not in self.tables:
            size = 1 << bits
            tables = np.zeros(size, np.int32), np.zeros(size >> 6, np.uint64), np.zeros(size >> 12, np.uint64)
            self.tables = {bits: tables}
        return self.tables[bits]


_SCRATCH = _Scratch()


@register("ngram_hash", "cpu")
def ngram_hash(
    values: Bytes, offsets: Offsets, bits: int, *, threads: int
) -> tuple[Offsets, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    def part(first: int, last: int) -> tuple[Offsets, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        # n bytes squeeze to at most n + 2, which hold 3 n grams; their w <= (n + 1) / 2 words make 2 w - 1 features.
        most = 4 * int(offsets[last] - offsets[first])
        indptr = np.empty(last - first + 1, np.int64)
        indices, counts = np.empty(most, np.int32), np.empty(most, np.float32)
        shift = np.uint64(64 - bits)
        scratch = _SCRATCH.get(bits)
        size = _rows(values, offsets, first, last, words.FOLD, shift, *scratch, indptr, indices, counts)
        return indptr, indices[:size], counts[:size]

    parts = ragged.each(part, offsets, threads)
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(indptr) for indptr, _, _ in parts)])
    return (
        np.cumsum(sizes),
        np.concatenate([np.empty(0, np.int32), *(indices for _, indices, _ in parts)]),
        np.concatenate([np.empty(0, np.float32), *(counts for _, _, counts in parts)]),
    )
