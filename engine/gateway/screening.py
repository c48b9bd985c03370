"""What the routes that screen share: who asks, how urgent it is, and the jobs that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimds.gateway import rows
from aimds.gateway.batching import Job
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import ARROW, BRIEF, FULL, Desk
from aimds.gateway.problem import Problem, too_large
from aimds.gateway.rows import Row

LITTLE_HELD = 16 << 10
"""Bytes of its body that each request may hold, however much is held of others."""
VERDICT_BYTES = {FULL: 1024, BRIEF: 256, ARROW: 256}
"""Of a row of an answer in each form, about."""


class Screening(Exchange):
    """What all of them share: who asks, how urgent it is, and the jobs that are under way."""

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity, deadline_ms: float) -> None:
        super().__init__()
        self.route, self.desk, self.identity = route, desk, identity
        most_ms = desk.limits.max_deadline_ms
        self.slack_s, self.urgency, self.form, self.tiers = head.once(
            ("terms", deadline_ms), lambda: _terms(head, deadline_ms, most_ms)
        )
        if self.tiers and not desk.has_tiers:
            raise Problem("unprocessable", "route: this gateway has no model tiers to choose from")
        self.jobs: set[Job] = set()
        self._counted = self._kept = 0
        self.fault: Problem | None = None
        """Why the answer breaks off, behind the verdicts of what is under way."""

    @property
    def wants_data(self) -> bool:
        """Not where the answer breaks off."""
        return self.fault is None and super().wants_data

    def abort(self, now: float) -> None:
        """Give up what waits."""
        for job in self.jobs:
            self.desk.cancel(job)
        self.jobs.clear()
        super().abort(now)

    def refuse(self, problem: Problem) -> None:
        """Answer with ``problem``; what waits is given up. An answer that has begun still gives the verdicts of what is
        under way, and then says why it breaks off."""
        if not self.ended and self.fault is None:
            problem = self.denied(problem)
        if self.status and not self.ended:
            self.fault = self.fault or problem
            self.settle()
            return
        for job in self.jobs:
            self.desk.cancel(job)
        self.jobs.clear()
        super().refuse(problem)

    def hold(self, size: int) -> None:
        """``size`` bytes of the body are kept, or will be, until more of it has come or those before it are screened.

        Raises:
            Problem: ``overloaded``: too much is kept of all bodies together.
        """
        if size <= LITTLE_HELD and not self._counted:
            return
        counted = 0 if self.ended else max(0, size - LITTLE_HELD)
        if counted != self._counted:
            self.desk.bodies.take(self.identity, counted - self._counted)
            self._counted = counted

    def keep(self, size: int) -> None:
        """Hold ``size`` bytes; as many stay its own until all of the body has come. So an answer that has begun
        does not break off where others have come meanwhile, unless more is to be held than ever before.

        Raises:
            Problem: see `hold`.
        """
        kept = max(self._kept, size)
        self.hold(kept)
        self._kept = kept

    def _close(self) -> None:
        super()._close()
        self.hold(0)

    def settle(self) -> None:
        """Break off where nothing is under way any more."""
        if not self.jobs:
            self.break_off()

    def break_off(self) -> None:
        """End an answer that has begun with why it is not whole."""
        if self.fault is not None:
            self.send(self.parting(self.fault))
            super().refuse(self.fault)

    def parting(self, problem: Problem) -> bytes:
        """The last line of an answer that breaks off: it belongs to no row."""
        return rows.encoded(_told(problem)) + b"\n"

    def due(self, slack_s: float, now: float) -> float:
        """When what came just now is due, ``slack_s`` after it came: what it waited to be read is gone of that."""
        return now - self.waited_s + slack_s

    def own(self, one: Row, index: int) -> Row:
        """``one`` with its tenant and id.

        Raises:
            Problem: it names another's tenant, or its text is too long.
        """
        one.tenant = self.identity.tenant_of(one.tenant)
        if one.request_id is None:
            one.request_id = str(index)
        most = self.desk.limits.max_text_bytes
        # No character has more than four bytes, so the bytes of most texts need not be counted.
        if 4 * len(one.text) > most and (size := len(one.text.encode(errors="surrogatepass"))) > most:
            raise too_large(f"a text has {size} bytes", most, "limits.max_text_bytes")
        return one


def _terms(head: Head, deadline_ms: float, most_ms: float) -> tuple[float, int, str, str]:
    """Seconds until a verdict is due, urgency, form, and which model tiers are asked for."""
    head.refuse_encodings()
    slack_s = head.deadline_s(deadline_ms / 1e3, most_ms / 1e3)
    return slack_s, head.urgency(), BRIEF if head.brief() else FULL, head.tiers()


def keyed(head: Head, identity: Identity) -> tuple[str, str] | None:
    """The Idempotency-Key of a request, apart for each identity; None where it has none."""
    key = head.idempotency_key()
    # In quotes: a token may have colons in both, and a tenant may be called None.
    return None if key is None else (f"{identity.key!r}:{identity.tenant!r}", key)


def failure(ident: str, problem: Problem) -> bytes:
    """The line for a row that has no verdict."""
    return failed(ident, told(problem))


def failures(idents: Sequence[str], problem: Problem) -> bytes:
    """The lines for rows that have no verdict, all for the same reason."""
    rest = told(problem)
    return b"".join([failed(ident, rest) for ident in idents])


def failed(ident: str, rest: bytes) -> bytes:
    """The line for a row that has no verdict, of what `told` says."""
    return b'{"request_id":' + rows.encoded(ident) + rest


def told(problem: Problem) -> bytes:
    """What a line says of ``problem`` behind the name of its row."""
    return b"," + rows.encoded(_told(problem))[1:] + b"\n"


def _told(problem: Problem) -> dict[str, Any]:
    return {"status": "error", "error": str(problem), "problem": problem.document()}
