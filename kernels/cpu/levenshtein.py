"""levenshtein on the CPU: one machine word a pattern and lanes over patterns; longer patterns a word after the other.

The distance is read from the vertical differences of the last column, so that no score is tracked on the way.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu import masks
from aimds.kernels.cpu.bits import ones
from aimds.kernels.cpu.jit import I32, I64, U8, U16, U32, U64, compiled, reads, writes
from aimds.kernels.registry import register

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE: Final = np.uint64(1)
TOP: Final = np.uint64(63)


def _compile(word: Any, lane_type: Any) -> Any:
    # numba widens unsigned arithmetic to 64 bits; `word` cuts each step back, so that narrow lanes stay narrow.
    one = word(1)

    @compiled(
        types.void(
            *(reads(I32), reads(I64), reads(I32), reads(lane_type, 2), reads(I64), reads(I32)),
            *(I64, I64, writes(lane_type), writes(lane_type), writes(I32, 2)),
        ),
    )
    def short(
        codes: Any,  # int32 (N,)
        offsets: Any,  # int64 (B+1,)
        slots: Any,  # int32 (codes,)
        mask: Any,  # word (symbols, lanes)
        lengths: Any,  # int64 (lanes,)
        ids: Any,  # int32 (lanes,)
        first: Any,
        last: Any,
        plus: Any,  # word (lanes,): vertical differences of +1
        minus: Any,  # word (lanes,): vertical differences of -1
        out: Any,  # int32 (B, P)
    ) -> None:
        for row in range(first, last):
            plus[:] = ALL
            minus[:] = 0
            for i in range(offsets[row], offsets[row + 1]):
                equal_row = mask[slots[codes[i]]]
                for lane in range(len(plus)):
                    equal, up, down = equal_row[lane], plus[lane], minus[lane]
                    vertical = word(equal | down)
                    horizontal = word(word(word(word(equal & up) + up) ^ up) | equal)
                    rises = word(down | ~word(horizontal | up))
                    falls = word(up & horizontal)
                    rises = word(word(rises << one) | one)
                    falls = word(falls << one)
                    plus[lane] = word(falls | ~word(vertical | rises))
                    minus[lane] = word(rises & vertical)
            size = np.int32(offsets[row + 1] - offsets[row])
            for lane in range(len(plus)):
                # A shift by 64 is not defined; an empty pattern has no bits at all.
                valid = ALL >> np.uint64(64 - lengths[lane]) if lengths[lane] > 0 else np.uint64(0)
                gained = np.int32(ones(np.uint64(plus[lane]) & valid))
                out[row, ids[lane]] = size + gained - np.int32(ones(np.uint64(minus[lane]) & valid))

    return short


_SHORT: Final = {
    np.uint16: _compile(np.uint16, U16),
    np.uint32: _compile(np.uint32, U32),
    np.uint64: _compile(np.uint64, U64),
}


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32), reads(I64), reads(I32)),
        *(I64, I64, writes(U64), writes(U8), writes(U8), writes(I32, 2)),
    ),
)
def _long(
    codes: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    p_codes: Any,  # int32 (M,)
    p_offsets: Any,  # int64 (P+1,)
    ids: Any,  # int32: the patterns to do
    first: Any,
    last: Any,
    mask: Any,  # uint64 (codes,), zero before and after
    rising: Any,  # uint8 (longest row,): 1 where the word before ends in a horizontal difference of +1
    falling: Any,  # uint8 (longest row,): the same of -1
    out: Any,  # int32 (B, P)
) -> None:
    for pattern in ids:
        begin, stop = p_offsets[pattern], p_offsets[pattern + 1]
        for row in range(first, last):
            size = offsets[row + 1] - offsets[row]
            rising[:size] = 1
            falling[:size] = 0
            distance = size
            for base in range(begin, stop, 64):
                bits = min(np.int64(64), stop - base)
                for bit in range(bits):
                    mask[p_codes[base + bit]] |= ONE << np.uint64(bit)
                up, down = ALL, np.uint64(0)
                for t in range(size):
                    equal = mask[codes[offsets[row] + t]]
                    rise, fall = np.uint64(rising[t]), np.uint64(falling[t])
                    vertical = equal | down
                    equal |= fall
                    horizontal = (((equal & up) + up) ^ up) | equal
                    rises = down | ~(horizontal | up)
                    falls = up & horizontal
                    rising[t], falling[t] = np.uint8(rises >> TOP), np.uint8(falls >> TOP)
                    rises = (rises << ONE) | rise
                    falls = (falls << ONE) | fall
                    up = falls | ~(vertical | rises)
                    down = rises & vertical
                valid = ALL >> np.uint64(64 - bits)
                distance += np.int64(ones(up & valid)) - np.int64(ones(down & valid))
                for bit in range(bits):
                    mask[p_codes[base + bit]] = 0
            out[row, pattern] = np.int32(distance)


@register("levenshtein", "cpu")
def levenshtein(q_values: Any, q_offsets: Offsets, p_values: Any, p_offsets: Offsets, *, threads: int) -> Ints:
    codes, p_codes, size = masks.encode(q_values, p_values)
    out = np.empty((len(q_offsets) - 1, len(p_offsets) - 1), np.int32)
    groups, long = masks.groups(p_offsets)
    for word, ids in groups:
        for block in masks.blocks(p_codes, p_offsets, size, word, ids):
            table = (block.slots, block.masks, block.lengths, block.ids)

            def part(first: int, last: int, table: Any = table, word: Any = word) -> None:
                state = np.empty(len(table[3]), word), np.empty(len(table[3]), word)
                _SHORT[word](codes, q_offsets, *table, first, last, *state, out)

            ragged.each(part, q_offsets, threads)

    def rest(first: int, last: int) -> None:
        longest = int(np.diff(q_offsets[first : last + 1]).max())
        mask, steps = np.zeros(size, np.uint64), np.empty((2, longest), np.uint8)
        _long(codes, q_offsets, p_codes, p_offsets, long, first, last, mask, steps[0], steps[1], out)

    if len(long):
        ragged.each(rest, q_offsets, threads)
    return out
