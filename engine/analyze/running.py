"""Policies that no table can keep, live: a `Monitor` for each session in which something happens that they speak of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.errors import DataError
from aimds.ltl.automaton import NO, PRESUMABLY_NO, VERDICTS
from aimds.ltl.core import LimitError
from aimds.ltl.formula import Formula, atoms
from aimds.ltl.monitor import Monitor, rests
from aimds.ltl.tables import LONG_AGO
from aimds.ltl.traces import TraceError
from aimds.respond.violations import FORGOTTEN, TOO_MUCH

Ints = npt.NDArray[np.int64]
NONE, RUNS, LOST, OVER, BROKEN, AGAIN = range(6)
"""What stands for a session and a policy: nothing yet, a `Monitor`, one that had to go, no need, told as broken, to be
told so once more."""
_FALSE: Final = VERDICTS[NO]
_OWED: Final = VERDICTS[PRESUMABLY_NO]


@dataclass(frozen=True, slots=True)
class Found:
    """Of a batch: rows and places of policies that are ``broken`` there; by reason, those that turned out there not to
    be judged."""

    broken: list[tuple[int, int]] = field(default_factory=list)
    unjudged: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


class Running:
    """``formulas`` on the sessions of ``capacity`` slots; ``places`` are those of the policies they are of.

    Args:
        names: the events, in the order of the bits of masks.
        most: sessions that are followed at once, for each formula; of more, the one followed longest is judged no
            further, and its next row says so.
    """

    def __init__(
        self, formulas: Sequence[Formula], places: Sequence[int], names: Sequence[str], capacity: int, most: int
    ) -> None:
        self._formulas, self.places, self._names, self._most = list(formulas), list(places), list(names), most
        self._rests = [rests(formula) for formula in formulas]
        # What is owed to a session whose monitor has not begun, by formulas that may wait for one.
        self._resting = [
            rest and Monitor(formula).step(()) == _OWED for rest, formula in zip(self._rests, formulas, strict=True)
        ]
        self._speaks = [
            np.uint64(sum(1 << self._names.index(name) for name in set(atoms(formula)))) for formula in formulas
        ]
        self.state = np.zeros((capacity, len(formulas)), np.uint8)
        """One of NONE .. AGAIN, by slot and formula."""
        self._running: list[OrderedDict[int, Monitor]] = [OrderedDict() for _ in formulas]

    def __len__(self) -> int:
        return sum(map(len, self._running))

    def forget(self, slots: Ints) -> None:
        """Let the sessions in ``slots`` go."""
        for other, running in enumerate(self._running):
            for slot in slots[self.state[slots, other] == RUNS].tolist():
                del running[slot]
        self.state[slots] = NONE

    def unseen(self, seen: npt.NDArray[np.float64], before: float) -> None:
        """Let those go that were not ``seen``, float64 (capacity,), since ``before``."""
        for other, running in enumerate(self._running):
            slots = np.fromiter(running, np.int64, len(running))
            gone = slots[seen[slots] < before]
            for slot in gone.tolist():
                del running[slot]
            self.state[gone, other] = NONE

    def step(self, rows: Ints, slots: Ints, values: Any, times: Ints, begun: Any, clocks: Ints, found: Found) -> None:
        """Take the steps ``rows`` of the sessions in ``slots``: masks ``values``, ``times`` in microseconds. ``begun``
        and ``clocks``, by slot: whether there were steps before, and the time of the last."""
        for other in range(len(self._formulas)):
            self._step(other, rows, slots, values, times, begun, clocks, found)

    def _step(
        self, other: int, rows: Ints, slots: Ints, values: Any, times: Ints, all_begun: Any, clocks: Ints, found: Found
    ) -> None:
        state, running, place = self.state[:, other], self._running[other], self.places[other]
        speaks = (values & self._speaks[other]) != 0 if self._rests[other] else np.ones(len(rows), np.bool_)
        active = np.isin(state[slots], (RUNS, LOST, AGAIN))
        if not (speaks.any() or active.any()):
            return
        # All steps in this batch of a session in which something happens, or did before.
        concerned = np.isin(slots, slots[speaks]) | active
        mine = np.unique(slots[concerned])
        begun = dict(zip(mine.tolist(), all_begun[mine].tolist(), strict=True))
        clock = dict(zip(mine.tolist(), clocks[mine].tolist(), strict=True))
        for step in np.flatnonzero(concerned).tolist():
            slot, row = int(slots[step]), int(rows[step])
            clock[slot] = max(clock[slot], int(times[step]))
            if state[slot] == LOST:
                found.unjudged.setdefault(FORGOTTEN, []).append((row, place))
                state[slot] = OVER
            if state[slot] == AGAIN:
                found.broken.append((row, place))
                state[slot] = BROKEN
            if state[slot] in (OVER, BROKEN):
                continue
            if state[slot] == NONE:
                if not speaks[step]:
                    begun[slot] = True
                    continue
                self._start(other, slot, begun[slot])
            monitor = running[slot]
            mask = int(values[step])
            happened = [name for bit, name in enumerate(self._names) if mask >> bit & 1]
            try:
                verdict = monitor.step(happened, clock[slot])
            except LimitError:
                found.unjudged.setdefault(TOO_MUCH, []).append((row, place))
                verdict = "true"
            if verdict == _FALSE:
                found.broken.append((row, place))
            if verdict in (_FALSE, "true"):
                del running[slot]
                state[slot] = BROKEN if verdict == _FALSE else OVER

    def _start(self, other: int, slot: int, begun: bool) -> None:
        running = self._running[other]
        if len(running) >= self._most:
            lost, _ = running.popitem(last=False)
            self.state[lost, other] = LOST
        monitor = Monitor(self._formulas[other])
        if begun:
            # What has happened so far is a step without events, however many there were.
            monitor.step((), LONG_AGO)
        running[slot] = monitor
        self.state[slot, other] = RUNS

    def owes(self, slots: Ints) -> npt.NDArray[np.bool_]:
        """Which formulas each of the sessions in ``slots`` would break if it ended now, bool (B, F)."""
        out = (self.state[slots] == NONE) & np.array(self._resting, np.bool_)
        for other, running in enumerate(self._running):
            for row in np.flatnonzero(self.state[slots, other] == RUNS).tolist():
                out[row, other] = running[int(slots[row])].verdict == _OWED
        return np.asarray(out, np.bool_)

    def pack(self, places: Mapping[int, int]) -> list[Any]:
        """The monitors of the sessions whose slots are among ``places``, as values of JSON."""
        return [
            [[places[slot], one.pack()] for slot, one in running.items() if slot in places] for running in self._running
        ]

    def unpack(self, packed: Any) -> list[dict[int, Monitor]]:
        """The monitors that `pack` gave, by formula and place.

        Raises:
            DataError: they cannot be of these formulas.
        """
        try:
            return [dict(self._unpacked(*one)) for one in zip(self._formulas, packed, strict=True)]
        except (OverflowError, TypeError, ValueError, TraceError) as error:
            raise DataError("snapshot", f"what runs in it cannot be gone on with: {error}") from error

    def _unpacked(self, formula: Formula, listed: Any) -> Iterator[tuple[int, Monitor]]:
        for place, state in listed[max(0, len(listed) - self._most) :]:
            monitor = Monitor(formula)
            monitor.resume(state)
            yield int(place), monitor

    def resume(
        self, monitors: Sequence[Mapping[int, Monitor]], slots: Mapping[int, int], *, told: bool = False
    ) -> None:
        """Go on with ``monitors`` by place, once `state` is filled: ``slots`` by place. Sessions without one that had
        one are judged no further; what was broken is told once more, but where ``told`` says that it need not."""
        for other, found in enumerate(monitors):
            running = self._running[other]
            for place, monitor in found.items():
                if place in slots and self.state[slots[place], other] == RUNS:
                    running[slots[place]] = monitor
            lost = [slot for slot in slots.values() if self.state[slot, other] == RUNS and slot not in running]
            self.state[np.array(lost, np.int64), other] = LOST
        if told:
            return
        taken = np.fromiter(slots.values(), np.int64, len(slots))
        self.state[taken] = np.where(self.state[taken] == BROKEN, AGAIN, self.state[taken])
