"""ltl_batch on the CPU: 1,024 rows at a time, a bit a row, one sweep forward for the past, one back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import I64, U8, U64, compiled, reads, writes
from aimds.kernels.registry import register

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

WORDS: Final = 16
BLOCK: Final = 64 * WORDS
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
COPY, BEGIN, KEEP = 5, 6, 7
"""Codes of instructions beside 0 and, 1 or, 2 not, 3 until, 4 release."""


STEPS: Final = 4096
"""So many steps of a block are in memory at once, whatever the length of its rows."""


@compiled(types.void(reads(U64), reads(I64), reads(I64), reads(I64), writes(U64, 2), writes(U64, 3)))
def _spread(
    values: Any,  # uint64 (N,)
    begins: Any,  # int64 (at most BLOCK,): first step of each row
    stops: Any,  # int64, the same: end of each row, exclusive
    shifts: Any,  # int64 (A,): bit of each input in a value, rising
    plane: Any,  # uint64 (A, longest row), scratch
    bits: Any,  # uint64 (longest row, inputs, WORDS): the first A inputs are filled
) -> None:
    one, low = np.uint64(1), np.uint64(0xFF)
    turned = np.empty(plane.shape[1], np.uint64)
    for word in range(bits.shape[2]):
        first = word * 64
        if first >= len(begins):
            break
        plane[:, :] = 0
        here, until = begins[first : first + 64], stops[first : first + 64]
        for group in range(0, len(here), 8):
            # Eight traces at a time as far as the shortest of them goes, then the rest of each.
            whole = len(here) - group >= 8
            together = np.int64(0)
            if whole:
                together = plane.shape[1]
                for k in range(group, group + 8):
                    together = min(together, until[k] - here[k])
                begin = here[group : group + 8]
                row0, row1 = values[begin[0] : begin[0] + together], values[begin[1] : begin[1] + together]
                row2, row3 = values[begin[2] : begin[2] + together], values[begin[3] : begin[3] + together]
                row4, row5 = values[begin[4] : begin[4] + together], values[begin[5] : begin[5] + together]
                row6, row7 = values[begin[6] : begin[6] + together], values[begin[7] : begin[7] + together]
                done = np.int64(-1)
                for a in range(len(shifts)):
                    if shifts[a] >> 3 != done:
                        # Eight bytes of eight traces as one word, then its 8 × 8 bits turned over.
                        done = shifts[a] >> 3
                        byte = np.uint64(8 * done)
                        for i in range(together):
                            x = ((row0[i] >> byte) & low) | ((row1[i] >> byte) & low) << np.uint64(8)
                            x |= ((row2[i] >> byte) & low) << np.uint64(16) | ((row3[i] >> byte) & low) << np.uint64(24)
                            x |= ((row4[i] >> byte) & low) << np.uint64(32) | ((row5[i] >> byte) & low) << np.uint64(40)
                            x |= ((row6[i] >> byte) & low) << np.uint64(48) | ((row7[i] >> byte) & low) << np.uint64(56)
                            t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
                            x ^= t ^ (t << np.uint64(7))
                            t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
                            x ^= t ^ (t << np.uint64(14))
                            t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
                            turned[i] = x ^ t ^ (t << np.uint64(28))
                    shift, place = np.uint64(8 * (shifts[a] & 7)), np.uint64(group)
                    line = plane[a]
                    for i in range(together):
                        line[i] |= ((turned[i] >> shift) & low) << place
            for k in range(group, min(group + 8, len(here))):
                rest, end = here[k] + together, until[k]
                place = np.uint64(k)
                for a in range(len(shifts)):
                    shift = np.uint64(shifts[a])
                    for i in range(rest, end):
                        plane[a, together + i - rest] |= ((values[i] >> shift) & one) << place
        for i in range(plane.shape[1]):
            for a in range(len(shifts)):
                bits[i, a, word] = plane[a, i]


@compiled(
    types.void(
        *(reads(I64, 2), reads(I64, 2), reads(U64), reads(I64, 2), reads(U64, 2), reads(U8)),
        *(I64, I64, I64, writes(U64, 2), writes(U64, 3), reads(I64), reads(I64)),
    )
)
def _sweep(
    copies: Any,  # int64 (C, 2): slot that takes the value another had in the column before
    states: Any,  # int64 (S, 1): slots that begin anew where a trace does
    fresh: Any,  # uint64 (S,): what they begin with
    ops: Any,  # int64 (O, 4): operation, slot, left, right
    ends: Any,  # uint64 (columns, WORDS): traces that begin, in the direction of the sweep, in this column
    some: Any,  # uint8 (columns,): whether there is one
    start: Any,
    step: Any,
    inputs: Any,  # how many inputs are slots
    slots: Any,  # uint64 (slots, WORDS)
    bits: Any,  # uint64 (columns, inputs, WORDS)
    kept: Any,  # int64 (K,): slots that become inputs
    places: Any,  # int64 (K,): which
) -> None:
    at = start
    for _ in range(len(some)):
        for c in range(len(copies)):
            slots[copies[c, 0], :] = slots[copies[c, 1], :]
        if some[at]:
            for s in range(len(states)):
                state = slots[states[s, 0]]
                for w in range(16):
                    state[w] = (state[w] & ~ends[at, w]) | (fresh[s] & ends[at, w])
        for n in range(inputs):
            for w in range(16):
                slots[n, w] = bits[at, n, w]
        for o in range(len(ops)):
            kind = ops[o, 0]
            made, left, right = slots[ops[o, 1]], slots[ops[o, 2]], slots[ops[o, 3]]
            if kind == 0:
                for w in range(16):
                    made[w] = left[w] & right[w]
            elif kind == 1:
                for w in range(16):
                    made[w] = left[w] | right[w]
            elif kind == 2:
                for w in range(16):
                    made[w] = ~left[w]
            elif kind == 3:
                for w in range(16):
                    made[w] = right[w] | (left[w] & made[w])
            else:
                for w in range(16):
                    made[w] = right[w] & (left[w] | made[w])
        for k in range(len(kept)):
            bits[at, places[k], :] = slots[kept[k], :]
        at += step


class _Sweep:
    """What `_sweep` does in one direction, as arrays."""

    def __init__(self, program: Ints) -> None:
        codes = program[:, 0]
        begins = program[codes == BEGIN]
        self.copies = np.ascontiguousarray(program[codes == COPY, 1:3])
        self.states = np.ascontiguousarray(begins[:, 1:2])
        self.fresh = np.where(begins[:, 2] > 0, ALL, np.uint64(0))
        self.ops = np.ascontiguousarray(program[codes < COPY])
        kept = program[codes == KEEP]
        self.kept, self.places = np.ascontiguousarray(kept[:, 2]), np.ascontiguousarray(kept[:, 1])

    def go(self, edges: Words, start: int, step: int, inputs: int, slots: Words, bits: Words) -> None:
        """Over all columns of ``bits``; rows begin anew where ``edges`` says so."""
        some = edges.any(1).astype(np.uint8)
        program = (self.copies, self.states, self.fresh, self.ops)
        _sweep(*program, edges, some, start, step, inputs, slots, bits, self.kept, self.places)


@register("ltl_batch", "cpu")
def ltl_batch(
    values: Words,
    offsets: Ints,
    shifts: Ints,
    past: Ints,
    future: Ints,
    results: Ints,
    slots: int,
    *,
    threads: int,
) -> Words:
    lengths = np.diff(offsets)
    back, ahead = _Sweep(past), _Sweep(future)
    # Rows of like lengths go together; one without steps holds nothing.
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(lengths[order], 0, side="right") :]
    across = -(-len(lengths) // 64)
    holds = np.zeros((len(results), 64 * across), np.uint8)
    edges = np.append(np.arange(0, len(order), BLOCK), len(order)).astype(np.int64)

    def some(first: int, last: int) -> None:
        for begin, end in zip(edges[first:last].tolist(), edges[first + 1 : last + 1].tolist(), strict=True):
            rows = order[begin:end]
            words = _block(values, offsets, shifts, back, ahead, results, slots, rows)
            bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")
            holds[:, rows] = bits[:, : len(rows)]

    ragged.each(some, np.arange(len(edges), dtype=np.int64), threads)
    return np.packbits(holds, axis=1, bitorder="little").view("<u8").astype(np.uint64).reshape(len(results), across)


def _block(
    values: Words, offsets: Ints, shifts: Ints, back: _Sweep, ahead: _Sweep, results: Ints, size: int, rows: Ints
) -> Words:
    # Whether each result holds at the start of ``rows``, at most BLOCK of rising length: uint64 (R, WORDS).
    first, last = offsets[rows], offsets[rows + 1]
    lengths = last - first
    columns, events = int(lengths[-1]), len(shifts)
    held = np.zeros((min(columns, STEPS), events + len(back.kept), WORDS), np.uint64)

    def steps(at: int, past: Words) -> Words:
        # The inputs of STEPS columns from ``at`` on, with what the past says of them; ``past`` as it was before them.
        n = min(STEPS, columns - at)
        bits, begins = held[:n], np.minimum(first + at, last)
        _spread(values, begins, np.minimum(begins + n, last), shifts, np.empty((events, n), np.uint64), bits)
        if len(back.kept):
            edges = np.zeros((n, WORDS), np.uint64)
            if at == 0:
                edges[0] = ALL
            back.go(edges, 0, 1, events, past, bits)
        return bits

    starts = range(0, columns, STEPS)
    slots = np.zeros((size, WORDS), np.uint64)
    pasts = [slots.copy()]
    for at in starts[:-1] if len(back.kept) else ():
        # Of what is not kept in memory the past is gone over once more on the way back.
        steps(at, slots)
        pasts.append(slots.copy())
    for at in reversed(starts):
        past = pasts.pop() if len(back.kept) else slots
        bits = steps(at, past)
        if at == starts[-1]:
            slots = past
        edges = np.zeros((len(bits), WORDS), np.uint64)
        ends = np.flatnonzero((lengths > at) & (lengths <= at + len(bits)))
        np.bitwise_or.at(edges, (lengths[ends] - 1 - at, ends // 64), np.uint64(1) << (ends % 64).astype(np.uint64))
        if at == starts[-1]:
            edges[-1] = ALL
        ahead.go(edges, len(bits) - 1, -1, events + len(back.kept), slots, bits)
    return np.asarray(slots[results])
