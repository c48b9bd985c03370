"""A service whose requests leave spans: the request, the wait of its rows, the batch they were in, their verdicts.

Attributes hold numbers and words of fixed lists. No text, id, name, tenant or address is in them: spans go elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from aimds.gateway.batching import Batch, Job
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import ROUTES, Identity, Peer
from aimds.gateway.judging import Judged
from aimds.gateway.pieces import ARROW, OBJECTS, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.screening import Screening
from aimds.gateway.tracing import Traces, answer
from aimds.gateway.turning_away import Refusal

PATHS = {route.name: route.path for route in ROUTES if route.role == "screen"}
"""Requests that are traced, with their path as it is written, ids left out."""
MOST_PIECES = 100
"""Of one request, whose rows have spans of their own: a stream may stay open for a day."""
BATCH, QUEUE, JUDGE = "aimds.batch", "aimds.queue", "aimds.judge"


class TracedService(Service):
    """`Service`, with spans by ``traces``."""

    def __init__(self, traces: Traces, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.traces = traces
        self._spans: dict[Exchange, Any] = {}
        self._completing: _Completing | None = None

    def open(self, *request: Any) -> Exchange:
        """As `Service.open`, in a span where the request is traced."""
        began = self.traces.wall_ns()
        exchange = super().open(*request)
        headers: list[tuple[bytes, bytes]] = request[2]
        if exchange.route in PATHS:
            # What watches a request may not break it, here and below.
            with suppress(Exception):
                self._begin(exchange, headers, began)
        return exchange

    def refusal(self, head: Head, peer: Peer, waited_s: float, now: float) -> Refusal | None:
        """Each request that is refused has a span, so it is opened."""
        return None

    def _begin(self, exchange: Exchange, headers: list[tuple[bytes, bytes]], began: int) -> None:
        chosen, within = self.traces.chosen(headers)
        if not chosen:
            return
        path = PATHS[exchange.route]
        # Of the two carriers, only HTTP/3 has pseudo-headers.
        version = "3" if any(name.startswith(b":") for name, _ in headers) else "1.1"
        told = {"http.request.method": "POST", "http.route": path, "network.protocol.version": version}
        span = self.traces.request(f"POST {path}", within, told, began)
        if exchange.status:
            exchange.headers = [*exchange.headers, answer(span)]
        exchange.more = (answer(span),)
        if exchange.ended:
            self._end(span, exchange)
            return
        self._spans[exchange] = span
        if isinstance(exchange, Screening):
            exchange.desk = _Desk(self, span)

    def follow(self, piece: Piece, span: Any) -> None:
        """Have ``piece``, which is about to be queued, leave spans in ``span``."""
        done, failed, arrived = piece.done, piece.failed, self.traces.wall_ns()

        def finished(found: Any, now: float) -> None:
            with suppress(Exception):
                self._judged(piece, span, arrived, found)
            done(found, now)

        def broken(problem: Problem, now: float) -> None:
            with suppress(Exception):
                self._judged(piece, span, arrived, problem)
            failed(problem, now)

        piece.done, piece.failed = finished, broken

    def complete(self, batch: Batch, judged: Judged, now: float) -> None:
        """As `Service.complete`, in a span if a request in ``batch`` is traced."""
        ended = self.traces.wall_ns()
        this = self._completing = _Completing(batch, ended - round((now - batch.started) * 1e9), ended)
        try:
            super().complete(batch, judged, now)
        finally:
            self._completing = None
            if this.span is not None:
                this.span.set_attribute("aimds.batch.not_judged", judged.unjudged)
                this.span.end(end_time=ended)

    def _judged(self, piece: Piece, span: Any, arrived: int, found: Any) -> None:
        traces, this = self.traces, self._completing
        started = max(arrived, traces.wall_ns() if this is None else this.started)
        queue = traces.begin(QUEUE, span, arrived)
        queue.set_attribute("aimds.rows", piece.count)
        if this is None and isinstance(found, Problem):
            # It waited past its deadline.
            traces.failed(queue, found.kind)
        queue.end(end_time=started)
        if this is None:
            return
        if this.span is None:
            this.span = traces.begin(BATCH, None, this.started)
            this.span.set_attribute("aimds.batch.rows", this.batch.rows)
            this.span.set_attribute("aimds.batch.pieces", len(this.batch.jobs))
        this.span.add_link(span.get_span_context())
        judge = traces.begin(JUDGE, span, started, this.span)
        judge.set_attribute("aimds.rows", piece.count)
        if isinstance(found, Problem):
            traces.failed(judge, found.kind)
        else:
            for name, n in counted(piece.form, found).items():
                judge.set_attribute(name, n)
        judge.end(end_time=max(started, this.ended))

    def _closed(self, exchange: Exchange) -> None:
        super()._closed(exchange)
        span = self._spans.pop(exchange, None)
        if span is not None:
            self._end(span, exchange)

    def _end(self, span: Any, exchange: Exchange) -> None:
        if exchange.status:
            span.set_attribute("http.response.status_code", exchange.status)
        if exchange.status >= 500 or not exchange.status:
            self.traces.failed(span, str(exchange.status or "client-gone"))
        span.end(end_time=self.traces.wall_ns())


@dataclass(slots=True)
class _Completing:
    """The batch whose verdicts are being handed back; ``started``, ``ended``: nanoseconds since 1970."""

    batch: Batch
    started: int
    ended: int
    span: Any = None


class _Desk:
    """What a traced exchange asks of ``service``: its pieces leave spans in ``span``."""

    def __init__(self, service: TracedService, span: Any) -> None:
        self.limits, self.output, self.has_tiers = service.limits, service.output, service.has_tiers
        self.bodies = service.bodies
        self._service, self._span, self._pieces = service, span, 0

    @property
    def grain(self) -> tuple[int, float]:
        """See `Batcher.grain`. Each of the rows that are followed has spans of its own."""
        return (1, 0.0) if self._pieces < MOST_PIECES else self._service.grain

    def place(self, piece: Piece, deadline: float, urgency: int, now: float, *, trial: bool = False) -> Job:
        """Queue ``piece``, or raise a Problem."""
        self._pieces += 1
        if self._pieces <= MOST_PIECES:
            self._service.follow(piece, self._span)
        return self._service.place(piece, deadline, urgency, now, trial=trial)

    def expect(self, identity: Identity, rows: int, size: int, deadline: float, now: float) -> None:
        """See `Service.expect`."""
        self._service.expect(identity, rows, size, deadline, now)

    def turned_away(
        self, identity: Identity, tenant: str | None, rows: int, slack_s: float, now: float
    ) -> Refusal | None:
        """Each row that is refused has a span, so it is placed."""
        return None

    def charge(self, identity: Identity, rows: int, now: float, *, admitted: bool = False, apart: bool = False) -> None:
        """See `Service.charge`."""
        self._service.charge(identity, rows, now, admitted=admitted, apart=apart)

    def shed(self, problem: Problem, n: int) -> None:
        """See `Service.shed`."""
        self._service.shed(problem, n)

    def cancel(self, job: Job) -> None:
        """Nobody waits for ``job`` any more."""
        self._service.cancel(job)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Verdicts with status error for ``batch``."""
        return self._service.unjudged(batch, reason)

    def forwards(self, action: str) -> bool:
        """Whether a text with ``action`` is passed on."""
        return self._service.forwards(action)


class _Told(msgspec.Struct):
    """Of a verdict in JSON, what is counted."""

    action: str
    threat_type: str
    status: str


_TOLD = msgspec.json.Decoder(_Told)


def counted(form: str, found: Any) -> dict[str, int]:
    """Attributes of an answer of this ``form``: its rows by action, those not allowed by threat type, those not
    judged."""
    out: dict[str, int] = {}
    for action, threat, status in _told(form, found):
        keys = [f"aimds.action.{action}"]
        if action != "allow":
            keys.append(f"aimds.threat.{threat}")
        if status == "error":
            keys.append("aimds.not_judged")
        for key in keys:
            out[key] = out.get(key, 0) + 1
    return out


def _told(form: str, found: Any) -> Sequence[tuple[str, str, str]]:
    if form == ARROW:
        columns = [found.column(name).to_pylist() for name in ("action", "threat_type", "status")]
        return list(zip(*columns, strict=True))
    if form == OBJECTS:
        return [(one["action"], one["threat_type"], one["status"]) for one in found]
    # A row of a stream may have a Problem in the place of its verdict.
    told = [_TOLD.decode(one) for one in found if not isinstance(one, Problem)]
    return [(one.action, one.threat_type, one.status) for one in told]
