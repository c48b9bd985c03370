"""``/v1/screen/stream``: a request a line in over a long-lived stream, verdicts out as each is ready."""

from __future__ import annotations

from typing import Any, Final

from aimds.gateway import rows
from aimds.gateway.admission import ROW_WORK
from aimds.gateway.batching import Job
from aimds.gateway.headers import JSON, NDJSON, Head
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import Desk, Piece
from aimds.gateway.problem import Problem, too_large
from aimds.gateway.rows import Row
from aimds.gateway.screening import VERDICT_BYTES, Screening, failed, failure, failures, told

PORTION: Final = 256
"""Lines that are read in one go before it is looked whether there is room for more answers."""


class Lines(Screening):
    """``/v1/screen/stream``: a request a line in, verdicts out as each is ready, matched by ``request_id``.

    A line that cannot be screened is answered by a line with ``problem``; the stream goes on. Lines that come together
    are queued as one job where they are alike, and are requests of their own all the same.
    """

    idle_s = 600.0

    def __init__(self, route: str, desk: Desk, head: Head, identity: Identity) -> None:
        super().__init__(route, desk, head, identity, desk.limits.deadline_ms)
        if head.media_type() not in (NDJSON, JSON, ""):
            raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: this route takes {NDJSON}")
        head.answer_type(NDJSON, (NDJSON,))
        self._held = bytearray()
        self._count = self._waiting = 0
        self._over = self._skipping = False

    @property
    def expected(self) -> int:
        """See `Exchange`."""
        return VERDICT_BYTES[self.form] * self._waiting

    @property
    def wants_data(self) -> bool:
        """Not while many rows are under way or many verdicts unread."""
        return super().wants_data and self._waiting < self.desk.limits.window_rows and not self._over

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

    def refuse(self, problem: Problem) -> None:
        """Take no more lines; those taken are answered."""
        self._over = True
        self._held.clear()
        super().refuse(problem)

    def sent(self, now: float) -> None:
        """There is room again."""
        self._pump(now)

    def drain(self, now: float) -> None:
        """Take no more lines; those taken are answered."""
        if not self.status:
            self.refuse(Problem("draining", "no line has come, and none is taken any more", retry_after_s=1.0))
        elif not self.ended and not self._over:
            self._over = True
            self._held.clear()
            self._pump(now)

    def _pump(self, now: float) -> None:
        most, limits = self.desk.limits.max_body_bytes, self.desk.limits
        while (room := limits.window_rows - self._waiting) > 0 and self.has_room:
            found = self._next(min(room, PORTION))
            if not found:
                break
            self._screen(found, now)
        if len(self._held) > most and b"\n" not in self._held:
            if not self._skipping:
                problem = too_large(f"line {self._count + 1} is longer", most, "limits.max_body_bytes")
                self._unread(problem, self._count, now)
                self._count += 1
            self._skipping = True
            self._held.clear()
        try:
            self.hold(len(self._held))
        except Problem as problem:
            self.refuse(problem)
        if self._over and not self._waiting and not self._held and not self.ended:
            if self.fault is None:
                self.finish()
            else:
                self.break_off()

    def _next(self, most: int) -> list[bytes]:
        """Up to ``most`` complete lines."""
        last = self._held.rfind(b"\n")
        if last < 0:
            return []
        found = bytes(self._held[:last]).split(b"\n", most)
        rest = len(found.pop()) if len(found) > most else -1
        del self._held[: last - rest]
        if self._skipping:
            self._skipping = False
            found[0] = b""
        return found

    def _screen(self, found: list[bytes], now: float) -> None:
        grain = self.desk.grain
        groups: dict[tuple[str | None, float | None, int | None], _Group] = {}
        for line in found:
            if not (line := line.strip()):
                continue
            index = self._count
            self._count += 1
            try:
                one = self.own(rows.row(line, f"line {index + 1}"), index)
            except Problem as problem:
                self._unread(problem, index, now)
                continue
            like = one.tenant, one.deadline_ms, one.urgency
            group = groups.get(like)
            if group is None:
                group = groups[like] = _Group(self)
            elif len(group.rows) >= grain[0] or group.work >= grain[1]:
                self._place(group, now)
                group = groups[like] = _Group(self)
            group.rows.append(one)
            group.work += ROW_WORK + len(one.text)
        for group in groups.values():
            self._place(group, now)

    def _place(self, group: _Group, now: float) -> None:
        """Queue ``group`` as one job, or where that is refused each of its rows that can be taken."""
        first, count = group.rows[0], len(group.rows)
        slack_s = self._slack_s(first) - self.waited_s
        refusal = self.desk.turned_away(self.identity, first.tenant, count, slack_s, now)
        if refusal is not None:
            rest = refusal.once("line", told)
            self.send(b"".join([failed(one.request_id or "", rest) for one in group.rows]))
            return
        if count == 1:
            self._try(group, now)
            return
        try:
            self._queue(group, now, trial=True)
        except Problem:
            refused: tuple[int, Problem] | None = None
            for one in group.rows:
                # Nothing has changed since the last refusal, so a text as long or longer is refused alike.
                if refused is not None and len(one.text) >= refused[0]:
                    self.desk.shed(refused[1], 1)
                    self._tell(refused[1], one.request_id or "")
                    continue
                problem = self._try(_Group(self, [one]), now)
                refused = None if problem is None else (len(one.text), problem)

    def _try(self, group: _Group, now: float) -> Problem | None:
        try:
            self._queue(group, now)
        except Problem as problem:
            self._tell(problem, group.rows[0].request_id or "")
            return problem
        return None

    def _queue(self, group: _Group, now: float, *, trial: bool = False) -> None:
        first = group.rows[0]
        slack = self._slack_s(first)
        urgency = self.urgency if first.urgency is None else first.urgency
        piece = Piece(
            self.route,
            self.identity,
            self.form,
            group.done,
            group.failed,
            rows=group.rows,
            apart=True,
            tiers=self.tiers,
        )
        group.job = self.desk.place(piece, self.due(slack, now), urgency, now, trial=trial)
        self.jobs.add(group.job)
        self._waiting += len(group.rows)

    def _slack_s(self, one: Row) -> float:
        slack = self.slack_s if one.deadline_ms is None else one.deadline_ms / 1e3
        return min(slack, self.desk.limits.max_deadline_ms / 1e3)

    def answered(self, group: _Group, lines: bytes, now: float) -> None:
        """All rows of ``group`` have their ``lines``."""
        if group.job is not None:
            self.jobs.discard(group.job)
            # A job holds its piece and that its group: nothing else would let go of them but the collector.
            group.job = None
        self._waiting -= len(group.rows)
        self.send(lines)
        self._pump(now)

    def _unread(self, problem: Problem, index: int, now: float) -> None:
        """Tell what is wrong with a line that is no request; it counts as a row all the same."""
        try:
            self.desk.charge(self.identity, 1, now, apart=True)
        except Problem as limited:
            problem = limited
        # Behind the rate, which so bounds what one stream can have recorded.
        self._tell(self.denied(problem), str(index))

    def _tell(self, problem: Problem, ident: str) -> None:
        self.send(failure(ident, problem))


class _Group:
    """Rows that came together, are due together and belong to one tenant; ``work`` as `BatchTime` counts it."""

    __slots__ = ("_lines", "job", "rows", "work")

    def __init__(self, lines: Lines, found: list[Row] | None = None) -> None:
        self._lines = lines
        self.rows = found or []
        self.work = 0.0
        self.job: Job | None = None

    def done(self, found: list[Any], now: float) -> None:
        """Their verdicts, or a Problem in the place of one."""
        for at, one in enumerate(found):
            if isinstance(one, Problem):
                found[at] = failure(self.rows[at].request_id or "", one)[:-1]
        self._lines.answered(self, b"\n".join(found) + b"\n", now)

    def failed(self, problem: Problem, now: float) -> None:
        """None of them has one."""
        self._lines.answered(self, failures([one.request_id or "" for one in self.rows], problem), now)
