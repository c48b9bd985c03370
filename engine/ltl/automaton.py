"""A formula as the smallest automaton: a table of state × events, with a clock for each deadline.

A state is what the past operators remember, and what must still hold. Operators whose interval begins at 0 and ends get
a clock each: it is set when they begin to wait, and the table has a bit for "its time is over".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.ltl.core import FUTURE, PAST, FragmentError, LimitError, Op, Pool
from aimds.ltl.formula import Formula, Interval
from aimds.ltl.progression import FALSE, SIMPLER, TRUE, Clock, Obligation, Progression, State, ends_well

MAX_ATOMS: Final = 8
MAX_BITS: Final = 10
MAX_STATES: Final = 4_096
VERDICTS: Final = ("false", "presumably_false", "presumably_true", "true")
NO, PRESUMABLY_NO, PRESUMABLY_YES, YES = range(len(VERDICTS))
OLD, NEW = 0, 1
HOLDS_OF_NOTHING: Final = frozenset({Op.TRUE, Op.ABSENT, Op.WEAK_NEXT, Op.RELEASE, Op.WEAK_YESTERDAY, Op.TRIGGER})


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """``table`` (Q, L) next state for each letter: a bit per event of ``atoms``, then one per clock that is over.
    ``resets`` (Q, L) bits of the clocks that are set to the time of the step; ``lapses`` (Q, 2 ** clocks) the state
    when clocks are over without a step; ``verdicts`` (Q,) codes into VERDICTS; ``limits_us`` each clock's deadline."""

    atoms: tuple[str, ...]
    limits_us: tuple[int, ...]
    table: npt.NDArray[np.uint16]
    resets: npt.NDArray[np.uint8]
    lapses: npt.NDArray[np.uint16]
    verdicts: npt.NDArray[np.uint8]
    start: int

    @property
    def accepting(self) -> npt.NDArray[np.bool_]:
        """Whether the formula holds if the trace ends in the state, bool (Q,)."""
        return np.asarray(self.verdicts >= PRESUMABLY_YES)

    def letter(self, events: Iterable[str]) -> int:
        """The letter of a step with ``events``, no clock being over."""
        present = set(events)
        return sum(1 << bit for bit, name in enumerate(self.atoms) if name in present)


class _Marks(Clock):
    # Obligations are marked OLD or NEW instead of with their time; bit k of ``late`` says that clock k is over.
    def __init__(self, clocks: dict[int, int]) -> None:
        self.now, self.late, self.clocks = NEW, 0, clocks

    def over(self, node: int, since: int, within: Interval) -> bool:
        return since == OLD and bool(self.late >> self.clocks[node] & 1)

    def begun(self, since: int, within: Interval) -> bool:
        return True


def automaton(formula: Formula) -> Automaton:
    """The smallest automaton of ``formula``; with clocks, a small one.

    Raises:
        LimitError: more than MAX_ATOMS events, MAX_BITS events and clocks, or MAX_STATES states.
        FragmentError: the future inside the past, an interval that does not begin at 0, or a deadline that has to be
            kept for several moments at once.
    """
    pool = Pool()
    root = pool.add(formula)
    check_past(pool, root)
    used = pool.under(root)
    events = tuple(pool.atoms[number] for number in sorted({pool.nodes[one].atom for one in used} - {-1}))
    if len(events) > MAX_ATOMS:
        raise LimitError("different events in the formula", len(events), MAX_ATOMS, SIMPLER)
    return _Builder(pool, root, used, events).build()


def check_past(pool: Pool, root: int) -> None:
    """Raise FragmentError where the future stands inside the past: it is not known yet when it would be needed."""
    for number in pool.under(root):
        if pool.nodes[number].op in PAST and pool.has(number, FUTURE):
            raise FragmentError(pool.text(number), "an operator of the past may not hold one of the future")


class _Builder:
    def __init__(self, pool: Pool, root: int, used: list[int], events: tuple[str, ...]) -> None:
        self.pool, self.root, self.events = pool, root, events
        self.settled = [number for number in used if not pool.has(number, FUTURE)]
        self.past = [number for number in self.settled if pool.nodes[number].op in PAST]
        self.clocks = {number: k for k, number in enumerate(n for n in used if pool.nodes[n].within is not None)}
        for number in self.clocks:
            within = pool.nodes[number].within
            if within is None or within.low or within.high is None:
                raise FragmentError(
                    pool.text(number),
                    "no automaton for an interval that does not begin at 0 and end; it is judged without one",
                )
        if len(events) + len(self.clocks) > MAX_BITS:
            what = "different events and intervals in the formula"
            raise LimitError(what, len(events) + len(self.clocks), MAX_BITS, SIMPLER)
        self.bit = {pool.atoms.index(name): bit for bit, name in enumerate(events)}
        self.marks = _Marks(self.clocks)
        self.progression = Progression(pool, self.marks)

    def build(self) -> Automaton:
        memory = sum(
            1 << k for k, n in enumerate(self.past) if self.pool.nodes[n].op in (Op.WEAK_YESTERDAY, Op.TRIGGER)
        )
        first = memory, self.progression.start(self.root, strong=not self._empty())
        numbers, order = {first: 0}, [first]
        letters, late = 1 << (len(self.events) + len(self.clocks)), 1 << len(self.clocks)
        table, resets, lapses = [], [], []
        done = 0
        while done < len(order):
            memory, state = order[done]
            made = [self._step(memory, state, letter) for letter in range(letters)]
            lapsed = [self._lapse(memory, state, bits) for bits in range(late)]
            for found in (*(one for one, _ in made), *lapsed):
                if found not in numbers:
                    numbers[found] = len(order)
                    order.append(found)
            if len(order) > MAX_STATES:
                raise LimitError("states of the automaton", len(order), MAX_STATES, SIMPLER)
            table.append([numbers[one] for one, _ in made])
            resets.append([reset for _, reset in made])
            lapses.append([numbers[one] for one in lapsed])
            done += 1
        ends = np.array([ends_well(state) for _, state in order])
        limits = tuple(self.pool.nodes[n].within.high for n in self.clocks)  # type: ignore[union-attr]
        return _smallest(self.events, limits, np.array(table), np.array(resets), np.array(lapses), ends)  # type: ignore[arg-type]

    def _empty(self) -> bool:
        # Before the first step the formula stands as for a trace of nothing: what needs an event or a step fails.
        values: dict[int, bool] = {}
        for number in self.pool.under(self.root):
            node = self.pool.nodes[number]
            parts = [values[part] for part in node.parts]
            if node.op in (Op.AND, Op.OR):
                values[number] = all(parts) if node.op is Op.AND else any(parts)
            else:
                values[number] = node.op in (
                    Op.TRUE,
                    Op.ABSENT,
                    Op.WEAK_NEXT,
                    Op.RELEASE,
                    Op.WEAK_YESTERDAY,
                    Op.TRIGGER,
                )
        return values[self.root]

    def _step(self, memory: int, state: State, letter: int) -> tuple[tuple[int, State], int]:
        self.marks.late = letter >> len(self.events)
        values, resets = self._values(memory, letter)
        after = self.progression.step(state, values.__getitem__)
        if after in (TRUE, FALSE):
            return (0, after), 0
        kept = 0
        for k, number in enumerate(self.past):
            node = self.pool.nodes[number]
            yesterday = node.op in (Op.YESTERDAY, Op.WEAK_YESTERDAY)
            kept |= values[node.parts[0] if yesterday else number] << k
        after, set_now = self._marked(after)
        return (kept, after), resets | set_now

    def _values(self, memory: int, letter: int) -> tuple[dict[int, bool], int]:
        """What holds now of all that does not look ahead, and the clocks of past operators to set."""
        values: dict[int, bool] = {}
        resets, place = 0, 0
        for number in self.settled:
            node = self.pool.nodes[number]
            if node.op in PAST:
                before = bool(memory >> place & 1)
                place += 1
                clock = self.clocks.get(number)
                late = clock is not None and bool(self.marks.late >> clock & 1)
                values[number] = self._past(node.op, [values[part] for part in node.parts], before, late)
                if clock is not None and values[node.parts[1]] == (node.op is Op.SINCE):
                    resets |= 1 << clock
            elif node.atom >= 0:
                values[number] = bool(letter >> self.bit[node.atom] & 1) == (node.op is Op.PRESENT)
            else:
                parts = [values[part] for part in node.parts]
                values[number] = all(parts) if node.op in (Op.AND, Op.TRUE) else any(parts)
        return values, resets

    @staticmethod
    def _past(op: Op, parts: list[bool], before: bool, late: bool) -> bool:
        if op in (Op.YESTERDAY, Op.WEAK_YESTERDAY):
            return before
        if op is Op.SINCE:
            return parts[1] or (parts[0] and before and not late)
        return parts[1] and (parts[0] or before or late)

    def _marked(self, state: State) -> tuple[State, int]:
        found = {(one.node, one.since) for alternative in state for one in alternative if one.since is not None}
        resets = 0
        for number, since in found:
            if (number, OLD + NEW - since) in found:
                problem = "this deadline has to be kept for several moments at once, which a table cannot do"
                raise FragmentError(self.pool.text(number), problem)
            resets |= (since == NEW) << self.clocks[number]
        if resets:
            state = frozenset(
                frozenset(one if one.since is None else Obligation(one.node, one.strong, OLD) for one in alternative)
                for alternative in state
            )
        return state, resets

    def _lapse(self, memory: int, state: State, bits: int) -> tuple[int, State]:
        self.marks.late = bits
        after = self.progression.lapse(state)
        return (0 if after in (TRUE, FALSE) else memory), after


def _smallest(
    events: tuple[str, ...], limits: tuple[int, ...], table: Any, resets: Any, lapses: Any, ends: Any
) -> Automaton:
    # Moore's refinement: states stay together while they end alike, set the same clocks and go to the same classes.
    classes = np.unique(np.column_stack([ends, resets]), axis=0, return_inverse=True)[1].ravel()
    while True:
        signature = np.column_stack([classes, classes[table], classes[lapses]])
        finer = np.unique(signature, axis=0, return_inverse=True)[1].ravel()
        if finer.max() == classes.max():
            break
        classes = finer
    # Numbered in the order in which they are met from the start.
    order, numbers, at = [0], {int(classes[0]): 0}, 0
    while at < len(order):
        for other in (*table[order[at]].tolist(), *lapses[order[at]].tolist()):
            if int(classes[other]) not in numbers:
                numbers[int(classes[other])] = len(order)
                order.append(other)
        at += 1
    renamed = np.zeros(int(classes.max()) + 1, np.uint16)
    renamed[list(numbers)] = list(numbers.values())
    table, lapses, resets, ends = (
        renamed[classes[table[order]]],
        renamed[classes[lapses[order]]],
        resets[order],
        ends[order],
    )
    can_hold, can_fail = _can_reach(ends, table, lapses), _can_reach(~ends, table, lapses)
    verdicts = np.where(~can_hold, NO, np.where(~can_fail, YES, np.where(ends, PRESUMABLY_YES, PRESUMABLY_NO)))
    return Automaton(events, limits, table, resets.astype(np.uint8), lapses, verdicts.astype(np.uint8), 0)


def _can_reach(goal: Any, table: Any, lapses: Any) -> Any:
    while True:
        wider = goal | goal[table].any(1) | goal[lapses].any(1)
        if np.array_equal(wider, goal):
            return goal
        goal = wider
