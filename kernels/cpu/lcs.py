"""lcs on the CPU: lanes are patterns, four symbols of the query at a time; long patterns take several words a lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu import masks
from aimds.kernels.cpu.bits import ones
from aimds.kernels.cpu.jit import I32, I64, U8, U16, U32, U64, compiled, inlined, reads, writes
from aimds.kernels.cpu.scratch import scratch
from aimds.kernels.registry import register

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
TOP: Final = np.uint64(63)


@inlined
def _step(state: Any, mask: Any, word: Any) -> Any:
    # numba widens unsigned arithmetic to 64 bits; `word` cuts each step back, so that narrow lanes stay narrow.
    return word(word(state + word(state & mask)) | word(state & word(~mask)))


def _compile(word: Any, lane_type: Any) -> Any:
    # What a closure holds goes into the key of the code on disk: a type may, a compiled function would never be found.
    @compiled(
        types.void(
            *(reads(I32), reads(I64), reads(I32), reads(lane_type, 2), reads(lane_type)),
            *(I64, I64, I64, I64, writes(lane_type), writes(I32), writes(I32, 2)),
        ),
    )
    def single(
        codes: Any,  # int32 (N,)
        offsets: Any,  # int64 (B+1,)
        slots: Any,  # int32 (codes,)
        mask: Any,  # word (symbols, lanes)
        valid: Any,  # word (lanes,)
        base: Any,
        count: Any,
        first: Any,
        last: Any,
        state: Any,  # word (lanes,): a zero bit is a step of the row of the table
        hits: Any,  # int32 (longest row + 3,)
        out: Any,  # int32 (B, P)
    ) -> None:
        for row in range(first, last):
            # A symbol that no pattern of the block holds changes nothing, and row 0 of the masks is such a one.
            stop = 0
            for i in range(offsets[row], offsets[row + 1]):
                hits[stop] = slots[codes[i]]
                stop += hits[stop] != 0
            hits[stop : stop + 3] = 0
            state[:] = ALL
            for i in range(0, stop, 4):
                mask0, mask1, mask2, mask3 = mask[hits[i]], mask[hits[i + 1]], mask[hits[i + 2]], mask[hits[i + 3]]
                for lane in range(len(state)):
                    two = _step(_step(state[lane], mask0[lane], word), mask1[lane], word)
                    state[lane] = _step(_step(two, mask2[lane], word), mask3[lane], word)
            length = out[row, base : base + count]
            for lane in range(len(length)):
                length[lane] = np.int32(ones(word(word(~state[lane]) & valid[lane])))

    return single


_SINGLE: Final = {word: _compile(word, kind) for word, kind in ((np.uint16, U16), (np.uint32, U32), (np.uint64, U64))}


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32), reads(U64, 3), reads(U64, 2)),
        *(I64, I64, I64, I64, writes(U64, 2), writes(U64), types.boolean, writes(U8, 2), writes(I32, 2)),
    ),
)
def _stacked(
    codes: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    slots: Any,  # int32 (codes,)
    mask: Any,  # uint64 (symbols, words, lanes)
    valid: Any,  # uint64 (words, lanes)
    base: Any,
    count: Any,
    first: Any,
    last: Any,
    state: Any,  # uint64 (words, lanes)
    carry: Any,  # uint64 (lanes,): what the word before carried out
    chained: Any,  # whether the patterns go on in other stretches
    carried: Any,  # uint8 (N, lanes): what the stretch before carried out at each symbol, made what this one does
    out: Any,  # int32 (B, P), added to
) -> None:
    words, lanes = state.shape
    for row in range(first, last):
        state[:, :] = ALL
        for i in range(offsets[row], offsets[row + 1]):
            slot = slots[codes[i]]
            if chained:
                for lane in range(lanes):
                    carry[lane] = np.uint64(carried[i - offsets[0], lane])
            elif slot == 0:
                continue
            else:
                carry[:] = 0
            for w in range(words):
                here, hits = state[w], mask[slot, w]
                for lane in range(lanes):
                    hit = here[lane] & hits[lane]
                    total = here[lane] + hit + carry[lane]
                    carry[lane] = (hit | (here[lane] & ~total)) >> TOP
                    here[lane] = total | (here[lane] & ~hits[lane])
            if chained:
                for lane in range(lanes):
                    carried[i - offsets[0], lane] = np.uint8(carry[lane])
        length = out[row, base : base + count]
        for w in range(words):
            for lane in range(len(length)):
                length[lane] += np.int32(ones(~state[w, lane] & valid[w, lane]))


@register("lcs", "cpu")
def lcs(q_values: Any, q_offsets: Offsets, p_values: Any, p_offsets: Offsets, *, threads: int) -> Ints:
    def work(block: masks.Block, codes: Ints, carried: npt.NDArray[np.uint8], out: Ints) -> Callable[[int, int], None]:
        words, lanes = block.valid.shape

        def single(first: int, last: int) -> None:
            table = block.slots, block.masks[:, 0], block.valid[0], block.base, block.count
            hits = scratch(int(np.diff(q_offsets[first : last + 1]).max()) + 3, np.int32)
            _SINGLE[block.word](codes, q_offsets, *table, first, last, scratch(lanes, block.word), hits, out)

        def stacked(first: int, last: int) -> None:
            table = block.slots, block.masks, block.valid, block.base, block.count
            state = scratch((words, lanes), np.uint64), scratch(lanes, np.uint64)
            _stacked(codes, q_offsets, *table, first, last, *state, block.chained, carried, out)

        return stacked if words > 1 or block.chained else single

    return masks.over_blocks(q_values, q_offsets, p_values, p_offsets, work, threads)
