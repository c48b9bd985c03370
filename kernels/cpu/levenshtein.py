"""levenshtein on the CPU: lanes are patterns, four symbols of the query at a time; long ones take several words a lane.

The distance is read from the last row's differences alone: length of the query + the +1 bits - the -1 bits.
"""

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
ONE: Final = np.uint64(1)
TOP: Final = np.uint64(63)


@inlined
def _step(equal: Any, up: Any, down: Any, word: Any, one: Any) -> Any:
    # numba widens unsigned arithmetic to 64 bits; `word` cuts each step back, so that narrow lanes stay narrow.
    diagonal = word(word(word(word(word(equal & up) + up) ^ up) | equal) | down)
    # The complement of the horizontal +1 bits: shifted, it brings in the +1 of the first row without another step.
    level = word(word(word(diagonal | up) & word(~down)) << one)
    falls = word(word(diagonal & up) << one)
    return word(falls | word(level & word(~diagonal))), word(diagonal & word(~level))


def _compile(word: Any, lane_type: Any) -> Any:
    # What a closure holds goes into the key of the code on disk: a type may, a compiled function would never be found.
    one = word(1)

    @compiled(
        types.void(
            *(reads(I32), reads(I64), reads(I32), reads(lane_type, 2), reads(lane_type)),
            *(I64, I64, I64, I64, writes(lane_type), writes(lane_type), writes(I32, 2)),
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
        plus: Any,  # word (lanes,): vertical differences of +1
        minus: Any,  # word (lanes,): vertical differences of -1
        out: Any,  # int32 (B, P)
    ) -> None:
        for row in range(first, last):
            i, stop = offsets[row], offsets[row + 1]
            size = np.int32(stop - i)
            plus[:] = ALL
            minus[:] = 0
            while i + 4 <= stop:
                mask0, mask1 = mask[slots[codes[i]]], mask[slots[codes[i + 1]]]
                mask2, mask3 = mask[slots[codes[i + 2]]], mask[slots[codes[i + 3]]]
                for lane in range(len(plus)):
                    up, down = _step(mask0[lane], plus[lane], minus[lane], word, one)
                    up, down = _step(mask1[lane], up, down, word, one)
                    up, down = _step(mask2[lane], up, down, word, one)
                    up, down = _step(mask3[lane], up, down, word, one)
                    plus[lane] = up
                    minus[lane] = down
                i += 4
            while i < stop:
                mask0 = mask[slots[codes[i]]]
                for lane in range(len(plus)):
                    up, down = _step(mask0[lane], plus[lane], minus[lane], word, one)
                    plus[lane] = up
                    minus[lane] = down
                i += 1
            distance = out[row, base : base + count]
            for lane in range(len(distance)):
                gained = np.int32(ones(word(plus[lane] & valid[lane])))
                distance[lane] = np.int32(size + gained - np.int32(ones(word(minus[lane] & valid[lane]))))

    return single


_SINGLE: Final = {word: _compile(word, kind) for word, kind in ((np.uint16, U16), (np.uint32, U32), (np.uint64, U64))}


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32), reads(U64, 3), reads(U64, 2)),
        *(I64, I64, I64, I64, writes(U64, 2), writes(U64, 2), writes(U64), writes(U64)),
        *(I64, types.boolean, writes(U8, 2), writes(I32, 2)),
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
    plus: Any,  # uint64 (words, lanes)
    minus: Any,  # uint64 (words, lanes)
    rise: Any,  # uint64 (lanes,): whether the word before ends in a horizontal difference of +1
    fall: Any,  # uint64 (lanes,): the same of -1
    stretch: Any,  # 0 for the first stretch of the patterns
    chained: Any,  # whether the patterns go on in other stretches
    carried: Any,  # uint8 (N, lanes): rise + 2 * fall of the stretch before at each symbol, made those of this one
    out: Any,  # int32 (B, P), added to
) -> None:
    words, lanes = plus.shape
    for row in range(first, last):
        plus[:, :] = ALL
        minus[:, :] = 0
        for i in range(offsets[row], offsets[row + 1]):
            slot = slots[codes[i]]
            if stretch > 0:
                for lane in range(lanes):
                    rise[lane] = np.uint64(carried[i - offsets[0], lane]) & ONE
                    fall[lane] = np.uint64(carried[i - offsets[0], lane]) >> ONE
            else:
                rise[:] = 1
                fall[:] = 0
            for w in range(words):
                hits, above, below = mask[slot, w], plus[w], minus[w]
                for lane in range(lanes):
                    equal, up, down = hits[lane], above[lane], below[lane]
                    vertical = equal | down
                    equal |= fall[lane]
                    horizontal = (((equal & up) + up) ^ up) | equal
                    rises = down | ~(horizontal | up)
                    falls = up & horizontal
                    shifted = (rises << ONE) | rise[lane]
                    rise[lane] = rises >> TOP
                    above[lane] = (falls << ONE) | fall[lane] | ~(vertical | shifted)
                    fall[lane] = falls >> TOP
                    below[lane] = shifted & vertical
            if chained:
                for lane in range(lanes):
                    carried[i - offsets[0], lane] = np.uint8(rise[lane] | (fall[lane] << ONE))
        size = np.int32(offsets[row + 1] - offsets[row]) if stretch == 0 else np.int32(0)
        distance = out[row, base : base + count]
        distance += size
        for w in range(words):
            for lane in range(len(distance)):
                gained = np.int32(ones(plus[w, lane] & valid[w, lane]))
                distance[lane] += gained - np.int32(ones(minus[w, lane] & valid[w, lane]))


@register("levenshtein", "cpu")
def levenshtein(q_values: Any, q_offsets: Offsets, p_values: Any, p_offsets: Offsets, *, threads: int) -> Ints:
    def work(block: masks.Block, codes: Ints, carried: npt.NDArray[np.uint8], out: Ints) -> Callable[[int, int], None]:
        words, lanes = block.valid.shape

        def single(first: int, last: int) -> None:
            table = block.slots, block.masks[:, 0], block.valid[0], block.base, block.count
            state = scratch(lanes, block.word), scratch(lanes, block.word)
            _SINGLE[block.word](codes, q_offsets, *table, first, last, *state, out)

        def stacked(first: int, last: int) -> None:
            table = block.slots, block.masks, block.valid, block.base, block.count
            state = scratch((2, words, lanes), np.uint64), scratch((2, lanes), np.uint64)
            chain = block.stretch, block.chained, carried
            _stacked(codes, q_offsets, *table, first, last, *state[0], *state[1], *chain, out)

        return stacked if words > 1 or block.chained else single

    return masks.over_blocks(q_values, q_offsets, p_values, p_offsets, work, threads)
