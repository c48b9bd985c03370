"""The memory graph in one SQLite file: the default store. Marks lie sorted by time, so a day of one is one stretch."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aimds.errors import DataError
from aimds.record import write_ahead
from aimds.record.graph import KINDS, LINKS, NEWEST, Event, Link

FORMAT = 1
APPLICATION = 0x41494D47
"""Tells the file from any other SQLite file."""
CACHE_KIB = 64 << 10
PART = 500
"""Names asked for at once: SQLite bounds the parameters of a statement."""
_TABLES = """
CREATE TABLE IF NOT EXISTS event(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, label TEXT NOT NULL, ts INTEGER NOT NULL,
  session TEXT, tenant TEXT, score REAL);
CREATE INDEX IF NOT EXISTS event_ts ON event(ts);
CREATE INDEX IF NOT EXISTS event_session ON event(session) WHERE session IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_tenant ON event(tenant) WHERE tenant IS NOT NULL;
CREATE TABLE IF NOT EXISTS link(
  source INTEGER NOT NULL, target INTEGER NOT NULL, kind INTEGER NOT NULL, PRIMARY KEY(source, target, kind)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS link_target ON link(target);
CREATE TABLE IF NOT EXISTS mark(
  mark INTEGER NOT NULL, ts INTEGER NOT NULL, event INTEGER NOT NULL, weight INTEGER NOT NULL,
  PRIMARY KEY(mark, ts, event)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mark_event ON mark(event);
"""
_OF_MARK = (
    "SELECT * FROM (SELECT event, min(weight, ?) AS w, ts FROM mark WHERE mark = ? AND ts BETWEEN ? AND ? "
    "ORDER BY ts DESC, event DESC LIMIT ?)"
)
MARKS_AT_ONCE = 100
"""Marks asked for in one statement: SQLite bounds the parts of a union."""
_COLUMNS = "name, kind, label, ts, session, tenant, score"


class SqliteGraph:
    """The graph in the file ``path``, which is made where it is missing. Safe against kill -9: a `put` is there or not.

    Args:
        create: whether a missing file is made.

    Raises:
        DataError: the file is missing, cannot be read, or is no memory graph.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._depth, self._cut_due = 0, False
        if not create and not path.is_file():
            raise DataError(path, "no such graph; aimds graph add makes one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            if not self._known():
                if not create:
                    raise DataError(path, "is no memory graph; aimds graph add makes one")
                self._make()
            # Pages that are let go are overwritten: erased means erased.
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except (sqlite3.Error, OSError) as error:
            raise DataError(path, f"cannot be used as a graph: {error}") from error

    def _known(self) -> bool:
        """Whether the file is a graph already; False: it is empty."""
        # The tables first: whoever makes a graph meanwhile sets its mark with them.
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        found = self._db.execute("PRAGMA application_id").fetchone()[0]
        if found not in (0, APPLICATION) or (found == 0 and tables):
            raise DataError(self.path, "is a database of something else")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found and version != FORMAT:
            raise DataError(self.path, f"is of format {version}, this version reads format {FORMAT}")
        return bool(found)

    def _make(self) -> None:
        # In one transaction: another process that comes now sees an empty file or a whole graph.
        with self._writing() as db:
            if not self._known():
                for statement in filter(str.strip, _TABLES.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {FORMAT}")

    def put(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        """Add or replace ``events`` and add ``links``; a link to an event that is not there is left out.

        Raises:
            DataError: it cannot be written; nothing was.
        """
        rows = [
            (one.name, KINDS.index(one.kind), one.label, one.ts, one.session, one.tenant, one.score) for one in events
        ]
        with self._writing() as db:
            db.executemany(
                f"INSERT INTO event({_COLUMNS}) VALUES(?,?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET "
                "kind=excluded.kind, label=excluded.label, ts=excluded.ts, session=excluded.session, "
                "tenant=excluded.tenant, score=excluded.score",
                rows,
            )
            marked = [one for one in events if one.marks]
            number = self._numbers(one.name for one in marked)
            db.executemany("DELETE FROM mark WHERE event = ?", [(number[one.name],) for one in marked])
            db.executemany(
                "INSERT OR REPLACE INTO mark(mark, ts, event, weight) VALUES(?,?,?,?)",
                [(mark, one.ts, number[one.name], weight) for one in marked for mark, weight in one.marks],
            )
            ends = self._numbers(name for link in links for name in (link.source, link.target))
            db.executemany(
                "INSERT OR IGNORE INTO link(source, target, kind) VALUES(?,?,?)",
                [
                    (ends[link.source], ends[link.target], LINKS.index(link.kind))
                    for link in links
                    if link.source in ends and link.target in ends
                ],
            )

    def events(self, names: Iterable[str]) -> dict[str, Event]:
        """The events of these names that there are."""
        rows = self._each(f"SELECT {_COLUMNS} FROM event WHERE name IN (%)", names)
        return {row[0]: Event(row[0], KINDS[row[1]], *row[2:]) for row in rows}

    def marks(self, name: str) -> list[tuple[int, int]]:
        """Marks of the attack ``name`` with their weights."""
        return self._read(
            "SELECT mark, weight FROM mark WHERE event = (SELECT id FROM event WHERE name = ?) ORDER BY mark", (name,)
        )

    def bearers(self, mark: int, first: int, last: int, most: int) -> list[tuple[str, int, int]]:
        """Name, time and weight of the newest ``most`` attacks with ``mark`` from ``first`` to ``last``, inclusive."""
        return self._read(
            "SELECT e.name, m.ts, m.weight FROM (SELECT ts, event, weight FROM mark "
            "WHERE mark = ? AND ts BETWEEN ? AND ? ORDER BY ts DESC, event DESC LIMIT ?) AS m "
            "JOIN event AS e ON e.id = m.event",
            (mark, first, last, most),
        )

    def strongest(
        self, marks: Sequence[tuple[int, int]], first: int, last: int, most: int, without: str
    ) -> list[tuple[str, int, int]]:
        """As `graph.strongest`, added up by the database; names are looked up for those that are left only."""
        total: dict[int, list[int]] = {}
        for start in range(0, len(marks), MARKS_AT_ONCE):
            part = marks[start : start + MARKS_AT_ONCE]
            each = " UNION ALL ".join([_OF_MARK] * len(part))
            values = [value for mark, weight in part for value in (weight, mark, first, last, NEWEST)]
            for event, strength, ts in self._read(f"SELECT event, sum(w), ts FROM ({each}) GROUP BY event", values):
                total.setdefault(event, [0, ts])[0] += strength
        best = sorted(total.items(), key=lambda item: (-item[1][0], -item[1][1]))[: most + 1]
        names = dict(self._each("SELECT id, name FROM event WHERE id IN (%)", [event for event, _ in best]))
        found = [(names[event], strength, ts) for event, (strength, ts) in best if names[event] != without]
        return sorted(found, key=lambda item: (-item[1], -item[2], item[0]))[:most]

    def after(self, names: Iterable[str]) -> list[Link]:
        """Links that lead away from these events."""
        return self._links("s.name IN (%)", names)

    def before(self, names: Iterable[str]) -> list[Link]:
        """Links that lead to these events."""
        return self._links("t.name IN (%)", names)

    def of_subject(self, session: str | None, tenant: str | None) -> list[str]:
        """Names of a session's or tenant's events, of both where both are given; tenant "": of events without one."""
        wanted = [(name, value) for name, value in (("session", session), ("tenant", tenant)) if value is not None]
        where = " AND ".join(f"{name} = ?" if value else f"coalesce({name}, '') = ?" for name, value in wanted)
        if not wanted:
            return []
        return [name for (name,) in self._read(f"SELECT name FROM event WHERE {where}", [value for _, value in wanted])]

    def older(self, ts: int, most: int) -> list[str]:
        """Names of at most ``most`` events before ``ts``."""
        return [name for (name,) in self._read("SELECT name FROM event WHERE ts < ? ORDER BY ts LIMIT ?", (ts, most))]

    def remove(self, names: Sequence[str]) -> None:
        """Take events out with their marks and links; freed pages are overwritten, the log of writes is cut.

        Raises:
            DataError: it cannot be written, or another process keeps the log of writes from being cut.
        """
        with self._writing() as db:
            numbers = [(number,) for number in self._numbers(names).values()]
            db.executemany("DELETE FROM mark WHERE event = ?", numbers)
            db.executemany("DELETE FROM link WHERE source = ?", numbers)
            db.executemany("DELETE FROM link WHERE target = ?", numbers)
            db.executemany("DELETE FROM event WHERE id = ?", numbers)
            self._cut_due = True

    def together(self, work: Callable[[], None]) -> None:
        """Do ``work`` in one transaction; others that write wait for its end."""
        with self._writing():
            work()

    def counts(self) -> dict[str, int]:
        """How many events of each kind, links and marks there are."""
        kinds = dict(self._read("SELECT kind, count(*) FROM event GROUP BY kind", ()))
        out = {name: kinds.get(code, 0) for code, name in enumerate(KINDS)}
        for name in ("link", "mark"):
            out[f"{name}s"] = self._read(f"SELECT count(*) FROM {name}", ())[0][0]
        return out

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _links(self, where: str, names: Iterable[str]) -> list[Link]:
        rows = self._each(
            "SELECT s.name, t.name, l.kind FROM link AS l JOIN event AS s ON s.id = l.source "
            f"JOIN event AS t ON t.id = l.target WHERE {where}",
            names,
        )
        return [Link(source, target, LINKS[kind]) for source, target, kind in rows]

    def _numbers(self, names: Iterable[str]) -> dict[str, int]:
        return dict(self._each("SELECT name, id FROM event WHERE name IN (%)", set(names)))

    def _each(self, statement: str, names: Iterable[str | int]) -> list[Any]:
        listed = list(names)
        out: list[Any] = []
        for first in range(0, len(listed), PART):
            part = listed[first : first + PART]
            out += self._read(statement.replace("%", ",".join("?" * len(part))), part)
        return out

    def _read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise DataError(self.path, f"cannot be read: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._depth:
            yield self._db
            return
        self._cut_due = False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise DataError(self.path, f"cannot be written: {error}") from error
        if self._cut_due:
            write_ahead.cut(self._db, self.path)
