"""Formulas of every kind on one trace at a time: a byte a step for each part, intervals by two pointers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.jit import I64, U8, U64, compiled, reads, writes
from aimds.ltl.core import Op, Pool

Ints = npt.NDArray[np.int64]

ENDLESS: Final = (1 << 62) - 1
NEVER: Final = 64
"""Bit of an event that does not occur."""


@compiled(
    types.void(
        *(reads(U64), reads(I64), reads(I64), reads(I64, 2), reads(I64), reads(I64)),
        *(I64, I64, writes(U8, 2), writes(I64, 2), writes(U8, 2)),
    )
)
def _columns(
    values: Any,  # uint64 (N,)
    times: Any,  # int64 (N,)
    offsets: Any,  # int64 (B+1,)
    program: Any,  # int64 (nodes, 5): operation, first part, second part or bit, low, high
    chain: Any,  # int64 (E,): parts of ANDs and ORs
    roots: Any,  # int64 (P,)
    first: Any,
    last: Any,
    truth: Any,  # uint8 (nodes, longest row), scratch
    places: Any,  # int64 (2, longest row), scratch
    out: Any,  # uint8 (B, P)
) -> None:
    for row in range(first, last):
        begin = offsets[row]
        n = offsets[row + 1] - begin
        for node in range(len(program)):
            op, left, right = program[node, 0], program[node, 1], program[node, 2]
            low, high = program[node, 3], program[node, 4]
            made = truth[node]
            if op <= 1:
                made[:n] = op == 0
            elif op <= 3:
                if right == 64:
                    made[:n] = op == 3
                else:
                    shift, negated = np.uint64(right), np.uint64(op == 3)
                    for i in range(n):
                        made[i] = ((values[begin + i] >> shift) & np.uint64(1)) ^ negated
            elif op == 4:
                made[:n] = truth[chain[left], :n]
                for part in range(left + 1, right):
                    for i in range(n):
                        made[i] &= truth[chain[part], i]
            elif op == 5:
                made[:n] = truth[chain[left], :n]
                for part in range(left + 1, right):
                    for i in range(n):
                        made[i] |= truth[chain[part], i]
            elif op <= 7:
                for i in range(n - 1):
                    made[i] = truth[left, i + 1]
                made[n - 1] = op == 7
            elif op == 10 or op == 11:
                for i in range(1, n):
                    made[i] = truth[left, i - 1]
                made[0] = op == 11
            else:
                # A release is the negation of an until of the negations, a trigger that of a since.
                flip = np.uint8(op == 9 or op == 13)
                back = op >= 12
                # In trace order for a since, in reverse for an until: `wanted` is the nearest step where the right
                # side holds, `broken` the nearest where the left side does not.
                wanted: Any = np.int64(-1)
                broken: Any = np.int64(-1)
                for k in range(n):
                    i = k if back else n - 1 - k
                    if truth[right, i] != flip:
                        wanted = i
                    places[0, i] = wanted
                    if truth[left, i] == flip:
                        broken = i
                    places[1, i] = broken
                edge: Any
                edge = np.int64(-1) if back else np.int64(0)
                if back:
                    for i in range(n):
                        while edge + 1 <= i and times[begin + i] - times[begin + edge + 1] >= low:
                            edge += 1
                        j = places[0, edge] if edge >= 0 else np.int64(-1)
                        good = j >= 0 and times[begin + i] - times[begin + j] <= high
                        good = good and (places[1, i] < 0 or places[1, i] <= j)
                        made[i] = np.uint8(good) ^ flip
                else:
                    for i in range(n):
                        if edge < i:
                            edge = np.int64(i)
                        while edge < n and times[begin + edge] - times[begin + i] < low:
                            edge += 1
                        j = places[0, edge] if edge < n else np.int64(-1)
                        good = j >= 0 and times[begin + j] - times[begin + i] <= high
                        good = good and (places[1, i] < 0 or places[1, i] >= j)
                        made[i] = np.uint8(good) ^ flip
        for p in range(len(roots)):
            out[row, p] = truth[roots[p], 0]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Formulas as rows of numbers, parts before wholes."""

    nodes: Ints
    chain: Ints
    roots: Ints

    @classmethod
    def of(cls, pool: Pool, roots: list[int], bits: dict[int, int]) -> Program:
        """The program for nodes ``roots``; ``bits`` are the places of events in a value, for those that occur."""
        used = pool.under(*roots)
        at = {number: k for k, number in enumerate(used)}
        rows: list[tuple[int, ...]] = []
        chain: list[int] = []
        for number in used:
            node = pool.nodes[number]
            parts = [at[part] for part in node.parts]
            if node.op in (Op.AND, Op.OR):
                rows.append((node.op, len(chain), len(chain) + len(parts), 0, 0))
                chain += parts
            elif node.atom >= 0:
                rows.append((node.op, 0, bits.get(node.atom, NEVER), 0, 0))
            else:
                low, high = (0, None) if node.within is None else (node.within.low, node.within.high)
                first, second = (*parts, 0, 0)[:2]
                rows.append((node.op, first, second, low, ENDLESS if high is None else high))
        return cls(
            np.array(rows, np.int64).reshape(-1, 5),
            np.array(chain, np.int64),
            np.array([at[root] for root in roots], np.int64),
        )

    def run(
        self,
        values: npt.NDArray[np.uint64],
        times: Ints,
        offsets: Ints,
        first: int,
        last: int,
        out: npt.NDArray[np.uint8],
    ) -> None:
        """Fill rows ``first`` to ``last`` of ``out`` uint8 (B, roots): whether each root holds at the trace's start."""
        longest = int(np.diff(offsets[first : last + 1]).max())
        truth = np.empty((len(self.nodes), longest), np.uint8)
        places = np.empty((2, longest), np.int64)
        _columns(values, times, offsets, self.nodes, self.chain, self.roots, first, last, truth, places, out)
