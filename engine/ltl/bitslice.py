"""Formulas without intervals as programs for the kernel `aimds.kernels.ltl_batch`, which judges 64 traces a word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.ltl.core import FUTURE, PAST, Op, Pool

Ints = npt.NDArray[np.int64]

AND, OR, NOT, UNTIL, RELEASE, COPY, BEGIN, KEEP = range(8)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Formulas as two sweeps over the steps of traces, as `aimds.kernels.ltl_batch` takes them."""

    shifts: Ints
    past: Ints
    future: Ints
    results: Ints
    slots: int

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
        back = _sweep_of(pool, behind, of, slots, PAST) + [(KEEP, found[n], of[n], 0) for n in past]
        forth = _sweep_of(pool, [n for n in (*behind, *ahead) if n not in found], of | found, slots, FUTURE)
        return cls(
            np.array([bits[atom] for atom in events], np.int64),
            np.array(back, np.int64).reshape(-1, 4),
            np.array(forth, np.int64).reshape(-1, 4),
            np.array([(of | found)[n] for n in roots], np.int64),
            max(size, 1),
        )

    def run(self, values: npt.NDArray[np.uint64], offsets: Ints, *, threads: int = 1) -> npt.NDArray[np.bool_]:
        """Whether each formula holds at the start of each of B traces, bool (B, P)."""
        program = (self.shifts, self.past, self.future, self.results)
        words = kernels.ltl_batch(values, offsets, *program, self.slots, threads=threads)
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")
        return bits[:, : len(offsets) - 1].T.astype(np.bool_)


def _sweep_of(
    pool: Pool, nodes: Iterable[int], of: dict[int, int], slots: Any, kinds: frozenset[Op]
) -> list[tuple[int, int, int, int]]:
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
    begins = [(BEGIN, slot, int(weak), 0) for slot, weak in states]
    return [*((COPY, slot, part, 0) for slot, part in copies[::-1]), *begins, *ops]
