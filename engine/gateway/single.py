"""``/v1/screen`` and the turns of a session: a JSON object in, its verdict out."""

from __future__ import annotations

import hashlib

from aimds.gateway import rows
from aimds.gateway.headers import JSON, Head
from aimds.gateway.idempotency import Answers
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import Desk, Limits, Piece
from aimds.gateway.problem import Problem, too_large
from aimds.gateway.rows import Row
from aimds.gateway.screening import Screening, keyed


class One(Screening):
    """``/v1/screen`` and the turns of a session: a JSON object in, its verdict out."""

    def __init__(
        self, route: str, desk: Desk, head: Head, identity: Identity, answers: Answers, session: str | None = None
    ) -> None:
        super().__init__(route, desk, head, identity, desk.limits.deadline_ms)
        self._most = desk.limits.max_body_bytes if session is None else desk.limits.max_turns_bytes
        head.once(("one", self._most), lambda: _checked(head, self._most, desk.limits))
        self._session, self._answers = session, answers
        self._key = keyed(head, identity)
        self._path = head.path
        self._first = False
        self._body: bytes | bytearray = b""

    def receive(self, content: bytes, now: float) -> None:
        """Collect the body."""
        if self.ended:
            return
        if not self._body:
            self._body = content
        else:
            # Most bodies come whole; one that does not is collected without copying it again and again.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += content
        try:
            if len(self._body) > self._most:
                raise _larger("the body is larger", self._most, self.desk.limits)
            self.hold(len(self._body))
        except Problem as problem:
            self.refuse(problem)
            self._body = b""

    def end(self, now: float) -> None:
        """Screen it."""
        if self.ended:
            return
        body, self._body = bytes(self._body), b""
        self.hold(0)
        try:
            if self._key is not None:
                shape = f"{self._path} {self.form} {self.tiers}".encode()
                digest = hashlib.sha256(shape + b"\0" + body).digest()
                if not self._answers.begin(self._key, digest, self, now):
                    return
                self._first = True
            found = self._read(body)
            piece = Piece(self.route, self.identity, self.form, self._done, self._failed, rows=found, tiers=self.tiers)
            urgency = self.urgency if found[0].urgency is None else found[0].urgency
            slack = self.slack_s if found[0].deadline_ms is None else min(self.slack_s, found[0].deadline_ms / 1e3)
            self.jobs.add(self.desk.place(piece, self.due(slack, now), urgency, now))
        except Problem as problem:
            self._failed(problem, now)

    def _read(self, body: bytes) -> list[Row]:
        if self._session is None:
            return [self.own(rows.row(body), 0)]
        found = rows.turns(body)
        if len(found) > self.desk.limits.max_turns:
            raise too_large(f"{len(found)} turns", self.desk.limits.max_turns, "limits.max_turns", unit="turns")
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


def _larger(what: str, most: int, limits: Limits) -> Problem:
    return too_large(what, most, "limits.max_body_bytes", times=most // limits.max_body_bytes)


def _checked(head: Head, most: int, limits: Limits) -> bool:
    """Whether ``head`` begins a request with a body of at most ``most`` bytes in JSON.

    Raises:
        Problem: it does not.
    """
    if head.media_type() not in (JSON, ""):
        raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: this route takes {JSON}")
    head.answer_type(JSON, (JSON,))
    length = head.content_length()
    if length is not None and length > most:
        raise _larger(f"the body has {length} bytes", most, limits)
    return True
