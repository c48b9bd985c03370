"""Traces as text, one line each: steps parted by ";", a step is its events and, after "@", its time."""

from __future__ import annotations

from typing import Final

from aimds.ltl.formula import UNITS, duration, plain
from aimds.ltl.traces import TraceError

Steps = list[tuple[int, frozenset[str]]]

APART_US: Final = UNITS["s"]
"""A step without a time comes so long after the one before."""
NOTHING: Final = "-"


def read_steps(text: str) -> Steps:
    """Time in microseconds and events of each step in ``text``.

    Raises:
        TraceError: a step is empty, an event's name cannot stand without quotes, or a time is none.
    """
    out: Steps = []
    for number, part in enumerate(text.split(";")):
        words = part.split()
        moment = out[-1][0] + APART_US if out else 0
        if words and words[-1].startswith("@"):
            moment = _time(words.pop()[1:], number)
        if not words:
            raise TraceError(f"step {number} of {text!r} is empty; a step without events is written {NOTHING}")
        events = [word for word in words if word != NOTHING]
        for name in events:
            if not plain(name):
                raise TraceError(f"step {number} of {text!r} has {name!r}, which is not the name of an event")
        out.append((moment, frozenset(events)))
    return out


def write_steps(steps: Steps) -> str:
    """``steps`` as the text that `read_steps` reads."""
    return "; ".join(f"{' '.join(sorted(events)) or NOTHING} @{duration(time)}" for time, events in steps)


def _time(text: str, number: int) -> int:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :]
    if digits.isascii() and digits.isdigit() and len(digits) <= 15 and (unit in UNITS or not digits.strip("0")):
        return int(digits) * UNITS.get(unit, 1)
    raise TraceError(f"step {number} has the time {text!r}, expected a number and one of {', '.join(UNITS)}")
