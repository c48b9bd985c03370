"""``/v1/screen/stream``: a request a line in over a long-lived stream, verdicts out as each is ready."""

from __future__ import annotations

from aimds.gateway import rows
from aimds.gateway.batching import Job
from aimds.gateway.headers import JSON, NDJSON, Head
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import Desk, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.screening import Screening, failure


class Lines(Screening):
    """``/v1/screen/stream``: a request a line in, verdicts out as each is ready, matched by ``request_id``.

    A line that cannot be screened is answered by a line with ``problem``; the stream goes on.
    """

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity) -> None:
        super().__init__(route, desk, head, identity, desk.limits.deadline_ms)
        if head.media_type() not in (NDJSON, JSON, ""):
            raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: this route takes {NDJSON}")
        head.answer_type(NDJSON, (NDJSON,))
        self._held = bytearray()
        self._count = 0
        self._over = self._skipping = False

    @property
    def wants_data(self) -> bool:
        """Not while many rows are under way or many verdicts unread."""
        return super().wants_data and len(self.jobs) < self.desk.limits.window_rows and not self._over

    def receive(self, content: bytes, now: float) -> None:
        """Screen the lines that are complete."""
        if self.ended or self._over:
            return
        if not self.status:
            self.begin(200, [("content-type", NDJSON)])
            self.wake()
        self._held += content
        self._pump(now)

    def end(self, now: float) -> None:
        """The last line may lack its end."""
        if self.ended or self._over:
            return
        if self._held and not self._held.endswith(b"\n"):
            self._held += b"\n"
        if not self.status:
            self.begin(200, [("content-type", NDJSON)])
        self._over = True
        self._pump(now)

    def sent(self, now: float) -> None:
        """There is room again."""
        self._pump(now)

    def drain(self, now: float) -> None:
        """Take no more lines; those taken are answered."""
        if not self.ended and not self._over:
            self._over = True
            self._held.clear()
            self._pump(now)

    def _pump(self, now: float) -> None:
        most, limits = self.desk.limits.max_body_bytes, self.desk.limits
        start = 0
        while len(self.jobs) < limits.window_rows and self.has_room:
            stop = self._held.find(b"\n", start)
            if stop < 0:
                break
            line = bytes(self._held[start:stop]).strip()
            start = stop + 1
            if self._skipping:
                self._skipping = False
            elif line:
                self._line(line, now)
        del self._held[:start]
        if len(self._held) > most and b"\n" not in self._held:
            if not self._skipping:
                self._tell(Problem("too-large", f"a line may have {most} bytes"), str(self._count))
                self._count += 1
            self._skipping = True
            self._held.clear()
        if self._over and not self.jobs and not self._held and not self.ended:
            self.finish()

    def _line(self, line: bytes, now: float) -> None:
        index, ident = self._count, str(self._count)
        self._count += 1
        try:
            one = self.own(rows.row(line, f"line {index + 1}"), index)
            ident = one.request_id or ident
            slack = self.slack_s if one.deadline_ms is None else one.deadline_ms / 1e3
            slack = min(slack, self.desk.limits.max_deadline_ms / 1e3)
            job: Job | None = None

            def done(found: list[bytes], now: float) -> None:
                self._answered(job, found[0] + b"\n", now)

            def failed(problem: Problem, now: float) -> None:
                self._answered(job, failure(ident, problem), now)

            piece = Piece(self.route, self.identity, self.form, done, failed, rows=[one], tiers=self.tiers)
            job = self.desk.place(piece, now + slack, self.urgency if one.urgency is None else one.urgency, now)
            self.jobs.add(job)
        except Problem as problem:
            self._tell(problem, ident)

    def _answered(self, job: Job | None, line: bytes, now: float) -> None:
        if job is not None:
            self.jobs.discard(job)
        self.send(line)
        self._pump(now)

    def _tell(self, problem: Problem, ident: str) -> None:
        self.send(failure(ident, problem))
