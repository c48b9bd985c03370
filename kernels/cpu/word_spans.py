"""word_spans on the CPU: one walk over the characters of each row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import I32, I64, U8, compiled, lean, reads, writes
from aimds.kernels.registry import register

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

BETWEEN: Final = 2
"""Kind of a character between words; 0 is one of a word, 1 one of a script without spaces."""
DENSE, LINKED = 1, 2
"""Bits of a word: of a script without spaces; only blanks, apostrophes and hyphens between it and the word before."""
_ASCII: Final = np.array([3 if byte >= 128 else 0 if chr(byte).isalnum() else BETWEEN for byte in range(256)], np.uint8)
# Kind of the character that a byte is; 3 where more bytes must be read.


@lean
def _kind_at(values: Any, i: Any, stop: Any) -> Any:
    # Kind of the character above ASCII at ``i``, and its bytes.
    first = values[i]
    second = values[i + 1] if i + 1 < stop else np.uint8(0)
    if first < 0xE0:
        other = first == 0xC2 or (first == 0xD8 and (second == 0x8C or second == 0x9B or second == 0x9F))
        return (2 if other else 0), 2
    third = values[i + 2] if i + 2 < stop else np.uint8(0)
    if first < 0xF0:
        if first == 0xE0:
            if second == 0xB8 or second == 0xB9:
                return 1, 3
            return (2 if second == 0xA5 and (third == 0xA4 or third == 0xA5) else 0), 3
        if first == 0xE2:
            return 2, 3
        if first == 0xE3:
            return (2 if second == 0x80 and third != 0x85 else 1), 3
        if first <= 0xE9:
            return 1, 3
        return (2 if first == 0xEF and second >= 0xB8 else 0), 3
    return (1 if first == 0xF0 and second >= 0xA0 else 2), 4


@compiled(I64(reads(U8), reads(I64), I64, I64, writes(I64), writes(I32), writes(I32), writes(U8)), _nrt=False)
def _spans(
    values: Any,  # uint8 (N,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    word_offsets: Any,  # int64 (last - first + 1,)
    starts: Any,  # int32 (T,)
    ends: Any,  # int32 (T,)
    kinds: Any,  # uint8 (T,)
) -> Any:
    n = np.int64(0)
    word_offsets[0] = 0
    for row in range(first, last):
        begin, stop = offsets[row], offsets[row + 1]
        i, near = begin, True
        while i < stop:
            kind, size = np.int64(_ASCII[values[i]]), np.int64(1)
            if kind == 3:
                kind, size = _kind_at(values, i, stop)
            if kind == BETWEEN:
                near &= values[i] == 32 or values[i] == 39 or values[i] == 45
                i += size
                continue
            starts[n] = np.int32(i - begin)
            i = min(i + size, stop)
            while i < stop:
                other, size = np.int64(_ASCII[values[i]]), np.int64(1)
                if other == 3:
                    other, size = _kind_at(values, i, stop)
                if other != kind:
                    break
                i = min(i + size, stop)
            ends[n] = np.int32(i - begin)
            kinds[n] = np.uint8(kind + (LINKED if near else 0))
            near = True
            n += 1
        word_offsets[row - first + 1] = n
    return n


@register("word_spans", "cpu")
def word_spans(values: Bytes, offsets: Offsets, *, threads: int) -> tuple[Offsets, Ints, Ints, Bytes]:
    def part(first: int, last: int) -> tuple[Offsets, Ints, Ints, Bytes]:
        # A word of one byte has one more beside it, but for the last and one before a character cut off at the end.
        room = int(offsets[last] - offsets[first]) // 2 + last - first
        word_offsets = np.empty(last - first + 1, np.int64)
        starts, ends, kinds = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
        n = _spans(values, offsets, first, last, word_offsets, starts, ends, kinds)
        return word_offsets, starts[:n], ends[:n], kinds[:n]

    return ragged.rejoined(ragged.each(part, offsets, threads) or [part(0, 0)])
