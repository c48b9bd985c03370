"""Formulas in negation normal form, each different one kept once: what everything that evaluates them works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aimds.errors import AimdsError
from aimds.ltl.formula import Atom, Binary, Constant, Formula, Interval, Unary

MAX_NODES: Final = 2_000


class LimitError(AimdsError):
    """A formula asks for more than is given: names what, how much there is of it, and the limit."""

    def __init__(self, what: str, found: int, limit: int, advice: str) -> None:
        self.what, self.found, self.limit = what, found, limit
        super().__init__(f"{found:,} {what}, at most {limit:,} are possible; {advice}")


class FragmentError(AimdsError):
    """A formula is outside of what can be judged step by step; names the part of it."""

    def __init__(self, part: str, problem: str) -> None:
        self.part, self.problem = part, problem
        super().__init__(f"{part}: {problem}")


class Op(IntEnum):
    """What a node is. Negation stands only before events (ABSENT)."""

    TRUE = 0
    FALSE = 1
    PRESENT = 2
    ABSENT = 3
    AND = 4
    OR = 5
    NEXT = 6
    WEAK_NEXT = 7
    UNTIL = 8
    RELEASE = 9
    YESTERDAY = 10
    WEAK_YESTERDAY = 11
    SINCE = 12
    TRIGGER = 13


DUAL: Final = {op: Op(op ^ 1) for op in Op}
"""What an operator becomes under a negation."""
FUTURE: Final = frozenset({Op.NEXT, Op.WEAK_NEXT, Op.UNTIL, Op.RELEASE})
PAST: Final = frozenset({Op.YESTERDAY, Op.WEAK_YESTERDAY, Op.SINCE, Op.TRIGGER})
_UNARY: Final = {"X": Op.NEXT, "N": Op.WEAK_NEXT, "Y": Op.YESTERDAY, "Z": Op.WEAK_YESTERDAY}
_SHORT: Final = {"F": Op.UNTIL, "G": Op.RELEASE, "O": Op.SINCE, "H": Op.TRIGGER}
_BINARY: Final = {"&": Op.AND, "|": Op.OR, "U": Op.UNTIL, "R": Op.RELEASE, "S": Op.SINCE, "T": Op.TRIGGER}


@dataclass(frozen=True, slots=True)
class Node:
    """``parts`` are numbers of nodes with lower numbers: left and right, or all of an AND or OR; ``atom`` an event's
    number; ``within`` None where time does not matter."""

    op: Op
    parts: tuple[int, ...] = ()
    atom: int = -1
    within: Interval | None = None


class Pool:
    """All nodes of some formulas, parts before wholes, equal ones once. ``atoms`` are the events in order of number."""

    def __init__(self, atoms: Iterable[str] = ()) -> None:
        self.nodes: list[Node] = []
        self.atoms = list(atoms)
        self._numbers: dict[Node, int] = {}
        self._lowered: dict[tuple[Formula, bool], int] = {}
        self.true, self.false = self.node(Node(Op.TRUE)), self.node(Node(Op.FALSE))

    def node(self, node: Node) -> int:
        """The number of ``node``."""
        if node not in self._numbers:
            if len(self.nodes) >= MAX_NODES:
                raise LimitError("different parts in the formulas", len(self.nodes) + 1, MAX_NODES, "shorten them")
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[node]

    def add(self, formula: Formula, positive: bool = True) -> int:
        """The number of ``formula``, or of its negation.

        Raises:
            LimitError: the pool would hold more than MAX_NODES nodes.
        """
        key = formula, positive
        if key not in self._lowered:
            self._lowered[key] = self._lower(formula, positive)
        return self._lowered[key]

    def _lower(self, formula: Formula, positive: bool) -> int:
        if isinstance(formula, Constant):
            return self.true if formula.value == positive else self.false
        if isinstance(formula, Atom):
            if formula.name not in self.atoms:
                self.atoms.append(formula.name)
            return self.node(Node(Op.PRESENT if positive else Op.ABSENT, atom=self.atoms.index(formula.name)))
        if isinstance(formula, Unary):
            if formula.operator == "!":
                return self.add(formula.operand, not positive)
            part = self.add(formula.operand, positive)
            if formula.operator in _UNARY:
                op = _UNARY[formula.operator]
                return self.node(Node(op if positive else DUAL[op], (part,)))
            op = _SHORT[formula.operator]
            first = self.true if op in (Op.UNTIL, Op.SINCE) else self.false
            if not positive:
                op, first = DUAL[op], self.true if first == self.false else self.false
            return self._pair(op, first, part, formula.within)
        return self._binary(formula, positive)

    def _binary(self, formula: Binary, positive: bool) -> int:
        name, f, g = formula.operator, formula.left, formula.right
        if name == "->":
            return self.join(Op.OR if positive else Op.AND, (self.add(f, not positive), self.add(g, positive)))
        if name == "<->":
            both = self.join(Op.AND, (self.add(f), self.add(g, positive)))
            neither = self.join(Op.AND, (self.add(f, False), self.add(g, not positive)))
            return self.join(Op.OR, (both, neither))
        left, right = self.add(f, positive), self.add(g, positive)
        if name in ("W", "M"):
            # f W g is g R (f | g), and f M g is g U (f & g); their negations are each other.
            weak = (name == "W") == positive
            joined = self.join(Op.OR if weak else Op.AND, (left, right))
            return self.node(Node(Op.RELEASE if weak else Op.UNTIL, (right, joined)))
        op = _BINARY[name] if positive else DUAL[_BINARY[name]]
        return self.join(op, (left, right)) if op in (Op.AND, Op.OR) else self._pair(op, left, right, formula.within)

    def _pair(self, op: Op, left: int, right: int, within: Interval | None) -> int:
        if within is not None and within.low == 0 and within.high is None:
            within = None
        return self.node(Node(op, (left, right), within=within))

    def join(self, op: Op, parts: Iterable[int]) -> int:
        """All (AND) or any (OR) of ``parts``, without repeats and constants."""
        neutral, final = (self.true, self.false) if op is Op.AND else (self.false, self.true)
        flat: set[int] = set()
        for part in parts:
            flat.update(self.nodes[part].parts if self.nodes[part].op is op else (part,))
        flat.discard(neutral)
        if final in flat:
            return final
        events = {(node.op, node.atom) for node in map(self.nodes.__getitem__, flat) if node.atom >= 0}
        if any((Op.ABSENT, atom) in events for kind, atom in events if kind is Op.PRESENT):
            return final
        if len(flat) < 2:
            return flat.pop() if flat else neutral
        return self.node(Node(op, tuple(sorted(flat))))

    def under(self, *roots: int) -> list[int]:
        """The numbers of ``roots`` and of all that they are made of, rising."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting.extend(self.nodes[number].parts)
        return sorted(found)

    def has(self, number: int, ops: frozenset[Op]) -> bool:
        """Whether one of ``ops`` stands in the node."""
        return any(self.nodes[part].op in ops for part in self.under(number))

    def mixed(self, root: int) -> bool:
        """Whether the future stands inside the past somewhere in the node."""
        return any(self.nodes[part].op in PAST and self.has(part, FUTURE) for part in self.under(root))

    def text(self, number: int) -> str:
        """The node as a formula."""
        return str(self.formula(number))

    def formula(self, number: int) -> Formula:
        """The node as a formula; F, G, O and H where they fit."""
        node = self.nodes[number]
        if node.op in (Op.TRUE, Op.FALSE):
            return Constant(node.op is Op.TRUE)
        if node.atom >= 0:
            atom = Atom(self.atoms[node.atom])
            return atom if node.op is Op.PRESENT else Unary("!", atom)
        inner = [self.formula(part) for part in node.parts]
        if node.op in _UNARY.values():
            return Unary(next(name for name, op in _UNARY.items() if op is node.op), inner[0])
        if node.op in (Op.AND, Op.OR):
            out = inner[0]
            for part in inner[1:]:
                out = Binary("&" if node.op is Op.AND else "|", out, part)
            return out
        plain = self.true if node.op in (Op.UNTIL, Op.SINCE) else self.false
        if node.parts[0] == plain:
            return Unary(next(name for name, op in _SHORT.items() if op is node.op), inner[1], node.within)
        return Binary(next(name for name, op in _BINARY.items() if op is node.op), inner[0], inner[1], node.within)
