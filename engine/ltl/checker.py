"""An independent check of certificates: the definition of each operator, with a third value where the trace goes on.

It shares the formulas and their parser with the rest of the package, and nothing that evaluates them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aimds.errors import AimdsError
from aimds.ltl.formula import Atom, Binary, Constant, Formula, Interval, Unary
from aimds.ltl.parser import parse

Step = tuple[int, frozenset[str]]
Truth = bool | None
"""None: not decided yet."""
Memory = dict[tuple[int, int], Truth]

KEYS: Final = {
    "violation": frozenset(
        {"kind", "formula", "trace", "steps", "turns", "bad_prefix", "open", "obligation", "escape"}
    ),
    "satisfaction": frozenset({"kind", "formula", "trace", "steps", "automaton", "run"}),
}


class CertificateError(AimdsError):
    """A certificate does not prove what it says: names the entry and the problem."""

    def __init__(self, entry: str, problem: str) -> None:
        self.entry, self.problem = entry, problem
        super().__init__(f"certificate, {entry}: {problem}")


def trace_hash(trace: Sequence[Step]) -> str:
    """SHA-256 of times and sorted events of every step, length before each, so that no two traces read alike."""
    digest = hashlib.sha256(len(trace).to_bytes(8, "little"))
    for time, events in trace:
        digest.update(time.to_bytes(8, "little", signed=True) + len(events).to_bytes(8, "little"))
        for name in sorted(events):
            encoded = name.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def truth(
    formula: Formula, trace: Sequence[Step], *, ended: bool, start: int = 0, memory: Memory | None = None
) -> Truth:
    """Whether ``formula`` holds at step ``start`` of ``trace``; None if it has not ``ended`` and what follows decides.

    False and true are certain whatever follows; None is said more often than it must be. ``memory`` keeps what was
    found for parts of a formula, from one call to the next on the same trace.
    """
    memory = {} if memory is None else memory
    n = len(trace)

    def at(f: Formula, i: int) -> Truth:
        key = id(f), i
        if key not in memory:
            memory[key] = judged(f, i)
        return memory[key]

    def judged(f: Formula, i: int) -> Truth:
        if isinstance(f, Constant):
            return f.value
        if isinstance(f, Atom):
            return f.name in trace[i][1]
        if isinstance(f, Unary):
            return unary(f, i)
        left, right = f.left, f.right
        match f.operator:
            case "&":
                return both(at(left, i), at(right, i))
            case "|":
                return no(both(no(at(left, i)), no(at(right, i))))
            case "->":
                return no(both(at(left, i), no(at(right, i))))
            case "<->":
                one, other = at(left, i), at(right, i)
                return None if one is None or other is None else one == other
            case "U":
                return until(lambda j: at(left, j), lambda j: at(right, j), i, f.within)
            case "R":
                return no(until(lambda j: no(at(left, j)), lambda j: no(at(right, j)), i, f.within))
            case "W":
                return no(until(lambda j: no(at(right, j)), lambda j: no(either(left, right, j)), i, None))
            case "M":
                return until(lambda j: at(right, j), lambda j: both(at(left, j), at(right, j)), i, None)
            case "S":
                return since(lambda j: at(left, j), lambda j: at(right, j), i, f.within)
        return no(since(lambda j: no(at(left, j)), lambda j: no(at(right, j)), i, f.within))

    def either(left: Formula, right: Formula, j: int) -> Truth:
        return no(both(no(at(left, j)), no(at(right, j))))

    def unary(f: Unary, i: int) -> Truth:
        inner = f.operand
        match f.operator:
            case "!":
                return no(at(inner, i))
            case "X" | "N":
                beyond = (f.operator == "N") if ended else None
                return at(inner, i + 1) if i + 1 < n else beyond
            case "Y" | "Z":
                return at(inner, i - 1) if i else f.operator == "Z"
            case "F":
                return until(lambda j: True, lambda j: at(inner, j), i, f.within)
            case "G":
                return no(until(lambda j: True, lambda j: no(at(inner, j)), i, f.within))
            case "O":
                return since(lambda j: True, lambda j: at(inner, j), i, f.within)
        return no(since(lambda j: True, lambda j: no(at(inner, j)), i, f.within))

    def until(left: Callable[[int], Truth], right: Callable[[int], Truth], i: int, within: Interval | None) -> Truth:
        so_far: Truth = True
        found: Truth = False
        for j in range(i, n):
            apart = trace[j][0] - trace[i][0]
            if within is not None and within.high is not None and apart > within.high:
                return found
            if within is None or apart >= within.low:
                found = no(both(no(found), no(both(so_far, right(j)))))
            if found is True:
                return True
            so_far = both(so_far, left(j))
            if so_far is False:
                return found
        # Steps to come are no earlier than the last one, so an interval that ends before it is over.
        return found if ended else None

    def since(left: Callable[[int], Truth], right: Callable[[int], Truth], i: int, within: Interval | None) -> Truth:
        so_far: Truth = True
        found: Truth = False
        for j in range(i, -1, -1):
            apart = trace[i][0] - trace[j][0]
            if within is not None and within.high is not None and apart > within.high:
                return found
            if within is None or apart >= within.low:
                found = no(both(no(found), no(both(so_far, right(j)))))
            so_far = both(so_far, left(j))
            if found is True or so_far is False:
                return found
        return found

    return at(formula, start) if n else None


def no(value: Truth) -> Truth:
    """Not ``value``."""
    return None if value is None else not value


def both(one: Truth, other: Truth) -> Truth:
    """``one`` and ``other``."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def check(certificate: Mapping[str, Any], trace: Sequence[Step], turns: Sequence[int] | None = None) -> None:
    """Raise unless ``certificate`` proves what it says of ``trace``.

    Raises:
        CertificateError: an entry is missing, is not what its name says, or does not follow from the trace.
    """
    kind = certificate.get("kind")
    if not isinstance(kind, str) or kind not in KEYS:
        raise CertificateError("kind", f"is {kind!r}, expected violation or satisfaction")
    if certificate.keys() != KEYS[kind]:
        raise CertificateError(
            "keys", f"are {', '.join(map(str, certificate))}, expected {', '.join(sorted(KEYS[kind]))}"
        )
    if certificate["trace"] != trace_hash(trace):
        raise CertificateError("trace", "is the hash of another trace")
    if type(certificate["steps"]) is not int or certificate["steps"] != len(trace):
        raise CertificateError("steps", f"is {certificate['steps']!r}, the trace has {len(trace)}")
    formula = _formula(certificate["formula"], "formula")
    holds = truth(formula, trace, ended=True)
    if holds is not (kind == "satisfaction"):
        raise CertificateError("kind", f"is {kind}, but the formula {'holds' if holds else 'fails'} on the trace")
    if kind == "satisfaction":
        _check_run(certificate["automaton"], certificate["run"], trace)
    else:
        _check_violation(certificate, formula, trace, list(turns) if turns is not None else list(range(len(trace))))


def _formula(text: Any, entry: str) -> Formula:
    try:
        return parse(text)
    except (AimdsError, TypeError) as error:
        raise CertificateError(entry, "is not a formula") from error


def _check_violation(certificate: Mapping[str, Any], formula: Formula, trace: Sequence[Step], turns: list[int]) -> None:
    end, is_open = certificate["bad_prefix"], certificate["open"]
    if type(end) is not int or not 1 <= end <= len(trace):
        raise CertificateError("bad_prefix", f"is {end!r}, expected 1 to {len(trace)}")
    if type(is_open) is not bool:
        raise CertificateError("open", f"is {is_open!r}, expected true or false")
    if certificate["turns"] != [turns[0], turns[end - 1]]:
        raise CertificateError("turns", f"are {certificate['turns']!r}, expected {[turns[0], turns[end - 1]]}")
    decided = truth(formula, trace[:end], ended=False) is False
    if is_open and (decided or end != len(trace)):
        raise CertificateError("open", "is true, but the violation is certain before the trace ends")
    if not is_open and not decided:
        raise CertificateError("bad_prefix", "is too short: what follows could still mend it")
    if not is_open and end > 1 and truth(formula, trace[: end - 1], ended=False) is False:
        raise CertificateError("bad_prefix", "is too long: a shorter one is bad already")
    _check_escape(certificate["escape"], formula, trace[: end - 1], is_open)
    obligation = certificate["obligation"]
    if not isinstance(obligation, Mapping) or obligation.keys() != {"formula", "step", "turn"}:
        raise CertificateError("obligation", "has other entries than formula, step and turn")
    step = obligation["step"]
    if type(step) is not int or not 0 <= step < end or obligation["turn"] != turns[step]:
        raise CertificateError("obligation", f"is at step {step!r}, turn {obligation['turn']!r}")
    owed = _formula(obligation["formula"], "obligation")
    if (str(owed), step) not in set(owed_by(formula, trace, end, is_open)):
        raise CertificateError("obligation", f"{owed} at step {step} is not what fails in the formula")


def _check_escape(escape: Any, formula: Formula, before: Sequence[Step], is_open: bool) -> None:
    if escape is None:
        return
    if is_open:
        raise CertificateError("escape", "belongs to a bad prefix only")
    steps: list[Step] = list(before)
    if not isinstance(escape, list):
        raise CertificateError("escape", "is no list of steps")
    for step in escape:
        good = isinstance(step, list) and len(step) == 2 and type(step[0]) is int and isinstance(step[1], list)
        if not good or not all(isinstance(name, str) for name in step[1]) or (steps and step[0] < steps[-1][0]):
            raise CertificateError("escape", "is no list of steps after the prefix")
        steps.append((step[0], frozenset(step[1])))
    if not steps or truth(formula, steps, ended=True) is not True:
        raise CertificateError("escape", "does not mend the prefix without its last step")


def owed_by(formula: Formula, trace: Sequence[Step], end: int, is_open: bool) -> list[tuple[str, int]]:
    """The parts of ``formula`` that fail, and the steps at which they do, from the whole to the smallest one.

    What fails in a conjunction is its first failing side, in a G its body at the first step where it fails, in an
    implication its right side; all else is not taken apart.
    """
    memory: Memory = {}
    prefix = trace[:end]

    def fails(part: Formula, at: int) -> bool:
        return truth(part, prefix, ended=is_open, start=at, memory=memory) is False

    out: list[tuple[str, int]] = []
    part: Formula | None = formula
    step = 0
    while part is not None:
        out.append((str(part), step))
        inside: Iterable[tuple[Formula, int]] = ()
        if isinstance(part, Unary) and part.operator == "G" and part.within is None:
            inside = [(part.operand, at) for at in range(step, end)]
        elif isinstance(part, Unary) and part.operator in ("X", "N") and step + 1 < end:
            inside = [(part.operand, step + 1)]
        elif isinstance(part, Binary) and part.operator == "&":
            inside = [(part.left, step), (part.right, step)]
        elif isinstance(part, Binary) and part.operator == "->":
            inside = [(part.right, step)]
        part, step = next(((one, at) for one, at in inside if fails(one, at)), (None, step))
    return out


def _check_run(automaton: Any, run: Any, trace: Sequence[Step]) -> None:
    if automaton is None and run is None:
        return
    if not isinstance(automaton, Mapping) or automaton.keys() != {"events", "start", "accepting", "moves"}:
        raise CertificateError("automaton", "has other entries than accepting, events, moves and start")
    events, moves = automaton["events"], automaton["moves"]
    if not isinstance(events, list) or not isinstance(moves, list) or not isinstance(run, list):
        raise CertificateError("automaton", "is no automaton with a run")
    table: dict[tuple[Any, frozenset[str]], Any] = {}
    for move in moves:
        if not isinstance(move, list) or len(move) != 3 or not isinstance(move[1], list):
            raise CertificateError("automaton", "has a move that is not [state, events, state]")
        key = move[0], frozenset(move[1])
        if key in table:
            raise CertificateError("automaton", f"has two moves from state {move[0]} with the same events")
        table[key] = move[2]
    if len(run) != len(trace) + 1 or any(type(state) is not int for state in run):
        raise CertificateError("run", f"has {len(run)} states for {len(trace)} steps")
    if type(automaton["start"]) is not int or run[0] != automaton["start"]:
        raise CertificateError("run", "does not begin in the start state")
    used = set()
    for number, (_, present) in enumerate(trace):
        key = run[number], present & frozenset(events)
        if key not in table or table[key] != run[number + 1]:
            raise CertificateError("run", f"makes a move at step {number} that the automaton does not have")
        used.add(key)
    if used != table.keys():
        raise CertificateError("automaton", "has a move that the run does not make")
    if automaton["accepting"] != [run[-1]]:
        raise CertificateError("run", "does not end in the accepting state")
