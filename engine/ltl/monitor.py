"""Live monitoring: four verdicts after each step, deadlines pending until the clock passes them.

The clock of a session never goes back: a step that comes late counts as happening when the clock already stood.
Steps at the same time are taken in the order in which they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.ltl.automaton import NO, PRESUMABLY_NO, PRESUMABLY_YES, VERDICTS, YES, Automaton, check_past
from aimds.ltl.core import LimitError, Op, Pool
from aimds.ltl.formula import Formula
from aimds.ltl.progression import FALSE, SIMPLER, TRUE, Clock, Obligation, Progression, ends_well
from aimds.ltl.tables import LONG_AGO, Tables
from aimds.ltl.traces import TraceError

Ints = npt.NDArray[np.int64]

MAX_WAITING: Final = 200
"""Moments that an operator with an interval may have to remember in one session."""


class Monitor:
    """One formula of any kind on one session, by progression; formulas that fit a table are faster in `Monitors`.

    Raises:
        FragmentError: the future stands inside the past.
    """

    def __init__(self, formula: Formula) -> None:
        self._pool, self._clock = Pool(), Clock()
        self._clock.now = LONG_AGO
        root = self._pool.add(formula)
        check_past(self._pool, root)
        used = self._pool.under(root)
        self._progression = Progression(self._pool, self._clock)
        self._state = self._progression.start(root)
        self._settled = [n for n in used if not self._pool.has(n, _AHEAD)]
        self._before: dict[int, bool] = {}
        self._moments: dict[int, list[int]] = {}
        self.steps = 0
        self.failed_at: int | None = None
        """Number of the step at which the formula had failed for good, counted from 0; `tick` gives the next one."""

    @property
    def verdict(self) -> str:
        """One of VERDICTS. True and false are final; false comes as soon as no alternative is left."""
        if self._state == FALSE:
            return VERDICTS[NO]
        if self._state == TRUE:
            return VERDICTS[YES]
        return VERDICTS[PRESUMABLY_YES if self.steps and ends_well(self._state) else PRESUMABLY_NO]

    def step(self, events: Iterable[str], time: int = 0) -> str:
        """Take a step with ``events`` at ``time`` microseconds; the verdict after it.

        Raises:
            LimitError: an interval has to remember more than MAX_WAITING moments.
        """
        self._clock.now = max(self._clock.now, time)
        values = self._values(set(events))
        self._state = self._progression.step(self._state, values.__getitem__)
        waiting = sum(map(len, self._state))
        if waiting > MAX_WAITING:
            raise LimitError("obligations are open at once", waiting, MAX_WAITING, SIMPLER)
        self._before = values
        self._note()
        self.steps += 1
        return self.verdict

    def tick(self, now: int) -> str:
        """Let the clock stand at ``now`` microseconds at least; the verdict then."""
        self._clock.now = max(self._clock.now, now)
        self._state = self._progression.lapse(self._state)
        self._note()
        return self.verdict

    @property
    def memory(self) -> tuple[object, ...]:
        """All that the next step depends on but the clock, to be compared."""
        return (self._state, self._before, {node: list(found) for node, found in self._moments.items() if found})

    def pack(self) -> list[Any]:
        """All that it remembers, as values of JSON; `resume` is the reverse."""
        state = [sorted([one.node, one.strong, one.since] for one in found) for found in self._state]
        moments = [[node, list(found)] for node, found in self._moments.items()]
        return [
            self.steps,
            self.failed_at,
            self._clock.now,
            state,
            [list(one) for one in self._before.items()],
            moments,
        ]

    def resume(self, packed: Any) -> None:
        """Go on where the monitor of the same formula stood that gave ``packed``.

        Raises:
            TraceError: no such monitor can have given it.
        """
        try:
            steps, failed_at, now, state, before, moments = packed
            self.steps, self.failed_at, self._clock.now = int(steps), failed_at, int(now)
            self._state = frozenset(frozenset(self._owed(*one) for one in found) for found in state)
            self._before = {int(node): bool(held) for node, held in before}
            self._moments = {int(node): [int(one) for one in found] for node, found in moments}
        except (OverflowError, TypeError, ValueError) as error:
            raise TraceError(f"cannot be gone on with: {error}") from error
        within = [node for node in self._settled if self._pool.nodes[node].op in (Op.SINCE, Op.TRIGGER)]
        known = set(self._before) == set(self._settled if self.steps else ())
        if not known or not set(self._moments) <= set(within):
            raise TraceError("are of another formula")

    def _owed(self, node: int, strong: bool, since: int | None) -> Obligation:
        if type(node) is not int or not 0 <= node < len(self._pool.nodes):
            raise ValueError(f"there is no part {node!r}")
        if since is not None and (type(since) is not int or self._pool.nodes[node].within is None):
            raise ValueError(f"part {node} does not wait since {since!r}")
        return Obligation(node, bool(strong), since)

    def _note(self) -> None:
        if self._state == FALSE and self.failed_at is None:
            self.failed_at = self.steps

    def _values(self, events: set[str]) -> dict[int, bool]:
        values: dict[int, bool] = {}
        for number in self._settled:
            node = self._pool.nodes[number]
            parts = [values[part] for part in node.parts]
            match node.op:
                case Op.PRESENT | Op.ABSENT:
                    values[number] = (self._pool.atoms[node.atom] in events) == (node.op is Op.PRESENT)
                case Op.YESTERDAY | Op.WEAK_YESTERDAY:
                    first = node.op is Op.WEAK_YESTERDAY
                    values[number] = self._before[node.parts[0]] if self.steps else first
                case Op.SINCE:
                    values[number] = self._since(number, *parts)
                case Op.TRIGGER:
                    values[number] = not self._since(number, *(not part for part in parts))
                case Op.AND | Op.TRUE:
                    values[number] = all(parts)
                case _:
                    values[number] = any(parts)
        return values

    def _since(self, number: int, left: bool, right: bool) -> bool:
        within, now = self._pool.nodes[number].within, self._clock.now
        low, high = (0, None) if within is None else (within.low, within.high)
        moments = self._moments.setdefault(number, [])
        if not left:
            moments.clear()
        if right and not (high is None and moments):
            moments.append(now)
            # A moment between two others that lie no further apart than the interval is long is never needed alone.
            while high is not None and len(moments) > 2 and moments[-1] - moments[-3] <= high - low:
                del moments[-2]
        while moments and high is not None and now - moments[0] > high:
            del moments[0]
        if low == 0:
            del moments[:-1]
        if len(moments) > MAX_WAITING:
            raise LimitError("moments are open at once", len(moments), MAX_WAITING, SIMPLER)
        return bool(moments) and now - moments[0] >= low


def rests(formula: Formula) -> bool:
    """Whether steps without events leave ``formula`` as the first of them left it, however much time passes.

    A session in which nothing has happened yet then needs no `Monitor`: one that has taken a single step without
    events stands for it.
    """
    probes = [Monitor(formula) for _ in range(3)]
    for probe, times in zip(probes, ((0,), (7,), (0, 1 << 60)), strict=True):
        for time in times:
            probe.step((), time)
    first = probes[0]
    return first.verdict not in ("false", "true") and all(probe.memory == first.memory for probe in probes)


_AHEAD: Final = frozenset({Op.NEXT, Op.WEAK_NEXT, Op.UNTIL, Op.RELEASE})


class Monitors:
    """P automata on many sessions at once, each known by its place in 0 .. ``capacity`` - 1.

    A session takes 8 bytes for its clock, 8 a deadline and 2 a policy, in one piece. Masks have a bit for each of
    ``names``.
    """

    def __init__(self, automata: Sequence[Automaton], names: Sequence[str], capacity: int) -> None:
        self._tables = Tables.of(automata, names)
        self._fresh = self._tables.fresh()
        self.records = np.tile(self._fresh, (capacity, 1))
        """What is remembered of each session, int64 (capacity, W)."""

    @property
    def nbytes(self) -> int:
        """Bytes that the sessions take."""
        return self.records.nbytes

    def step(self, sessions: Ints, values: npt.NDArray[np.uint64], times: Ints) -> npt.NDArray[np.uint8]:
        """Take N steps in their order: ``sessions`` int64 places, ``values`` uint64 masks, ``times`` int64 us.

        Returns:
            Codes into VERDICTS after each step, uint8 (N, P).

        Raises:
            TraceError: arrays of different lengths, or a place outside the capacity.
        """
        if not len(sessions) == len(values) == len(times):
            raise TraceError(f"have {len(sessions)} sessions, {len(values)} masks and {len(times)} times")
        if len(sessions) and (int(sessions.min()) < 0 or int(sessions.max()) >= len(self.records)):
            raise TraceError(f"have sessions outside 0 .. {len(self.records) - 1}")
        return self._tables.live(sessions, values, times, self.records)

    def tick(self, now: int) -> None:
        """Let the clock of every session stand at ``now`` at least: deadlines before it have failed."""
        self._tables.tick(now, self.records)

    def verdicts(self, sessions: Ints | None = None) -> npt.NDArray[np.uint8]:
        """Codes into VERDICTS of ``sessions``, by default of all, uint8 (B, P)."""
        records = self.records if sessions is None else self.records[sessions]
        return np.asarray(self._tables.verdicts[self._tables.places[None, :] + self._tables.states(records)])

    def sound(self, records: Ints) -> bool:
        """Whether ``records`` int64 (B, W) can be of these automata."""
        most = [len(one.verdicts) for one in self._tables.automata]
        return bool((self._tables.states(np.ascontiguousarray(records)) < np.array(most, np.uint16)).all())

    def forget(self, sessions: Ints) -> None:
        """Give ``sessions`` back: their places begin anew."""
        self.records[sessions] = self._fresh
