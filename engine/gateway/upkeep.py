"""What a gateway does from time to time: flush its log, read keys again, let sessions go, forget, see what is late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aimds.analyze.owing import Owed
from aimds.errors import AimdsError
from aimds.gateway.follow_ups import FollowUp, FollowUps
from aimds.gateway.following import Follows
from aimds.gateway.protocol import Service
from aimds.gateway.reviewing import Reviewing
from aimds.gateway.session_file import SessionFile
from aimds.gateway.tokens import Jwks
from aimds.learn.drift import Traffic
from aimds.metrics import Metrics
from aimds.printable import counted
from aimds.record.audit import AuditLog
from aimds.record.erasure import retain
from aimds.record.wanted import serve
from aimds.respond.carry_out import Responder
from aimds.respond.held import Hold, Key
from aimds.respond.review import Reviewer

FLUSH_S: Final = 0.25
"""So soon a denial is on the disk."""
DRIFT_S: Final = 5.0
HOLDS_S: Final = 1.0
MOST_ENDED: Final = 100_000
"""Ends of holds that may wait for a log that cannot be written; of more, the oldest are lost, and said."""
FORGET_S: Final = 60.0
OVERDUE_S: Final = 30.0
PRUNE_S: Final = 3600.0
RETAIN_S: Final = 3600.0
ERASE_S: Final = 1.0
"""So often the log is looked at for somebody who wants a subject erased."""
SNAPSHOT_S: Final = 60.0
KEYS_S: Final = 15.0
WHO: Final = Reviewer("gateway")


class Upkeep:
    """The regular work of one gateway, handed to its ``follow_ups``.

    Args:
        audit: the log that is to be flushed, None where there is none.
        responder: holds the sessions that are let go.
        clock: monotonic seconds; ``wall``: seconds since 1970.
        say: told what a person should know.
        traffic: given rows and how many of them were caught, says how many alarms there are; `Traffic` by default.
    """

    def __init__(
        self,
        follow_ups: FollowUps,
        metrics: Metrics,
        responder: Responder,
        audit: AuditLog | None,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        say: Callable[[str], None],
        traffic: Callable[[int, int], int] | None = None,
    ) -> None:
        self._follow_ups, self._metrics, self._say = follow_ups, metrics, say
        self._responder, self._audit, self._clock, self._wall = responder, audit, clock, wall
        self._noted = self._asked = False
        self._jwks: Jwks | None = None
        self._traffic = traffic or Traffic().seen
        self._seen = (0, 0)
        self._ended: deque[tuple[str, Key, Hold]] = deque()
        """Holds whose end is not yet in the log, at most MOST_ENDED."""

    def begin(
        self,
        service: Service,
        follower: Follows,
        reviewing: Reviewing | None,
        refresh_s: float | None,
        keep_days: float | None = None,
        snapshot: SessionFile | None = None,
    ) -> None:
        """Set all that comes again: for ``service`` and ``follower``, and where there are ``reviewing``, key sets, a
        log whose files stay ``keep_days`` and a ``snapshot`` of sessions."""
        every = self._follow_ups.every
        every(DRIFT_S, FollowUp("drift", self._drifted, within_s=5.0, aside=True))
        every(HOLDS_S, FollowUp("holds", self._let_go, "medium", aside=True))
        every(FORGET_S, FollowUp("sessions", lambda: self.tell(follower, follower.forget()), within_s=10.0, aside=True))
        every(FORGET_S, FollowUp("answers", lambda: service.answers.forget(self._clock())))
        if reviewing is not None:
            every(PRUNE_S, FollowUp("prune", reviewing.prune, within_s=60.0, aside=True))
            every(OVERDUE_S, FollowUp("overdue", lambda: self._overdue(reviewing), "medium", 5.0, aside=True))
        if keep_days is not None and self._audit is not None:
            log = self._audit
            every(RETAIN_S, FollowUp("retain", lambda: self._retain(log, keep_days), within_s=60.0, aside=True))
        if self._audit is not None:
            erased = self._audit
            every(ERASE_S, FollowUp("erase", lambda: self._erase(erased), within_s=60.0, aside=True))
        if snapshot is not None:
            every(SNAPSHOT_S, FollowUp("snapshot", snapshot.write, within_s=30.0, aside=True), after_s=SNAPSHOT_S)
        if refresh_s is not None:
            every(refresh_s, FollowUp("keys", self._want, "high"), after_s=refresh_s)

    def note(self, kind: str, body: dict[str, object]) -> None:
        """Put a record into the audit log, where there is one; it is on the disk soon."""
        if self._audit is None:
            return
        self._audit.append(kind, body)
        if not self._noted:
            self._noted = True
            work = FollowUp(
                "audit", self._flush, "high", FLUSH_S, 0.005, aside=True, owed=True, dropped=self._not_noted
            )
            self._follow_ups.hand(work)

    def record(self, kind: str, body: dict[str, object]) -> None:
        """Put a record into the audit log, where there is one; it is on the disk when this returns."""
        if self._audit is not None:
            self._audit.append(kind, body)
            self._audit.flush()

    def tell(self, follower: Follows, owed: Sequence[Owed]) -> None:
        """Put sessions of ``follower`` that have ended while something was ``owed`` into the audit log, where there is
        one, durably; what cannot be put there is owed still.

        Raises:
            AimdsError: it cannot be written.
        """
        told = 0
        try:
            for one in owed:
                whose = {"tenant": one.tenant, "session_id": one.session_id, "request_id": one.request_id}
                self.note("session_ended", {**whose, "verdict": "false", "violations": list(one.policies)})
                told += 1
        except AimdsError:
            follower.owe(list(owed[told:]))
            raise
        if owed:
            self._flush()

    def _retain(self, log: AuditLog, days: float) -> None:
        try:
            gone = retain(log, datetime.fromtimestamp(self._wall(), UTC) - timedelta(days=days))
        except AimdsError as error:
            self._say(f"old files of the audit log stay: {error}")
            return
        if gone:
            self._say(f"removed from the audit log: {counted(len(gone), 'file')} older than {days:g} days")

    def _erase(self, log: AuditLog) -> None:
        try:
            found = serve(log, datetime.fromtimestamp(self._wall(), UTC))
        except (AimdsError, OSError) as error:
            self._say(f"nothing was erased from the audit log: {error}")
            return
        if found is not None:
            self._say(f"a subject was erased from the audit log: {counted(found.records, 'record')}")

    # What was dropped is never done: the next one to ask has to be heard.
    def _not_noted(self) -> None:
        self._noted = False

    def _not_asked(self) -> None:
        self._asked = False

    def _flush(self) -> None:
        # Before and not after: what is noted while the disk works needs a flush of its own.
        self._noted = False
        if self._audit is not None:
            self._audit.flush()

    def use_keys(self, jwks: Jwks | None) -> None:
        """Read ``jwks``, the set in force, again from now on: soon, when it is time, and when it asks."""
        self._jwks = jwks
        if jwks is not None:
            jwks.wanted = self._want
            # One at a distance has not been read yet; of others, keys may have been taken out since.
            self._want()

    def _want(self) -> None:
        if not self._asked:
            self._asked = True
            self._follow_ups.hand(FollowUp("keys", self._refresh, "high", KEYS_S, aside=True, dropped=self._not_asked))

    def _refresh(self) -> None:
        self._asked = False
        if self._jwks is None:
            return
        try:
            self._jwks.refresh(self._clock())
        except (AimdsError, OSError) as error:
            self._say(f"the key set cannot be read, the old one stays in force: {error}")

    def _let_go(self) -> None:
        for kind, ended in self._responder.ended(self._wall()).items():
            self._ended.extend((kind, key, hold) for key, hold in ended)
        lost = len(self._ended) - MOST_ENDED
        if lost > 0:
            for _ in range(lost):
                self._ended.popleft()
            said = f"the end of {counted(lost, 'hold')} is not recorded"
            self._say(f"{said}: {MOST_ENDED} others wait for the audit log already")
        try:
            while self._ended:
                kind, (tenant, session_id, sender), hold = self._ended[0]
                since = datetime.fromtimestamp(hold.since, UTC).isoformat(timespec="seconds")
                whose = {"tenant": tenant, "session_id": session_id, "sender": sender}
                self.note("hold_ended", {"session_action": kind, **whose, "since": since})
                # Only now: where the log cannot be written, it is told of the next time.
                self._ended.popleft()
        finally:
            self._responder.tidy()

    def _overdue(self, reviewing: Reviewing) -> None:
        counts = reviewing.target.counts(WHO, datetime.fromtimestamp(self._wall(), UTC))
        self._metrics.review_open.labels("open").set(counts.open)
        self._metrics.review_open.labels("overdue").set(counts.overdue)

    def _drifted(self) -> None:
        before, self._seen = self._seen, (self._metrics.rows_seen, self._metrics.rows_caught)
        rows, caught = (now - then for now, then in zip(self._seen, before, strict=True))
        if not rows:
            return
        alarms = self._traffic(rows, caught)
        if alarms:
            self._metrics.drift_alarms.inc(alarms)
            self._say("more rows are caught than before: the traffic has changed, or what judges it")
