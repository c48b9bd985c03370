"""Rows of FEEDBACK for tests: every value has a default."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa

from aimds.schema import FEEDBACK

DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def row(number: int, text: str | None = None, label: str = "attack", **changes: Any) -> dict[str, Any]:
    """Decision ``number``, made that many minutes into the first day, about a request and a session of its own."""
    return {
        "request_id": f"r{number}",
        "session_id": f"s{number}",
        "tenant": "acme",
        "ts": DAY,
        "channel": "user",
        "text": f"text {number}" if text is None else text,
        "action": "allow",
        "threat_type": "direct_injection",
        "score": 0.5,
        "p_value": 0.5,
        "label": label,
        "reviewer": "first reviewer",
        "reason": "seen",
        "decided_at": DAY + datetime.timedelta(minutes=number),
    } | changes


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """``rows`` as FEEDBACK."""
    return pa.Table.from_pylist(rows, schema=FEEDBACK)
