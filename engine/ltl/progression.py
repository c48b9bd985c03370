"""One step of a formula: what must still hold afterwards, as a set of alternatives, each a set of obligations.

The alternatives are the prime implicants of a monotone function, so that equal ones look equal.

Source: Bacchus & Kabanza 1998, doi:10.1023/A:1009797122459 (progression of formulas with time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from aimds.ltl.core import LimitError, Op, Pool
from aimds.ltl.formula import Interval

MAX_ALTERNATIVES: Final = 512
SIMPLER: Final = "simplify the formula or split it into several policies"


class Obligation(NamedTuple):
    """Node ``node`` must hold from the next step on. ``strong``: there must be a next step. ``since`` is when an
    operator with an interval began to wait, None for all others."""

    node: int
    strong: bool
    since: int | None


Alternative = frozenset[Obligation]
State = frozenset[Alternative]

TRUE: Final[State] = frozenset((frozenset(),))
FALSE: Final[State] = frozenset()


class Clock:
    """Time as `Progression` sees it: one step is at ``now``, and obligations know when they began."""

    now: int = 0

    def over(self, node: int, since: int, within: Interval) -> bool:
        """Whether the interval of ``node`` that began at ``since`` has ended before this step."""
        return within.high is not None and self.now - since > within.high

    def begun(self, since: int, within: Interval) -> bool:
        """Whether this step, and with it every later one, is not before the interval."""
        return self.now - since >= within.low

    def earlier(self, one: int, other: int) -> bool:
        """Whether ``one`` is not after ``other``."""
        return one <= other


class Progression:
    """Steps of the formulas in ``pool``."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool, self.clock = pool, clock

    def start(self, root: int, *, strong: bool = True) -> State:
        """The state before the first step: node ``root`` must hold from there on."""
        return frozenset((frozenset((Obligation(root, strong, None),)),))

    def step(self, state: State, holds: Callable[[int], bool]) -> State:
        """``state`` after one step; ``holds`` says of events and of past operators (by node) whether they hold in it.

        Raises:
            LimitError: more than MAX_ALTERNATIVES alternatives remain.
        """
        known: dict[int, State] = {}
        out: list[State] = []
        for alternative in state:
            rest = TRUE
            for node, _, since in sorted(alternative, key=lambda one: (one.node, one.since or 0)):
                one = self._node(node, holds, known) if since is None else self._pair(node, since, holds, known)
                rest = self.all((rest, one))
                if not rest:
                    break
            out.append(rest)
        return self._normal(self.any(out))

    def lapse(self, state: State) -> State:
        """``state`` once the clock stands at its ``now`` without a step: what had to come by then has failed."""
        out: list[Alternative] = []
        for alternative in state:
            left, failed = set(alternative), False
            for one in alternative:
                within = self.pool.nodes[one.node].within if one.since is not None else None
                if within is not None and one.since is not None and self.clock.over(one.node, one.since, within):
                    failed = failed or self.pool.nodes[one.node].op is Op.UNTIL
                    left.discard(one)
            if not failed:
                out.append(frozenset(left))
        return self.alternatives(out)

    def _node(self, number: int, holds: Callable[[int], bool], known: dict[int, State]) -> State:
        if number not in known:
            known[number] = self._fresh(number, holds, known)
        return known[number]

    def _fresh(self, number: int, holds: Callable[[int], bool], known: dict[int, State]) -> State:
        node = self.pool.nodes[number]
        match node.op:
            case Op.TRUE | Op.FALSE:
                return TRUE if node.op is Op.TRUE else FALSE
            case Op.AND:
                return self.all(self._node(part, holds, known) for part in node.parts)
            case Op.OR:
                return self.any([self._node(part, holds, known) for part in node.parts])
            case Op.NEXT:
                return frozenset((frozenset((Obligation(node.parts[0], True, None),)),))
            case Op.WEAK_NEXT if node.parts[0] == self.pool.true:
                return TRUE
            case Op.WEAK_NEXT:
                return frozenset((frozenset((Obligation(node.parts[0], False, None),)),))
            case Op.UNTIL | Op.RELEASE:
                return self._pair(number, None if node.within is None else self.clock.now, holds, known)
        return TRUE if holds(number) else FALSE

    def _pair(self, number: int, since: int | None, holds: Callable[[int], bool], known: dict[int, State]) -> State:
        node = self.pool.nodes[number]
        strong = node.op is Op.UNTIL
        inside = True
        if node.within is not None and since is not None:
            if self.clock.over(number, since, node.within):
                return FALSE if strong else TRUE
            inside = self.clock.begun(since, node.within)
        left = self._node(node.parts[0], holds, known)
        later: State = frozenset((frozenset((Obligation(number, strong, since),)),))
        if strong:
            wait = self.all((left, later))
            return self.any([self._node(node.parts[1], holds, known), wait]) if inside else wait
        wait = self.any([left, later])
        return self.all((self._node(node.parts[1], holds, known), wait)) if inside else wait

    def all(self, states: Iterable[State]) -> State:
        """What remains where all of ``states`` must."""
        out = TRUE
        for state in states:
            if not state or not out:
                return FALSE
            if out == TRUE:
                out = state
            elif state != TRUE:
                out = self.alternatives([one | other for one in out for other in state])
        return out

    def any(self, states: list[State]) -> State:
        """What remains where one of ``states`` must."""
        if TRUE in states:
            return TRUE
        filled = [state for state in states if state]
        return filled[0] if len(filled) == 1 else self.alternatives([one for state in filled for one in state])

    def alternatives(self, found: list[Alternative]) -> State:
        """The weakest of ``found``: none of them holds all of another."""
        out: list[Alternative] = []
        for alternative in sorted(set(found), key=len):
            if not any(one <= alternative for one in out):
                out.append(alternative)
                if len(out) > MAX_ALTERNATIVES:
                    raise LimitError("alternatives are open at once", len(out), MAX_ALTERNATIVES, SIMPLER)
        return frozenset(out)

    def _normal(self, state: State) -> State:
        """``state`` without obligations and alternatives that follow from an earlier or later deadline."""
        if not any(one.since is not None for alternative in state for one in alternative):
            return state
        out: list[Alternative] = []
        for alternative in sorted(map(self._reduced, state), key=len):
            if not any(self._follows(one, alternative) for one in out):
                out = [one for one in out if not self._follows(alternative, one)]
                out.append(alternative)
        return frozenset(out)

    def _reduced(self, alternative: Alternative) -> Alternative:
        # Of those whose interval has begun, an until with the earliest deadline implies the others, a release with
        # the latest one does.
        best: dict[int, Obligation] = {}
        dropped: set[Obligation] = set()
        for one in alternative:
            within = self.pool.nodes[one.node].within
            if one.since is None or within is None or not self.clock.begun(one.since, within):
                continue
            before = best.setdefault(one.node, one)
            if before != one:
                stronger, weaker = (one, before) if self._implies(one, before) else (before, one)
                best[one.node] = stronger
                dropped.add(weaker)
        return alternative - dropped if dropped else alternative

    def _follows(self, weaker: Alternative, stronger: Alternative) -> bool:
        return all(one in stronger or any(self._implies(other, one) for other in stronger) for one in weaker)

    def _implies(self, one: Obligation, other: Obligation) -> bool:
        if one.node != other.node or one.since is None or other.since is None:
            return False
        node = self.pool.nodes[one.node]
        assert node.within is not None
        first, second = (one.since, other.since) if node.op is Op.UNTIL else (other.since, one.since)
        later = second if self.clock.earlier(first, second) else first
        return self.clock.earlier(first, second) and self.clock.begun(later, node.within)


def ends_well(state: State) -> bool:
    """Whether the formula holds if no step follows."""
    return any(not any(one.strong for one in alternative) for alternative in state)
