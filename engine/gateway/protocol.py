"""The gateway without a socket: requests are opened, routed and refused here, their rows queued, verdicts handed back.

A transport opens an `Exchange` for each request; a shell polls for batches, has them judged on another thread and
brings the verdicts back. Both pass the time in.
"""

from __future__ import annotations

import pyarrow as pa
from prometheus_client import Counter

from aimds.gateway.access import Access, Everybody, Pages
from aimds.gateway.at_once import at_once
from aimds.gateway.batching import Batch, Batcher, Job
from aimds.gateway.bulk import Bulk
from aimds.gateway.exchange import Exchange, Refused
from aimds.gateway.headers import Head
from aimds.gateway.hooks import Hooks
from aimds.gateway.idempotency import Answers
from aimds.gateway.identity import LOCAL, Identity, Peer, Route, authorize, route_of
from aimds.gateway.judging import Judged
from aimds.gateway.limits import Rates
from aimds.gateway.lines import Lines
from aimds.gateway.output import OutputConfig
from aimds.gateway.outputs import Response
from aimds.gateway.pieces import Limits, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.single import One
from aimds.gateway.turning_away import Refusal, TurningAway
from aimds.gateway.under_way import Bodies, UnderWay
from aimds.ids import short
from aimds.metrics import Metrics, observed

BUSY = frozenset({"overloaded", "deadline-exceeded"})
"""Problems that more requests will have that come now."""


class Service:
    """Everything between a transport and the screener.

    Args:
        batcher: the queue.
        hooks: of the shell.
        access: who may come in; everybody by default, which only a loopback socket may use.
        limits, output: bounds.
        rates: rows a second of each identity.
        metrics: counted into.
        has_tiers: whether who asks is told a model tier.
        pages: answers the paths that it owns, and says itself who may come in there.
    """

    def __init__(
        self,
        batcher: Batcher,
        hooks: Hooks,
        *,
        access: Access | None = None,
        limits: Limits | None = None,
        output: OutputConfig | None = None,
        rates: Rates | None = None,
        metrics: Metrics | None = None,
        pages: Pages | None = None,
        has_tiers: bool = False,
    ) -> None:
        self.batcher, self.hooks, self._pages = batcher, hooks, pages
        self.access: Access = access or Everybody()
        self.limits, self.output = limits or Limits(), output or OutputConfig()
        self.rates, self.metrics = rates or Rates(), metrics or Metrics()
        self.answers, self.has_tiers = Answers(), has_tiers
        self.bodies = Bodies(self.limits.max_held_bytes)
        self.draining = False
        self._open = UnderWay()
        self._away = TurningAway(batcher, self.rates)
        self._counters: dict[tuple[str, int], Counter] = {}
        self._shed: dict[str, Counter] = {}

    def open(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        peer: Peer,
        now: float,
        head: Head | None = None,
    ) -> Exchange:
        """The exchange of a request; one that is refused is answered already. ``head``: what was read of the rest
        before, since many requests begin alike."""
        name, identity = "none", None
        try:
            known = head = head or Head.read(method, target, headers)
            if self._pages is not None and self._pages.owns(head.path):
                name = "console"
                return self._opened(self._page(self._pages, head, peer, now))
            route, part = head.once("route", lambda: route_of(known.method, known.path))
            name = route.name
            if peer.early and route.method != "GET":
                raise Problem("too-early", "this request changes something; send it again after the handshake")
            if route.role is not None:
                identity = self.access.identify(head, peer, route, now)
                authorize(identity, route)
            exchange = self._exchange(route, part, head, identity or LOCAL, peer, now)
            # Whose a row is, is read of it only when it comes.
            exchange.denied = lambda problem: self.deny(problem, method, target, peer, identity)
        except Problem as problem:
            exchange = self._refused(name, problem, method, target, peer, identity)
        return self._opened(exchange, identity)

    def refusal(self, head: Head, peer: Peer, waited_s: float, now: float) -> Refusal | None:
        """Why a text that begins with ``head``, and came ``waited_s`` ago, is refused with no request opened for
        it; None where one has to be. See `TurningAway`."""
        if self.draining or (found := self._away.by_head(head, peer, waited_s, now)) is None:
            return None
        self._refuse(found.problem, 1, now)
        self._counted("screen", found.problem.status)
        return found

    def rest(self) -> float:
        """Seconds for which requests may be left unread."""
        return self.hooks.rest()

    def _page(self, pages: Pages, head: Head, peer: Peer, now: float) -> Exchange:
        if peer.early and head.method not in ("GET", "HEAD"):
            raise Problem("too-early", "this request changes something; send it again after the handshake")
        return pages.open(head, peer, now)

    def _opened(self, exchange: Exchange, identity: Identity | None = None) -> Exchange:
        if exchange.ended:
            self._count(exchange)
            return exchange
        self._open.add(exchange, identity)
        exchange.on_close = self._closed
        return exchange

    def _refused(
        self, route: str, problem: Problem, method: str, target: str, peer: Peer, identity: Identity | None
    ) -> Exchange:
        return Refused(route, self.deny(problem, method, target, peer, identity))

    def deny(self, problem: Problem, method: str, target: str, peer: Peer, identity: Identity | None = None) -> Problem:
        """Note ``problem`` where it is a denial; what to answer with."""
        if problem.kind in ("unauthenticated", "forbidden"):
            self.metrics.denied.labels(problem.kind).inc()
            note = {
                "method": method[:20],
                "path": target.partition("?")[0][:200],
                "peer": peer.address,
                "identity": None if identity is None else identity.name,
                "reason": problem.detail[:500],
                "kind": problem.kind,
            }
            try:
                self.hooks.denied(note)
            except Exception as error:  # what cannot be recorded is still denied
                problem = Problem(problem.kind, f"{problem.detail} (not recorded: {type(error).__name__})")
        return problem

    def _exchange(self, route: Route, part: str, head: Head, identity: Identity, peer: Peer, now: float) -> Exchange:
        if route.name in ("screen", "turns", "batch", "stream", "output"):
            if self.draining:
                raise Problem("draining", "no new requests are taken", retry_after_s=1.0)
            self._open.check(identity)
        match route.name:
            case "screen":
                one = One("screen", self, head, identity, self.answers)
                self._away.seen(head, peer, identity, one.slack_s, now)
                return one
            case "turns":
                return One("turns", self, head, identity, self.answers, session=part)
            case "batch":
                return Bulk("batch", self, head, identity, self.answers)
            case "stream":
                return Lines("stream", self, head, identity)
            case "output":
                return Response("output", self, head, identity)
        return at_once(self, route, part, head, identity)

    def _closed(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        # A client that left before an answer began has the status that proxies log for it.
        self._counted(exchange.route, exchange.status or 499)

    def _counted(self, route: str, status: int) -> None:
        key = route, status
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self.metrics.requests.labels(key[0], str(key[1]))
        counter.inc()

    @property
    def grain(self) -> tuple[int, float]:
        """See `Batcher.grain`."""
        return self.batcher.grain

    def place(self, piece: Piece, deadline: float, urgency: int, now: float, *, trial: bool = False) -> Job:
        """Queue ``piece``, due at ``deadline``. A ``trial`` that is refused leaves no trace: its rows are placed in
        another way.

        Raises:
            Problem: ``rate-limited``, ``overloaded`` or ``deadline-exceeded``.
        """
        identity = piece.identity
        tenant = identity.tenant or (piece.rows[0].tenant if piece.rows else None) or identity.name
        job = Job(short(tenant), piece.count, piece.text_bytes, deadline, piece, urgency)
        taken = False
        try:
            self.rates.take(identity, job.rows, now, admitted=piece.admitted, apart=piece.apart)
            taken = True
            self.batcher.submit(job, now)
        except Problem as problem:
            if not trial:
                self._refuse(problem, job.rows, now)
            elif taken:
                self.rates.give_back(identity, job.rows)
            raise
        self.hooks.work()
        return job

    def expect(self, identity: Identity, rows: int, size: int, deadline: float, now: float) -> None:
        """Whether a piece of so many ``rows`` and ``size`` bytes of text, due at ``deadline``, would be queued: asked
        before anything is done for it.

        Raises:
            Problem: as `place`.
        """
        try:
            self.rates.take(identity, rows, now)
            self.rates.give_back(identity, rows)
            self.batcher.check(Job(short(identity.tenant or identity.name), rows, size, deadline), now)
        except Problem as problem:
            self._refuse(problem, rows, now)
            raise

    def turned_away(
        self, identity: Identity, tenant: str | None, rows: int, slack_s: float, now: float
    ) -> Refusal | None:
        """Why each of ``rows`` texts of ``tenant``, due within ``slack_s``, is refused; None where they have to be
        placed."""
        found = self._away.refusal(identity, tenant, rows, slack_s, now)
        if found is not None:
            self._refuse(found.problem, rows, now)
        return found

    def charge(self, identity: Identity, rows: int, now: float, *, admitted: bool = False, apart: bool = False) -> None:
        """Count ``rows`` that are answered without being screened against the rate of ``identity``; see `Rates.take`.

        Raises:
            Problem: ``rate-limited``.
        """
        try:
            self.rates.take(identity, rows, now, admitted=admitted, apart=apart)
        except Problem as problem:
            self.shed(problem, rows)
            raise

    def shed(self, problem: Problem, n: int) -> None:
        """Count ``n`` rows that have no verdict for ``problem``."""
        counter = self._shed.get(problem.kind)
        if counter is None:
            counter = self._shed[problem.kind] = self.metrics.shed.labels(problem.kind)
        counter.inc(n)

    def _refuse(self, problem: Problem, n: int, now: float) -> None:
        if problem.kind in BUSY:
            self._away.refused(now)
        self.shed(problem, n)

    def cancel(self, job: Job) -> None:
        """Nobody waits for ``job`` any more."""
        self.batcher.cancel(job)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Verdicts with status error for ``batch``."""
        return self.hooks.unjudged(batch, reason)

    def forwards(self, action: str) -> bool:
        """Whether a text with ``action`` is passed on."""
        return self.hooks.forwards(action)

    def poll(self, now: float) -> Batch | None:
        """The next batch to judge; its late jobs are answered here."""
        while (batch := self.batcher.poll(now)) is not None:
            self._too_late(batch.late, now)
            if batch.jobs:
                return batch
        return None

    def expire(self, now: float) -> None:
        """Answer jobs that wait past their deadline; for the time in which `poll` gives nothing, since nothing that
        runs ends."""
        self._too_late(self.batcher.late(now), now)

    def _too_late(self, jobs: list[Job], now: float) -> None:
        for job in jobs:
            problem = Problem("deadline-exceeded", f"it waited {(now - job.arrived) * 1e3:.0f} ms")
            self.shed(problem, job.rows)
            job.payload.failed(problem, now)

    def complete(self, batch: Batch, judged: Judged, now: float) -> None:
        """Hand the verdicts of ``batch`` to those who wait."""
        self.batcher.finish(batch, now)
        self.metrics.batch_rows.observe(batch.rows)
        self.metrics.batch_seconds.observe(now - batch.started)
        self.metrics.screened(judged.actions, judged.threats, judged.unjudged)
        # Rows that came together have waited alike.
        waited: dict[tuple[str, float], int] = {}
        for job, found in zip(batch.jobs, judged.answers, strict=True):
            piece: Piece = job.payload
            withheld = piece.withheld(found)
            for problem in withheld:
                self.shed(problem, 1)
            if job.cancelled:
                continue
            # Where none has a verdict, none has waited for one.
            if len(withheld) < job.rows:
                alike = piece.route, now - job.arrived
                waited[alike] = waited.get(alike, 0) + (job.rows - len(withheld) if piece.apart else 1)
            if isinstance(found, Problem):
                piece.failed(found, now)
            else:
                piece.done(found, now)
        for (route, seconds), n in waited.items():
            observed(self.metrics.latency.labels(route), seconds, n)

    @property
    def open_requests(self) -> int:
        """Requests whose answers have not ended."""
        return len(self._open)

    def drain(self, now: float) -> None:
        """Take no new requests; what is under way is finished."""
        self.draining = True
        for exchange in self._open:
            exchange.drain(now)

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._open and not self.batcher.running and not self.batcher.queued_rows
