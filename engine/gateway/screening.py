"""The routes that screen: one request, the turns of a session, a batch, a long-lived stream."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import pyarrow as pa

from aimds.gateway import ipc, rows
from aimds.gateway.batching import Job
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import ARROW, JSON, NDJSON, Head
from aimds.gateway.idempotency import Answers, Recording
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import ARROW as AS_ARROW
from aimds.gateway.pieces import BRIEF, FULL, Desk, Piece
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


class One(Screening):
    """``/v1/screen`` and the turns of a session: a JSON object in, its verdict out."""

    def __init__(
        self, route: str, desk: Desk, head: Head, identity: Identity, answers: Answers, session: str | None = None
    ) -> None:
        super().__init__(route, desk, head, identity, desk.limits.deadline_ms)
        if head.media_type() not in (JSON, ""):
            raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: this route takes {JSON}")
        head.answer_type(JSON, (JSON,))
        self._most = desk.limits.max_body_bytes * (1 if session is None else 8)
        length = head.content_length()
        if length is not None and length > self._most:
            raise Problem("too-large", f"the body has {length} bytes, at most {self._most} are taken")
        self._session, self._answers = session, answers
        self._key = keyed(head, identity)
        self._path = head.path
        self._first = False
        self._body = bytearray()

    def receive(self, content: bytes, now: float) -> None:
        """Collect the body."""
        if self.ended:
            return
        self._body += content
        if len(self._body) > self._most:
            self.refuse(Problem("too-large", f"the body is larger than {self._most} bytes"))
            self._body.clear()

    def end(self, now: float) -> None:
        """Screen it."""
        if self.ended:
            return
        body = bytes(self._body)
        try:
            if self._key is not None:
                digest = hashlib.sha256(self._path.encode() + b"\0" + body).digest()
                if not self._answers.begin(self._key, digest, self, now):
                    return
                self._first = True
            found = self._read(body)
            piece = Piece(self.route, self.identity, self.form, self._done, self._failed, rows=found)
            urgency = self.urgency if found[0].urgency is None else found[0].urgency
            slack = self.slack_s if found[0].deadline_ms is None else min(self.slack_s, found[0].deadline_ms / 1e3)
            self.jobs.add(self.desk.place(piece, now + slack, urgency, now))
        except Problem as problem:
            self._failed(problem, now)

    def _read(self, body: bytes) -> list[Row]:
        if self._session is None:
            return [self.own(rows.row(body), 0)]
        found = rows.turns(body)
        if len(found) > self.desk.limits.max_turns:
            raise Problem("too-large", f"{len(found)} turns, at most {self.desk.limits.max_turns} are taken at once")
        for one in found:
            if one.session_id not in (None, self._session):
                raise Problem("unprocessable", f"session_id {one.session_id!r} is not the session of the path")
            one.session_id = self._session
        return [self.own(one, i) for i, one in enumerate(found)]

    def _done(self, found: list[bytes], now: float) -> None:
        self.jobs.clear()
        body = found[0] if self._session is None else b'{"verdicts":[' + b",".join(found) + b"]}"
        answer = (200, [("content-type", JSON)], body)
        if self._first and self._key is not None:
            self._answers.answered(self._key, answer)
        self.answer(*answer)

    def _failed(self, problem: Problem, now: float) -> None:
        self.jobs.clear()
        if self._first and self._key is not None:
            self._answers.failed(self._key, problem)
        self.refuse(problem)

    def abort(self, now: float) -> None:
        """Give up, unless others wait for the same answer."""
        if self._first and self.jobs:
            self._close()
            return
        super().abort(now)


def keyed(head: Head, identity: Identity) -> tuple[str, str] | None:
    """The Idempotency-Key of a request, apart for each identity; None where it has none."""
    key = head.idempotency_key()
    return None if key is None else (f"{identity.kind}:{identity.name}:{identity.tenant}", key)


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

            piece = Piece(self.route, self.identity, self.form, done, failed, rows=[one])
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


def failure(ident: str, problem: Problem) -> bytes:
    """The line for a row that has no verdict."""
    told = {"request_id": ident, "status": "error", "error": str(problem), "problem": problem.document()}
    return rows.encoded(told) + b"\n"


class Bulk(Screening):
    """``/v1/screen/batch``: an Arrow IPC stream or NDJSON in, verdicts out in the same order, in chunks as they finish.

    Rows are screened in pieces, a few at a time; the rest of the body is not read until these are done. The first piece
    may be refused as a whole. Later on, a row that cannot be judged has a verdict with status error.
    """

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity, answers: Answers) -> None:
        super().__init__(route, desk, head, identity, desk.limits.batch_deadline_ms)
        kind = head.media_type()
        if kind not in (ARROW, NDJSON):
            raise Problem("unsupported-media-type", f"{kind[:80]!r}: this route takes {ARROW} or {NDJSON}")
        self._answer_type = head.answer_type(kind, (ARROW, NDJSON))
        length = head.content_length()
        if length is not None and length > desk.limits.max_batch_bytes:
            raise Problem("too-large", f"the body has {length} bytes, at most {desk.limits.max_batch_bytes} are taken")
        if self._answer_type == ARROW:
            self.form = AS_ARROW
        self._writer = ipc.Writer() if self._answer_type == ARROW else None
        self._reader = (
            ipc.Reader(desk.limits.max_message_bytes, desk.limits.max_expanded_bytes) if kind == ARROW else None
        )
        key, shape = keyed(head, identity), f"{head.path} {kind} {self._answer_type} {self.form}"
        self._recording = None if key is None else Recording(answers, key, shape)
        self._held = bytearray()
        self._rows: list[Row] = []
        self._row_bytes = 0
        self._ready: deque[Piece] = deque()
        self._under_way: deque[_Slot] = deque()
        self._received = self._count = 0
        self._over = self._admitted = self._waits = False

    @property
    def wants_data(self) -> bool:
        """Not while there are pieces to screen already."""
        return super().wants_data and not self._ready and not self._over

    def receive(self, content: bytes, now: float) -> None:
        """Cut the body into pieces and screen them."""
        if self.ended or self._over:
            return
        self._received += len(content)
        try:
            if self._received > self.desk.limits.max_batch_bytes:
                raise Problem("too-large", f"the body is larger than {self.desk.limits.max_batch_bytes} bytes")
            if self._recording is not None and not self._recording.receive(content, now):
                return
            if self._reader is not None:
                for batch in self._reader.feed(content):
                    self._tables(batch)
            else:
                self._held += content
                self._lines()
            self._pump(now)
        except Problem as problem:
            self.refuse(problem)

    def end(self, now: float) -> None:
        """Screen what is left."""
        if self.ended or self._over:
            return
        self._over = True
        try:
            if self._recording is not None and not self._recording.end(self, now):
                self._waits = True
                return
            if self._reader is not None:
                self._reader.end()
            else:
                self._held += b"\n"
                self._lines()
                self._flush()
            self._pump(now)
        except Problem as problem:
            self.refuse(problem)

    def abort(self, now: float) -> None:
        """Give up what waits; those that came with the same key may come again."""
        if self._recording is not None:
            self._recording.failed()
        super().abort(now)

    def refuse(self, problem: Problem) -> None:
        """Answer with ``problem``, and so those that came with the same key."""
        if self._recording is not None:
            self._recording.failed(problem)
        super().refuse(problem)

    def send(self, content: bytes) -> None:
        """A piece of the answer, recorded where it has a key."""
        if self._recording is not None:
            self._recording.record(content)
        super().send(content)

    def sent(self, now: float) -> None:
        """There is room again."""
        if not self.ended and not (self._over and self._waits):
            try:
                self._pump(now)
            except Problem as problem:
                self.refuse(problem)

    def _tables(self, batch: pa.RecordBatch) -> None:
        limits = self.desk.limits
        tenants = batch.column("tenant")
        if self.identity.tenant is not None:
            for name in tenants.drop_null().unique().to_pylist():
                self.identity.tenant_of(name)
            index = batch.schema.get_field_index("tenant")
            own = pa.array([self.identity.tenant] * batch.num_rows, pa.string())
            batch = batch.set_column(index, batch.schema.field(index), own)
        start, column = 0, batch.column("text")
        while start < batch.num_rows:
            rows_left = min(limits.piece_rows, batch.num_rows - start)
            while rows_left > 1 and column.slice(start, rows_left).nbytes > limits.piece_bytes:
                rows_left //= 2
            self._ready.append(
                Piece(self.route, self.identity, self.form, *_UNSET, table=batch.slice(start, rows_left))
            )
            start += rows_left

    def _lines(self) -> None:
        start = 0
        while (stop := self._held.find(b"\n", start)) >= 0:
            line = bytes(self._held[start:stop]).strip()
            start = stop + 1
            if line:
                one = self.own(rows.row(line, f"line {self._count + 1}"), self._count)
                self._count += 1
                self._rows.append(one)
                self._row_bytes += len(one.text)
                if len(self._rows) >= self.desk.limits.piece_rows or self._row_bytes >= self.desk.limits.piece_bytes:
                    self._flush()
        del self._held[:start]
        if len(self._held) > self.desk.limits.max_body_bytes:
            raise Problem("too-large", f"line {self._count + 1} is longer than {self.desk.limits.max_body_bytes} bytes")

    def _flush(self) -> None:
        if self._rows:
            self._ready.append(Piece(self.route, self.identity, self.form, *_UNSET, rows=self._rows))
            self._rows, self._row_bytes = [], 0

    def _pump(self, now: float) -> None:
        if not self._ready and not self._under_way:
            # Nothing is under way, so what is there need not wait for a piece to fill.
            self._flush()
        while self._ready and len(self._under_way) < self.desk.limits.window_pieces and self.has_room:
            self._place(self._ready.popleft(), now)
        if self._over and not self._ready and not self._under_way and not self.ended:
            self._begin()
            if self._writer is not None:
                self.send(self._writer.end())
            self.finish()
            if self._recording is not None:
                self._recording.done([("content-type", self._answer_type)])

    def _place(self, piece: Piece, now: float) -> None:
        slot = _Slot(piece)

        def done(found: Any, now: float) -> None:
            slot.found = found
            self._advance(slot, now)

        def failed(problem: Problem, now: float) -> None:
            slot.found = piece.formed(self.desk.unjudged(piece.requests(), f"not judged: {problem}"))
            if self._recording is not None:
                self._recording.failed()
            self._advance(slot, now)

        piece.done, piece.failed = done, failed
        piece.admitted = self._admitted
        try:
            slot.job = self.desk.place(piece, now + self.slack_s, self.urgency, now)
        except Problem as problem:
            if not self._admitted:
                raise
            self._under_way.append(slot)
            failed(problem, now)
            return
        self._admitted = True
        self.jobs.add(slot.job)
        self._under_way.append(slot)

    def _advance(self, slot: _Slot, now: float) -> None:
        if slot.job is not None:
            self.jobs.discard(slot.job)
        while self._under_way and self._under_way[0].found is not None:
            found = self._under_way.popleft().found
            self._begin()
            self.send(self._writer.batch(found) if self._writer is not None else b"\n".join(found) + b"\n")
        if not self.ended:
            self._pump(now)
            self.wake()

    def _begin(self) -> None:
        if not self.status:
            self.begin(200, [("content-type", self._answer_type)])


class _Slot:
    """A piece under way, and its answer once it is there."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.job: Job | None = None
        self.found: Any = None


def _unset(_found: Any, _now: float) -> None:
    """Replaced when the piece is placed."""


_UNSET = (_unset, _unset)
