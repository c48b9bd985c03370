"""The memory graph: every store gives what a plain search over lists gives, and what was erased is gone."""

from __future__ import annotations

import datetime
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aimds.errors import ConfigError, DataError
from aimds.record.graph import (
    ANSWERED,
    ATTACK,
    DAY_US,
    LED_TO,
    NEWEST,
    OUTCOME,
    RESPONSE,
    VARIED,
    Event,
    GraphStore,
    Link,
    chain,
    erase,
    related,
)
from aimds.record.graph_cypher import ladybug
from aimds.record.graph_sqlite import SqliteGraph

HOUR = 3_600_000_000
START = int(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp() * 1e6)
STORES: dict[str, Callable[[Path], GraphStore]] = {
    "sqlite": lambda path: SqliteGraph(path / "g.sqlite"),
    "ladybug": lambda path: ladybug(path / "g.lbug"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    if request.param == "ladybug":
        pytest.importorskip("ladybug")
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


def attack(name: str, hours: float, *marks: tuple[int, int], session: str | None = None) -> Event:
    return Event(name, ATTACK, "jailbreak", START + int(hours * HOUR), session, "acme", 0.5, tuple(sorted(marks)))


def whole(*attacks: Event) -> tuple[list[Event], list[Link]]:
    """The attacks, each with its response and outcome."""
    events, links = [], []
    for one in attacks:
        rest = (one.ts, one.session, one.tenant)
        response = Event(one.name + "/response", RESPONSE, "block", *rest)
        outcome = Event(one.name + "/outcome", OUTCOME, "open", *rest)
        events += [one, response, outcome]
        links += [Link(one.name, response.name, ANSWERED), Link(response.name, outcome.name, LED_TO)]
    return events, links


def test_related_are_those_of_a_search_over_lists(store: GraphStore) -> None:
    rng = random.Random(5)
    attacks = [
        attack(f"a{k:03}", rng.uniform(0, 72), *{rng.randrange(25): rng.choice((1, 3)) for _ in range(4)}.items())
        for k in range(120)
    ]
    for first in range(0, 120, 40):
        store.put(*whole(*attacks[first : first + 40]))
    for one in attacks[::7]:
        mine = dict(one.marks)
        expected = []
        for other in attacks:
            shared = sum(min(weight, mine[mark]) for mark, weight in other.marks if mark in mine)
            if other.name != one.name and shared and abs(other.ts - one.ts) <= DAY_US:
                expected.append((-shared, -other.ts, other.name))
        found = [(-item.strength, -item.event.ts, item.event.name) for item in related(store, one.name, most=10)]
        assert found == sorted(expected)[:10]


def test_of_a_mark_that_thousands_bear_the_newest_count(store: GraphStore) -> None:
    store.put(*whole(*[attack(f"a{k:04}", k / 1000, (7, 1)) for k in range(NEWEST + 20)]))
    found = related(store, "a0000", most=1000)
    assert len(found) == NEWEST
    assert found[-1].event.name == f"a{20:04}"


def test_a_chain_begins_where_it_all_began_and_holds_every_branch(store: GraphStore) -> None:
    events, links = whole(*[attack(name, k) for k, name in enumerate("abcdx")])
    links += [Link("a/outcome", "b", VARIED), Link("a/outcome", "c", VARIED), Link("c/outcome", "d", VARIED)]
    store.put(events, links)
    found = chain(store, "d/response")
    assert [event.name for event in found.events if event.kind == ATTACK] == ["a", "b", "c", "d"]
    assert (len(found.events), len(found.links), found.cut) == (12, 11, False)
    short = chain(store, "a", most=4)
    assert short.cut
    assert len(short.events) == 4


def test_events_that_are_put_again_are_replaced_and_links_are_not_doubled(store: GraphStore) -> None:
    store.put(*whole(attack("a", 0, (1, 1), (2, 2))))
    events, links = whole(attack("a", 1, (3, 1)))
    store.put(events, links)
    assert store.counts() == {"attack": 1, "response": 1, "outcome": 1, "links": 2, "marks": 1}
    assert store.marks("a") == [(3, 1)]
    assert store.events(["a", "nobody"])["a"].ts == START + HOUR


def test_an_erased_subject_is_gone_and_the_chain_of_others_holds(store: GraphStore) -> None:
    events, links = whole(
        attack("a", 0, (9, 3), session="theirs"),
        attack("b", 1, (9, 3), session="to forget"),
        attack("c", 2, (9, 3), session="theirs"),
    )
    links += [Link("a/outcome", "b", VARIED), Link("b/outcome", "c", VARIED)]
    store.put(events, links)
    names = store.of_subject("to forget", None)
    assert erase(store, names, [f"erased-{k}" for k in range(len(names))]) == 3
    assert store.of_subject("to forget", None) == []
    assert store.events(["b", "b/response", "b/outcome"]) == {}
    assert [item.event.name for item in related(store, "a")] == ["c"]
    found = chain(store, "c")
    stubs = [event for event in found.events if event.name.startswith("erased")]
    assert all(event.session is None and event.tenant is None and not store.marks(event.name) for event in stubs)
    assert [event.kind for event in found.events] == [ATTACK, RESPONSE, OUTCOME] * 3
    assert len(stubs) == 3


def test_where_nobody_else_is_on_both_sides_no_stub_stays(store: GraphStore) -> None:
    events, links = whole(attack("a", 0, session="first"), attack("b", 1, session="second"))
    store.put(events, [*links, Link("a/outcome", "b", VARIED)])
    for session in ("first", "second"):
        names = store.of_subject(session, None)
        erase(store, names, [f"erased-{session}-{k}" for k in range(len(names))])
        if session == "first":
            assert [event.name for event in chain(store, "b").events] == ["b", "b/response", "b/outcome"]
    assert sum(store.counts().values()) == 0


def test_a_subject_is_a_session_of_a_tenant_where_both_are_named(store: GraphStore) -> None:
    store.put(*whole(attack("a", 0, session="s"), attack("b", 0, session="t")))
    assert sorted(store.of_subject("s", "acme")) == ["a", "a/outcome", "a/response"]
    assert store.of_subject("s", "other") == []
    assert len(store.of_subject(None, "acme")) == 6
    assert store.of_subject(None, None) == []


def test_what_is_old_can_be_let_go(store: GraphStore) -> None:
    store.put(*whole(attack("a", 0, (1, 1)), attack("b", 30, (1, 1))))
    store.remove(store.older(START + DAY_US, 100))
    assert store.counts() == {"attack": 1, "response": 1, "outcome": 1, "links": 2, "marks": 1}


def test_who_is_not_there_is_named(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        related(store, "nobody")
    with pytest.raises(ConfigError, match="nobody"):
        chain(store, "nobody")
    store.put(*whole(attack("a", 0)))
    with pytest.raises(ConfigError, match="not the outcome"):
        related(store, "a/outcome")


def test_a_graph_outlives_its_process(store: GraphStore, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store.put(*whole(attack("a", 0, (1, 2))))
    store.close()
    again = STORES[request.node.callspec.params["store"]](tmp_path)
    assert again.marks("a") == [(1, 2)]
    again.close()


def test_nothing_of_an_erased_session_can_be_read_from_the_file(tmp_path: Path) -> None:
    store = SqliteGraph(tmp_path / "g.sqlite")
    store.put(*whole(*[attack(f"a{k}", k, session=f"session-{k}") for k in range(50)]))
    erase(store, store.of_subject("session-7", None), ["x", "y", "z"])
    assert all(b"session-7\x00" not in file.read_bytes() for file in tmp_path.iterdir())
    assert not any(b"session-7" in file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_a_writer_that_is_killed_leaves_whole_batches(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/record')\n"
        "from pathlib import Path\n"
        "from aimds.record.graph import ATTACK, Event, Link\n"
        "from aimds.record.graph_sqlite import SqliteGraph\n"
        "store, k = SqliteGraph(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    names = [f'{k}-{n}' for n in range(20)]\n"
        "    store.put([Event(name, ATTACK, 'x', k, marks=((k, 1),)) for name in names], [])\n"
        "    k += 1\n"
        "    print(k, flush=True)\n"
    )
    path = tmp_path / "g.sqlite"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    while int(child.stdout.readline()) < 15:
        pass
    child.kill()
    child.communicate()
    store = SqliteGraph(path)
    counts = store.counts()
    assert counts["attack"] >= 300
    assert counts["attack"] % 20 == 0
    assert counts["marks"] == counts["attack"]
    store.close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / "text").write_text("not a database at all, but long enough to be looked at " * 20)
    with pytest.raises(DataError, match="text"):
        SqliteGraph(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE t(x)")
    other.commit()
    other.close()
    with pytest.raises(DataError, match="something else"):
        SqliteGraph(tmp_path / "other.sqlite")
    with pytest.raises(DataError, match="graph add"):
        SqliteGraph(tmp_path / "none.sqlite", create=False)
    store = SqliteGraph(tmp_path / "newer.sqlite")
    store.close()
    copy = sqlite3.connect(tmp_path / "newer.sqlite")
    copy.execute("PRAGMA user_version = 99")
    copy.close()
    with pytest.raises(DataError, match="format 99"):
        SqliteGraph(tmp_path / "newer.sqlite")


def test_an_erasure_that_breaks_off_changes_nothing(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    events, links = whole(attack("a", 0), attack("b", 1, (9, 3), session="to forget"), attack("c", 2))
    store.put(events, [*links, Link("a/outcome", "b", VARIED), Link("b/outcome", "c", VARIED)])
    before = store.counts(), chain(store, "c")

    def broken(names: object) -> None:
        raise KeyboardInterrupt

    names = store.of_subject("to forget", None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", broken)
        with pytest.raises(KeyboardInterrupt):
            erase(store, names, ["x", "y", "z"])
    assert (store.counts(), chain(store, "c")) == before
    assert erase(store, store.of_subject("to forget", None), ["x", "y", "z"]) == 3


def test_nobody_writes_between_the_steps_of_an_erasure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = SqliteGraph(tmp_path / "g.sqlite"), SqliteGraph(tmp_path / "g.sqlite")
    other._db.execute("PRAGMA busy_timeout = 0")
    store.put(*whole(attack("a", 0, session="to forget")))
    real = store.remove

    def remove(names: object) -> None:
        with pytest.raises(DataError, match="locked"):
            other.put(*whole(attack("b", 0)))
        real(names)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "remove", remove)
    assert erase(store, store.of_subject("to forget", None), ["x", "y", "z"]) == 3
    other.put(*whole(attack("b", 0)))
    for one in (store, other):
        one.close()


def test_events_of_no_tenant_can_be_named(store: GraphStore) -> None:
    store.put([Event("a", ATTACK, "x", 1, "s"), Event("b", ATTACK, "x", 1, "s", "acme")], [])
    assert store.of_subject("s", "") == ["a"]
    assert store.of_subject(None, "") == ["a"]
