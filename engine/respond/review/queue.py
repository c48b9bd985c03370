"""The queue: items are added once, claimed for a while, decided with a reason, and undone with another one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError
from aimds.respond.review import rows
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
from aimds.respond.review.store import ReviewConfig, Store

STATES = ("open", "decided", "all")
MAX_TURNS = 500
"""Turns of a session that are given at most, the latest of them."""


@dataclass(frozen=True, slots=True)
class Added:
    """``ids`` of the new items, and how many cases were there already."""

    ids: tuple[int, ...]
    known: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items are asked for; None and False do not narrow. ``search`` is part of the text, or a whole id of a
    request or session; ``mine``: claimed or decided by who asks.

    Raises:
        ConfigError: a word that is none of the known ones.
    """

    state: str = "open"
    band: str | None = None
    tenant: str | None = None
    threat: str | None = None
    label: str | None = None
    search: str | None = None
    mine: bool = False
    free: bool = False
    overdue: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("state", self.state, STATES),
            ("severity", self.band, BANDS),
            ("label", self.label, LABELS),
        ):
            if value is not None and value not in known:
                raise ConfigError(name, value, "one of " + ", ".join(known))


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
    """The review queue in the file ``path``.

    Args:
        create: make the file where it is missing.

    Raises:
        DataError: the file cannot be used.
    """

    def __init__(self, path: Path, config: ReviewConfig | None = None, *, create: bool = False) -> None:
        self.config = config or ReviewConfig()
        self.store = Store(path, create=create)
        self._key = bytes(self.store.setting("key"))

    def add(self, cases: Iterable[Case], turns: Iterable[Turn], now: datetime, who: str) -> Added:
        """Queue ``cases``, each once for ever, and keep ``turns`` of their sessions beside them."""
        new, known = [], 0
        with self.store.change() as base:
            for case in cases:
                level = band(case.severity)
                due = micros(now + self.config.sla[level])
                key = rows.key_of(self._key, case)
                if base.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None:
                    known += 1
                    continue
                item = base.execute(_ADD, (key, *_case(case), BANDS.index(level), micros(now), due)).lastrowid
                assert item is not None
                new.append(item)
                rows.note(base, item, now, who, "added")
            for turn in turns:
                base.execute(_ADD_TURN, (rows.key_of(self._key, turn), *_turn(turn), micros(now)))
        return Added(tuple(new), known)

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
            # UNION takes a row once that is both an item and a turn beside it.
            listed = base.execute(
                f"SELECT * FROM (SELECT {names} FROM items WHERE session_id = ?1 AND tenant IS ?2 UNION "
                f"SELECT {names} FROM turns WHERE session_id = ?1 AND tenant IS ?2 ORDER BY turn DESC, ts DESC "
                "LIMIT ?3) ORDER BY turn, ts, request_id",
                (case.session_id, case.tenant, MAX_TURNS),
            )
            return [rows.turn_of(row) for row in listed]

    def page(
        self, who: Reviewer, now: datetime, wanted: Filter | None = None, *, limit: int = 50, skip: int = 0
    ) -> list[Item]:
        """Items that fit ``wanted``: open ones by the time they are due, then decided ones, the latest first."""
        condition, values = _condition(who, now, wanted or Filter())
        order = "state = 'decided', CASE state WHEN 'open' THEN due_at ELSE -decided_at END, id"
        query = f"SELECT * FROM items WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
        with self.store.read() as base:
            return [rows.item_of(row) for row in base.execute(query, [*values, limit, skip])]

    def matching(self, who: Reviewer, now: datetime, wanted: Filter) -> int:
        """How many items fit ``wanted``."""
        condition, values = _condition(who, now, wanted)
        with self.store.read() as base:
            return int(base.execute(f"SELECT count(*) FROM items WHERE {condition}", values).fetchone()[0])

    def counts(self, who: Reviewer, now: datetime) -> Counts:
        """How the part of the queue stands that ``who`` sees."""
        condition, values = rows.scope(who)
        at = micros(now)
        with self.store.read() as base:
            held = "state = 'open' AND claimed_until > ?"
            sums = f"count(*), sum({held}), sum({held} AND claimed_by = ?), sum(due_at <= ?)"
            total = base.execute(
                f"SELECT {sums} FROM items WHERE state = 'open' AND {condition}", [at, at, who.name, at, *values]
            ).fetchone()
            bands = base.execute(
                f"SELECT band, count(*) FROM items WHERE state = 'open' AND {condition} GROUP BY band", values
            ).fetchall()
            labels = base.execute(
                f"SELECT label, count(*) FROM items WHERE state = 'decided' AND {condition} GROUP BY label", values
            ).fetchall()
            waiting = base.execute(
                f"SELECT count(*) FROM proposals WHERE state = 'open' AND {condition}", values
            ).fetchone()
            version = base.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()
        per_band, per_label = {row[0]: row[1] for row in bands}, {row[0]: row[1] for row in labels}
        waits, claimed, mine, overdue = (int(value or 0) for value in total)
        return Counts(
            open=waits,
            claimed=claimed,
            mine=mine,
            overdue=overdue,
            attack=per_label.get("attack", 0),
            benign=per_label.get("benign", 0),
            proposals=waiting[0],
            bands={name: per_band.get(code, 0) for code, name in enumerate(BANDS)},
            version=version[0],
        )

    def claim(self, who: Reviewer, now: datetime, item: int | None = None) -> Item | None:
        """Hold ``item`` for the lease, or the first one that is due and free; None where there is none to hold.

        Claiming what one holds already begins the lease anew.

        Raises:
            ReviewError: missing, taken, or decided already.
        """
        with self.store.change() as base:
            if item is None:
                condition, values = _condition(who, now, Filter(free=True))
                first = base.execute(f"SELECT id FROM items WHERE {condition} ORDER BY due_at, id LIMIT 1", values)
                row = first.fetchone()
                if row is None:
                    return None
                item = int(row["id"])
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
        """Let go of the file."""
        self.store.close()


def _free(item: Item, who: Reviewer, now: datetime) -> None:
    if item.state == "decided":
        raise ReviewError("state", f"item {item.id}", f"is decided already: {item.label}, by {item.reviewer}")
    holder = item.holder(now)
    if holder is not None and holder != who.name:
        raise ReviewError("taken", f"item {item.id}", f"is held by {holder} until {item.claimed_until:%H:%M} UTC")


def _condition(who: Reviewer, now: datetime, wanted: Filter) -> tuple[str, list[Any]]:
    first, values = rows.scope(who)
    parts, at = [first], micros(now)
    if wanted.state != "all":
        parts.append("state = ?")
        values.append(wanted.state)
    if wanted.band is not None:
        parts.append("band = ?")
        values.append(BANDS.index(wanted.band))
    for name, value in (("tenant", wanted.tenant), ("threat_type", wanted.threat), ("label", wanted.label)):
        if value is not None:
            parts.append(f"{name} = ?")
            values.append(value)
    if wanted.search:
        parts.append("(request_id = ? OR session_id = ? OR instr(text, ?))")
        values += [wanted.search, wanted.search, wanted.search.encode("utf-8", "replace")]
    if wanted.mine:
        parts.append("(reviewer = ? OR (state = 'open' AND claimed_by = ? AND claimed_until > ?))")
        values += [who.name, who.name, at]
    if wanted.free:
        parts.append("(claimed_until IS NULL OR claimed_until <= ?)")
        values.append(at)
    if wanted.overdue:
        parts.append("state = 'open' AND due_at <= ?")
        values.append(at)
    return " AND ".join(parts), values


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
    return (*(getattr(case, name) for name in _CASE), json.dumps(dict(case.detail), ensure_ascii=True))


def _turn(turn: Turn) -> Sequence[Any]:
    return [getattr(turn, name) for name in _TURN]
