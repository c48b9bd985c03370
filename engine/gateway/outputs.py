"""``/v1/screen/output``: a model's response in chunks, a verdict a line back for each window of it."""

from __future__ import annotations

from typing import Any

from aimds.gateway import rows
from aimds.gateway.headers import NDJSON, TEXT, Head
from aimds.gateway.identity import Identity
from aimds.gateway.output import Output, Window
from aimds.gateway.pieces import OBJECTS, Desk, Piece
from aimds.gateway.problem import Problem, too_large
from aimds.gateway.rows import Row
from aimds.gateway.screening import Screening, failure


class Response(Screening):
    """Chunks as lines ``{"text": …}`` or as plain text in; one window is screened at a time, the next holds all
    that came meanwhile. Where a window cannot be judged, a line with ``problem`` says so and the answer ends; what was
    not released by then is not released."""

    idle_s = 120.0

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity) -> None:
        super().__init__(route, desk, head, identity, desk.limits.deadline_ms)
        if head.media_type() not in (NDJSON, TEXT):
            raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: this route takes {NDJSON} or {TEXT}")
        head.answer_type(NDJSON, (NDJSON,))
        if self.tiers:
            raise Problem("unprocessable", "route: a model's response goes to no model")
        self._plain = head.media_type() == TEXT
        self._ident, self._session = head.query.get("request_id", "0"), head.query.get("session_id")
        self._tenant = identity.tenant_of(head.query.get("tenant"))
        self._state = Output(desk.output, desk.forwards)
        self._held = bytearray()
        self._lines = 0

    @property
    def wants_data(self) -> bool:
        """Not while much is unjudged."""
        return super().wants_data and self._state.unjudged_bytes < 4 * self.desk.output.max_new_bytes

    def receive(self, content: bytes, now: float) -> None:
        """More of the response."""
        if self.ended or self.fault is not None:
            return
        try:
            if self._plain:
                self._state.feed(content)
            else:
                self._held += content
                self._read()
                self.hold(len(self._held))
            self._look(now)
        except Problem as problem:
            self.refuse(problem)

    def end(self, now: float) -> None:
        """The response is complete."""
        if self.ended or self.fault is not None:
            return
        try:
            if not self._plain:
                self._held += b"\n"
                self._read()
            self._state.end()
            self._look(now)
        except Problem as problem:
            self.refuse(problem)

    def _read(self) -> None:
        start = 0
        while (stop := self._held.find(b"\n", start)) >= 0:
            line = bytes(self._held[start:stop]).strip()
            start = stop + 1
            if line:
                self._state.feed(rows.chunk(line, f"line {self._lines + 1}").encode())
                self._lines += 1
        del self._held[:start]
        if len(self._held) > self.desk.limits.max_body_bytes:
            most = self.desk.limits.max_body_bytes
            raise too_large(f"line {self._lines + 1} is longer", most, "limits.max_body_bytes")

    def _look(self, now: float) -> None:
        last = self._state.closing()
        if last is not None:
            self.send(rows.encoded(last) + b"\n")
            self.finish()
            return
        window = self._state.window()
        if window is None:
            return
        one = Row(
            text=window.text,
            request_id=self._ident,
            session_id=self._session,
            tenant=self._tenant,
            channel="assistant",
        )

        def done(found: list[dict[str, Any]], now: float) -> None:
            self.jobs.clear()
            self._judged(window, found[0], now)

        def failed(problem: Problem, now: float) -> None:
            self.jobs.clear()
            self.refuse(problem)

        piece = Piece(self.route, self.identity, OBJECTS, done, failed, rows=[one])
        self.jobs.add(self.desk.place(piece, self.due(self.slack_s, now), self.urgency, now))

    def _judged(self, window: Window, verdict: dict[str, Any], now: float) -> None:
        if not self.status:
            self.begin(200, [("content-type", NDJSON)])
        self.send(rows.encoded(self._state.judged(window, verdict)) + b"\n")
        if self._state.finished:
            self.finish()
            return
        if self.fault is not None:
            self.break_off()
            return
        try:
            self._look(now)
        except Problem as problem:
            self.refuse(problem)
        self.wake()

    def parting(self, problem: Problem) -> bytes:
        """The last line of an answer that breaks off."""
        return failure(self._ident, problem)
