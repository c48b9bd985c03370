"""What a replay found, as plain values: all that the terminal, the page and `--json` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.report.samples import Sample
from aimds.jobs.report.timeline import Range

UNCHANGED, BLOCKED, RELEASED, OTHERWISE = range(4)
KINDS = ("unchanged", "newly_blocked", "newly_released", "otherwise_changed")
"""Blocked: what was forwarded is now refused or held (block, escalate); released: the other way round."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """``rows`` out of ``of``, and the bounds of their share in traffic of which these rows are a random sample."""

    rows: int
    of: int
    low: float
    high: float

    @classmethod
    def count(cls, rows: int, of: int) -> Share:
        """With the 95% interval of Clopper and Pearson; 0 to 1 where there are no rows."""
        return cls(rows, of, *(clopper_pearson(rows, of, CONFIDENCE) if of else (0.0, 1.0)))

    @property
    def share(self) -> float:
        """``rows`` / ``of``."""
        return self.rows / self.of if self.of else 0.0

    @property
    def bounds(self) -> tuple[str, str]:
        """``low`` and ``high`` in words: 0.12 %."""
        return _percent(self.low), _percent(self.high)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"rows": self.rows, "of": self.of, "share": self.share, "low": self.low, "high": self.high}


def _percent(value: float) -> str:
    if value in (0.0, 1.0):
        return f"{100 * value:.0f} %"
    return f"{100 * value:.2g} %" if value < 0.095 else f"{100 * value:.1f} %"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a value, by KINDS."""

    name: str
    kinds: tuple[int, int, int, int]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.kinds)

    @property
    def changed(self) -> int:
        """Rows for which something changes."""
        return self.rows - self.kinds[UNCHANGED]

    def share(self, kind: int) -> Share:
        """Rows of ``kind`` out of all."""
        return Share.count(self.kinds[kind], self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"name": self.name, "rows": self.rows, **{KINDS[kind]: self.share(kind).as_dict() for kind in (1, 2, 3)}}


@dataclass(frozen=True, slots=True)
class Change:
    """One row that changes: what it was, with its text where that is at hand, and what ``action`` it gets, and why."""

    kind: int
    sample: Sample
    action: str
    session_action: tuple[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows per stretch of time, by KINDS."""

    range: Range
    kinds: tuple[list[int], ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures of a replay. ``transitions``: rows by (action recorded, action now); ``by_p``: rows by KINDS in
    classes of -log10 of the p-value, a quarter each, the last one open."""

    policy: str
    files: list[tuple[str, int]]
    recorded_policies: dict[str, int]
    whole: Group
    transitions: dict[tuple[str, str], int]
    session_transitions: dict[tuple[str, str], int]
    tenants: list[Group]
    threats: list[Group]
    channels: list[Group]
    by_p: tuple[list[int], ...]
    timeline: Timeline | None
    changes: list[Change]
    notes: list[str]

    @property
    def rows(self) -> int:
        """Rows replayed."""
        return self.whole.rows

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO 8601."""
        return {
            "policy": self.policy,
            "recorded_policies": self.recorded_policies,
            "files": [{"name": name, "rows": rows} for name, rows in self.files],
            "rows": self.rows,
            "unchanged": self.whole.kinds[UNCHANGED],
            **{KINDS[kind]: self.whole.share(kind).as_dict() for kind in (1, 2, 3)},
            "transitions": _pairs(self.transitions),
            "session_transitions": _pairs(self.session_transitions),
            "tenants": [group.as_dict() for group in self.tenants],
            "threat_types": [group.as_dict() for group in self.threats],
            "channels": [group.as_dict() for group in self.channels],
            "samples": [_change(change) for change in self.changes],
            "notes": self.notes,
            "confidence": CONFIDENCE,
        }


def _pairs(counts: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [{"from": before, "to": after, "rows": n} for (before, after), n in counts.items()]


def _change(change: Change) -> dict[str, Any]:
    one = change.sample
    text = None if one.pieces is None else [{"text": p.text, "kind": p.kind, "label": p.label} for p in one.pieces]
    return {
        "kind": KINDS[change.kind],
        "file": one.file,
        "row": one.row,
        "request_id": one.request_id,
        "session_id": one.session_id,
        "tenant": one.tenant,
        "ts": one.ts.isoformat() if one.ts else None,
        "channel": one.channel,
        "threat_type": one.threat_type,
        "p_value": one.p_value,
        "score": one.score,
        "from": one.action,
        "to": change.action,
        "reason": change.reason,
        "session_from": change.session_action[0],
        "session_to": change.session_action[1],
        "evidence": [str(item["pattern_id"]) for item in one.evidence],
        "excerpt": text,
        "missing": one.missing,
    }
