"""``/v1/screen/batch``: an Arrow IPC stream or NDJSON in, verdicts out in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds.gateway import ipc, rows
from aimds.gateway.batching import Job
from aimds.gateway.headers import ARROW, NDJSON, Head
from aimds.gateway.idempotency import Answers, Recording
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import ARROW as AS_ARROW
from aimds.gateway.pieces import Desk, Piece, portions
from aimds.gateway.problem import Problem, too_large
from aimds.gateway.rows import Row
from aimds.gateway.screening import VERDICT_BYTES, Screening, keyed


class Bulk(Screening):
    """``/v1/screen/batch``: an Arrow IPC stream or NDJSON in, verdicts out in the same order, in chunks as they finish.

    Rows are screened in pieces, a few at a time; the rest of the body is not read until these are done. The first piece
    may be refused as a whole. Later on, a row that cannot be judged has a verdict with status error, and so has a line
    of NDJSON that is no request.
    """

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity, answers: Answers) -> None:
        super().__init__(route, desk, head, identity, desk.limits.batch_deadline_ms)
        kind = head.media_type()
        if kind not in (ARROW, NDJSON):
            raise Problem("unsupported-media-type", f"{kind[:80]!r}: this route takes {ARROW} or {NDJSON}")
        self._answer_type = head.answer_type(kind, (ARROW, NDJSON))
        length = head.content_length()
        if length is not None and length > desk.limits.max_batch_bytes:
            raise too_large(f"the body has {length} bytes", desk.limits.max_batch_bytes, "limits.max_batch_bytes")
        if self._answer_type == ARROW:
            self.form = AS_ARROW
            if self.tiers:
                raise Problem("not-acceptable", f"route: an answer in Arrow holds verdicts alone; accept {NDJSON}")
        self._writer = ipc.Writer() if self._answer_type == ARROW else None
        limits = desk.limits
        # A row may be as large as the request that it would be by itself.
        sizes = limits.max_message_bytes, limits.max_expanded_bytes, limits.max_body_bytes
        self._reader = ipc.Reader(*sizes) if kind == ARROW else None
        self._parts: Iterator[pa.RecordBatch] = iter(())
        """What is left of the table that was read last."""
        self._tables: deque[list[int]] = deque()
        """Of each table of which rows wait or are under way: how many rows, and what it is held for."""
        self._expanded = 0
        """What they are held for together."""
        self._awaited = 0
        """Bytes of the message behind them that are held, or will be."""
        self._crowded = False
        """The next message, or its table, has to wait until there is room for it."""
        key, shape = keyed(head, identity), f"{head.path} {kind} {self._answer_type} {self.form} {self.tiers}"
        self._recording = None if key is None else Recording(answers, key, shape)
        self._held = bytearray()
        self._rows: list[Row] = []
        self._problems: list[str] = []
        """What is wrong with each of these rows; empty where they can be screened."""
        self._row_bytes = 0
        self._ready: deque[Piece] = deque()
        self._under_way: deque[_Slot] = deque()
        self._received = self._count = 0
        self._over = self._admitted = self._waits = False

    @property
    def expected(self) -> int:
        """See `Exchange`."""
        return VERDICT_BYTES[self.form] * sum(slot.piece.count for slot in self._under_way)

    @property
    def wants_data(self) -> bool:
        """Not while as many pieces wait as are screened at a time: the next are read while those are screened."""
        full = len(self._ready) >= self.desk.limits.window_pieces or self._crowded
        return super().wants_data and not full and not self._over

    def receive(self, content: bytes, now: float) -> None:
        """Cut the body into pieces and screen them."""
        if self.ended or self._over:
            return
        self._received += len(content)
        try:
            if self._received > self.desk.limits.max_batch_bytes:
                raise too_large("the body is larger", self.desk.limits.max_batch_bytes, "limits.max_batch_bytes")
            if self._recording is not None and not self._recording.receive(content, now):
                return
            if self._reader is not None:
                self._reader.feed(content)
                self._pump(now)
                self._reader.coming()
                self._await(self._reader)
            else:
                self._held += content
                self._lines()
                self.keep(len(self._held))
                self._pump(now)
        except Problem as problem:
            self._fail(problem, now)

    def end(self, now: float) -> None:
        """Screen what is left."""
        if self.ended or self._over:
            return
        self._over = True
        try:
            if self._recording is not None and not self._recording.end(self, now):
                self._waits = True
                return
            if self._reader is None:
                self._held += b"\n"
                self._lines()
                self._flush()
                self.hold(0)
            self._pump(now)
        except Problem as problem:
            self._fail(problem, now)

    def _fail(self, problem: Problem, now: float) -> None:
        """The body goes wrong here: what came before has its verdicts, if the answer has begun."""
        if self.status:
            self.fault, self._over = self.denied(problem), True
            self._flush()
            self._pump(now)
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
        if self.status:
            self._over = True
            self._held.clear()
            if not self._under_way and self.has_room:
                # Nobody would come by them again.
                self._ready.clear()
                self._parts = iter(())
        super().refuse(problem)

    def _close(self) -> None:
        super()._close()
        # What came of it is asked for no more. Its tables go with this, not when the collector comes by a ring of them.
        for slot in self._under_way:
            slot.let_go()
        self._under_way.clear()
        self._ready.clear()
        self._parts = iter(())

    def settle(self) -> None:
        """Break off where nothing is under way any more."""
        if not self._ready and not self._under_way:
            self.break_off()

    def parting(self, problem: Problem) -> bytes:
        """The last line of an answer that breaks off; in Arrow there is none, but its marker is missing."""
        return b"" if self._writer is not None else super().parting(problem)

    def send(self, content: bytes) -> None:
        """A piece of the answer, recorded where it has a key."""
        if self._recording is not None:
            self._recording.record(content)
        super().send(content)

    def sent(self, now: float) -> None:
        """There is room again."""
        if not self.ended and not (self._over and self._waits):
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        try:
            self._pump(now)
        except Problem as problem:
            self._fail(problem, now)

    def hold(self, size: int) -> None:
        """As in `Screening`; tables of which rows wait or are under way count as long, and the message behind them."""
        super().hold(max(size, self._expanded + self._awaited))

    def _await(self, reader: ipc.Reader) -> None:
        """Hold what the next message takes; where tables take its room, the rest of it waits until they are judged."""
        before, self._awaited = self._awaited, reader.needed_bytes
        try:
            self.keep(self._awaited)
        except Problem:
            self._awaited = before
            if not self._tables:
                raise
            self._crowded = True

    def _fill(self, now: float) -> None:
        """Have as many pieces of what came in Arrow wait as are screened at a time, and no more of it expanded."""
        self._crowded = False
        while self._reader is not None and len(self._ready) < self.desk.limits.window_pieces:
            part = next(self._parts, None)
            if part is not None:
                piece = Piece(self.route, self.identity, self.form, *_UNSET, table=part, tiers=self.tiers)
                self._ready.append(piece)
            elif self.fault is not None or not self._read(self._reader, now):
                break

    def _read(self, reader: ipc.Reader, now: float) -> bool:
        """Read the next table; False where it is not whole yet, or has to wait for room."""
        coming = reader.coming()
        if coming is None:
            if self._over:
                reader.end()
                self._kept = self._awaited = 0
                self.hold(0)
            else:
                self._await(reader)
            return False
        limits = self.desk.limits
        if not self._admitted:
            size = min(coming.expanded, limits.piece_bytes)
            due = self.due(self.slack_s, now)
            self.desk.expect(self.identity, min(coming.rows, limits.piece_rows), size, due, now)
        try:
            self.keep(max(coming.size, coming.expanded))
            self.hold(max(self._kept, coming.expanded + self._expanded))
        except Problem:
            if not self._tables:
                raise
            self._crowded = True
            return False
        first = reader.rows
        table = self._owned(reader.batch(), first)
        self._expanded += coming.expanded
        self._tables.append([coming.rows, coming.expanded])
        self._awaited = 0
        self._await(reader)
        self._parts = portions(table, limits)
        return True

    def _owned(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """``batch``, of which ``first`` is the number of the first row, with the tenant of its sender.

        Raises:
            Problem: it names another's, or a text is too long.
        """
        most = self.desk.limits.max_text_bytes
        sizes = pc.binary_length(batch.column("text"))
        if (pc.max(sizes).as_py() or 0) > most:
            row = pc.index(pc.greater(sizes, most), True).as_py()
            problem = too_large(f"row {first + row}: the text has {sizes[row]} bytes", most, "limits.max_text_bytes")
            problem.extra |= {"column": "text", "row": first + row}
            raise problem
        tenants = batch.column("tenant")
        if self.identity.tenant is not None:
            for name in tenants.drop_null().unique().to_pylist():
                self.identity.tenant_of(name)
            index = batch.schema.get_field_index("tenant")
            own = pa.repeat(self.identity.tenant, batch.num_rows)
            batch = batch.set_column(index, batch.schema.field(index), own)
        return batch

    def _lines(self) -> None:
        start = 0
        while (stop := self._held.find(b"\n", start)) >= 0:
            line = bytes(self._held[start:stop]).strip()
            start = stop + 1
            if line:
                told: str | None = None
                try:
                    one = rows.row(line, f"line {self._count + 1}")
                except Problem as problem:
                    if not self._count and problem.kind == "malformed":
                        # What does not even begin as NDJSON is no batch.
                        raise
                    # It has a verdict with status error in its place; the others are screened.
                    one, told = Row(""), str(problem)
                if (told is None) == bool(self._problems):
                    self._flush()
                if told is not None:
                    self._problems.append(told)
                self._rows.append(self.own(one, self._count))
                self._count += 1
                self._row_bytes += len(one.text)
                if len(self._rows) >= self.desk.limits.piece_rows or self._row_bytes >= self.desk.limits.piece_bytes:
                    self._flush()
        del self._held[:start]
        if len(self._held) > self.desk.limits.max_body_bytes:
            most = self.desk.limits.max_body_bytes
            raise too_large(f"line {self._count + 1} is longer", most, "limits.max_body_bytes")

    def _flush(self) -> None:
        if self._rows:
            piece = Piece(self.route, self.identity, self.form, *_UNSET, rows=self._rows, tiers=self.tiers)
            piece.problems = self._problems
            self._ready.append(piece)
            self._rows, self._problems, self._row_bytes = [], [], 0

    def _pump(self, now: float) -> None:
        if not self._ready and not self._under_way:
            # Nothing is under way, so what is there need not wait for a piece to fill.
            self._flush()
        self._fill(now)
        while self._ready and len(self._under_way) < self.desk.limits.window_pieces and self.has_room:
            self._place(self._ready.popleft(), now)
            self._fill(now)
        if self._over and not self._ready and not self._under_way and not self.ended:
            if self.fault is not None:
                self.break_off()
                return
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
            self._refused(slot, problem)
            self._advance(slot, now)

        piece.done, piece.failed = done, failed
        piece.admitted = self._admitted
        try:
            if piece.problems:
                self.desk.charge(self.identity, piece.count, now, admitted=piece.admitted)
                slot.found = self._unreadable(piece)
            else:
                slot.job = self.desk.place(piece, self.due(self.slack_s, now), self.urgency, now)
        except Problem as problem:
            # Once verdicts are on their way, an end would look like that of the answer.
            if not self._admitted and not self.status:
                raise
            self._under_way.append(slot)
            self._refused(slot, problem)
            # The pieces behind it are placed by who placed it: of thousands none begins within another.
            self._deliver()
            return
        self._admitted = True
        self._under_way.append(slot)
        if slot.job is not None:
            self.jobs.add(slot.job)
        else:
            self._deliver()

    def _refused(self, slot: _Slot, problem: Problem) -> None:
        slot.found = slot.piece.formed(self.desk.unjudged(slot.piece.requests(), f"not judged: {problem}"))
        if self._recording is not None:
            self._recording.failed()

    def _advance(self, slot: _Slot, now: float) -> None:
        if slot.job is not None:
            self.jobs.discard(slot.job)
        self._deliver()
        if not self.ended:
            self._go_on(now)
            self.wake()

    def _unreadable(self, piece: Piece) -> Any:
        found = self.desk.unjudged(piece.requests(), "")
        place = found.schema.get_field_index("error")
        return piece.formed(found.set_column(place, found.schema.field(place), pa.array(piece.problems, pa.string())))

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0].found is not None:
            slot = self._under_way.popleft()
            found = slot.found
            slot.let_go()
            self._judged(slot.piece.count)
            self._begin()
            self.send(self._writer.batch(found) if self._writer is not None else b"\n".join(found) + b"\n")

    def _judged(self, rows: int) -> None:
        """So many rows more have their verdicts: a table of which none is left is held no more."""
        if not self._tables:
            return
        self._tables[0][0] -= rows
        if not self._tables[0][0]:
            self._expanded -= self._tables.popleft()[1]
            self.hold(self._kept)

    def _begin(self) -> None:
        if not self.status:
            self.begin(200, [("content-type", self._answer_type)])


class _Slot:
    """A piece under way, and its answer once it is there."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.job: Job | None = None
        self.found: Any = None

    def let_go(self) -> None:
        """Who judges the piece calls nobody any more: what it would call refers to this slot."""
        self.piece.done = self.piece.failed = _unset


def _unset(_found: Any, _now: float) -> None:
    """Replaced when the piece is placed."""


_UNSET = (_unset, _unset)
