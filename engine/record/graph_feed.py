"""From verdicts and from what people decided to events of the graph: attacks, what was done, what came of it, variants.

An attack is a variant of the earlier one it shares most with, if that is at least `marks.KIN`; it hangs on that one's
outcome. Reading the same rows again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import SchemaError
from aimds.record.graph import (
    ANSWERED,
    ATTACK,
    DAY_US,
    LED_TO,
    OUTCOME,
    RESPONSE,
    VARIED,
    Event,
    GraphStore,
    Link,
    strongest,
)
from aimds.record.marks import KIN, Marks
from aimds.verdicts import SESSIONS, named_by_session

NO_ATTACK = ("none", "pii_exposure", "harmful_request")
OPEN, CAME_BACK, CONFIRMED, REFUTED = "open", "came back", "confirmed", "refuted"
"""Labels of an outcome: nothing is known, a variant followed, and what a person said."""
BATCH = 512
_NAMED = ("request_id", "action", "threat_type")
_NEEDED = ("request_id", "session_id", "tenant", "ts", "action", "threat_type", "score")


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of some rows: ``attacks`` now in the graph, ``variants`` among them that follow another, ``timeless``
    attacks left out because they have no time, ``rows`` in all."""

    rows: int = 0
    attacks: int = 0
    variants: int = 0
    timeless: int = 0

    def plus(self, other: Fed) -> Fed:
        """Both together."""
        return Fed(
            self.rows + other.rows,
            self.attacks + other.attacks,
            self.variants + other.variants,
            self.timeless + other.timeless,
        )


def response_of(name: str) -> str:
    """Name of what was done about the attack ``name``."""
    return f"{name}/response"


def outcome_of(name: str) -> str:
    """Name of what came of it."""
    return f"{name}/outcome"


def feed(store: GraphStore, table: pa.Table, marks: Marks, *, within_us: int = DAY_US) -> Fed:
    """Put the attacks among the verdicts ``table`` into ``store``: rows that were not allowed, for a threat that
    they show by themselves.

    Args:
        table: VERDICTS, with or without a ``text`` column, which makes likeness of wording seen.
        within_us: how long before an attack the one that it varies may lie.

    Raises:
        SchemaError: a column is missing.
    """
    # Where only its session speaks against a row its text is no attack, and likeness to it says nothing.
    alone = table.filter(pa.array(~named_by_session(table)))
    rows = [row for row in _rows(alone) if row["action"] != "allow" and row["threat_type"] not in NO_ATTACK]
    return _put(store, rows, marks, within_us, table.num_rows)


def confirm(store: GraphStore, feedback: pa.Table, marks: Marks, *, within_us: int = DAY_US) -> Fed:
    """Put what people decided (FEEDBACK) into ``store``: confirmed attacks, those that were missed too, and outcomes.

    Raises:
        SchemaError: a column is missing.
    """
    rows = sorted(_rows(feedback, "label", "decided_at"), key=lambda row: row["decided_at"])
    last = {row["request_id"]: row for row in rows}
    there = store.events(last)
    new = [row for row in last.values() if row["label"] == "attack" and row["request_id"] not in there]
    fed = _put(store, new, marks, within_us, len(rows))
    there = store.events(outcome_of(name) for name in last)
    changed = [
        replace(there[outcome_of(name)], label=CONFIRMED if row["label"] == "attack" else REFUTED)
        for name, row in last.items()
        if outcome_of(name) in there
    ]
    if changed:
        store.put(changed, [])
    return fed


def _put(store: GraphStore, rows: list[dict[str, Any]], marks: Marks, within_us: int, read: int) -> Fed:
    timed = sorted((row for row in rows if row["ts"] is not None), key=lambda row: (row["ts"], row["request_id"]))
    known = store.events(row["request_id"] for row in timed)
    fed = Fed(read, 0, 0, len(rows) - len(timed))
    for first in range(0, len(timed), BATCH):
        events: dict[str, Event] = {}
        links: list[Link] = []
        near = _Near(store)
        for row in timed[first : first + BATCH]:
            name = row["request_id"]
            if name in known or name in events:
                continue
            found = marks.of(
                session=row["session_id"],
                tenant=row["tenant"],
                text=row.get("text"),
                evidence=row.get("evidence") or (),
            )
            attack = Event(
                name, ATTACK, row["threat_type"], row["ts"], row["session_id"], row["tenant"], row["score"], found
            )
            parent = near.parent(attack, within_us)
            near.add(attack)
            response = replace(attack, name=response_of(name), kind=RESPONSE, label=row["action"], marks=())
            outcome = replace(response, name=outcome_of(name), kind=OUTCOME, label=OPEN)
            events |= {one.name: one for one in (attack, response, outcome)}
            links += [Link(name, response.name, ANSWERED), Link(response.name, outcome.name, LED_TO)]
            if parent is not None:
                links.append(Link(outcome_of(parent), name, VARIED))
            fed = fed.plus(Fed(0, 1, int(parent is not None)))
        before = {link.source for link in links if link.kind == VARIED}
        there = store.events(before - events.keys())
        for name in before:
            held = events.get(name) or there.get(name)
            if held is not None and held.label == OPEN:
                events[name] = replace(held, label=CAME_BACK)
        store.put(list(events.values()), links)
    return fed


class _Near:
    """The attacks of a batch that is not in the store yet, asked together with the store."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._bearers: dict[int, list[tuple[str, int, int]]] = {}

    def add(self, attack: Event) -> None:
        for mark, weight in attack.marks:
            self._bearers.setdefault(mark, []).append((attack.name, attack.ts, weight))

    def parent(self, attack: Event, within_us: int) -> str | None:
        """The earlier attack that ``attack`` shares most with, if that is enough; of equals the latest."""
        best = strongest(self, attack.marks, attack.ts - within_us, attack.ts, 1, attack.name)
        return best[0][0] if best and best[0][1] >= KIN else None

    def bearers(self, mark: int, first: int, last: int, most: int) -> list[tuple[str, int, int]]:
        fresh = [one for one in self._bearers.get(mark, ()) if one[1] >= first]
        return (fresh[::-1] + self._store.bearers(mark, first, last, most))[:most]


def check_file(source: pq.ParquetFile) -> None:
    """Refuse a file that holds no verdicts and no feedback, before anything of it is taken in.

    Raises:
        SchemaError: a column is missing, or has no value somewhere that it needs.
    """
    names = source.schema_arrow.names
    more = ("label", "decided_at") if {"label", "reviewer"} <= set(names) else ()
    missing = [name for name in (*_NEEDED, *more) if name not in names]
    if missing:
        raise SchemaError(missing[0], "missing; this is no table of verdicts or feedback")
    first = 0
    for batch in source.iter_batches(columns=[*_NAMED, *more]):
        try:
            check(pa.Table.from_batches([batch]), *more)
        except SchemaError as error:
            raise SchemaError(error.column, error.problem, row=first + (error.row or 0)) from None
        first += batch.num_rows


def check(table: pa.Table, *more: str) -> None:
    """Refuse a table of which nothing can be told apart.

    Raises:
        SchemaError: a column that tells what a row is has no value somewhere; names column and row.
    """
    for name in (*_NAMED, *more):
        if table.column(name).null_count:
            row = pc.index(table.column(name).is_null(), pa.scalar(True)).as_py()
            raise SchemaError(name, "is null, which it must not be", row=row)


def _rows(table: pa.Table, *more: str) -> Iterator[dict[str, Any]]:
    names = [name for name in (*_NEEDED, *more) if name not in table.column_names]
    if names:
        raise SchemaError(names[0], "missing; this is no table of verdicts or feedback")
    check(table, *more)
    wanted = [name for name in (*_NEEDED, *more, "evidence", "text") if name in table.column_names]
    plain = table.select(wanted)
    for name in ("ts", "decided_at"):
        if name in wanted:
            place = wanted.index(name)
            plain = plain.set_column(place, name, plain.column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    if "text" in wanted:
        # Bytes, since a text may hold what is no UTF-8.
        plain = plain.set_column(wanted.index("text"), "text", plain.column("text").cast(pa.large_binary()))
    for batch in plain.to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            if "evidence" in row:
                own = (item for item in row["evidence"] or () if item["detector"] != SESSIONS)
                row["evidence"] = [(item["detector"], item["pattern_id"]) for item in own]
            yield row
