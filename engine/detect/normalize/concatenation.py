"""Strings that a text assigns to names and adds up (``a = "ign"; b = "ore"; print(a + b)``), read as what they make.

The words of the code are no words of the text: only what is added up is given, so that later stages judge what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import re2

from aimds.detect.normalize.proposals import Proposal, Text

MAX_STRINGS = 1024
"""Assigned strings, and sums, that are looked at in one text."""

_QUOTED = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,31}"
_ASSIGNED = re2.compile(rf"({_NAME})[ \t]{{0,3}}\+?=[ \t]{{0,3}}({_QUOTED})".encode())
_SUM = re2.compile(rf"(?:{_NAME}|{_QUOTED})(?:\s{{0,3}}\+\s{{0,3}}(?:{_NAME}|{_QUOTED}))+".encode())
_TERM = re2.compile(rf"({_NAME})|({_QUOTED})".encode())
_BACKSLASH = 92
_BLANK = {ord("n"): 10, ord("r"): 10, ord("t"): 32}


def concatenation(source: Text, limit: int) -> Iterator[Proposal]:
    """The sums of at least two strings, each as one text; a name stands for what was last assigned to it before."""
    raw = source.values.tobytes()
    strings = [(match.end(), match.group(1), *match.span(2)) for match in islice(_ASSIGNED.finditer(raw), MAX_STRINGS)]
    known: dict[bytes, Text] = {}
    at = 0
    for found in islice(_SUM.finditer(raw), MAX_STRINGS):
        while at < len(strings) and strings[at][0] <= found.start():
            _, name, start, stop = strings[at]
            known[name] = content(source, start + 1, stop - 1)
            at += 1
        parts: list[Text] = []
        for term in _TERM.finditer(found.group()):
            if term.group(2) is not None:
                start, stop = term.span(2)
                parts.append(content(source, found.start() + start + 1, found.start() + stop - 1))
            elif term.group(1) in known:
                parts.append(known[term.group(1)])
            if sum(map(len, parts)) > limit:
                break
        if len(parts) > 1:
            whole = Text(
                np.concatenate([part.values for part in parts]),
                np.concatenate([part.starts for part in parts]),
                np.concatenate([part.ends for part in parts]),
            )
            yield Proposal("concatenation", whole.slice(0, limit), cut=len(whole) > limit)


def content(source: Text, start: int, stop: int) -> Text:
    """The string between the quotes without its backslashes; a line break or tab written as an escape is one."""
    text = source.slice(start, stop)
    if not (text.values == _BACKSLASH).any():
        return text
    values, places = [], []
    codes = iter(enumerate(text.values.tolist()))
    for place, code in codes:
        plain = code
        if code == _BACKSLASH:
            place, plain = next(codes, (place, code))
            plain = _BLANK.get(plain, plain)
        values.append(plain)
        places.append(place)
    at = np.array(places, np.int64)
    return text.take(np.array(values, np.uint8), at, at)
