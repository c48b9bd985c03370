"""Certificates: why a trace breaks or keeps a formula, as plain data that `aimds.ltl.checker` can check alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from aimds.errors import AimdsError
from aimds.ltl.automaton import Automaton, automaton
from aimds.ltl.checker import CertificateError, Step, check, owed_by, trace_hash, truth
from aimds.ltl.core import FragmentError
from aimds.ltl.formula import Formula, atoms, is_timed
from aimds.ltl.monitor import Monitor

MAX_TRIES: Final = 300
"""Continuations that are tried to mend a prefix with an interval."""


def certificate(formula: Formula, trace: Sequence[Step], turns: Sequence[int] | None = None) -> dict[str, Any]:
    """What proves that ``formula`` fails or holds on ``trace``; ``turns`` are the numbers of its steps.

    A violation has: ``bad_prefix``, the number of steps after which nothing could mend it any more, one step less could
    (``escape`` are steps that do; None where none was found); ``open`` where only the end of the trace made it one;
    ``turns`` of the first and the last step of the prefix; ``obligation``, the smallest part that fails and where.
    Satisfaction has the automaton's moves and its run, or None for both where time decides.

    It has passed the checker.
    """
    numbers = list(turns) if turns is not None else list(range(len(trace)))
    made = _made(formula)
    head = {"formula": str(formula), "trace": trace_hash(trace), "steps": len(trace)}
    out: dict[str, Any]
    if truth(formula, trace, ended=True):
        moves, run = (None, None) if made is None or made.limits_us else _run(made, trace)
        out = {"kind": "satisfaction", **head, "automaton": moves, "run": run}
    else:
        end = _bad_prefix(formula, trace)
        is_open = end is None
        steps = len(trace) if end is None else end
        owed, at = owed_by(formula, trace, steps, is_open)[-1]
        out = {
            "kind": "violation",
            **head,
            "bad_prefix": steps,
            "open": is_open,
            "turns": [numbers[0], numbers[steps - 1]],
            "obligation": {"formula": owed, "step": at, "turn": numbers[at]},
            "escape": None if is_open else _escape(formula, made, trace[: steps - 1]),
        }
    check(out, trace, numbers)
    return out


def _made(formula: Formula) -> Automaton | None:
    try:
        return automaton(formula)
    except AimdsError:
        return None


def _bad_prefix(formula: Formula, trace: Sequence[Step]) -> int | None:
    """Steps of the shortest prefix that the definition alone proves to be bad."""
    try:
        monitor = Monitor(formula)
        for number, (time, events) in enumerate(trace, 1):
            if monitor.step(events, time) == "false":
                if truth(formula, trace[:number], ended=False) is False:
                    return number
                break
    except FragmentError:
        pass
    low, high = 0, len(trace)
    if truth(formula, trace, ended=False) is not False:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if truth(formula, trace[:middle], ended=False) is False else (middle, high)
    return high


def _escape(formula: Formula, made: Automaton | None, before: Sequence[Step]) -> list[list[Any]] | None:
    """Steps after ``before`` that make the formula hold, or None where none were found."""
    time = before[-1][0] if before else 0
    if made is not None and not is_timed(formula):
        state = made.start
        for _, events in before:
            state = int(made.table[state, made.letter(events)])
        letters = _shortest(made, state, 0 if before else 1)
        if letters is None:
            return None
        return [[time, [name for bit, name in enumerate(made.atoms) if letter >> bit & 1]] for letter in letters]
    names = atoms(formula)
    tries: list[list[frozenset[str]]] = [[]] if before else []
    letters_of = [frozenset(n for k, n in enumerate(names) if mask >> k & 1) for mask in range(1 << min(len(names), 8))]
    tries += [[one] for one in letters_of]
    for steps in tries[:MAX_TRIES]:
        if truth(formula, [*before, *((time, events) for events in steps)], ended=True):
            return [[time, sorted(events)] for events in steps]
    return None


def _shortest(made: Automaton, state: int, least: int) -> list[int] | None:
    if least == 0 and made.accepting[state]:
        return []
    came: dict[int, tuple[int, int]] = {}
    waiting = deque([state])
    while waiting:
        here = waiting.popleft()
        for letter, after in enumerate(made.table[here].tolist()):
            if after in came:
                continue
            came[after] = here, letter
            if made.accepting[after]:
                path, at = [letter], here
                while at != state:
                    at, letter = came[at]
                    path.append(letter)
                return path[::-1]
            waiting.append(after)
    return None


def _run(made: Automaton, trace: Sequence[Step]) -> tuple[dict[str, Any], list[int]]:
    run, moves = [made.start], {}
    for _, events in trace:
        letter = made.letter(events)
        after = int(made.table[run[-1], letter])
        moves[run[-1], letter] = after
        run.append(after)
    listed = [
        [state, [name for bit, name in enumerate(made.atoms) if letter >> bit & 1], after]
        for (state, letter), after in moves.items()
    ]
    return {"events": list(made.atoms), "start": made.start, "accepting": [run[-1]], "moves": listed}, run


__all__ = ["CertificateError", "certificate", "check"]
