"""What does not stay: texts after a while, and everything that says who it was about when a subject is erased."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aimds.errors import ConfigError
from aimds.record.subject import Subject
from aimds.respond.review import rows
from aimds.respond.review.items import micros
from aimds.respond.review.store import Store

ERASED = "erased"


def remove_texts(store: Store, before: datetime, now: datetime, who: str) -> int:
    """Remove the texts of items that were added before ``before``, decided or not, and of the turns kept beside them;
    the number of items. What was decided stays."""
    with store.change() as base:
        found = base.execute("SELECT id FROM items WHERE added_at < ? AND text IS NOT NULL", (micros(before),))
        for row in found:
            base.execute("UPDATE items SET text = NULL, text_removed = 1 WHERE id = ?", (row["id"],))
            rows.note(base, row["id"], now, who, "text removed")
        base.execute("DELETE FROM turns WHERE added_at < ?", (micros(before),))
    # Also where nothing was left to remove: the last time, another process may have been in the way.
    store.scrub()
    return len(found)


def erase(store: Store, subject: Subject, now: datetime, who: str) -> int:
    """Remove what is about ``subject``: texts, ids of requests and sessions, tenant, evidence, what reviewers wrote;
    the number of items. An empty item stays with its label and its times, so that figures and history stay true, and
    the same verdict is not queued again."""
    condition, values = _condition(subject)
    with store.change() as base:
        found = base.execute(f"SELECT id FROM items WHERE {condition}", values)
        for row in found:
            item = row["id"]
            base.execute(
                "UPDATE items SET text = NULL, text_removed = 1, request_id = ?, session_id = NULL, turn = NULL, "
                "tenant = NULL, ts = NULL, detail = '{}', reason = CASE WHEN reason IS NULL THEN NULL ELSE ? END "
                "WHERE id = ?",
                (f"{ERASED}-{item}", ERASED, item),
            )
            base.execute("UPDATE history SET reason = ? WHERE item = ? AND reason IS NOT NULL", (ERASED, item))
            base.execute(
                "UPDATE proposals SET state = 'withdrawn', tenant = NULL, sha256 = NULL, reason = ?, answered_by = ?, "
                "answered_at = ?, answer = ? WHERE item = ?",
                (ERASED, who, micros(now), ERASED, item),
            )
            rows.note(base, item, now, who, ERASED)
        base.execute(f"DELETE FROM turns WHERE {condition}", values)
    # Also where nothing was left to remove: the last time, another process may have been in the way.
    store.scrub()
    return len(found)


def tenants(store: Store, subject: Subject) -> dict[str, int]:
    """How many items, and turns kept beside them, are about ``subject``, by tenant; ``""``: by none."""
    condition, values = _condition(subject)
    out: dict[str, int] = {}
    with store.change() as base:
        for table in ("items", "turns"):
            asked = f"SELECT coalesce(tenant, '') AS name, count(*) AS n FROM {table} WHERE {condition} GROUP BY name"
            for row in base.execute(asked, values):
                out[row["name"]] = out.get(row["name"], 0) + row["n"]
    return out


def _condition(subject: Subject) -> tuple[str, list[Any]]:
    given = {"tenant": subject.tenant, "session_id": subject.session, "request_id": subject.request}
    # Left out, an identity alone would stand for every item.
    if subject.identity is not None:
        raise ConfigError("subject.identity", subject.identity, "a tenant, session or request: items name no identity")
    chosen = {name: value for name, value in given.items() if value is not None}
    tests = [f"coalesce({name}, '') = ?" if value == "" else f"{name} = ?" for name, value in chosen.items()]
    return " AND ".join(tests), list(chosen.values())
