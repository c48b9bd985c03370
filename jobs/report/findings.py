"""What a set of verdicts says, as plain values: all that `aimds report` shows and `aimds report --json` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from aimds.jobs.plain import plain
from aimds.jobs.report.samples import Sample
from aimds.jobs.report.session_risk import SessionRisk


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a value, split by action (every known action present, unknown ones after them)."""

    name: str
    rows: int
    actions: dict[str, int]

    @property
    def caught(self) -> int:
        """Rows whose action is anything but allow."""
        return self.rows - self.actions.get("allow", 0)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One signature, pattern or head that gave evidence, in how many caught rows, and under which threat types."""

    detector: str
    pattern_id: str
    rows: int
    threats: dict[str, int]
    """Rows by threat type of the verdict, most frequent first."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of ``score`` in equal bins over [0, 1]; ``caught`` counts the rows not allowed."""

    all: list[int]
    caught: list[int]
    missing: int
    """Rows without a score."""
    lowest: dict[str, float]
    """Lowest score of a row with that action (flag, block): where the thresholds lay in these verdicts."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows per time bin; every list of counts has ``len(starts)`` entries."""

    starts: list[datetime]
    labels: list[str]
    ticks: list[tuple[int, str, bool]]
    """Bins to label: (index, text, shown on narrow screens too)."""
    width: str
    actions: dict[str, list[int]]
    threats: dict[str, list[int]]
    """Rows not allowed, by threat type."""
    untimed: int
    outside: int
    """Rows whose time lies far from all others, or outside the years 1 to 9999."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures of a report. Groups come with the most caught rows first."""

    files: list[tuple[str, int]]
    """(file name, rows)."""
    rows: int
    first: datetime | None
    last: datetime | None
    actions: dict[str, int]
    session_actions: dict[str, int]
    statuses: dict[str, int]
    sessions: int
    sessions_exact: bool
    threats: list[Group]
    channels: list[Group]
    tenants: list[Group]
    n_tenants: int
    violations: list[Group]
    """Rows at which a session broke a policy, by policy: also sessions that a gateway held."""
    timeline: Timeline | None
    histogram: Histogram
    patterns: list[Pattern]
    n_patterns: int
    kinds: dict[str, int]
    """Rows per kind of personal data or secret found, allowed rows included."""
    errors: list[tuple[str, str, int]]
    """(status, message, rows), most frequent first."""
    risks: list[SessionRisk]
    samples: list[Sample]
    versions: list[tuple[dict[str, str], int]]

    @property
    def caught(self) -> int:
        """Rows whose action is anything but allow."""
        return self.rows - self.actions.get("allow", 0)

    @property
    def unjudged(self) -> int:
        """Rows with status partial or error."""
        return self.rows - self.statuses.get("ok", 0)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO 8601."""
        found: dict[str, Any] = plain(asdict(self))
        return found | {"caught": self.caught, "unjudged": self.unjudged}
