"""Review by people: a queue of verdicts in a file or a database, decided with reasons, kept with its history."""

from __future__ import annotations

from aimds.respond.review.filter import Filter
from aimds.respond.review.items import LABELS, Case, Event, Item, Reviewer, ReviewError, Turn
from aimds.respond.review.queue import Added, Counts, Queue
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
