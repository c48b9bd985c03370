"""Telling of rows beside the way of a request: the more certain the verdict the sooner, and again where it fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from aimds.gateway.follow_ups import FollowUp, FollowUps, level_of
from aimds.printable import counted
from aimds.respond.carry_out import Notifier

WITHIN_S: Final = {"critical": 0.01, "high": 0.1, "medium": 0.5, "low": 1.0}
COST_S: Final = 0.0005
PAUSES_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
"""How long after each failure it is tried again; then the rows count as lost."""
MOST_OWED: Final = 4096
"""Batches that may wait to be tried again; the rows of more are lost."""


class Notifications:
    """A `Notifier` that hands what ``target`` is to tell to ``follow_ups``; ``say`` is told what a person should know,
    once each time it begins.

    ``lost`` counts rows that nobody was told of.
    """

    def __init__(self, target: Notifier, follow_ups: FollowUps, say: Callable[[str], None] = lambda line: None) -> None:
        self._target, self._follow_ups, self._say = target, follow_ups, say
        self._lock = Lock()
        self._failing = self._losing = False
        self._owed = self.lost = 0

    def notify(self, verdicts: pa.RecordBatch, now: float) -> None:
        """Tell of ``verdicts`` soon; ``now``: seconds since 1970, which is what will be told."""
        scores = (pc.max(verdicts.column(name)).as_py() or 0.0 for name in ("score", "session_score"))
        self._hand(verdicts, now, level_of(max(scores)), 0)

    def _hand(self, verdicts: pa.RecordBatch, now: float, level: str, tries: int) -> None:
        work = partial(self._tell, verdicts, now, level, tries)
        lost = partial(self._lost, verdicts.num_rows)
        one = FollowUp("notify", work, level, WITHIN_S[level], COST_S, aside=True, owed=True, dropped=lost)
        self._follow_ups.hand(one, PAUSES_S[tries - 1] if tries else 0.0)

    def _tell(self, verdicts: pa.RecordBatch, now: float, level: str, tries: int) -> None:
        rows = verdicts.num_rows
        try:
            self._target.notify(verdicts, now)
        except OSError as error:
            again = self._failed(tries)
            if again:
                self._hand(verdicts, now, level, tries + 1)
                self._once("_failing", f"notify: {counted(rows, 'row')} cannot be told of yet: {error}")
            else:
                self._lost(rows)
                self._once("_losing", f"notify: {counted(rows, 'row')} lost, and maybe more: {error}")
            return
        with self._lock:
            self._owed -= bool(tries)
            self._failing = self._losing = False

    def _failed(self, tries: int) -> bool:
        # Whether to try again.
        with self._lock:
            self._owed -= bool(tries)
            again = tries < len(PAUSES_S) and self._owed < MOST_OWED and not self._follow_ups.closing
            self._owed += again
        return again

    def _once(self, what: str, line: str) -> None:
        with self._lock:
            known = getattr(self, what)
            setattr(self, what, True)
        if not known:
            self._say(line)

    def _lost(self, rows: int) -> None:
        with self._lock:
            self.lost += rows
