"""The queue: items are added once, claimed for a while, decided with a reason, and undone with another one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError
from aimds.respond.review import rows, store
from aimds.respond.review.filter import Filter, condition_of
from aimds.respond.review.items import (
    BANDS,
    LABELS,
    Case,
    Event,
    Item,
    Reviewer,
    ReviewError,
    Turn,
    band,
    micros,
    reason_of,
)
from aimds.respond.review.store import ReviewConfig, Row

MAX_TURNS = 500
"""Turns of a session that are given at most, the latest of them."""


@dataclass(frozen=True, slots=True)
class Added:
    """``ids`` of the new items, how many of them have no text, and how many cases were there already."""

    ids: tuple[int, ...]
    known: int
    without_text: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How the queue stands. ``open`` includes claimed and overdue ones; ``bands`` open ones per band; ``version`` grows
    with each change."""

    open: int
    claimed: int
    mine: int
    overdue: int
    attack: int
    benign: int
    proposals: int
    bands: dict[str, int]
    version: int


class Queue:
    """The review queue in ``where``: a file, or the URL of a PostgreSQL database.

    Args:
        create: make the file, or the tables, where they are missing.

    Raises:
        DataError: it cannot be used.
        ConfigError: the URL cannot be used, or psycopg is not installed.
    """

    def __init__(self, where: Path | str, config: ReviewConfig | None = None, *, create: bool = False) -> None:
        self.config = config or ReviewConfig()
        self.store = store.at(where, create=create)
        self._key = self.store.setting("key")

    def add(self, cases: Iterable[Case], turns: Iterable[Turn], now: datetime, who: str) -> Added:
        """Queue ``cases``, each once for ever, and keep ``turns`` of their sessions beside them."""
        new, known, bare = [], 0, 0
        with self.store.change() as base:
            for case in cases:
                level = band(case.severity)
                due = micros(now + self.config.sla[level])
                key = rows.key_of(self._key, case)
                if base.one("SELECT id FROM items WHERE key = ?", (key,)) is not None:
                    known += 1
                    continue
                item = base.insert(_ADD, (key, *_case(case), BANDS.index(level), micros(now), due))
                new.append(item)
                bare += case.text is None
                rows.note(base, item, now, who, "added")
            for turn in turns:
                base.execute(_ADD_TURN, (rows.key_of(self._key, turn), *_turn(turn), micros(now)))
        return Added(tuple(new), known, bare)

    def get(self, who: Reviewer, item: int) -> Item:
        """The item with the id ``item``.

        Raises:
            ReviewError: missing.
        """
        with self.store.read() as base:
            return rows.found(base, who, item)

    def history(self, who: Reviewer, item: int) -> list[Event]:
        """What was done with ``item``, oldest first.

        Raises:
            ReviewError: missing.
        """
        with self.store.read() as base:
            rows.found(base, who, item)
            return rows.events(base, item)

    def session(self, who: Reviewer, item: int) -> list[Turn]:
        """The turns of the session of ``item`` that the queue knows, in order; empty where it has none.

        Raises:
            ReviewError: missing.
        """
        with self.store.read() as base:
            case = rows.found(base, who, item).case
            if case.session_id is None:
                return []
            names = "request_id, tenant, session_id, turn, ts, channel, text, action, threat_type, score"
            condition, values = rows.same(session_id=case.session_id, tenant=case.tenant)
            # UNION takes a row once that is both an item and a turn beside it.
            both = f"SELECT {names} FROM items WHERE {condition} UNION SELECT {names} FROM turns WHERE {condition}"
            latest = f"SELECT * FROM ({both}) AS known ORDER BY turn DESC NULLS LAST, ts DESC NULLS LAST LIMIT ?"
            listed = base.execute(
                f"SELECT * FROM ({latest}) AS latest ORDER BY turn NULLS FIRST, ts NULLS FIRST, request_id",
                (*values, *values, MAX_TURNS),
            )
            return [rows.turn_of(row) for row in listed]

    def page(
        self, who: Reviewer, now: datetime, wanted: Filter | None = None, *, limit: int = 50, skip: int = 0
    ) -> list[Item]:
        """Items that fit ``wanted``: open ones by the time they are due, then decided ones, the latest first."""
        order = "state = 'decided', CASE state WHEN 'open' THEN due_at ELSE -decided_at END, id"
        with self.store.read() as base:
            condition, values = condition_of(base, who, now, wanted or Filter())
            query = f"SELECT * FROM items WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
            return [rows.item_of(row) for row in base.execute(query, [*values, limit, skip])]

    def matching(self, who: Reviewer, now: datetime, wanted: Filter) -> int:
        """How many items fit ``wanted``."""
        with self.store.read() as base:
            condition, values = condition_of(base, who, now, wanted)
            return _number(base.one(f"SELECT count(*) AS n FROM items WHERE {condition}", values))

    def counts(self, who: Reviewer, now: datetime) -> Counts:
        """How the part of the queue stands that ``who`` sees."""
        condition, values = rows.scope(who)
        at = micros(now)
        with self.store.read() as base:
            held = "claimed_until > ?"
            tests = {"claimed": held, "mine": f"{held} AND claimed_by = ?", "overdue": "due_at <= ?"}
            sums = ", ".join(f"count(CASE WHEN {test} THEN 1 END) AS {name}" for name, test in tests.items())
            total = base.one(
                f"SELECT {sums} FROM items WHERE state = 'open' AND {condition}", [at, at, who.name, at, *values]
            )
            assert total is not None
            bands = base.execute(
                f"SELECT band, count(*) AS n FROM items WHERE state = 'open' AND {condition} GROUP BY band", values
            )
            labels = base.execute(
                f"SELECT label, count(*) AS n FROM items WHERE state = 'decided' AND {condition} GROUP BY label", values
            )
            waiting = base.one(f"SELECT count(*) AS n FROM proposals WHERE state = 'open' AND {condition}", values)
            version = base.one("SELECT coalesce(max(id), 0) AS n FROM history")
        per_band = {row["band"]: row["n"] for row in bands}
        per_label = {row["label"]: row["n"] for row in labels}
        return Counts(
            open=sum(per_band.values()),
            claimed=total["claimed"],
            mine=total["mine"],
            overdue=total["overdue"],
            attack=per_label.get("attack", 0),
            benign=per_label.get("benign", 0),
            proposals=_number(waiting),
            bands={name: per_band.get(code, 0) for code, name in enumerate(BANDS)},
            version=_number(version),
        )

    def claim(self, who: Reviewer, now: datetime, item: int | None = None) -> Item | None:
        """Hold ``item`` for the lease, or the first one that is due and free; None where there is none to hold.

        Claiming what one holds already begins the lease anew.

        Raises:
            ReviewError: missing, taken, or decided already.
        """
        with self.store.change() as base:
            if item is None:
                condition, values = condition_of(base, who, now, Filter(free=True))
                first = base.one(f"SELECT id FROM items WHERE {condition} ORDER BY due_at, id LIMIT 1", values)
                if first is None:
                    return None
                item = int(first["id"])
            _free(rows.found(base, who, item), who, now)
            until = micros(now + self.config.lease)
            base.execute("UPDATE items SET claimed_by = ?, claimed_until = ? WHERE id = ?", (who.name, until, item))
            rows.note(base, item, now, who.name, "claimed")
            return rows.found(base, who, item)

    def release(self, who: Reviewer, item: int, now: datetime) -> Item:
        """Give ``item`` back.

        Raises:
            ReviewError: missing, or not held by ``who``.
        """
        with self.store.change() as base:
            if rows.found(base, who, item).holder(now) != who.name:
                raise ReviewError("state", f"item {item}", f"is not held by {who.name}")
            base.execute("UPDATE items SET claimed_by = NULL, claimed_until = NULL WHERE id = ?", (item,))
            rows.note(base, item, now, who.name, "released")
            return rows.found(base, who, item)

    def decide(self, who: Reviewer, item: int, label: str, reason: str, now: datetime) -> Item:
        """Say that ``item`` is an attack, or benign.

        Raises:
            ReviewError: missing, taken by somebody else, decided already, or no reason.
            ConfigError: ``label`` is none of LABELS.
        """
        if label not in LABELS:
            raise ConfigError("label", label, "one of " + ", ".join(LABELS))
        told = reason_of(reason, f"item {item}")
        with self.store.change() as base:
            _free(rows.found(base, who, item), who, now)
            base.execute(
                "UPDATE items SET state = 'decided', label = ?, reviewer = ?, reason = ?, decided_at = ?, "
                "claimed_by = NULL, claimed_until = NULL WHERE id = ?",
                (label, who.name, told, micros(now), item),
            )
            rows.note(base, item, now, who.name, "decided", label, told)
            return rows.found(base, who, item)

    def undo(self, who: Reviewer, item: int, reason: str, now: datetime) -> Item:
        """Take the decision of ``item`` back: it is open again, and what was to be let pass because of it is not.

        Raises:
            ReviewError: missing, not decided, or no reason.
        """
        told = reason_of(reason, f"item {item}")
        with self.store.change() as base:
            before = rows.found(base, who, item)
            if before.state != "decided":
                raise ReviewError("state", f"item {item}", "is not decided, there is nothing to undo")
            base.execute(
                "UPDATE items SET state = 'open', label = NULL, reviewer = NULL, reason = NULL, decided_at = NULL "
                "WHERE id = ?",
                (item,),
            )
            base.execute(
                "UPDATE proposals SET state = 'withdrawn', answered_by = ?, answered_at = ?, answer = ? "
                "WHERE item = ? AND state IN ('open', 'approved')",
                (who.name, micros(now), told, item),
            )
            rows.note(base, item, now, who.name, "undone", before.label, told)
            return rows.found(base, who, item)

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def _number(row: Row | None) -> int:
    assert row is not None
    return int(row["n"])


def _free(item: Item, who: Reviewer, now: datetime) -> None:
    if item.state == "decided":
        raise ReviewError("state", f"item {item.id}", f"is decided already: {item.label}, by {item.reviewer}")
    holder = item.holder(now)
    if holder is not None and holder != who.name:
        raise ReviewError("taken", f"item {item.id}", f"is held by {holder} until {item.claimed_until:%H:%M} UTC")


_CASE = (
    *("request_id", "session_id", "turn", "tenant", "ts", "channel", "text", "action", "threat_type"),
    *("score", "p_value", "severity"),
)
_TURN = ("tenant", "session_id", "turn", "request_id", "ts", "channel", "action", "threat_type", "score", "text")
_ADD = (
    f"INSERT INTO items (key, {', '.join(_CASE)}, detail, band, added_at, due_at) "
    f"VALUES ({', '.join('?' * (len(_CASE) + 5))})"
)
_ADD_TURN = (
    f"INSERT INTO turns (key, {', '.join(_TURN)}, added_at) VALUES ({', '.join('?' * (len(_TURN) + 2))}) "
    "ON CONFLICT (key) DO NOTHING"
)


def _case(case: Case) -> Sequence[Any]:
    return (*_plain(case, _CASE), json.dumps(dict(case.detail), ensure_ascii=True))


def _turn(turn: Turn) -> Sequence[Any]:
    return _plain(turn, _TURN)


def _plain(found: Case | Turn, names: Sequence[str]) -> Sequence[Any]:
    values = (getattr(found, name) for name in names)
    # NaN is NULL in SQLite, and the greatest number in PostgreSQL.
    return [None if value != value else value for value in values]
