"""What stands in the review queue: cases taken from verdicts, the turns around them, who decides, what was done."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import AimdsError, SchemaError
from aimds.moments import outside_years
from aimds.schema import LABELS
from aimds.taxonomy import NOTABLE_P

BANDS = ("low", "medium", "high", "critical")
_BAND_ABOVE = (0.70, 0.85, 0.95)
UNJUDGED_BAND = "high"
"""A verdict without a severity is one that nobody could judge: it does not wait with the harmless ones."""
DETAIL = ("evidence", "spans", "violations", "status", "error", "session_score", "attractor", "session_action")
VERSIONS = ("profile", "backend", "engine_version", "model_version", "signature_version", "policy_version")
MAX_REASON = 2000
MAX_NAME = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
__all__ = ["BANDS", "LABELS", "Case", "Event", "Item", "ReviewError", "Reviewer", "Turn", "band", "cases", "turns"]


class ReviewError(AimdsError):
    """Something cannot be done with an item or a proposal. ``kind``: missing (or another tenant's), taken (by somebody
    else), state (already decided, not decided, …), same_person, reason (none, or too long), or name (of a reviewer)."""

    def __init__(self, kind: str, what: str, problem: str) -> None:
        self.kind, self.what, self.problem = kind, what, problem
        super().__init__(f"{what}: {problem}")


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who asks: a verified name, and the tenant whose items alone are seen; None: those of all.

    Raises:
        ReviewError: the name is empty, too long, or holds what does not show.
    """

    name: str
    tenant: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise ReviewError("name", "reviewer", f"{self.name[:40]!r} is no name of 1 to {MAX_NAME} characters")

    def is_same(self, name: str) -> bool:
        """Whether ``name`` is this person, however it is spelt."""
        return _spelt(self.name) == _spelt(name)


def _spelt(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


@dataclass(frozen=True, slots=True)
class Case:
    """A verdict for people to look at. ``text`` is the original, byte for byte; ``ts`` microseconds since 1970, UTC;
    ``detail`` the columns DETAIL and VERSIONS of the verdict, with offsets in bytes of ``text``; ``source`` the file
    whose row it is, where nothing else tells it from rows of others."""

    request_id: str
    session_id: str | None
    turn: int | None
    tenant: str | None
    ts: int | None
    channel: str
    text: bytes | None
    action: str
    threat_type: str
    score: float | None
    p_value: float | None
    severity: float | None
    detail: Mapping[str, Any]
    source: str | None = None

    @property
    def named_by_session(self) -> bool:
        """Whether only the session shows the threat type, as `aimds.verdicts.named_by_session` has it."""
        return self.threat_type == "multi_turn" and (self.p_value is None or self.p_value > NOTABLE_P)


@dataclass(frozen=True, slots=True)
class Turn:
    """One row of a session, as far as it is drawn beside a case; ``source`` as in `Case`."""

    tenant: str | None
    session_id: str
    turn: int | None
    request_id: str
    ts: int | None
    channel: str
    action: str
    threat_type: str
    score: float | None
    text: bytes | None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A case in the queue. ``state``: open or decided; ``claimed_by`` holds it until ``claimed_until``, and nobody does
    after that; ``label``, ``reviewer``, ``reason``, ``decided_at`` are set where it is decided."""

    id: int
    case: Case
    band: str
    added_at: datetime
    due_at: datetime
    state: str
    claimed_by: str | None
    claimed_until: datetime | None
    label: str | None
    reviewer: str | None
    reason: str | None
    decided_at: datetime | None
    text_removed: bool

    def holder(self, now: datetime) -> str | None:
        """Who holds it at ``now``."""
        if self.state != "open" or self.claimed_until is None or self.claimed_until <= now:
            return None
        return self.claimed_by

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have been decided."""
        return self.state == "open" and self.due_at <= now


@dataclass(frozen=True, slots=True)
class Event:
    """A step in the history of an item; these are only added."""

    at: datetime
    who: str
    what: str
    label: str | None
    reason: str | None


def micros(moment: datetime) -> int:
    """``moment`` in microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(value: int) -> datetime:
    """The opposite of `micros`."""
    return EPOCH + timedelta(microseconds=value)


def band(severity: float | None) -> str:
    """One of BANDS: above 0.95 critical, above 0.85 high, above 0.70 medium, else low; UNJUDGED_BAND without one."""
    if severity is None or severity != severity:
        return UNJUDGED_BAND
    return BANDS[bisect_left(_BAND_ABOVE, severity)]


def reason_of(reason: str, what: str) -> str:
    """``reason`` without blanks around it.

    Raises:
        ReviewError: it is empty or too long.
    """
    found = reason.strip()
    if not found:
        raise ReviewError("reason", what, "a reason is needed")
    if len(found) > MAX_REASON:
        raise ReviewError("reason", what, f"the reason has {len(found)} characters, at most {MAX_REASON} are kept")
    return found


def cases(verdicts: pa.RecordBatch | pa.Table, texts: pa.Array | pa.ChunkedArray | None) -> list[Case]:
    """All rows of ``verdicts`` as cases; ``texts`` their texts, any column of text or bytes. Columns of VERDICTS that
    are missing read as null.

    Raises:
        SchemaError: a column without which there is no case is missing.
    """
    columns = {name: _plain(verdicts, name) for name in (*_CASE, *DETAIL, *VERSIONS)}
    for name in _NEEDED:
        if name not in verdicts.schema.names:
            raise SchemaError(name, "missing; this is not a table of verdicts")
    raw = _raw(texts, verdicts.num_rows)
    out = []
    for i in range(verdicts.num_rows):
        detail = {name: _finite(columns[name][i]) for name in (*DETAIL, *VERSIONS)}
        out.append(Case(text=raw[i], detail=detail, **{name: columns[name][i] for name in _CASE}))
    return out


def turns(verdicts: pa.RecordBatch | pa.Table, texts: pa.Array | pa.ChunkedArray | None) -> list[Turn]:
    """The rows of ``verdicts`` that belong to a session."""
    columns = {name: _plain(verdicts, name) for name in _TURN}
    raw = _raw(texts, verdicts.num_rows)
    rows = ({name: columns[name][i] for name in _TURN} | {"text": raw[i]} for i in range(verdicts.num_rows))
    return [Turn(**row) for row in rows if row["session_id"] is not None]


_NEEDED = ("request_id", "channel", "action", "threat_type")
_CASE = (
    *("request_id", "session_id", "turn", "tenant", "ts", "channel", "action", "threat_type"),
    *("score", "p_value", "severity"),
)
_TURN = ("tenant", "session_id", "turn", "request_id", "ts", "channel", "action", "threat_type", "score")


def _plain(verdicts: pa.RecordBatch | pa.Table, name: str) -> Sequence[Any]:
    if name not in verdicts.schema.names:
        return [None] * verdicts.num_rows
    column = verdicts.column(name)
    if name != "ts" or not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    # Written by others, a time may lie outside what a datetime can hold.
    inside = pc.if_else(outside_years(column), None, column)
    return inside.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    """``value`` without the numbers that JSON has not."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return {name: _finite(one) for name, one in value.items()} if isinstance(value, dict) else value


def _raw(texts: pa.Array | pa.ChunkedArray | None, n: int) -> Sequence[bytes | None]:
    if texts is None:
        return [None] * n
    if pa.types.is_dictionary(texts.type):
        texts = pc.dictionary_decode(texts)
    return texts.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]
