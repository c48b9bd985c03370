"""What a hunt found, as plain values: all that its page shows and `aimds hunt --json` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from aimds.jobs.plain import plain
from aimds.jobs.scan.summary import Skip


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with a hit that share a name, and when they were; ``tenant`` is that of a session or user."""

    name: str
    rows: int
    first: datetime | None
    last: datetime | None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One of the patterns or signatures that were sought; ``threshold`` is None for a signature."""

    id: str
    threat: str
    text: str
    threshold: float | None
    rows: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Holders:
    """Sessions, tenants or users hit. ``count`` is a floor where it is not ``exact``; ``top`` has most rows first."""

    count: int = 0
    exact: bool = True
    top: list[Group] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """One hit. ``excerpt`` begins at byte ``excerpt_start`` of the text; None where excerpts are off."""

    file: str
    row: int
    request_id: str
    session_id: str | None
    turn: int | None
    tenant: str | None
    ts: datetime | None
    channel: str
    pattern_id: str
    view: str | None
    start: int
    end: int
    score: float
    excerpt: str | None
    excerpt_start: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows with a time in equal stretches; ``rows`` and ``hit`` have ``len(starts)`` entries. ``outside``: rows with a
    hit whose time lies far from all others."""

    starts: list[datetime]
    labels: list[str]
    ticks: list[tuple[int, str, bool]]
    width: str
    rows: list[int]
    hit: list[int]
    outside: int


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures of a hunt. ``first`` and ``last`` are those of the rows hit, ``begins`` and ``ends`` of all rows.

    ``unjudged`` rows could not be searched: no text, too long a text, no readable record, or it broke a stage.
    ``partial`` rows hold more encoded parts than are decoded. ``skipped`` rows could not be read.
    """

    files: list[tuple[str, int]]
    """(input, hits)."""
    rows: int
    rows_hit: int
    hits: int
    unjudged: int
    partial: int
    first: datetime | None
    last: datetime | None
    begins: datetime | None
    ends: datetime | None
    decoded: bool
    patterns: list[Found]
    sessions: Holders
    tenants: Holders
    users: Holders | None
    """None where no column was named for them."""
    channels: dict[str, int]
    """Rows hit by channel."""
    views: dict[str, int]
    """Hits by what the stretch was decoded from; ``text`` is the text as written."""
    timeline: Timeline | None
    samples: list[Sample]
    skipped: list[Skip]

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO 8601."""
        found: dict[str, Any] = plain(asdict(self))
        return found
