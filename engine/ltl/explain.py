"""A violation in words: what was owed since which turn, and where it was broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aimds.ltl.checker import Step, owed_by
from aimds.ltl.formula import UNITS
from aimds.ltl.parser import parse

NOTHING: Final = "no event"


def explain(name: str, says: str, proof: Mapping[str, Any], trace: Sequence[Step], turns: Sequence[int]) -> list[str]:
    """Sentences about the violation that the certificate ``proof`` proves, with the turns of the session."""
    owed, end = proof["obligation"], proof["bad_prefix"] - 1
    begin = owed["step"]
    lines = [f"{name} is broken at turn {turns[end]}. {says}"]
    chain = owed_by(parse(proof["formula"]), trace, proof["bad_prefix"], proof["open"])
    causes = [step for part, step in chain if getattr(parse(part), "operator", "") == "->" and step < begin]
    if causes:
        lines.append(f"Turn {turns[causes[-1]]} ({_events(trace[causes[-1]])}) is what it begins with.")
    if owed["formula"] != proof["formula"]:
        lines.append(f"Turn {turns[begin]} ({_events(trace[begin])}) has to keep: {owed['formula']}.")
    else:
        lines.append(f"From turn {turns[begin]} on: {owed['formula']}.")
    if proof["open"]:
        lines.append(f"The session ended at turn {turns[end]} while this was still owed.")
    elif end == begin:
        lines.append("It does not, and nothing that follows can mend it.")
    else:
        after = _apart(trace[end][0] - trace[begin][0])
        lines.append(f"With turn {turns[end]} ({_events(trace[end])}), {after} later, nothing can mend it any more.")
    if proof["escape"]:
        steps = ", then ".join(" and ".join(events) or "a turn without these events" for _, events in proof["escape"])
        lines.append(f"In place of turn {turns[end]} this would have kept it: {steps}.")
    elif proof["escape"] == []:
        lines.append(f"Without turn {turns[end]} it would have been kept.")
    return lines


def _events(step: Step) -> str:
    return ", ".join(sorted(step[1])) or NOTHING


def _apart(us: int) -> str:
    unit = next((one for one in ("h", "min", "s", "ms") if us >= UNITS[one]), "us")
    return f"{us / UNITS[unit]:.4g} {unit}"
