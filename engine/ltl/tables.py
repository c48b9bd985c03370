"""Several automata side by side as flat arrays, and what steps them over finished traces and lets time pass; live
sessions are stepped by the kernel `ltl_step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.jit import I64, U8, U16, U64, compiled, reads, writes
from aimds.kernels.cpu.ltl_step import advance
from aimds.ltl.automaton import NO, Automaton
from aimds.ltl.deadlines import cells, timed

Ints = npt.NDArray[np.int64]

LONG_AGO: Final = -(1 << 61)
MAX_FULL: Final = 64
"""States of an automaton up to which its table is written out for every byte."""
_TABLES: Final = (reads(U16), reads(U8), reads(I64, 2), reads(U16, 3), reads(I64))
_LAPSES: Final = (reads(U16), reads(I64, 2), reads(I64))


@compiled(types.void(reads(U16), I64, I64, I64, reads(U64), reads(I64), I64, writes(U16, 2), writes(I64, 2)))
def _swift(
    full: Any,  # uint16 (256 * Q,): next state by byte of events and state
    states: Any,  # Q
    failed: Any,  # the state of failure, -1 for none
    shift: Any,  # place of the byte in a mask
    values: Any,  # uint64 (N,)
    offsets: Any,  # int64 (B+1,)
    p: Any,  # column of the outputs
    end: Any,  # uint16 (B, P): state after the last step
    fails: Any,  # int64 (B, P): step at which the formula has failed for good, -1 for none
) -> None:
    by, low = np.uint64(shift), np.uint64(255)
    count = np.uint64(states)
    state: Any = np.zeros(8, np.uint64)
    before: Any = np.zeros(8, np.uint64)
    for group in range(0, len(offsets) - 1, 8):
        rows = min(8, len(offsets) - 1 - group)
        together = np.int64(0)
        if rows == 8:
            together = offsets[group + 1] - offsets[group]
            for k in range(1, 8):
                together = min(together, offsets[group + k + 1] - offsets[group + k])
        state[:] = 0
        fails[group : group + rows, p] = -1
        at: Any = np.int64(0)
        while at < together:
            # Eight traces side by side hide the wait for each look-up; the step of a failure is looked for afterwards.
            stop = min(at + 64, together)
            before[:] = state
            s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
            s4, s5, s6, s7 = state[4], state[5], state[6], state[7]
            row0, row1 = values[offsets[group] :], values[offsets[group + 1] :]
            row2, row3 = values[offsets[group + 2] :], values[offsets[group + 3] :]
            row4, row5 = values[offsets[group + 4] :], values[offsets[group + 5] :]
            row6, row7 = values[offsets[group + 6] :], values[offsets[group + 7] :]
            for step in range(at, stop):
                # An index that is not signed needs no look whether it counts from the end.
                i = np.uint64(step)
                s0 = np.uint64(full[((row0[i] >> by) & low) * count + s0])
                s1 = np.uint64(full[((row1[i] >> by) & low) * count + s1])
                s2 = np.uint64(full[((row2[i] >> by) & low) * count + s2])
                s3 = np.uint64(full[((row3[i] >> by) & low) * count + s3])
                s4 = np.uint64(full[((row4[i] >> by) & low) * count + s4])
                s5 = np.uint64(full[((row5[i] >> by) & low) * count + s5])
                s6 = np.uint64(full[((row6[i] >> by) & low) * count + s6])
                s7 = np.uint64(full[((row7[i] >> by) & low) * count + s7])
            state[0], state[1], state[2], state[3] = s0, s1, s2, s3
            state[4], state[5], state[6], state[7] = s4, s5, s6, s7
            for k in range(8):
                if np.int64(state[k]) == failed and fails[group + k, p] < 0:
                    here, found = before[k], at
                    while True:
                        here = np.uint64(full[((values[offsets[group + k] + found] >> by) & low) * count + here])
                        if np.int64(here) == failed:
                            break
                        found += 1
                    fails[group + k, p] = found
            at = stop
        for k in range(rows):
            here = state[k]
            for rest in range(together, offsets[group + k + 1] - offsets[group + k]):
                here = np.uint64(full[((values[offsets[group + k] + rest] >> by) & low) * count + here])
                if np.int64(here) == failed and fails[group + k, p] < 0:
                    fails[group + k, p] = rest
            end[group + k, p] = here


@compiled(types.void(*_TABLES, reads(U8), reads(U64), reads(I64), reads(I64), I64, writes(U16, 2), writes(I64, 2)))
def _trail(
    table: Any,  # uint16: next states of all automata, one after the other
    resets: Any,  # uint8: clocks to set, as table
    shape: Any,  # int64 (P, 7): place in table, letters, events, first clock, clocks, place in verdicts, byte of events
    letters: Any,  # uint16 (P, bytes, 256): what each byte of a mask adds to the letter
    limits: Any,  # int64 (clocks,)
    verdicts: Any,  # uint8: of all states
    values: Any,  # uint64 (N,)
    times: Any,  # int64 (N,)
    offsets: Any,  # int64 (B+1,)
    p: Any,  # the automaton, and column of the outputs
    end: Any,  # uint16 (B, P): state after the last step, or that of failure
    fails: Any,  # int64 (B, P): step at which the formula has failed for good, -1 for none
) -> None:
    clocks = np.empty(len(limits) + 1, np.int64)
    base, width, bit, from_clock = shape[p, 0], shape[p, 1], shape[p, 2], shape[p, 3]
    for row in range(len(offsets) - 1):
        state, failed = np.int64(0), np.int64(-1)
        begin, stop = offsets[row], offsets[row + 1]
        for i in range(begin, stop):
            letter = np.int64(0)
            for b in range(letters.shape[1]):
                letter |= np.int64(letters[p, b, (values[i] >> np.uint64(8 * b)) & np.uint64(255)])
            for c in range(shape[p, 4]):
                letter |= np.int64(times[i] - clocks[c] > limits[from_clock + c]) << (bit + c)
            cell = base + state * width + letter
            for c in range(shape[p, 4]):
                if resets[cell] >> c & 1:
                    clocks[c] = times[i]
            state = np.int64(table[cell])
            if verdicts[shape[p, 5] + state] == 0:
                failed = i - begin
                break
        end[row, p] = state
        fails[row, p] = failed


@compiled(types.void(*_LAPSES, I64, writes(I64, 2), writes(U16, 2), I64))
def _tick(
    lapses: Any,  # uint16: states of all automata when clocks are over, one after the other
    shape: Any,  # int64 (P, 3): place in lapses, first clock, clocks
    limits: Any,
    time: Any,
    records: Any,
    small: Any,
    first: Any,
) -> None:
    for s in range(len(records)):
        record, states = records[s], small[s]
        record[0] = max(record[0], time)
        for p in range(len(shape)):
            if shape[p, 2] == 0:
                continue
            late = np.int64(0)
            for c in range(shape[p, 2]):
                late |= np.int64(record[0] - record[1 + shape[p, 1] + c] > limits[shape[p, 1] + c]) << c
            states[first + p] = lapses[shape[p, 0] + (np.int64(states[first + p]) << shape[p, 2]) + late]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Automata over masks whose bit k is event ``names[k]``."""

    automata: tuple[Automaton, ...]
    names: tuple[str, ...]
    steps: tuple[Any, ...]
    verdicts: npt.NDArray[np.uint8]
    places: Ints
    lapses: tuple[Any, ...]
    clocks: int

    @classmethod
    def of(cls, automata: Sequence[Automaton], names: Sequence[str]) -> Tables:
        """``automata`` packed; an event that is not among ``names`` never occurs."""
        shape, letters, lapse_shape = [], [], []
        limits: list[int] = []
        table_at = verdict_at = lapse_at = 0
        n_bytes = max(1, (len(names) + 7) // 8)
        for one in automata:
            lut = np.zeros((n_bytes, 256), np.uint16)
            bits = {tuple(names).index(name): k for k, name in enumerate(one.atoms) if name in names}
            for bit, k in bits.items():
                lut[bit // 8] |= ((np.arange(256) >> (bit % 8) & 1) << k).astype(np.uint16)
            used = {bit // 8 for bit in bits}
            byte = used.pop() if len(used) == 1 else -1 if used else 0
            width, clocks = one.table.shape[1], len(one.limits_us)
            shape.append((table_at, width, len(one.atoms), len(limits), clocks, verdict_at, byte))
            lapse_shape.append((lapse_at, len(limits), clocks))
            table_at, verdict_at, lapse_at = (
                table_at + one.table.size,
                verdict_at + len(one.verdicts),
                lapse_at + one.lapses.size,
            )
            letters.append(lut)
            limits.extend(one.limits_us)
        flat = np.array(limits, np.int64)
        verdicts = _joined([one.verdicts for one in automata], np.uint8)
        rows = np.array(shape, np.int64).reshape(-1, 7)
        luts = np.array(letters, np.uint16).reshape(-1, n_bytes, 256)
        table = _joined([one.table for one in automata], np.uint16)
        resets = _joined([one.resets for one in automata], np.uint8)
        lapses = _joined([one.lapses for one in automata], np.uint16)
        return cls(
            tuple(automata),
            tuple(names),
            (table, resets, rows, luts, flat, verdicts),
            verdicts,
            rows[:, 5].copy(),
            (lapses, np.array(lapse_shape, np.int64).reshape(-1, 3), flat),
            len(limits),
        )

    def trail(
        self, values: npt.NDArray[np.uint64], times: Ints | None, offsets: Ints
    ) -> tuple[npt.NDArray[np.uint8], Ints]:
        """Verdict at the end of each trace uint8 (B, P), and the step at which it has failed for good (B, P), or -1."""
        end = np.empty((len(offsets) - 1, len(self.automata)), np.uint16)
        fails = np.empty(end.shape, np.int64)
        moments = np.zeros(len(values), np.int64) if times is None else times
        for p, made in enumerate(self.automata):
            full, byte = self._full(p), int(self.steps[2][p, 6])
            bad = np.flatnonzero(made.verdicts == NO)
            failed = int(bad[0]) if len(bad) else -1
            if self._one_clock(p):
                given = (len(made.table[0]), len(made.atoms), made.limits_us[0], failed, 8 * byte)
                letters = self.steps[3][p, byte]
                timed(cells(made.table, made.resets), letters, *given, values, moments, offsets, p, end, fails)
            elif full is None:
                _trail(*self.steps, values, moments, offsets, p, end, fails)
            else:
                _swift(full, len(made.table), failed, 8 * byte, values, offsets, p, end, fails)
        return self.verdicts[self.places[None, :] + end], fails

    @property
    def swift(self) -> bool:
        """Whether `trail` takes several traces of each automaton side by side."""
        return all(self._one_clock(p) or self._full(p) is not None for p in range(len(self.automata)))

    def _one_clock(self, p: int) -> bool:
        made = self.automata[p]
        return len(made.limits_us) == 1 and int(self.steps[2][p, 6]) >= 0 and int((made.verdicts == NO).sum()) < 2

    def _full(self, p: int) -> npt.NDArray[np.uint16] | None:
        # Next states by byte and state, where there are no clocks and all events stand in one byte.
        made, byte = self.automata[p], int(self.steps[2][p, 6])
        if made.limits_us or byte < 0 or len(made.table) > MAX_FULL:
            return None
        return np.ascontiguousarray(made.table[:, self.steps[3][p, byte]].T).ravel()

    @property
    def width(self) -> int:
        """Numbers of 64 bits in the record of a session: its clock, its deadlines, then 16 bits a state."""
        return 1 + self.clocks + (len(self.automata) + 3) // 4

    def live(self, sessions: Ints, values: Any, times: Ints, records: Ints) -> npt.NDArray[np.uint8]:
        """Step the sessions in ``records`` int64 (S, width), in place; verdict after each step, uint8 (N, P)."""
        out = np.empty((len(sessions), len(self.automata)), np.uint8)
        small, first = records.view(np.uint16), 4 * (1 + self.clocks)
        # In place: a copy of the records would cost more than the steps.
        advance(*self.steps, sessions, values, times, records, small, first, out)
        return out

    def tick(self, time: int, records: Ints) -> None:
        """Let the clock of every session stand at ``time`` at least, in place."""
        _tick(*self.lapses, time, records, records.view(np.uint16), 4 * (1 + self.clocks))

    def states(self, records: Ints) -> npt.NDArray[np.uint16]:
        """The state of each session and automaton, uint16 (S, P)."""
        first = 4 * (1 + self.clocks)
        return records.view(np.uint16)[:, first : first + len(self.automata)]

    def fresh(self) -> Ints:
        """The record of a session that has not begun, int64 (width,)."""
        out = np.zeros(self.width, np.int64)
        out[: 1 + self.clocks] = LONG_AGO
        return out


def _joined(parts: list[Any], dtype: Any) -> Any:
    return np.concatenate([part.ravel() for part in parts]).astype(dtype) if parts else np.zeros(0, dtype)


assert NO == 0, "the kernels stop where a verdict is 0"
