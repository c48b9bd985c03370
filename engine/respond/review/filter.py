"""Which items are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aimds.errors import ConfigError
from aimds.respond.review import rows
from aimds.respond.review.items import BANDS, LABELS, Reviewer, micros
from aimds.respond.review.store import Base

STATES = ("open", "decided", "all")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items are asked for; None and False do not narrow. ``search`` is part of the text, or a whole id of a
    request or session; ``mine``: claimed or decided by who asks.

    Raises:
        ConfigError: a word that is none of the known ones.
    """

    state: str = "open"
    band: str | None = None
    tenant: str | None = None
    threat: str | None = None
    label: str | None = None
    search: str | None = None
    mine: bool = False
    free: bool = False
    overdue: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("state", self.state, STATES),
            ("severity", self.band, BANDS),
            ("label", self.label, LABELS),
        ):
            if value is not None and value not in known:
                raise ConfigError(name, value, "one of " + ", ".join(known))


def condition_of(base: Base, who: Reviewer, now: datetime, wanted: Filter) -> tuple[str, list[Any]]:
    """The condition of what ``who`` may see and ``wanted`` asks for at ``now``, and its values."""
    first, values = rows.scope(who)
    parts, at = [first], micros(now)
    if wanted.state != "all":
        parts.append("state = ?")
        values.append(wanted.state)
    if wanted.band is not None:
        parts.append("band = ?")
        values.append(BANDS.index(wanted.band))
    for name, value in (("tenant", wanted.tenant), ("threat_type", wanted.threat), ("label", wanted.label)):
        if value is not None:
            parts.append(f"{name} = ?")
            values.append(value)
    if wanted.search:
        parts.append(f"(request_id = ? OR session_id = ? OR {base.holds})")
        values += [wanted.search, wanted.search, wanted.search.encode("utf-8", "replace")]
    if wanted.mine:
        parts.append("(reviewer = ? OR (state = 'open' AND claimed_by = ? AND claimed_until > ?))")
        values += [who.name, who.name, at]
    if wanted.free:
        parts.append("(claimed_until IS NULL OR claimed_until <= ?)")
        values.append(at)
    if wanted.overdue:
        parts.append("state = 'open' AND due_at <= ?")
        values.append(at)
    return " AND ".join(parts), values
