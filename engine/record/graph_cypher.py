"""The memory graph in a Cypher database: one text of every question for the embedded ladybug and for a Neo4j server.

Both dialects differ in how tables or constraints are made; everything else is the same text. A `Run` sends a query with
its parameters and brings rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError, DataError
from aimds.record import graph
from aimds.record.graph import KINDS, Event, Link

Run = Callable[[str, dict[str, Any]], list[Any]]

LADYBUG_TABLES = (
    "CREATE NODE TABLE IF NOT EXISTS Event(name STRING, kind STRING, label STRING, ts INT64, session STRING, "
    "tenant STRING, score DOUBLE, number INT64, PRIMARY KEY(name))",
    "CREATE NODE TABLE IF NOT EXISTS Mark(id INT64, PRIMARY KEY(id))",
    "CREATE REL TABLE IF NOT EXISTS NEXT(FROM Event TO Event, kind STRING)",
    "CREATE REL TABLE IF NOT EXISTS HAS(FROM Event TO Mark, weight INT64)",
)
NEO4J_TABLES = (
    "CREATE CONSTRAINT event_name IF NOT EXISTS FOR (e:Event) REQUIRE e.name IS UNIQUE",
    "CREATE CONSTRAINT mark_id IF NOT EXISTS FOR (m:Mark) REQUIRE m.id IS UNIQUE",
    "CREATE INDEX event_ts IF NOT EXISTS FOR (e:Event) ON (e.ts)",
    "CREATE INDEX event_session IF NOT EXISTS FOR (e:Event) ON (e.session)",
)
PUT_EVENTS = (
    "UNWIND $rows AS row MERGE (e:Event {name: row.name}) SET e.kind = row.kind, e.label = row.label, e.ts = row.ts, "
    "e.session = row.session, e.tenant = row.tenant, e.score = row.score, e.number = row.number"
)
DROP_MARKS = "MATCH (e:Event)-[h:HAS]->(m:Mark) WHERE e.name IN $names DELETE h"
PUT_MARKS = "UNWIND $ids AS id MERGE (m:Mark {id: id})"
PUT_HAS = (
    "UNWIND $rows AS row MATCH (e:Event {name: row.name}), (m:Mark {id: row.mark}) "
    "CREATE (e)-[h:HAS {weight: row.weight}]->(m)"
)
PUT_LINKS = (
    "UNWIND $rows AS row MATCH (a:Event {name: row.source}), (b:Event {name: row.target}) "
    "MERGE (a)-[n:NEXT {kind: row.kind}]->(b)"
)
COLUMNS = "e.name, e.kind, e.label, e.ts, e.session, e.tenant, e.score"
EVENTS = f"MATCH (e:Event) WHERE e.name IN $names RETURN {COLUMNS}"
MARKS = "MATCH (e:Event {name: $name})-[h:HAS]->(m:Mark) RETURN m.id, h.weight ORDER BY m.id"
BEARERS = (
    "MATCH (m:Mark {id: $mark})<-[h:HAS]-(e:Event) WHERE e.ts >= $first AND e.ts <= $last "
    "RETURN e.name, e.ts, h.weight ORDER BY e.ts DESC, e.number DESC LIMIT {most}"
)
AFTER = "MATCH (a:Event)-[n:NEXT]->(b:Event) WHERE a.name IN $names RETURN a.name, b.name, n.kind"
BEFORE = "MATCH (a:Event)-[n:NEXT]->(b:Event) WHERE b.name IN $names RETURN a.name, b.name, n.kind"
OF_SUBJECT = "MATCH (e:Event) WHERE {where} RETURN e.name"
OLDER = "MATCH (e:Event) WHERE e.ts < $ts RETURN e.name ORDER BY e.ts LIMIT {most}"
REMOVE = "MATCH (e:Event) WHERE e.name IN $names DETACH DELETE e"
REMOVE_IDLE = "MATCH (m:Mark) WHERE m.id IN $ids AND NOT EXISTS { MATCH (m)<-[:HAS]-(:Event) } DELETE m"
IDS_OF = "MATCH (e:Event)-[:HAS]->(m:Mark) WHERE e.name IN $names RETURN DISTINCT m.id"
LAST = "MATCH (e:Event) RETURN max(e.number)"
COUNT_EVENTS = "MATCH (e:Event) RETURN e.kind, count(*)"
COUNT_LINKS = "MATCH (:Event)-[n:NEXT]->(:Event) RETURN count(n)"
COUNT_MARKS = "MATCH (:Event)-[h:HAS]->(:Mark) RETURN count(h)"


_NONE, _NO_SCORE = "", -1.0
"""Stand in for null, whose type an embedded database cannot tell where all rows have it."""


def _event(row: Sequence[Any]) -> Event:
    name, kind, label, ts, session, tenant, score = row
    return Event(name, kind, label, int(ts), session or None, tenant or None, None if score < 0 else score)


class CypherGraph:
    """The graph behind ``run``; ``tables`` are made first. One writer at a time.

    Args:
        atomically: does what it is given all or not at all; by default just does it.
    """

    def __init__(
        self,
        run: Run,
        tables: Sequence[str],
        *,
        atomically: Callable[[Callable[[], None]], None] = lambda work: work(),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._outer, self._close = run, atomically, close
        self._inside = False
        for statement in tables:
            run(statement, {})
        last = run(LAST, {})
        self._number = int(last[0][0] or 0) if last else 0

    def together(self, work: Callable[[], None]) -> None:
        """Do ``work`` all or not at all; on a Neo4j server each query is by itself."""
        self._atomically(work)

    def _atomically(self, work: Callable[[], None]) -> None:
        if self._inside:
            work()
            return
        self._inside = True
        try:
            self._outer(work)
        finally:
            self._inside = False

    def put(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        """Add or replace ``events`` and add ``links``; a link to an event that is not there is left out."""
        self._atomically(lambda: self._put(events, links))

    def _put(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        rows = []
        for one in events:
            self._number += 1
            rows.append(
                {
                    "name": one.name,
                    "kind": one.kind,
                    "label": one.label,
                    "ts": one.ts,
                    "session": one.session or _NONE,
                    "tenant": one.tenant or _NONE,
                    "score": _NO_SCORE if one.score is None else one.score,
                    "number": self._number,
                }
            )
        if rows:
            self._run(PUT_EVENTS, {"rows": rows})
        marked = [one for one in events if one.marks]
        if marked:
            self._run(DROP_MARKS, {"names": [one.name for one in marked]})
            self._run(PUT_MARKS, {"ids": sorted({mark for one in marked for mark, _ in one.marks})})
            has = [{"name": one.name, "mark": mark, "weight": weight} for one in marked for mark, weight in one.marks]
            self._run(PUT_HAS, {"rows": has})
        if links:
            plain = [{"source": link.source, "target": link.target, "kind": link.kind} for link in links]
            self._run(PUT_LINKS, {"rows": plain})

    def events(self, names: Iterable[str]) -> dict[str, Event]:
        """The events of these names that there are."""
        listed = list(names)
        return {row[0]: _event(row) for row in self._run(EVENTS, {"names": listed})} if listed else {}

    def marks(self, name: str) -> list[tuple[int, int]]:
        """Marks of the attack ``name`` with their weights."""
        return [(int(mark), int(weight)) for mark, weight in self._run(MARKS, {"name": name})]

    def bearers(self, mark: int, first: int, last: int, most: int) -> list[tuple[str, int, int]]:
        """Name, time and weight of the newest ``most`` attacks with ``mark`` from ``first`` to ``last``, inclusive."""
        query = BEARERS.replace("{most}", str(int(most)))
        rows = self._run(query, {"mark": mark, "first": first, "last": last})
        return [(str(name), int(ts), int(weight)) for name, ts, weight in rows]

    def strongest(
        self, marks: Sequence[tuple[int, int]], first: int, last: int, most: int, without: str
    ) -> list[tuple[str, int, int]]:
        """As `graph.strongest`, a question a mark."""
        return graph.strongest(self, marks, first, last, most, without)

    def after(self, names: Iterable[str]) -> list[Link]:
        """Links that lead away from these events."""
        return [Link(*row) for row in self._run(AFTER, {"names": list(names)})]

    def before(self, names: Iterable[str]) -> list[Link]:
        """Links that lead to these events."""
        return [Link(*row) for row in self._run(BEFORE, {"names": list(names)})]

    def of_subject(self, session: str | None, tenant: str | None) -> list[str]:
        """Names of a session's or tenant's events, of both where both are given; tenant "": of events without one."""
        wanted = {name: value for name, value in (("session", session), ("tenant", tenant)) if value is not None}
        where = " AND ".join(f"e.{name} = ${name}" for name in wanted)
        return [name for (name,) in self._run(OF_SUBJECT.replace("{where}", where), wanted)] if wanted else []

    def older(self, ts: int, most: int) -> list[str]:
        """Names of at most ``most`` events before ``ts``."""
        return [name for (name,) in self._run(OLDER.replace("{most}", str(int(most))), {"ts": ts})]

    def remove(self, names: Sequence[str]) -> None:
        """Take events out with their marks and links. What the database keeps of them on the disk is its own matter."""

        def work() -> None:
            ids = [mark for (mark,) in self._run(IDS_OF, {"names": list(names)})]
            self._run(REMOVE, {"names": list(names)})
            if ids:
                self._run(REMOVE_IDLE, {"ids": ids})

        self._atomically(work)

    def counts(self) -> dict[str, int]:
        """How many events of each kind, links and marks there are."""
        kinds = {kind: int(count) for kind, count in self._run(COUNT_EVENTS, {})}
        ends = {"links": COUNT_LINKS, "marks": COUNT_MARKS}
        return {name: kinds.get(name, 0) for name in KINDS} | {
            name: int(self._run(query, {})[0][0]) for name, query in ends.items()
        }

    def close(self) -> None:
        """Let go of the database."""
        self._close()


def ladybug(path: Path) -> CypherGraph:
    """The graph in the ladybug database ``path``, which is made where it is missing.

    Raises:
        ConfigError: ladybug is not installed.
        DataError: the database cannot be used.
    """
    try:
        import ladybug as engine
    except ImportError as error:
        raise ConfigError("ladybug", "not installed", "pip install 'aimds[graph]'") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = engine.Database(str(path))
        connection = engine.Connection(database)
    except (RuntimeError, OSError) as error:
        raise DataError(path, f"cannot be used as a graph: {error}") from error

    def run(query: str, values: dict[str, Any]) -> list[Any]:
        try:
            found: Any = connection.execute(query, values)
            return list(found.get_all())
        except RuntimeError as error:
            raise DataError(path, f"refused a query: {error}") from error

    def atomically(work: Callable[[], None]) -> None:
        run("BEGIN TRANSACTION", {})
        try:
            work()
        except BaseException:
            # A query that fails has ended the transaction already.
            with contextlib.suppress(DataError):
                run("ROLLBACK", {})
            raise
        run("COMMIT", {})

    def close() -> None:
        connection.close()
        database.close()

    return CypherGraph(run, LADYBUG_TABLES, atomically=atomically, close=close)


def neo4j(address: str, user: str, password: str) -> CypherGraph:
    """The graph on the Neo4j server at ``address``, with one transaction a query.

    Raises:
        ConfigError: the driver is not installed.
    """
    try:
        import neo4j as driver
    except ImportError as error:
        raise ConfigError("neo4j", "not installed", "pip install neo4j") from error
    connected = driver.GraphDatabase.driver(address, auth=(user, password))

    def run(query: str, values: dict[str, Any]) -> list[Any]:
        try:
            return [list(record.values()) for record in connected.execute_query(query, values).records]
        except driver.exceptions.Neo4jError as error:
            raise DataError(address, f"refused a query: {error}") from error

    return CypherGraph(run, NEO4J_TABLES, close=connected.close)
