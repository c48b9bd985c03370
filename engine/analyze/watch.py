"""Policies over sessions, live: each verdict is a step of its session; a policy is broken when nothing can mend it.

What is remembered of a session is a row of packed arrays; how many are kept is fixed, and the one seen longest ago
makes room. What no table can keep is judged by a `Monitor`, made when an event that its formula speaks of first occurs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.owing import Owed, Owing
from aimds.analyze.packed import Arrays
from aimds.analyze.running import AGAIN, Found, Running
from aimds.analyze.slots import SlotTable
from aimds.analyze.turns import keys
from aimds.errors import ConfigError, DataError
from aimds.ltl.automaton import NO, PRESUMABLY_NO
from aimds.ltl.judge import Judge
from aimds.ltl.monitor import Monitors
from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import masks, micros, numbers
from aimds.ltl.tables import LONG_AGO

Ints = npt.NDArray[np.int64]
CAPACITY: Final = 100_000
MOST_MONITORS: Final = 20_000
MOST_ALONE: Final = 4_096


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
        self._events = policies.names
        self._judge = Judge(policies)
        listed = list(enumerate(policies.policies))
        self._tabled = np.array([place for place, policy in listed if policy.automaton is not None], np.int64)
        automata = [policy.automaton for policy in policies.policies if policy.automaton is not None]
        self._monitors = Monitors(automata, self._events, capacity)
        others = [place for place, policy in listed if policy.automaton is None]
        formulas = [policies.policies[place].formula for place in others]
        self._running = Running(formulas, others, self._events, capacity, most_monitors)
        self.table = SlotTable(capacity)
        self._told = np.zeros((capacity, len(automata)), np.bool_)
        self._begun = np.zeros(capacity, np.bool_)
        self._clock = np.full(capacity, LONG_AGO, np.int64)
        packed = (self._monitors.records, self._told, self._begun, self._clock, self._running.state)
        self.arrays: Arrays = dict(zip(("records", "told", "begun", "clock", "state"), packed, strict=True))
        """What is remembered of each session, a row a slot, but for `loose`."""
        self._alone: dict[int, list[int]] = {}
        self.broken: Counter[str] = Counter()
        """Violations so far, by policy."""
        self.unjudged: Counter[str] = Counter()
        """Sessions so far that a policy could not judge to their end."""
        self.owing = Owing(capacity)
        """The sessions to which something is owed; `owed` has those that ended so."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, whether in use or not; monitors are not among them."""
        own: tuple[npt.NDArray[Any], ...] = (self.table.index, self.table.keys, self.table.links, self.table.seen)
        return sum(array.nbytes for array in (*own, *self.arrays.values()))

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
            self._running.step(part, slots, values[part], times[part], self._begun, self._clock, found)
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
        self._running.unseen(self.table.seen, before)

    def owed(self, *, over: bool = False) -> list[Owed]:
        """The sessions that have ended since this was last asked and break a policy by their end; ``over``: all that
        go on have ended."""
        if over:
            self._end(list(self.owing.sessions))
        return self.owing.taken()

    def loose(self, slots: list[int]) -> dict[str, Any]:
        """What is remembered of the sessions in ``slots`` beside `arrays`, as values of JSON, by their place there."""
        places = {slot: place for place, slot in enumerate(slots)}
        # -1: one that is left out has ended for whoever goes on from here.
        owing = [[places.get(slot, -1), *who] for slot, who in self.owing.sessions.items()]
        # By name, since whoever goes on with other policies can no longer find out.
        owed = [self._named(row) for row in self._owes(np.array(list(self.owing.sessions), np.int64))]
        return {"monitors": self._running.pack(places), "owing": owing, "owed": owed}

    def resume(
        self, header: Mapping[str, Any], kept: Mapping[str, Any], now: float = 0.0, *, told: bool = False
    ) -> int:
        """Go on with rows of `arrays`, ``keys`` and ``seen`` in ``kept``, and what `loose` gave in ``header``; the last
        of them where there is less room. How many sessions.

        ``told``: what followed from policies that are broken was kept, so that none of them is told of once more.

        Raises:
            DataError: they cannot be of these policies; nothing was taken up.
        """
        if not self._monitors.sound(kept["records"]) or (kept["state"] > AGAIN).any():
            raise DataError("snapshot", "its states cannot be of these policies")
        monitors = self._running.unpack(header.get("monitors"))
        try:
            owing = [(int(place), (tenant, str(session), last)) for place, tenant, session, last in header["owing"]]
            owed = [tuple(map(str, names)) for names in header.get("owed", ())]
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError("snapshot", f"what is owed in it cannot be: {error}") from error
        count = len(kept["keys"])
        first = max(0, count - self.table.capacity)
        slots, _ = self.table.admit(np.ascontiguousarray(kept["keys"][first:]), now)
        self.table.seen[slots] = kept["seen"][first:]
        for name, array in self.arrays.items():
            array[slots] = kept[name][first:]
        if not told:
            self._told[slots] = False
        by_place = dict(zip(range(first, count), slots.tolist(), strict=True))
        self._running.resume(monitors, by_place, told=told)
        self.owing.sessions.update({by_place[place]: who for place, who in owing if place in by_place})
        for (place, who), names in zip(owing, owed, strict=False):
            if place not in by_place:
                self.owing.left(who, names)
        return len(slots)

    def _end(self, slots: list[int]) -> None:
        if slots:
            for slot, row in zip(slots, self._owes(np.array(slots, np.int64)), strict=True):
                self.owing.end(slot, self._named(row))

    def _named(self, row: npt.NDArray[np.bool_]) -> list[str]:
        return [self.names[place] for place in np.flatnonzero(row).tolist()]

    def _owes(self, slots: Ints) -> npt.NDArray[np.bool_]:
        # Which policies each of the sessions would break if it ended now, bool (B, P).
        out = np.zeros((len(slots), len(self.names)), np.bool_)
        if len(self._tabled):
            out[:, self._tabled] = self._monitors.verdicts(slots) == PRESUMABLY_NO
        out[:, self._running.places] = self._running.owes(slots)
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
        self._running.forget(slots)

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
