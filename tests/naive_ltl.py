"""The oracle of `aimds.ltl`: the semantics of every operator on one trace, written out as it stands in the definition.

A trace is a list of steps (time in microseconds, set of events). It shares no line with the implementation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from aimds.ltl.formula import Atom, Binary, Constant, Formula, Interval, Unary

Step = tuple[int, frozenset[str]]


def holds(formula: Formula, trace: Sequence[Step], i: int = 0) -> bool:
    """Whether ``formula`` holds at step ``i`` of ``trace``."""
    n = len(trace)
    if isinstance(formula, Constant):
        return formula.value
    if isinstance(formula, Atom):
        return formula.name in trace[i][1]
    if isinstance(formula, Unary):
        f = formula.operand
        later = [j for j in range(i, n) if near(trace, i, j, formula.within)]
        earlier = [j for j in range(i + 1) if near(trace, j, i, formula.within)]
        match formula.operator:
            case "!":
                return not holds(f, trace, i)
            case "X":
                return i + 1 < n and holds(f, trace, i + 1)
            case "N":
                return i + 1 == n or holds(f, trace, i + 1)
            case "Y":
                return i > 0 and holds(f, trace, i - 1)
            case "Z":
                return i == 0 or holds(f, trace, i - 1)
            case "F":
                return any(holds(f, trace, j) for j in later)
            case "G":
                return all(holds(f, trace, j) for j in later)
            case "O":
                return any(holds(f, trace, j) for j in earlier)
            case "H":
                return all(holds(f, trace, j) for j in earlier)
    assert isinstance(formula, Binary)
    f, g = formula.left, formula.right
    later = [j for j in range(i, n) if near(trace, i, j, formula.within)]
    earlier = [j for j in range(i + 1) if near(trace, j, i, formula.within)]
    match formula.operator:
        case "&":
            return holds(f, trace, i) and holds(g, trace, i)
        case "|":
            return holds(f, trace, i) or holds(g, trace, i)
        case "->":
            return not holds(f, trace, i) or holds(g, trace, i)
        case "<->":
            return holds(f, trace, i) == holds(g, trace, i)
        case "U":
            return any(holds(g, trace, j) and all(holds(f, trace, k) for k in range(i, j)) for j in later)
        case "R":
            return all(holds(g, trace, j) or any(holds(f, trace, k) for k in range(i, j)) for j in later)
        case "W":
            return holds(Binary("U", f, g), trace, i) or all(holds(f, trace, j) for j in range(i, n))
        case "M":
            return any(holds(f, trace, j) and all(holds(g, trace, k) for k in range(i, j + 1)) for j in range(i, n))
        case "S":
            return any(holds(g, trace, j) and all(holds(f, trace, k) for k in range(j + 1, i + 1)) for j in earlier)
        case "T":
            return all(holds(g, trace, j) or any(holds(f, trace, k) for k in range(j + 1, i + 1)) for j in earlier)
    raise AssertionError(formula.operator)


def near(trace: Sequence[Step], first: int, second: int, within: Interval | None) -> bool:
    if within is None:
        return True
    apart = trace[second][0] - trace[first][0]
    return within.low <= apart and (within.high is None or apart <= within.high)


NAMES = ("a", "b", "c", "d")


def random_formula(rng: random.Random, depth: int, *, names: Sequence[str] = NAMES, **kinds: Any) -> Formula:
    """A formula of at most ``depth`` levels. ``past``, ``timed``, ``mixed`` (future inside past), ``zero`` (every
    interval begins at 0) say what may stand in it."""
    if depth == 0 or rng.random() < 0.1:
        return Constant(rng.random() < 0.5) if rng.random() < 0.05 else Atom(rng.choice(list(names)))
    only_past = kinds.get("inside", False) and not kinds.get("mixed", False)
    boolean = ["!", "&", "|", "->", "<->"]
    future = [] if only_past else ["X", "N", "F", "G", "U", "R", "W", "M"]
    past = ["Y", "Z", "O", "H", "S", "T"] if kinds.get("past") else []
    operator = rng.choice(boolean + future * 2 + past)
    inner = dict(kinds) | ({"inside": True} if operator in past else {})
    within = None
    if kinds.get("timed") and operator in "FGOHURST" and rng.random() < 0.7:
        low = 0 if kinds.get("zero") else rng.choice([0, 0, 1, 2, 3])
        high = low + rng.choice([0, 1, 2, 4, 8])
        within = Interval(low, None if rng.random() < 0.15 and not kinds.get("zero") else high)
    first = random_formula(rng, depth - 1, names=names, **inner)
    if operator in ("!", "X", "N", "F", "G", "Y", "Z", "O", "H"):
        return Unary(operator, first, within)
    return Binary(operator, first, random_formula(rng, depth - 1, names=names, **inner), within)


def random_trace(rng: random.Random, longest: int, names: Sequence[str] = NAMES) -> list[Step]:
    """1 to ``longest`` steps; some at equal times."""
    time, steps = rng.randrange(3), []
    for _ in range(rng.randrange(1, longest + 1)):
        steps.append((time, frozenset(name for name in names if rng.random() < 0.4)))
        time += rng.choice([0, 1, 1, 2, 5])
    return steps
