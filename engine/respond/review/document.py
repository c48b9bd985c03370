"""Items and what belongs to them as JSON values, for the terminal and the console alike."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from aimds.moments import YEARS_S
from aimds.printable import visible
from aimds.respond.review.allow import Proposal
from aimds.respond.review.items import Event, Item, Turn, moment_of
from aimds.respond.review.queue import Counts

EXCERPT = 160


def time(moment: datetime | None) -> str | None:
    """``moment`` in ISO 8601."""
    return None if moment is None else moment.isoformat()


def ts(micros: int | None) -> str | None:
    """Microseconds since 1970 in ISO 8601; None also for what no calendar holds."""
    if micros is None or not YEARS_S[0] <= micros // 1_000_000 < YEARS_S[1]:
        return None
    return moment_of(micros).isoformat()


def words(raw: bytes | None) -> str | None:
    """The text in ``raw``; what is no UTF-8 becomes U+FFFD."""
    return None if raw is None else raw.decode("utf-8", "replace")


def _excerpt(raw: bytes | None) -> str | None:
    """The beginning of ``raw`` on one line, what would not show written out."""
    return None if raw is None else visible(raw[: 4 * EXCERPT].decode("utf-8", "replace"), EXCERPT)


def item(found: Item, now: datetime, *, whole: bool = False) -> dict[str, Any]:
    """``found`` as it stands at ``now``: with the beginning of its text, or with ``whole`` text and detail."""
    case = found.case
    out: dict[str, Any] = {
        "id": found.id,
        "state": found.state,
        "severity_band": found.band,
        "added_at": time(found.added_at),
        "due_at": time(found.due_at),
        "overdue": found.is_overdue(now),
        "claimed_by": found.holder(now),
        "claimed_until": time(found.claimed_until) if found.holder(now) else None,
        "label": found.label,
        "reviewer": found.reviewer,
        "reason": found.reason,
        "decided_at": time(found.decided_at),
        "text_removed": found.text_removed,
        "request_id": case.request_id,
        "session_id": case.session_id,
        "turn": case.turn,
        "tenant": case.tenant,
        "ts": ts(case.ts),
        "channel": case.channel,
        "action": case.action,
        "threat_type": case.threat_type,
        "score": case.score,
        "p_value": case.p_value,
        "severity": case.severity,
    }
    if whole:
        return out | {"text": words(case.text), "detail": dict(case.detail)}
    return out | {"excerpt": _excerpt(case.text)}


def event(found: Event) -> dict[str, Any]:
    """A step in the history."""
    return asdict(found) | {"at": time(found.at)}


def turn(found: Turn) -> dict[str, Any]:
    """A turn of a session, with the beginning of its text."""
    return asdict(found) | {"ts": ts(found.ts), "text": _excerpt(found.text)}


def proposal(found: Proposal) -> dict[str, Any]:
    """A proposal for the allowlist."""
    times = {"proposed_at": time(found.proposed_at), "answered_at": time(found.answered_at)}
    return asdict(found) | {"expires": found.expires.isoformat(), **times}


def counts(found: Counts) -> dict[str, Any]:
    """How the queue stands."""
    return asdict(found)
