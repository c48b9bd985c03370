"""An independent check of counterexamples: the definition of each operator on a run that repeats its end for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aimds.ltl.formula import PAST_BINARY, PAST_UNARY, Atom, Binary, Constant, Formula, Unary, walk

Events = frozenset[str]


def holds(formula: Formula, stem: Sequence[Events], loop: Sequence[Events]) -> bool:
    """Whether ``formula`` without intervals holds on ``stem`` and then ``loop`` again and again.

    What the past says in the loop settles after as many rounds as there are operators of the past, so that the run is
    written out so often before it is read as a circle.
    """
    past = (*PAST_UNARY, *PAST_BINARY)
    rounds = 1 + sum(isinstance(one, Unary | Binary) and one.operator in past for one in walk(formula))
    run = [*stem, *(events for _ in range(rounds + 1) for events in loop)]
    back = len(run) - len(loop)
    memory: dict[tuple[int, int], bool] = {}

    def at(f: Formula, i: int) -> bool:
        if (id(f), i) not in memory:
            memory[id(f), i] = judged(f, i)
        return memory[id(f), i]

    def following(i: int) -> list[int]:
        # Every place that is still to come, each once, in order.
        return [*range(i, len(run)), *range(back, i)]

    def first(wanted: Callable[[int], bool], kept: Callable[[int], bool], places: Sequence[int]) -> bool:
        for j in places:
            if wanted(j):
                return True
            if not kept(j):
                return False
        return False

    def judged(f: Formula, i: int) -> bool:
        if isinstance(f, Constant):
            return f.value
        if isinstance(f, Atom):
            return f.name in run[i]
        before = range(i, -1, -1)
        if isinstance(f, Unary):
            g = f.operand
            match f.operator:
                case "!":
                    return not at(g, i)
                case "X" | "N":
                    return at(g, i + 1 if i + 1 < len(run) else back)
                case "Y" | "Z":
                    return at(g, i - 1) if i else f.operator == "Z"
                case "F":
                    return any(at(g, j) for j in following(i))
                case "G":
                    return all(at(g, j) for j in following(i))
                case "O":
                    return any(at(g, j) for j in before)
            return all(at(g, j) for j in before)
        left, right = f.left, f.right
        match f.operator:
            case "&":
                return at(left, i) and at(right, i)
            case "|":
                return at(left, i) or at(right, i)
            case "->":
                return at(right, i) or not at(left, i)
            case "<->":
                return at(left, i) is at(right, i)
            case "U":
                return first(lambda j: at(right, j), lambda j: at(left, j), following(i))
            case "W":
                until = first(lambda j: at(right, j), lambda j: at(left, j), following(i))
                return until or all(at(left, j) for j in following(i))
            case "M":
                return first(lambda j: at(left, j) and at(right, j), lambda j: at(right, j), following(i))
            case "R":
                return not first(lambda j: not at(right, j), lambda j: not at(left, j), following(i))
            case "S":
                return first(lambda j: at(right, j), lambda j: at(left, j), before)
        return not first(lambda j: not at(right, j), lambda j: not at(left, j), before)

    return at(formula, 0)
