"""One automaton with one deadline over finished traces, four traces side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.jit import I64, U16, U32, U64, compiled, reads, writes


@compiled(
    types.void(
        *(reads(U32), reads(U16), I64, I64, I64, I64, I64, reads(U64), reads(I64), reads(I64), I64),
        *(writes(U16, 2), writes(I64, 2)),
    )
)
def timed(
    cells: Any,  # uint32 (Q * width,): next state, and from bit 16 whether the clock is set
    letters: Any,  # uint16 (256,): what the byte of events adds to the letter
    width: Any,  # letters, of which the upper half are those of a deadline that is over
    bit: Any,  # events: the place of the deadline in a letter
    limit: Any,  # microseconds
    failed: Any,  # the state of failure, which is never left, -1 for none
    shift: Any,  # place of the byte in a mask
    values: Any,  # uint64 (N,)
    times: Any,  # int64 (N,)
    offsets: Any,  # int64 (B+1,)
    p: Any,  # column of the outputs
    end: Any,  # uint16 (B, P): state after the last step
    fails: Any,  # int64 (B, P): step at which the formula has failed for good, -1 for none
) -> None:
    by, low, size, next_state = np.uint64(shift), np.uint64(255), np.uint64(width), np.uint32(0xFFFF)
    over = np.uint64(bit)
    state: Any = np.zeros(4, np.uint64)
    clock: Any = np.zeros(4, np.int64)
    state_before: Any = np.zeros(4, np.uint64)
    clock_before: Any = np.zeros(4, np.int64)
    for group in range(0, len(offsets) - 1, 4):
        rows = min(4, len(offsets) - 1 - group)
        together = np.int64(0)
        if rows == 4:
            together = offsets[group + 1] - offsets[group]
            for k in range(1, 4):
                together = min(together, offsets[group + k + 1] - offsets[group + k])
        state[:] = 0
        clock[:] = 0
        fails[group : group + rows, p] = -1
        at: Any = np.int64(0)
        missed = 0
        while at < together and missed < 4:
            # Four traces side by side hide the wait for each look-up; the step of a failure is looked for afterwards.
            stop = min(at + 64, together)
            state_before[:] = state
            clock_before[:] = clock
            s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
            c0, c1, c2, c3 = clock[0], clock[1], clock[2], clock[3]
            row0, row1 = values[offsets[group] :], values[offsets[group + 1] :]
            row2, row3 = values[offsets[group + 2] :], values[offsets[group + 3] :]
            t0, t1 = times[offsets[group] :], times[offsets[group + 1] :]
            t2, t3 = times[offsets[group + 2] :], times[offsets[group + 3] :]
            for step in range(at, stop):
                # An index that is not signed needs no look whether it counts from the end.
                i = np.uint64(step)
                n0, n1, n2, n3 = t0[i], t1[i], t2[i], t3[i]
                l0 = np.uint64(letters[(row0[i] >> by) & low]) | np.uint64(n0 - c0 > limit) << over
                l1 = np.uint64(letters[(row1[i] >> by) & low]) | np.uint64(n1 - c1 > limit) << over
                l2 = np.uint64(letters[(row2[i] >> by) & low]) | np.uint64(n2 - c2 > limit) << over
                l3 = np.uint64(letters[(row3[i] >> by) & low]) | np.uint64(n3 - c3 > limit) << over
                f0, f1 = cells[s0 * size + l0], cells[s1 * size + l1]
                f2, f3 = cells[s2 * size + l2], cells[s3 * size + l3]
                c0, c1 = n0 if f0 > next_state else c0, n1 if f1 > next_state else c1
                c2, c3 = n2 if f2 > next_state else c2, n3 if f3 > next_state else c3
                s0, s1 = np.uint64(f0 & next_state), np.uint64(f1 & next_state)
                s2, s3 = np.uint64(f2 & next_state), np.uint64(f3 & next_state)
            state[0], state[1], state[2], state[3] = s0, s1, s2, s3
            clock[0], clock[1], clock[2], clock[3] = c0, c1, c2, c3
            missed = 0
            for k in range(4):
                if np.int64(state[k]) != failed:
                    continue
                missed += 1
                if fails[group + k, p] < 0:
                    here, since, found = state_before[k], clock_before[k], at
                    while True:
                        now, value = times[offsets[group + k] + found], values[offsets[group + k] + found]
                        letter = np.uint64(letters[(value >> by) & low]) | np.uint64(now - since > limit) << over
                        cell = cells[here * size + letter]
                        since = now if cell > next_state else since
                        here = np.uint64(cell & next_state)
                        if np.int64(here) == failed:
                            break
                        found += 1
                    fails[group + k, p] = found
            at = stop
        for k in range(rows):
            here, since, begin = state[k], clock[k], offsets[group + k]
            if fails[group + k, p] < 0:
                for rest in range(at, offsets[group + k + 1] - begin):
                    now = times[begin + rest]
                    letter = np.uint64(letters[(values[begin + rest] >> by) & low])
                    cell = cells[here * size + (letter | np.uint64(now - since > limit) << over)]
                    since = now if cell > next_state else since
                    here = np.uint64(cell & next_state)
                    if np.int64(here) == failed:
                        fails[group + k, p] = rest
                        break
            end[group + k, p] = here


def cells(table: npt.NDArray[np.uint16], resets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Both tables of an automaton with one clock in one, uint32."""
    reset = (resets & 1).astype(np.uint32) << np.uint32(16)
    return np.asarray((table.astype(np.uint32) | reset).ravel(), np.uint32)
