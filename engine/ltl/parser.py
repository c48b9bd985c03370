"""The text of a formula, read by recursive descent; an error shows its place with a caret and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aimds.ltl.formula import (
    LEFT,
    LEVELS,
    PLAIN_FIRST,
    PLAIN_REST,
    TIMED,
    UNARY,
    UNITS,
    Atom,
    Binary,
    Constant,
    Formula,
    FormulaError,
    Interval,
    Unary,
)

MAX_DEPTH: Final = 100
MAX_LENGTH: Final = 20_000
MAX_US: Final = 1 << 53
SYMBOLS: Final = ("<->", "->", "!", "&", "|", "(", ")", "[", "]", ",")
BINARY_WORDS: Final = frozenset(LEVELS[-1])
BEGINNING: Final = 'an event, "an event in quotes", true, false, (, ! or one of X N F G Y Z O H'
DIGITS: Final = frozenset("0123456789")
CAPITALS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: ``kind`` symbol, word, event, number or end."""

    kind: str
    value: str
    place: int


def parse(text: str) -> Formula:
    """The formula that ``text`` says.

    Raises:
        FormulaError: it is not a formula, is nested more than MAX_DEPTH deep, or longer than MAX_LENGTH characters.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(text[:80], 0, f"a formula of at most {MAX_LENGTH:,} characters, this one has {len(text):,}")
    reader = _Reader(text, tokens(text))
    formula = reader.binary(0)
    if reader.now.kind != "end":
        raise reader.error("the end, or one of & | -> <-> U R W M S T")
    return formula


def tokens(text: str) -> list[Token]:
    """The pieces of ``text``, and one of kind end.

    Raises:
        FormulaError: a character begins no piece, or a quote is not closed.
    """
    out: list[Token] = []
    place = 0
    while place < len(text):
        first = text[place]
        symbol = next((one for one in SYMBOLS if text.startswith(one, place)), "")
        if first.isspace():
            place += 1
            continue
        if symbol:
            kind, value, end = "symbol", symbol, place + len(symbol)
        elif first == '"':
            value, end = _quoted(text, place)
            kind = "event"
        elif first in DIGITS:
            end = _run(text, place, DIGITS)
            kind, value = "number", text[place:end]
        elif first in CAPITALS:
            end = _run(text, place, CAPITALS)
            kind, value = "word", text[place:end]
        elif first in PLAIN_FIRST:
            end = _run(text, place, PLAIN_REST)
            value = text[place:end]
            kind = "word" if value in ("true", "false") else "event"
        else:
            raise FormulaError(text, place, f"{BEGINNING}; no formula holds {first!r}")
        out.append(Token(kind, value, place))
        place = end
    return [*out, Token("end", "", len(text))]


def _run(text: str, place: int, accepted: frozenset[str]) -> int:
    while place < len(text) and text[place] in accepted:
        place += 1
    return place


def _quoted(text: str, place: int) -> tuple[str, int]:
    out, at = [], place + 1
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        out.append(text[at : at + 1])
        at += 1
    if at >= len(text):
        raise FormulaError(text, place, 'a closing " for this one')
    if not out:
        raise FormulaError(text, place, "the name of an event between the quotes")
    return "".join(out), at + 1


class _Reader:
    def __init__(self, text: str, found: list[Token]) -> None:
        self.text, self.found, self.at, self.depth = text, found, 0, 0

    @property
    def now(self) -> Token:
        return self.found[self.at]

    def error(self, expected: str) -> FormulaError:
        return FormulaError(self.text, self.now.place, f"expected {expected}")

    def take(self, value: str) -> bool:
        if self.now.kind in ("symbol", "word") and self.now.value == value:
            self.at += 1
            return True
        return False

    def need(self, value: str) -> None:
        if not self.take(value):
            raise self.error(value)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"a formula nested at most {MAX_DEPTH} deep")

    def binary(self, level: int) -> Formula:
        if level == len(LEVELS):
            return self.unary()
        before = self.depth
        left = self.binary(level + 1)
        while self.now.kind in ("symbol", "word") and self.now.value in LEVELS[level]:
            # A chain is as deep as it is long, whichever way it groups.
            self.deeper()
            operator = self.now.value
            self.at += 1
            within = self.interval(operator)
            if operator in LEFT:
                left = Binary(operator, left, self.binary(level + 1), within)
            else:
                left = Binary(operator, left, self.binary(level), within)
        self.depth = before
        return left

    def unary(self) -> Formula:
        token = self.now
        if token.kind in ("symbol", "word") and token.value in UNARY:
            self.at += 1
            within = self.interval(token.value)
            self.deeper()
            operand = self.unary()
            self.depth -= 1
            return Unary(token.value, operand, within)
        if token.kind == "event":
            self.at += 1
            return Atom(token.value)
        if token.kind == "word" and token.value in ("true", "false"):
            self.at += 1
            return Constant(token.value == "true")
        if self.take("("):
            self.deeper()
            inner = self.binary(0)
            self.depth -= 1
            if not self.take(")"):
                raise self.error(f") for the ( in column {token.place + 1}, or one of & | -> <-> U R W M S T")
            return inner
        raise self.error(BEGINNING)

    def interval(self, operator: str) -> Interval | None:
        if not (self.now.kind == "symbol" and self.now.value == "["):
            return None
        if operator not in TIMED:
            raise self.error(f"no interval: {operator} takes none, only {' '.join(sorted(TIMED))} do")
        self.at += 1
        low = self.bound()
        self.need(",")
        place = self.now.place
        if self.now.kind == "event" and self.now.value == "inf":
            self.at += 1
            high = None
        else:
            high = self.bound()
        if high is not None and high < low:
            raise FormulaError(self.text, place, "expected an end of the interval that is not before its beginning")
        self.need("]")
        return Interval(low, high)

    def bound(self) -> int:
        token = self.now
        if token.kind != "number":
            raise self.error("a time, such as 0, 10ms or 5min")
        self.at += 1
        if self.now.kind == "event" and self.now.value in UNITS:
            unit = UNITS[self.now.value]
            self.at += 1
        elif token.value.strip("0"):
            raise self.error(f"a unit after {token.value}: {', '.join(UNITS)}")
        else:
            unit = 1
        # Long runs of digits are not turned into numbers at all.
        if len(token.value) > 18 or int(token.value) * unit > MAX_US:
            raise FormulaError(self.text, token.place, f"expected a time of at most {MAX_US:,} us")
        return int(token.value) * unit
