"""Texts that are refused without anything being made of them, where others were just now.

A gateway that is offered more than it can judge spends its time on what it refuses: the less that costs, the more is
judged in time. What a text needs, were it let in, is worked out once for all of a tenant that come together. Who sends
a request is verified when one with its head is opened; for a moment after that, another with the same head of the same
connection may be refused, but not let in, without looking again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aimds.gateway.admission import Overloaded, too_late
from aimds.gateway.batching import RECENT_S, Batcher, Job
from aimds.gateway.headers import KEY, Head
from aimds.gateway.identity import Identity, Peer
from aimds.gateway.limits import Rates
from aimds.gateway.problem import Problem
from aimds.ids import short

ALIKE_S: Final = 0.005
"""How long what a tenant's text needs is not worked out anew."""
ALIKE: Final = 2.0
"""By how much deadlines may differ of those that are told the same."""
MOST_TENANTS: Final = 1024
_SEEN: Final = "seen"


@dataclass(slots=True)
class Refusal:
    """Why texts that came together are refused."""

    problem: Problem
    needed_s: float
    """From ``at`` on, for a verdict."""
    at: float
    slack_s: float = 0.0
    """Within which it was due for which it was worked out."""
    _made: dict[str, bytes] = field(default_factory=dict)

    def once(self, name: str, made: Callable[[Problem], bytes]) -> bytes:
        """What ``made`` gives for the problem, worked out once under ``name``."""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = made(self.problem)
        return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """Who sent a request, within what time its verdict is due, and until when that holds."""

    peer: Peer
    identity: Identity
    slack_s: float
    until: float


class TurningAway:
    """What was refused lately, and who sends."""

    def __init__(self, batcher: Batcher, rates: Rates) -> None:
        self._batcher, self._rates = batcher, rates
        self._until = float("-inf")
        self._last: dict[str, Refusal] = {}
        """Of each tenant."""
        self._late = Refusal(too_late(), 0.0, 0.0)

    def refused(self, now: float) -> None:
        """Something was, as there is too much to do."""
        self._until = now + RECENT_S
        self._batcher.refused(now)

    def seen(self, head: Head, peer: Peer, identity: Identity, slack_s: float, now: float) -> None:
        """A text with ``head`` of ``peer`` may come in and is due within ``slack_s``."""
        # A row may name its tenant where its sender has none, and an answer may be there already where there is a key.
        if now < self._until and identity.tenant is not None and KEY not in head.headers:
            head.note(_SEEN, _Seen(peer, identity, slack_s, now + RECENT_S))

    def by_head(self, head: Head, peer: Peer, waited_s: float, now: float) -> Refusal | None:
        """Why another such text, which came ``waited_s`` ago, has no verdict, however short it is; None: open it."""
        if now >= self._until or KEY in head.headers:
            return None
        seen: _Seen | None = head.noted(_SEEN)
        if seen is None or seen.peer is not peer or now >= seen.until:
            return None
        return self.refusal(seen.identity, seen.identity.tenant, 1, seen.slack_s - waited_s, now)

    def refusal(self, identity: Identity, tenant: str | None, rows: int, slack_s: float, now: float) -> Refusal | None:
        """Why each of ``rows`` texts of ``tenant`` that are due within ``slack_s`` has no verdict, however short it is;
        None: place them. What is refused counts against the rate of ``identity``, as it does where it is placed."""
        if now >= self._until:
            return None
        found = self._of(short(tenant or identity.name), slack_s, now)
        if found is not None:
            try:
                self._rates.take(identity, rows, now, apart=True)
            except Problem:
                # Which has precedence, and is told where it is placed.
                return None
        return found

    def _of(self, tenant: str, slack_s: float, now: float) -> Refusal | None:
        if slack_s <= 0:
            return self._late
        last = self._last.get(tenant)
        recent = last is not None and now - last.at < ALIKE_S and self._batcher.queued_rows
        # It says how much time there was, and so when to come again.
        if last is not None and recent and last.slack_s / ALIKE <= slack_s <= last.slack_s * ALIKE:
            # In the time that has gone by since, no more than so much was done of what it would wait for.
            return last if slack_s < last.needed_s - (now - last.at) else None
        try:
            self._batcher.check(Job(tenant, 1, 0, now + slack_s), now)
        except Overloaded as problem:
            if len(self._last) >= MOST_TENANTS:
                self._last.clear()
            self._last[tenant] = last = Refusal(problem.with_traceback(None), problem.needed_s, now, slack_s)
            return last
        except Problem:
            return None
        return None
