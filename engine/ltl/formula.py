"""Formulas: LTL on finite traces with past, and intervals of time. Printing one and parsing it gives it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from aimds.errors import AimdsError

UNITS: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
"""Microseconds a unit."""
FUTURE_UNARY: Final = ("X", "N", "F", "G")
PAST_UNARY: Final = ("Y", "Z", "O", "H")
UNARY: Final = ("!", *FUTURE_UNARY, *PAST_UNARY)
FUTURE_BINARY: Final = ("U", "R", "W", "M")
PAST_BINARY: Final = ("S", "T")
LEVELS: Final = (("<->",), ("->",), ("|",), ("&",), (*FUTURE_BINARY, *PAST_BINARY))
"""Binary operators from the loosest to the tightest; unary ones bind tighter than all of them."""
LEFT: Final = frozenset({"|", "&", "<->"})
"""Operators that group to the left; the others group to the right."""
TIMED: Final = frozenset({"F", "G", "O", "H", "U", "R", "S", "T"})
"""Operators that may carry an interval."""
WORDS: Final = frozenset({"true", "false", *UNARY, *FUTURE_BINARY, *PAST_BINARY})
LEVEL: Final = {name: level for level, names in enumerate(LEVELS) for name in names}
PLAIN_FIRST: Final = frozenset("abcdefghijklmnopqrstuvwxyz_")
PLAIN_REST: Final = PLAIN_FIRST | frozenset("0123456789.")


class FormulaError(AimdsError):
    """A formula cannot be read: the place in ``text`` where it breaks, and what was expected there."""

    def __init__(self, text: str, place: int, expected: str) -> None:
        self.text, self.place, self.expected = text, place, expected
        begin = text.rfind("\n", 0, place) + 1
        line = text[begin:].partition("\n")[0]
        self.shown = f"{line}\n{' ' * (place - begin)}^"
        super().__init__(f"column {place - begin + 1}: {expected}\n{self.shown}")


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high`` microseconds away, both inclusive; ``high`` None is without end."""

    low: int
    high: int | None

    def __str__(self) -> str:
        return f"[{duration(self.low)},{'inf' if self.high is None else duration(self.high)}]"


@dataclass(frozen=True, slots=True)
class Constant:
    """True or false."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class Atom:
    """The event ``name`` is in the step."""

    name: str

    def __str__(self) -> str:
        return self.name if plain(self.name) else quoted(self.name)


@dataclass(frozen=True, slots=True)
class Unary:
    """One of UNARY before ``operand``."""

    operator: str
    operand: Formula
    within: Interval | None = None

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, Binary) else str(self.operand)
        gap = "" if self.operator == "!" else " "
        return f"{self.operator}{'' if self.within is None else self.within}{gap}{inner}"


@dataclass(frozen=True, slots=True)
class Binary:
    """``left`` and ``right`` joined by an operator of LEVELS."""

    operator: str
    left: Formula
    right: Formula
    within: Interval | None = None

    def __str__(self) -> str:
        left, right = self._side(self.left, True), self._side(self.right, False)
        return f"{left} {self.operator}{'' if self.within is None else self.within} {right}"

    def _side(self, part: Formula, is_left: bool) -> str:
        if not isinstance(part, Binary):
            return str(part)
        mine, other = LEVEL[self.operator], LEVEL[part.operator]
        inside = other > mine or (other == mine and (self.operator in LEFT) == is_left)
        return str(part) if inside else f"({part})"


Formula: TypeAlias = Constant | Atom | Unary | Binary


def duration(us: int) -> str:
    """``us`` microseconds in the largest unit that divides them."""
    if us == 0:
        return "0"
    unit = next(name for name in reversed(UNITS) if us % UNITS[name] == 0)
    return f"{us // UNITS[unit]}{unit}"


def plain(name: str) -> bool:
    """Whether the event ``name`` can stand in a formula without quotes."""
    return bool(name) and name[0] in PLAIN_FIRST and set(name) <= PLAIN_REST and name not in WORDS


def quoted(name: str) -> str:
    """``name`` in quotes, with a backslash before quotes and backslashes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parts(formula: Formula) -> tuple[Formula, ...]:
    """The formulas that ``formula`` is directly made of."""
    if isinstance(formula, Unary):
        return (formula.operand,)
    return (formula.left, formula.right) if isinstance(formula, Binary) else ()


def walk(formula: Formula) -> Iterator[Formula]:
    """``formula`` and everything in it, each before its parts, from left to right."""
    waiting = [formula]
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(reversed(parts(found)))


def atoms(formula: Formula) -> tuple[str, ...]:
    """Names of the events in ``formula``, in the order in which they first appear."""
    return tuple(dict.fromkeys(found.name for found in walk(formula) if isinstance(found, Atom)))


def is_timed(formula: Formula) -> bool:
    """Whether an interval stands in ``formula``."""
    return any(isinstance(found, Unary | Binary) and found.within is not None for found in walk(formula))
