"""Does every endless run of a system keep a formula? Nested depth-first search of system × Büchi automaton.

The automaton of the negation is made on the way: a state is a set of obligations, and a move is accepted when it does
not put off the until whose turn it is. Time does not count here, and X and N are the same, for runs do not end.

Source: Courcoubetis, Vardi, Wolper & Yannakakis 1992, doi:10.1007/BF00121128 (nested search).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from aimds.ltl.automaton import check_past
from aimds.ltl.core import FUTURE, PAST, FragmentError, LimitError, Op, Pool
from aimds.ltl.formula import Formula, is_timed
from aimds.ltl.traces import TraceError

MAX_STATES: Final = 200_000


@dataclass(frozen=True, slots=True)
class Kripke:
    """A system: ``names``, ``events`` and successors (``after``) of each state. It begins in state 0.

    Raises:
        TraceError: a state has no successor, or one that does not exist.
    """

    names: tuple[str, ...]
    events: tuple[frozenset[str], ...]
    after: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for name, after in zip(self.names, self.after, strict=True):
            if not after or not all(0 <= one < len(self.names) for one in after):
                raise TraceError(f"state {name!r} of the system leads to {after or 'nothing'}")


@dataclass(frozen=True, slots=True)
class Lasso:
    """A run that breaks the formula: states of ``stem`` once, then those of ``loop`` for ever."""

    stem: tuple[int, ...]
    loop: tuple[int, ...]


class _Place(NamedTuple):
    system: int
    memory: tuple[bool, ...]
    owed: frozenset[int]
    turn: int
    accepting: bool


Choice = frozenset[tuple[int, bool]]
"""Nodes that must hold from the next state on, each with whether it was put off."""


def counterexample(formula: Formula, system: Kripke) -> Lasso | None:
    """A run of ``system`` that breaks ``formula``, or None where there is none.

    Raises:
        FragmentError: the formula has an interval, or the future inside the past.
        LimitError: more than MAX_STATES states would have to be visited.
    """
    if is_timed(formula):
        raise FragmentError(str(formula), "runs of a system have no times, so no interval can be judged")
    return _Search(formula, system).run()


class _Search:
    def __init__(self, formula: Formula, system: Kripke) -> None:
        self.system, self.pool = system, Pool()
        self.root = self.pool.add(formula, positive=False)
        check_past(self.pool, self.root)
        used = self.pool.under(self.root)
        self.settled = [n for n in used if not self.pool.has(n, FUTURE)]
        self.past = [n for n in self.settled if self.pool.nodes[n].op in PAST]
        self.untils = [n for n in used if self.pool.nodes[n].op is Op.UNTIL]
        self.known: dict[_Place, list[_Place]] = {}

    def run(self) -> Lasso | None:
        memory = tuple(self.pool.nodes[n].op in (Op.WEAK_YESTERDAY, Op.TRIGGER) for n in self.past)
        first = _Place(0, memory, frozenset((self.root,)), 0, False)
        entered, inner = {first}, set[_Place]()
        path = [(first, iter(self.moves(first)))]
        while path:
            place, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                loop = self.loop(place, inner) if place.accepting else None
                if loop is not None:
                    return Lasso(tuple(one.system for one, _ in path), tuple(one.system for one in loop))
            elif following not in entered:
                entered.add(following)
                path.append((following, iter(self.moves(following))))
        return None

    def loop(self, seed: _Place, inner: set[_Place]) -> list[_Place] | None:
        path = [(seed, iter(self.moves(seed)))]
        while path:
            following = next(path[-1][1], None)
            if following is None:
                path.pop()
            elif following == seed:
                return [place for place, _ in path]
            elif following not in inner:
                inner.add(following)
                path.append((following, iter(self.moves(following))))
        return None

    def moves(self, place: _Place) -> list[_Place]:
        if place not in self.known:
            if len(self.known) >= MAX_STATES:
                raise LimitError("states of system and formula", len(self.known) + 1, MAX_STATES, "make either smaller")
            self.known[place] = list(self._moves(place))
        return self.known[place]

    def _moves(self, place: _Place) -> Iterator[_Place]:
        values = self._values(place)
        memory = tuple(
            values[self.pool.nodes[n].parts[0] if self.pool.nodes[n].op in (Op.YESTERDAY, Op.WEAK_YESTERDAY) else n]
            for n in self.past
        )
        choices = [frozenset[tuple[int, bool]]()]
        for node in sorted(place.owed):
            choices = _joined(choices, self._choices(node, values))
        for choice in choices:
            put_off = {node for node, late in choice if late}
            turn = place.turn
            while turn < len(self.untils) and self.untils[turn] not in put_off:
                turn += 1
            accepting = turn == len(self.untils)
            owed = frozenset(node for node, _ in choice)
            for after in self.system.after[place.system]:
                yield _Place(after, memory, owed, 0 if accepting else turn, accepting)

    def _values(self, place: _Place) -> dict[int, bool]:
        values: dict[int, bool] = {}
        before = dict(zip(self.past, place.memory, strict=True))
        for number in self.settled:
            node = self.pool.nodes[number]
            parts = [values[part] for part in node.parts]
            match node.op:
                case Op.PRESENT | Op.ABSENT:
                    present = self.pool.atoms[node.atom] in self.system.events[place.system]
                    values[number] = present == (node.op is Op.PRESENT)
                case Op.YESTERDAY | Op.WEAK_YESTERDAY:
                    values[number] = before[number]
                case Op.SINCE:
                    values[number] = parts[1] or (parts[0] and before[number])
                case Op.TRIGGER:
                    values[number] = parts[1] and (parts[0] or before[number])
                case Op.AND | Op.TRUE:
                    values[number] = all(parts)
                case _:
                    values[number] = any(parts)
        return values

    def _choices(self, number: int, values: dict[int, bool]) -> list[Choice]:
        node = self.pool.nodes[number]
        if number in values:
            return [frozenset()] if values[number] else []
        if node.op in (Op.NEXT, Op.WEAK_NEXT):
            return [frozenset(((node.parts[0], False),))]
        parts = [self._choices(part, values) for part in node.parts]
        if node.op is Op.OR:
            return list(dict.fromkeys(choice for part in parts for choice in part))
        if node.op is Op.AND:
            out = parts[0]
            for part in parts[1:]:
                out = _joined(out, part)
            return out
        later: list[Choice] = [frozenset(((number, node.op is Op.UNTIL),))]
        if node.op is Op.UNTIL:
            return list(dict.fromkeys([*parts[1], *_joined(parts[0], later)]))
        return _joined(parts[1], [*parts[0], *later])


def _joined(one: list[Choice], other: list[Choice]) -> list[Choice]:
    return list(dict.fromkeys(a | b for a in one for b in other))
