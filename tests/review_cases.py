"""Cases, people and times for the tests of review."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import verdict_factory

from aimds.respond.review import Case, Queue, Reviewer, Turn
from aimds.respond.review.items import cases, turns

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ADA, BEN, EVE = Reviewer("ada"), Reviewer("ben"), Reviewer("eve", "globex-test")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def case(i: int = 0, **changed: Any) -> Case:
    """One escalated verdict as a case."""
    row = verdict_factory.attack(i, action="escalate", **changed)
    table = verdict_factory.table([row])
    return cases(table, table.column("text"))[0]


def turn(i: int = 0, **changed: Any) -> Turn:
    """One allowed row of a session."""
    table = verdict_factory.table([verdict_factory.row(i, **changed)])
    return turns(table, table.column("text"))[0]


def queue(where: Path | str, *found: Case, at: datetime = START) -> Queue:
    """A queue in ``where`` that holds ``found``."""
    made = Queue(where, create=True)
    made.add(found, (), at, "scan")
    return made
