"""Words without which a regular expression cannot match: read from its syntax, so that nobody writes them by hand.

Each expression becomes sets of literals of which a matching text holds at least one each. What the reader does not
understand asks for nothing, so a set is only ever too lax. The idea: R. Cox, Regular expression matching with a
trigram index, 2012, https://swtch.com/~rsc/regexp/regexp4.html.
"""

from __future__ import annotations

from itertools import product
from math import fsum

from aimds.detect.rules.letters import folds

EDGE = "\0"
"""At the start or end of a literal: no ASCII letter, digit or underscore may stand there (or, inside ``\\b``, must)."""
MOST_LITERALS = 160
"""Literals that a set may hold before the reader gives up joining alternatives."""
MOST_SETS = 6
"""Sets kept of one expression: those with the rarest literals."""
LEAST_BYTES = 3
"""Shorter literals stand in almost every text."""

Literals = frozenset[str]
_Node = tuple[Literals | None, list[Literals]]
"""What a piece matches, where that is a few literals, and else None; sets that a match of it must meet."""

_EMPTY: Literals = frozenset(("",))
_ANY: _Node = (None, [])
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 '_,:;!=<>/\"@#&~`")
_REPEATS = frozenset("?*+{")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_MOST_OF_A_CLASS = 6


class _Unread(Exception):
    """The expression uses syntax that the reader does not know."""


def required(regex: str) -> tuple[frozenset[str], ...]:
    """Sets of literals of which every match of ``regex`` holds one each, rarest first; none if nothing is certain.

    Args:
        regex: RE2 syntax, its letters as `aimds.detect.rules.letters.loose` takes them.
    """
    try:
        exact, sets = _Reader(regex).whole()
    except (_Unread, ValueError):
        return ()
    found = {s for s in _with(exact, sets) if _telling(s)}
    return tuple(dict.fromkeys(map(_kept, sorted(found, key=lambda s: (_frequency(s), sorted(s)))[:MOST_SETS])))


def _frequency(literals: Literals) -> float:
    # The same in whatever order a set gives them.
    return fsum(30.0 ** -len(literal) for literal in literals)


def _with(exact: Literals | None, sets: list[Literals]) -> list[Literals]:
    return sets if exact is None or "" in exact else [*sets, exact]


def _telling(literals: Literals) -> bool:
    # Whether every literal is long enough to say something.
    shortest = min(literals, key=len)
    return len(shortest) >= LEAST_BYTES or min(len(x.encode()) for x in literals) >= LEAST_BYTES


def _kept(literals: Literals) -> Literals:
    # The set without literals that hold another of it.
    kept: list[str] = []
    for literal in sorted(literals, key=len):
        if not any(map(literal.__contains__, kept)):
            kept.append(literal)
    return frozenset(kept)


class _Reader:
    """Recursive descent over one expression."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> _Node:
        node = self._alternation()
        if self._at < len(self._text):
            raise _Unread
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise _Unread
        self._at += 1
        return self._text[self._at - 1]

    def _alternation(self) -> _Node:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        if all(exact is not None for exact, _ in branches):
            union = frozenset().union(*(exact for exact, _ in branches if exact is not None))
            if len(union) <= MOST_LITERALS:
                return union, []
        # The rarest set of each branch together, then the next of each: a match meets them all.
        usable = [sorted((s for s in _with(e, sets) if _telling(s)), key=_frequency) for e, sets in branches]
        most = max(map(len, usable)) if all(usable) else 0
        joined = [frozenset().union(*(u[min(k, len(u) - 1)] for u in usable)) for k in range(most)]
        return None, [s for s in joined if len(s) <= 4 * MOST_LITERALS]

    def _sequence(self) -> _Node:
        run: Literals = _EMPTY
        sets: list[Literals] = []
        broken = False
        text = self._text
        while (c := self._peek()) and c not in "|)":
            if c in _PLAIN:
                # Up to a letter that is repeated: that one is a piece of its own.
                end = self._at + 1
                while text[end : end + 1] in _PLAIN:
                    end += 1
                if text[end : end + 1] in _REPEATS:
                    end -= 1
                if end > self._at:
                    letters = text[self._at : end]
                    run = frozenset([x + letters for x in run])
                    self._at = end
                    continue
            exact, inner = self._repeated(self._atom())
            sets += inner
            if exact is not None and len(run) * len(exact) <= MOST_LITERALS:
                run = exact if run is _EMPTY else frozenset(map("".join, product(run, exact)))
                continue
            broken = True
            sets = _with(run, sets)
            run = _EMPTY if exact is None else exact
        return (None, _with(run, sets)) if broken or sets else (run, [])

    def _repeated(self, node: _Node) -> _Node:
        c = self._peek()
        if not c or c not in _REPEATS:
            return node
        self._at += 1
        least = 1 if c == "+" else 0
        if c == "{":
            end = self._text.find("}", self._at)
            counts = self._text[self._at : end].split(",")
            if end < 0 or not counts[0].isdecimal():
                raise _Unread
            least, self._at = int(counts[0]), end + 1
        if self._peek() == "?":
            self._at += 1
        exact, sets = node
        if not least:
            return (exact | _EMPTY, []) if c == "?" and exact is not None else _ANY
        return None, _with(exact, sets)

    def _atom(self) -> _Node:
        c = self._take()
        if c == "(":
            return self._group()
        if c == "[":
            return self._class()
        if c == "\\":
            return self._escape()
        if c in "^$":
            return _EMPTY, []
        if c in _REPEATS:
            raise _Unread
        return _ANY if c == "." else _letter(c)

    def _group(self) -> _Node:
        if self._peek() == "?":
            self._at += 1
            flags = ""
            while (c := self._take()) not in ":)":
                if c not in "ms":
                    raise _Unread
                flags += c
            if c == ")":
                return _EMPTY, []
        node = self._alternation()
        if self._take() != ")":
            raise _Unread
        return node

    def _escape(self) -> _Node:
        c = self._take()
        if c in "bBAz":
            return _EMPTY, []
        if c in "wWsSdD":
            return _ANY
        if c in "pP":
            if self._take() == "{":
                self._at = self._text.index("}", self._at) + 1
            return _ANY
        return _letter(self._escaped(c))

    def _escaped(self, c: str) -> str:
        # The one character that an escape stands for.
        if c == "x":
            digits = self._take() + self._take()
            try:
                value = int(digits, 16)
            except ValueError:
                raise _Unread from None
            if not 0 < value < 128:
                raise _Unread
            return chr(value)
        if c.isalnum() and c not in _CONTROL:
            raise _Unread
        return _CONTROL.get(c, c)

    def _class(self) -> _Node:
        # A few single characters are literals; anything else may match what it likes.
        text, members, plain = self._text, set(), True
        if self._peek() == "^":
            plain = False
            self._at += 1
        first = True
        while (c := self._take()) != "]" or first:
            first = False
            if c == "[" and self._peek() == ":":
                self._at = text.index("]", self._at) + 1
                plain = False
            elif c == "\\":
                c = self._take()
                if c in "wWsSdDpP":
                    plain = False
                    if c in "pP" and self._peek() == "{":
                        self._at = text.index("}", self._at) + 1
                else:
                    members.add(self._escaped(c))
            elif c == "-" and self._peek() != "]" and members:
                plain = False
            else:
                members.add(c)
        if not plain or not members or len(members) > _MOST_OF_A_CLASS:
            return _ANY
        nodes = [_letter(c)[0] for c in members]
        if any(node is None for node in nodes):
            return _ANY
        return frozenset(members), []


def _letter(c: str) -> _Node:
    # A letter that folding changes stands in a text in one of two forms.
    if c.isascii():
        return frozenset((c,)), []
    return (frozenset((c,)), []) if not folds(c) else _ANY
