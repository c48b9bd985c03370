"""Rows of the database as items, and the steps that every change takes: look an item up, note what was done."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from aimds.respond.review.items import BANDS, Case, Event, Item, Reviewer, ReviewError, Turn, micros, moment_of
from aimds.respond.review.store import Base, Row

_IN_CASE = ("request_id", "session_id", "turn", "tenant", "ts", "channel", "text", "action", "threat_type", "score")


def key_of(secret: bytes, case: Case | Turn) -> bytes:
    """What makes two cases the same one: tenant, request, session, turn, channel and text; with a source, its time too.

    A request id alone is chosen by the client: two tenants, or two requests of a careless client, may share it. Keyed,
    so that the key of a text that was removed says nothing of it to who has not got this file.
    """
    text = b"" if case.text is None else case.text
    parts: tuple[str | int | None, ...]
    parts = (case.tenant, case.request_id, case.session_id, case.turn, case.channel)
    if case.source is not None:
        parts += (case.source, case.ts)
    head = json.dumps([*parts, case.text is None]).encode()
    return hmac.digest(secret, len(head).to_bytes(8, "big") + head + text, hashlib.sha256)


def scope(who: Reviewer) -> tuple[str, list[Any]]:
    """The condition that keeps ``who`` to the tenant that may be seen, and its values."""
    return ("1 = 1", []) if who.tenant is None else ("tenant = ?", [who.tenant])


def same(**values: Any) -> tuple[str, list[Any]]:
    """The condition that columns have ``values``, None being one too, and what it compares with."""
    parts = [f"{name} IS NULL" if value is None else f"{name} = ?" for name, value in values.items()]
    return " AND ".join(parts), [value for value in values.values() if value is not None]


def found(base: Base, who: Reviewer, item: int) -> Item:
    """The item with the id ``item``.

    Raises:
        ReviewError: missing, also where it belongs to a tenant that ``who`` may not see.
    """
    if not 0 < item < 1 << 63:
        raise ReviewError("missing", f"item {item}", "there is none with this id")
    condition, values = scope(who)
    row = base.one(f"SELECT * FROM items WHERE id = ? AND {condition}", [item, *values])
    if row is None:
        raise ReviewError("missing", f"item {item}", "there is none with this id")
    return item_of(row)


def item_of(row: Row) -> Item:
    """``row`` of the table items."""
    case = Case(
        **{name: row[name] for name in (*_IN_CASE, "p_value", "severity")},
        detail=json.loads(row["detail"]),
    )
    return Item(
        id=row["id"],
        case=case,
        band=BANDS[row["band"]],
        added_at=moment_of(row["added_at"]),
        due_at=moment_of(row["due_at"]),
        state=row["state"],
        claimed_by=row["claimed_by"],
        claimed_until=None if row["claimed_until"] is None else moment_of(row["claimed_until"]),
        label=row["label"],
        reviewer=row["reviewer"],
        reason=row["reason"],
        decided_at=None if row["decided_at"] is None else moment_of(row["decided_at"]),
        text_removed=bool(row["text_removed"]),
    )


def turn_of(row: Row) -> Turn:
    """``row`` of the table turns, or of items."""
    names = (*_IN_CASE[:6], "text", "action", "threat_type", "score")
    return Turn(**{name: row[name] for name in names})


def note(
    base: Base,
    item: int,
    now: datetime,
    who: str,
    what: str,
    label: str | None = None,
    reason: str | None = None,
) -> None:
    """Add a step to the history of ``item``."""
    values = (item, micros(now), who, what, label, reason)
    base.execute("INSERT INTO history (item, at, who, what, label, reason) VALUES (?, ?, ?, ?, ?, ?)", values)


def events(base: Base, item: int) -> list[Event]:
    """The history of ``item``, oldest first."""
    rows = base.execute("SELECT at, who, what, label, reason FROM history WHERE item = ? ORDER BY id", (item,))
    return [Event(moment_of(row["at"]), row["who"], row["what"], row["label"], row["reason"]) for row in rows]
