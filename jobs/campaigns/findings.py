"""What a search for campaigns found, as plain values: all that its page shows and ``--json`` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from aimds.detect.patterns import Pattern
from aimds.jobs.plain import plain
from aimds.jobs.scan.summary import Skip


@dataclass(frozen=True, slots=True)
class Draft:
    """Patterns drafted for a family, not installed anywhere: they find ``reached`` of ``tried`` of its texts, and none
    of ``spared`` texts of the history that were allowed."""

    patterns: list[Pattern]
    reached: int
    tried: int
    spared: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One text of a family; ``text`` is None where it could not be searched for personal data to mask."""

    text: str | None
    rows: int
    closeness: float


@dataclass(frozen=True, slots=True)
class Family:
    """One family. ``texts`` different ones, ``wordings`` that are no near copies of each other · ``tenants``,
    ``sessions``, ``users``: how many, 0 where rows carry none · ``top_tenants``: (name, rows) · ``per_day``: rows a day
    from first to last seen, None within one hour · ``counts``: rows in each stretch of the timeline · ``spread`` in
    [0, 1]: mean distance of its rows to the medoid · ``medoid``: the text most like the others."""

    id: str
    threat: str
    rows: int
    texts: int
    wordings: int
    tenants: int
    sessions: int
    users: int
    top_tenants: list[tuple[str, int]]
    threats: dict[str, int]
    actions: dict[str, int]
    channels: dict[str, int]
    first: datetime | None
    last: datetime | None
    per_day: float | None
    counts: list[int]
    spread: float
    medoid: str | None
    samples: list[Sample]
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Equal stretches of time; ``candidates`` rows in each. ``outside``: rows in families far from all others."""

    starts: list[datetime]
    labels: list[str]
    ticks: list[tuple[int, str, bool]]
    width: str
    candidates: list[int]


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures. ``families`` are the first of ``n_families``, most rows first; ``likeness[i][j]`` that of their
    medoids.

    ``texts`` different ones were compared; ``left_out`` candidates have a text beyond the bound on how many are;
    ``notes`` say which files of the inputs were left out for their kind.
    """

    files: int
    rows: int
    candidates: int
    texts: int
    left_out: int
    in_families: int
    n_families: int
    tenants: int
    min_rows: int
    least_tenants: int
    cut: float
    chosen_by: str
    families: list[Family]
    likeness: list[list[float]] = field(repr=False)
    timeline: Timeline | None
    skipped: list[Skip]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO 8601."""
        found: dict[str, Any] = plain(asdict(self))
        return found
