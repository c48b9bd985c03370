"""Calls to shards, without a cluster: in order, each done once, waited for a while only."""

from __future__ import annotations

import pyarrow as pa
import pytest
from local_way import LocalWay

from aimds.actors.keeper import Said
from aimds.actors.lines import Call, Lines


def call(session: str, number: int) -> Call:
    return Call("observe", ((session, number),))


@pytest.fixture
def way() -> LocalWay:
    return LocalWay("counting_state:Counting", {})


def test_calls_are_done_in_order_and_shards_at_the_same_time(way: LocalWay) -> None:
    lines = Lines(way, "me", 2, clock=way.clock)
    calls = {shard: [call("s", number) for number in range(1, 4)] for shard in (0, 1)}
    lines.ask(calls)
    assert [one.said for one in calls[1]] == [Said([1, 1]), Said([2, 3]), Said([3, 6])]
    assert [shard for shard, _ in way.sent] == [0, 1, 0, 1, 0, 1]


def test_a_shard_is_waited_for_once_and_what_waits_is_done_before_what_comes(way: LocalWay) -> None:
    said: list[str] = []
    lines = Lines(way, "me", 2, clock=way.clock, say=said.append, patience_s=3.0)
    way.silent.add(0)
    late = [call("s", 1), call("s", 2)]
    other = call("t", 1)
    lines.ask({0: late[:1], 1: [other]})
    assert (other.said, late[0].said, way.now) == (Said([1, 1]), None, 103.0)
    lines.ask({0: late[1:]})
    assert way.now == 103.0
    way.silent.clear()
    last = call("s", 4)
    lines.ask({0: [last]})
    assert (last.said, [one.said for one in late]) == (Said([3, 7]), [Said([1, 1]), Said([2, 3])])
    assert len(said) == 2


def test_no_more_calls_wait_than_there_is_room_for(way: LocalWay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.actors.lines.MOST_WAITING", 3)
    lines = Lines(way, "me", 1, clock=way.clock)
    way.silent.add(0)
    calls = [call("s", number) for number in range(5)]
    lines.ask({0: calls})
    assert ([one.dropped for one in calls], lines.dropped) == ([False] * 3 + [True] * 2, 2)
    way.silent.clear()
    last = call("s", 0)
    lines.ask({0: []})
    lines.ask({0: [last]})
    assert last.said == Said([4, 3])


def test_what_is_due_waits_whatever_waits_already(way: LocalWay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.actors.lines.MOST_WAITING", 2)
    lines = Lines(way, "me", 1, clock=way.clock)
    way.silent.add(0)
    due = Call("observe", (("s", 7),), due=True)
    lines.ask({0: [*(call("s", 1) for _ in range(4)), due]})
    way.silent.clear()
    for _ in range(3):
        lines.ask({0: []})
    assert (due.said, lines.dropped) == (Said([3, 9]), 2)


def test_no_more_bytes_wait_than_there_is_room_for(way: LocalWay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.actors.lines.MOST_BYTES", 100)
    lines = Lines(way, "me", 1, clock=way.clock)
    way.silent.add(0)
    calls = [Call("nothing", (pa.py_buffer(bytes(60)),)) for _ in range(4)]
    lines.ask({0: calls})
    assert [one.dropped for one in calls] == [False, False, True, True]
    way.silent.clear()
    lines.ask({0: []})
    again = [Call("nothing", (pa.py_buffer(bytes(60)),)) for _ in range(2)]
    lines.ask({0: [call("s", 1)]})
    lines.ask({0: again})
    assert [one.dropped for one in again] == [False, False]


def test_a_keeper_at_one_call_for_too_long_is_ended_and_the_call_is_done_by_the_next(way: LocalWay) -> None:
    lines = Lines(way, "me", 1, clock=way.clock, patience_s=100.0, hung_s=30.0)
    lines.ask({0: [call("s", 5)]})
    way.silent.add(0)
    one = call("s", 2)
    lines.ask({0: [one]})
    assert (way.stopped, one.said) == ([0], Said([2, 7]))
    assert 130.0 <= way.now < 170.0


def test_a_shard_that_lost_all_begins_with_what_it_is_to_begin_with(way: LocalWay) -> None:
    lines = Lines(way, "me", 1, clock=way.clock, anew=lambda shard: [call("first", 1)])
    lines.ask({0: [call("s", 5)]})
    way.die(0)
    way.ledger.drop("0")
    one = call("s", 2)
    lines.ask({0: [one]})
    assert one.said == Said([1, 2])
    assert way.keeper(0)._state.counts == {"first": [1, 1], "s": [1, 2]}
