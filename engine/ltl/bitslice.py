"""Formulas without intervals on 1,024 traces at a time: a bit a trace, one sweep forward for the past, one back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.jit import I64, U8, U64, compiled, reads, writes
from aimds.ltl.core import FUTURE, PAST, Op, Pool

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

WORDS: Final = 16
BLOCK: Final = 64 * WORDS
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
AND, OR, NOT, UNTIL, RELEASE = range(5)


@compiled(types.void(reads(U64), reads(I64), reads(I64), reads(I64), writes(U64, 2), writes(U64, 3)))
def _spread(
    values: Any,  # uint64 (N,)
    offsets: Any,  # int64 (B+1,)
    rows: Any,  # int64 (at most BLOCK,)
    shifts: Any,  # int64 (A,): bit of each input in a value, rising
    plane: Any,  # uint64 (A, longest row), scratch
    bits: Any,  # uint64 (longest row, inputs, WORDS): the first A inputs are filled
) -> None:
    one, low = np.uint64(1), np.uint64(0xFF)
    turned = np.empty(plane.shape[1], np.uint64)
    for word in range(bits.shape[2]):
        first = word * 64
        if first >= len(rows):
            break
        plane[:, :] = 0
        here = rows[first : min(first + 64, len(rows))]
        for group in range(0, len(here), 8):
            # Eight traces at a time as far as the shortest of them goes, then the rest of each.
            whole = len(here) - group >= 8
            together = np.int64(0)
            if whole:
                together = plane.shape[1]
                for k in range(group, group + 8):
                    together = min(together, offsets[here[k] + 1] - offsets[here[k]])
                begin = offsets[here[group : group + 8]]
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
                rest, end = offsets[here[k]] + together, offsets[here[k] + 1]
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


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """What `_sweep` does in one direction, as arrays."""

    copies: Ints
    states: Ints
    fresh: Words
    ops: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Formulas as two sweeps over the columns; ``inputs`` are the events (their bits in a value) and then the past."""

    shifts: Ints
    inputs: int
    slots: int
    past: Sweep
    future: Sweep
    kept: Ints
    places: Ints
    results: Ints

    @classmethod
    def of(cls, pool: Pool, roots: list[int], bits: dict[int, int]) -> Program:
        """The program for nodes ``roots``; ``bits`` are the places of events in a value, for those that occur."""
        used = pool.under(*roots)
        present = [n for n in used if pool.nodes[n].op is Op.PRESENT]
        absent = [n for n in used if pool.nodes[n].op is Op.ABSENT]
        events = sorted({pool.nodes[n].atom for n in (*present, *absent)} & bits.keys(), key=bits.__getitem__)
        past = [n for n in used if pool.nodes[n].op in PAST]
        slots = {("event", atom): k for k, atom in enumerate(events)}
        slots |= {("past", n): len(events) + k for k, n in enumerate(past)}
        inputs = len(slots)
        of = {}
        for n in used:
            node = pool.nodes[n]
            if node.op is Op.PRESENT and node.atom in bits:
                of[n] = slots["event", node.atom]
            else:
                of[n] = inputs + len(of)
        size = max([inputs, *(slot + 1 for slot in of.values())])
        behind = [n for n in used if not pool.has(n, FUTURE)]
        ahead = [n for n in used if n not in behind]
        # What the past found is an input of the sweep back; every other settled node is worked out again there.
        found = {n: slots["past", n] for n in past}
        return cls(
            np.array([bits[atom] for atom in events], np.int64),
            inputs,
            size,
            _sweep_of(pool, behind, of, {}, slots, PAST),
            _sweep_of(pool, [n for n in (*behind, *ahead) if n not in found], of | found, found, slots, FUTURE),
            np.array([of[n] for n in past], np.int64),
            np.array([found[n] for n in past], np.int64),
            np.array([(of | found)[n] for n in roots], np.int64),
        )

    def run(self, values: Words, offsets: Ints, rows: Ints) -> Words:
        """Whether each root holds at the start of traces ``rows`` (at most BLOCK): uint64 (roots, WORDS)."""
        lengths = offsets[rows + 1] - offsets[rows]
        columns = int(lengths.max())
        bits = np.zeros((columns, self.inputs, WORDS), np.uint64)
        plane = np.empty((len(self.shifts), columns), np.uint64)
        _spread(values, offsets, rows, self.shifts, plane, bits)
        slots = np.zeros((self.slots, WORDS), np.uint64)
        nothing = np.zeros(0, np.int64)
        inputs = len(self.shifts)
        if len(self.kept):
            edges = np.zeros((columns, WORDS), np.uint64)
            edges[0] = ALL
            self._go(self.past, edges, 0, 1, inputs, slots, bits, self.kept, self.places)
        edges = np.zeros((columns, WORDS), np.uint64)
        place = np.arange(len(rows))
        np.bitwise_or.at(edges, (lengths - 1, place // 64), np.uint64(1) << (place % 64).astype(np.uint64))
        edges[columns - 1] = ALL
        self._go(self.future, edges, columns - 1, -1, self.inputs, slots, bits, nothing, nothing)
        return np.asarray(slots[self.results])

    @staticmethod
    def _go(
        sweep: Sweep, edges: Words, start: int, step: int, inputs: int, slots: Words, bits: Words, *kept: Ints
    ) -> None:
        some = edges.any(1).astype(np.uint8)
        _sweep(sweep.copies, sweep.states, sweep.fresh, sweep.ops, edges, some, start, step, inputs, slots, bits, *kept)


def _sweep_of(
    pool: Pool, nodes: Iterable[int], of: dict[int, int], found: dict[int, int], slots: Any, kinds: frozenset[Op]
) -> Sweep:
    copies: list[tuple[int, int]] = []
    states: list[tuple[int, bool]] = []
    ops: list[tuple[int, int, int, int]] = []
    for n in sorted(nodes):
        node, slot = pool.nodes[n], of[n]
        parts = [of[part] for part in node.parts]
        if node.op in (Op.TRUE, Op.FALSE) or (node.atom >= 0 and ("event", node.atom) not in slots):
            # A slot that nothing writes: it begins with its value and keeps it.
            states.append((slot, node.op in (Op.TRUE, Op.ABSENT)))
        elif node.op is Op.ABSENT:
            ops.append((NOT, slot, slots["event", node.atom], 0))
        elif node.op in (Op.AND, Op.OR):
            kind = AND if node.op is Op.AND else OR
            ops.append((kind, slot, parts[0], parts[1]))
            ops.extend((kind, slot, slot, part) for part in parts[2:])
        elif node.op in kinds:
            strong = node.op in (Op.NEXT, Op.UNTIL, Op.YESTERDAY, Op.SINCE)
            states.append((slot, not strong))
            if len(parts) == 1:
                copies.append((slot, parts[0]))
            else:
                ops.append((UNTIL if strong else RELEASE, slot, parts[0], parts[1]))
    return Sweep(
        np.array(copies[::-1], np.int64).reshape(-1, 2),
        np.array([slot for slot, _ in states], np.int64).reshape(-1, 1),
        np.array([ALL if weak else 0 for _, weak in states], np.uint64),
        np.array(ops, np.int64).reshape(-1, 4),
    )
