"""Policies over sessions, live: each verdict is a step of its session; a policy is broken when nothing can mend it.

What is remembered of a session is a row of packed arrays; how many are kept is fixed, and the one seen longest ago
makes room. What no table can keep is judged by a `Monitor`, made when an event that its formula speaks of first occurs.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.owing import Owed, Owing
from aimds.analyze.slots import SlotTable
from aimds.analyze.turns import keys
from aimds.errors import ConfigError
from aimds.ltl.automaton import NO, PRESUMABLY_NO, VERDICTS
from aimds.ltl.core import LimitError
from aimds.ltl.formula import atoms
from aimds.ltl.judge import Judge
from aimds.ltl.monitor import Monitor, Monitors, rests
from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import masks, micros, numbers
from aimds.ltl.tables import LONG_AGO
from aimds.respond.violations import FORGOTTEN, TOO_MUCH

Ints = npt.NDArray[np.int64]
CAPACITY: Final = 100_000
MOST_MONITORS: Final = 20_000
MOST_ALONE: Final = 4_096
NONE, RUNS, LOST, OVER = range(4)
"""What stands for a session and a policy without a table: nothing yet, a `Monitor`, one that had to go, no need."""
_FALSE: Final = VERDICTS[NO]
_OWED: Final = VERDICTS[PRESUMABLY_NO]


@dataclass(frozen=True, slots=True)
class Found:
    """Of a batch: rows and places of policies that are ``broken`` there; by reason, those that turned out there not to
    be judged."""

    broken: list[tuple[int, int]] = field(default_factory=list)
    unjudged: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


class Watch:
    """The sessions that are going on, as ``policies`` see them.

    Args:
        capacity: sessions that are kept; of more, the one seen longest ago begins anew when it comes again.
        max_age_s: a session not seen for so long is forgotten, in the unit of ``now``.
        most_monitors: sessions that are followed at once by policies that no table can keep, for each of these; of
            more, the one followed longest is judged no further, and its next row says so.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        policies: TracePolicies,
        *,
        capacity: int = CAPACITY,
        max_age_s: float = 24 * 3600.0,
        most_monitors: int = MOST_MONITORS,
    ) -> None:
        if not max_age_s > 0:
            raise ConfigError("max_age_s", max_age_s, "a positive number of seconds")
        self.policies, self.max_age_s = policies, max_age_s
        self.names = [policy.name for policy in policies.policies]
        self._events, self._most = policies.names, most_monitors
        self._judge = Judge(policies)
        listed = list(enumerate(policies.policies))
        self._tabled = np.array([place for place, policy in listed if policy.automaton is not None], np.int64)
        automata = [policy.automaton for policy in policies.policies if policy.automaton is not None]
        self._monitors = Monitors(automata, self._events, capacity)
        self._others = [place for place, policy in listed if policy.automaton is None]
        self._rests = [rests(policies.policies[place].formula) for place in self._others]
        # What a session is owed before a monitor has begun, under formulas that may wait for one.
        self._resting = [
            rest and Monitor(policies.policies[place].formula).step(()) == _OWED
            for rest, place in zip(self._rests, self._others, strict=True)
        ]
        self._speaks = [self._bits(atoms(policies.policies[place].formula)) for place in self._others]
        self.table = SlotTable(capacity)
        self._told = np.zeros((capacity, len(automata)), np.bool_)
        self._begun = np.zeros(capacity, np.bool_)
        self._clock = np.full(capacity, LONG_AGO, np.int64)
        self._state = np.zeros((capacity, len(self._others)), np.uint8)
        self._running: list[OrderedDict[int, Monitor]] = [OrderedDict() for _ in self._others]
        self._alone: dict[int, list[int]] = {}
        self.broken: Counter[str] = Counter()
        """Violations so far, by policy."""
        self.unjudged: Counter[str] = Counter()
        """Sessions so far that a policy could not judge to their end."""
        self.owing = Owing()
        """The sessions to which something is owed; `owed` has those that ended so."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, whether in use or not; monitors are not among them."""
        own = (self.table.index, self.table.keys, self.table.links, self.table.seen)
        arrays = (*own, self._told, self._begun, self._clock, self._state)
        return self._monitors.nbytes + sum(array.nbytes for array in arrays)

    def _bits(self, names: Any) -> np.uint64:
        return np.uint64(sum(1 << self._events.index(name) for name in set(names)))

    def observe(self, verdicts: pa.RecordBatch, events: pa.Array, now: float, wall_us: int) -> Found:
        """Take each row of ``verdicts`` (VERDICTS) as the next step of its session; without one it is its own session.

        Args:
            events: list<string>, what the requests name.
            now: seconds on a clock that does not go back; sessions not seen for ``max_age_s`` are forgotten.
            wall_us: microseconds since 1970, the time of rows that have none.
        """
        self.forget(now)
        found = Found()
        values = masks(verdicts, self._events, events)
        time, known = numbers(micros(verdicts.column("ts")))
        times = np.where(known, time, wall_us)
        named = verdicts.column("session_id").is_valid().to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(~named).tolist():
            found.broken.extend((row, place) for place in self._by_itself(int(values[row])))
        rows = np.flatnonzero(named)
        for start in range(0, len(rows), self.table.capacity):
            part = rows[start : start + self.table.capacity]
            who = verdicts.select(["tenant", "session_id"])
            who = who if len(part) == who.num_rows else who.take(pa.array(part))
            slots, fresh = self.table.admit(keys(who), now)
            self._end([slot for slot in fresh.tolist() if slot in self.owing.sessions])
            self._forget(fresh)
            self._by_table(part, slots, values[part], times[part], found)
            for other in range(len(self._others)):
                self._by_monitor(other, part, slots, values[part], times[part], found)
            self._begun[slots] = True
            np.maximum.at(self._clock, slots, times[part])
            self._note(verdicts, part, slots)
        self.broken.update(self.names[place] for _, place in found.broken)
        self.unjudged.update(self.names[place] for listed in found.unjudged.values() for _, place in listed)
        return found

    def forget(self, now: float) -> None:
        """Forget the sessions that were not seen for ``max_age_s``."""
        before = now - self.max_age_s
        if not self.table.expire(before):
            return
        self._end([slot for slot in self.owing.sessions if self.table.seen[slot] < before])
        for other, running in enumerate(self._running):
            slots = np.fromiter(running, np.int64, len(running))
            gone = slots[self.table.seen[slots] < before]
            for slot in gone.tolist():
                del running[slot]
            self._state[gone, other] = NONE

    def owed(self, *, over: bool = False) -> list[Owed]:
        """The sessions that have ended since this was last asked and break a policy by their end; ``over``: all that
        go on have ended."""
        if over:
            self._end(list(self.owing.sessions))
        return self.owing.taken()

    def _end(self, slots: list[int]) -> None:
        if slots:
            for slot, row in zip(slots, self._owes(np.array(slots, np.int64)), strict=True):
                self.owing.end(slot, [self.names[place] for place in np.flatnonzero(row).tolist()])

    def _owes(self, slots: Ints) -> npt.NDArray[np.bool_]:
        # Which policies each of the sessions would break if it ended now, bool (B, P).
        out = np.zeros((len(slots), len(self.names)), np.bool_)
        if len(self._tabled):
            out[:, self._tabled] = self._monitors.verdicts(slots) == PRESUMABLY_NO
        for other, place in enumerate(self._others):
            state, running = self._state[slots, other], self._running[other]
            out[:, place] = (state == NONE) & self._resting[other]
            for row in np.flatnonzero(state == RUNS).tolist():
                out[row, place] = running[int(slots[row])].verdict == _OWED
        return out

    def _note(self, verdicts: pa.RecordBatch, rows: Ints, slots: Ints) -> None:
        last = len(slots) - 1 - np.unique(slots[::-1], return_index=True)[1]
        owes = self._owes(slots[last]).any(axis=1)
        if self.owing.sessions:
            for slot in slots[last[~owes]].tolist():
                self.owing.sessions.pop(slot, None)
        if owes.any():
            chosen = pa.array(rows[last[owes]])
            names = (verdicts.column(name).take(chosen) for name in ("tenant", "session_id", "request_id"))
            who = zip(*(column.cast(pa.string()).to_pylist() for column in names), strict=True)
            self.owing.sessions.update(zip(slots[last[owes]].tolist(), who, strict=True))

    def _by_itself(self, mask: int) -> list[int]:
        if mask not in self._alone:
            if len(self._alone) >= MOST_ALONE:
                self._alone.clear()
            self._alone[mask] = self._judge.alone(mask)
        return self._alone[mask]

    def _forget(self, slots: Ints) -> None:
        self._monitors.forget(slots)
        self._told[slots] = self._begun[slots] = False
        self._clock[slots] = LONG_AGO
        for other, running in enumerate(self._running):
            for slot in slots[self._state[slots, other] == RUNS].tolist():
                del running[slot]
        self._state[slots] = NONE

    def _by_table(self, rows: Ints, slots: Ints, values: Any, times: Ints, found: Found) -> None:
        if not len(self._tabled):
            return
        bad = (self._monitors.step(slots, values, times) == NO) & ~self._told[slots]
        steps, which = np.nonzero(bad)
        # A verdict is final: a policy is told of at the first of its steps in the batch.
        first = np.unique(slots[steps] * len(self._tabled) + which, return_index=True)[1]
        for step, place in zip(steps[first].tolist(), which[first].tolist(), strict=True):
            found.broken.append((int(rows[step]), int(self._tabled[place])))
        self._told[slots[steps], which] = True

    def _by_monitor(self, other: int, rows: Ints, slots: Ints, values: Any, times: Ints, found: Found) -> None:
        state, running, place = self._state[:, other], self._running[other], self._others[other]
        speaks = (values & self._speaks[other]) != 0 if self._rests[other] else np.ones(len(rows), np.bool_)
        active = (state[slots] == RUNS) | (state[slots] == LOST)
        if not (speaks.any() or active.any()):
            return
        # All steps in this batch of a session in which something happens, or did before.
        concerned = np.isin(slots, slots[speaks]) | active
        mine = np.unique(slots[concerned])
        begun = dict(zip(mine.tolist(), self._begun[mine].tolist(), strict=True))
        clock = dict(zip(mine.tolist(), self._clock[mine].tolist(), strict=True))
        for step in np.flatnonzero(concerned).tolist():
            slot, row = int(slots[step]), int(rows[step])
            clock[slot] = max(clock[slot], int(times[step]))
            if state[slot] == LOST:
                found.unjudged.setdefault(FORGOTTEN, []).append((row, place))
                state[slot] = OVER
            if state[slot] == OVER:
                continue
            if state[slot] == NONE:
                if not speaks[step]:
                    begun[slot] = True
                    continue
                self._start(other, slot, begun[slot])
            monitor = running[slot]
            mask = int(values[step])
            happened = [name for bit, name in enumerate(self._events) if mask >> bit & 1]
            try:
                verdict = monitor.step(happened, clock[slot])
            except LimitError:
                found.unjudged.setdefault(TOO_MUCH, []).append((row, place))
                verdict = "true"
            if verdict == _FALSE:
                found.broken.append((row, place))
            if verdict in (_FALSE, "true"):
                del running[slot]
                state[slot] = OVER

    def _start(self, other: int, slot: int, begun: bool) -> None:
        running = self._running[other]
        if len(running) >= self._most:
            lost, _ = running.popitem(last=False)
            self._state[lost, other] = LOST
        monitor = Monitor(self.policies.policies[self._others[other]].formula)
        if begun:
            # What has happened so far is a step without events, however many there were.
            monitor.step((), LONG_AGO)
        running[slot] = monitor
        self._state[slot, other] = RUNS
