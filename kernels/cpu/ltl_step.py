"""ltl_step on the CPU: a look-up a step and automaton, all of a session in one piece of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from aimds.kernels.cpu.jit import I64, U8, U16, U64, compiled, reads, writes
from aimds.kernels.registry import register


@compiled(
    types.void(
        *(reads(U16), reads(U8), reads(I64, 2), reads(U16, 3), reads(I64), reads(U8)),
        *(reads(I64), reads(U64), reads(I64)),
        *(writes(I64, 2), writes(U16, 2), I64, writes(U8, 2)),
    )
)
def advance(
    table: Any,
    resets: Any,
    shape: Any,
    letters: Any,
    limits: Any,
    verdicts: Any,
    sessions: Any,  # int64 (N,): place of the session of each step
    values: Any,  # uint64 (N,)
    times: Any,  # int64 (N,)
    records: Any,  # int64 (S, K): time of the latest step or tick, the clocks, then the states
    small: Any,  # uint16 (S, 4 K): the same memory
    first: Any,  # column of the first state in it
    out: Any,  # uint8 (N, P): verdict after each step
) -> None:
    for i in range(len(sessions)):
        record, states, value = records[sessions[i]], small[sessions[i]], values[i]
        time = max(times[i], record[0])
        record[0] = time
        for p in range(len(shape)):
            letter = np.int64(0)
            for b in range(letters.shape[1]):
                letter |= np.int64(letters[p, b, (value >> np.uint64(8 * b)) & np.uint64(255)])
            clock = shape[p, 3]
            for c in range(shape[p, 4]):
                letter |= np.int64(time - record[1 + clock + c] > limits[clock + c]) << (shape[p, 2] + c)
            cell = shape[p, 0] + np.int64(states[first + p]) * shape[p, 1] + letter
            for c in range(shape[p, 4]):
                if resets[cell] >> c & 1:
                    record[1 + clock + c] = time
            states[first + p] = table[cell]
            out[i, p] = verdicts[shape[p, 5] + np.int64(table[cell])]


@register("ltl_step", "cpu")
def ltl_step(
    table: Any,
    resets: Any,
    shape: Any,
    letters: Any,
    limits: Any,
    verdicts: Any,
    sessions: Any,
    values: Any,
    times: Any,
    records: Any,
    *,
    threads: int,
) -> Any:
    after = records.copy()
    out = np.empty((len(sessions), len(shape)), np.uint8)
    program = (table, resets, shape, letters, limits, verdicts)
    advance(*program, sessions, values, times, after, after.view(np.uint16), 4 * (1 + len(limits)), out)
    return after, out
