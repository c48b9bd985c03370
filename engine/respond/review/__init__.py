"""Review by people: a queue of verdicts in one SQLite file, decided with reasons, kept with its history."""

from __future__ import annotations

from aimds.respond.review.items import LABELS, Case, Event, Item, Reviewer, ReviewError, Turn
from aimds.respond.review.queue import Added, Counts, Filter, Queue
from aimds.respond.review.store import ReviewConfig

__all__ = [
    "LABELS",
    "Added",
    "Case",
    "Counts",
    "Event",
    "Filter",
    "Item",
    "Queue",
    "ReviewConfig",
    "ReviewError",
    "Reviewer",
    "Turn",
]
