"""lcs on the CPU: one machine word a pattern and lanes over patterns; longer patterns a word after the other."""

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


def _signature(word: Any) -> Any:
    return types.void(
        *(reads(I32), reads(I64), reads(I32), reads(word, 2), reads(I64), reads(I32)),
        *(I64, I64, writes(word), writes(I32, 2)),
    )


@compiled(*(_signature(word) for word in (U16, U32, U64)))
def _short(
    codes: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    slots: Any,  # int32 (codes,)
    mask: Any,  # word (symbols, lanes)
    lengths: Any,  # int64 (lanes,)
    ids: Any,  # int32 (lanes,)
    first: Any,
    last: Any,
    state: Any,  # word (lanes,): a zero bit is a step of the row of the table
    out: Any,  # int32 (B, P)
) -> None:
    for row in range(first, last):
        stop = offsets[row + 1]
        state[:] = ALL
        i = offsets[row]
        # Values are stored and read back so that they keep the width of the lane.
        while i + 4 <= stop:
            mask0, mask1 = mask[slots[codes[i]]], mask[slots[codes[i + 1]]]
            mask2, mask3 = mask[slots[codes[i + 2]]], mask[slots[codes[i + 3]]]
            for lane in range(len(state)):
                hit = state[lane] & mask0[lane]
                state[lane] = (state[lane] + hit) | (state[lane] - hit)
                hit = state[lane] & mask1[lane]
                state[lane] = (state[lane] + hit) | (state[lane] - hit)
                hit = state[lane] & mask2[lane]
                state[lane] = (state[lane] + hit) | (state[lane] - hit)
                hit = state[lane] & mask3[lane]
                state[lane] = (state[lane] + hit) | (state[lane] - hit)
            i += 4
        while i < stop:
            mask0 = mask[slots[codes[i]]]
            for lane in range(len(state)):
                hit = state[lane] & mask0[lane]
                state[lane] = (state[lane] + hit) | (state[lane] - hit)
            i += 1
        for lane in range(len(state)):
            # A shift by 64 is not defined; an empty pattern has no bits at all.
            valid = ALL >> np.uint64(64 - lengths[lane]) if lengths[lane] > 0 else np.uint64(0)
            out[row, ids[lane]] = np.int32(ones(~np.uint64(state[lane]) & valid))


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32), reads(I64), reads(I32)),
        *(I64, I64, writes(U64), writes(U8), writes(I32, 2)),
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
    carry: Any,  # uint8 (longest row,): what the word before carried out at each symbol
    out: Any,  # int32 (B, P)
) -> None:
    for pattern in ids:
        out[first:last, pattern] = 0
        begin, stop = p_offsets[pattern], p_offsets[pattern + 1]
        for row in range(first, last):
            carry[: offsets[row + 1] - offsets[row]] = 0
            for word in range(begin, stop, 64):
                bits = min(np.int64(64), stop - word)
                for bit in range(bits):
                    mask[p_codes[word + bit]] |= ONE << np.uint64(bit)
                state = ALL
                for i in range(offsets[row], offsets[row + 1]):
                    t = i - offsets[row]
                    hit = state & mask[codes[i]]
                    half = state + hit
                    whole = half + np.uint64(carry[t])
                    carry[t] = (half < hit) | (whole < half)
                    state = whole | (state - hit)
                out[row, pattern] += np.int32(ones(~state & (ALL >> np.uint64(64 - bits))))
                for bit in range(bits):
                    mask[p_codes[word + bit]] = 0


@register("lcs", "cpu")
def lcs(q_values: Any, q_offsets: Offsets, p_values: Any, p_offsets: Offsets, *, threads: int) -> Ints:
    codes, p_codes, size = masks.encode(q_values, p_values)
    out = np.empty((len(q_offsets) - 1, len(p_offsets) - 1), np.int32)
    groups, long = masks.groups(p_offsets)
    for word, ids in groups:
        for block in masks.blocks(p_codes, p_offsets, size, word, ids):
            table = (block.slots, block.masks, block.lengths, block.ids)

            def part(first: int, last: int, table: Any = table, word: Any = word) -> None:
                _short(codes, q_offsets, *table, first, last, np.empty(len(table[3]), word), out)

            ragged.each(part, q_offsets, threads)

    def rest(first: int, last: int) -> None:
        longest = int(np.diff(q_offsets[first : last + 1]).max())
        mask, carry = np.zeros(size, np.uint64), np.empty(longest, np.uint8)
        _long(codes, q_offsets, p_codes, p_offsets, long, first, last, mask, carry, out)

    if len(long):
        ragged.each(rest, q_offsets, threads)
    return out
