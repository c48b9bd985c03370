"""What the routes that screen share: who asks, how urgent it is, and the jobs that are under way."""

from __future__ import annotations

from aimds.gateway import rows
from aimds.gateway.batching import Job
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import BRIEF, FULL, Desk
from aimds.gateway.problem import Problem
from aimds.gateway.rows import Row


class Screening(Exchange):
    """What all of them share: who asks, how urgent it is, and the jobs that are under way."""

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity, deadline_ms: float) -> None:
        super().__init__()
        self.route, self.desk, self.identity = route, desk, identity
        self.slack_s = head.deadline_s(deadline_ms / 1e3, desk.limits.max_deadline_ms / 1e3)
        self.urgency = head.urgency()
        self.form = BRIEF if head.brief() else FULL
        self.tiers = head.tiers()
        if self.tiers and not desk.has_tiers:
            raise Problem("unprocessable", "route: this gateway has no model tiers to choose from")
        self.jobs: set[Job] = set()
        head.refuse_encodings()

    def abort(self, now: float) -> None:
        """Give up what waits."""
        for job in self.jobs:
            self.desk.cancel(job)
        self.jobs.clear()
        super().abort(now)

    def refuse(self, problem: Problem) -> None:
        """Answer with ``problem``; what waits is given up."""
        for job in self.jobs:
            self.desk.cancel(job)
        self.jobs.clear()
        super().refuse(problem)

    def own(self, one: Row, index: int) -> Row:
        """``one`` with its tenant and id.

        Raises:
            Problem: it names another's tenant, or its text is too long.
        """
        one.tenant = self.identity.tenant_of(one.tenant)
        if one.request_id is None:
            one.request_id = str(index)
        if len(one.text) > self.desk.limits.max_text_bytes:
            raise Problem("too-large", f"a text may have {self.desk.limits.max_text_bytes} bytes")
        return one


def keyed(head: Head, identity: Identity) -> tuple[str, str] | None:
    """The Idempotency-Key of a request, apart for each identity; None where it has none."""
    key = head.idempotency_key()
    return None if key is None else (f"{identity.kind}:{identity.name}:{identity.tenant}", key)


def failure(ident: str, problem: Problem) -> bytes:
    """The line for a row that has no verdict."""
    told = {"request_id": ident, "status": "error", "error": str(problem), "problem": problem.document()}
    return rows.encoded(told) + b"\n"
