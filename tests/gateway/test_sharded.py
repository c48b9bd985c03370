"""Sessions in shards say what sessions in the gateway say, whatever becomes of shards; nothing is counted twice."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from followed import HOLDING, POLICIES
from live import INSECURE
from policy_screener import PolicyScreener
from sharded_pair import Pair, owed, traffic

from aimds.actors.lines import Call
from aimds.analyze.watch import Watch
from aimds.app import following as app_following
from aimds.errors import DataError
from aimds.gateway.session_shard import SessionShard
from aimds.gateway.settings import Following, Ray
from aimds.gateway.sharded import ANEW, LATE, ShardError
from aimds.gateway.sharded_holds import ShardedResponder
from aimds.ltl.policies import TracePolicies
from aimds.respond.held import Hold


def test_shards_say_what_one_process_says(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    found = pair.same(traffic(500), 1)
    assert sum("session_quarantined" in row["violations"] for row in found) > 20
    assert len({row["session_score"] for row in found}) > 20
    raised = {item["pattern_id"] for row in found for item in row["evidence"]}
    assert {"sessions.quarantine", "sessions.policy.no_tool_after_injection"} <= raised
    assert {shard for shard, method in pair.way.sent if method == "observe"} == {0, 1, 2}
    pair.responder.ended(pair.wall)
    assert pair.sharded.counts() == pair.inside.counts()
    assert pair.responder.listed(pair.wall).keys() == pair.held.listed(pair.wall).keys()
    for kind, listed in pair.held.listed(pair.wall).items():
        assert dict(pair.responder.listed(pair.wall)[kind]) == dict(listed)


def test_shards_that_die_are_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.actors.keeper.MOST_ENTRIES", 7)
    pair, rng = Pair(tmp_path), random.Random(4)

    def between(step: int) -> None:
        # Between two batches, or in the middle of one: it was counted, and the answer is lost with the process.
        if step % 3 == 0:
            pair.way.die(rng.randrange(3))
        else:
            pair.way.lose[rng.randrange(3)] = rng.randrange(2)

    pair.same(traffic(600), 2, between)
    assert sum(keeper.replayed for keeper in pair.way.keepers.values()) > 0


def test_a_ledger_that_dies_is_filled_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path)

    def between(step: int) -> None:
        if step % 4 == 1:
            pair.way.ledger._shards.clear()
            # Every second shards are asked what they hold, and write that down.
            pair.responder.ended(pair.wall)
        if step % 4 == 3:
            for shard in range(3):
                pair.way.die(shard)

    pair.same(traffic(300), 3, between)
    assert pair.said == []


def test_sessions_move_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    pair, sizes = Pair(tmp_path), {4: 5, 8: 2, 12: 3, 15: 1, 18: 4}

    def between(step: int) -> None:
        if step in sizes:
            if step == 12:
                pair.way.lose[1] = 0
            assert 0 < pair.sharded.resize(sizes[step]) < 256
            assert len(pair.sharded) == sizes[step]

    pair.same(traffic(700), 5, between)
    assert pair.said == []
    pair.responder.ended(pair.wall)
    assert pair.sharded.counts() == pair.inside.counts()


def test_two_gateways_share_what_is_known(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    others = [pair.sharded, pair.another(3, "you")]

    def between(step: int) -> None:
        pair.sharded = others[step % 2]
        if step % 5 == 4:
            pair.way.die(step % 3)

    pair.same(traffic(400), 6, between)


def test_what_is_owed_is_told_once_though_its_shard_dies_with_the_answer(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    given = traffic(200)
    for at in range(0, 200, 20):
        pair.both(given[at : at + 20])
    pair.wall += 4000
    pair.way.lose.update({0: 0, 2: 0})
    expected = owed(pair.inside.forget())
    assert len(expected) > 3
    assert owed(pair.sharded.forget()) == expected
    assert pair.sharded.forget() == []


def test_rows_of_a_shard_that_is_silent_are_partial_and_are_counted_later(tmp_path: Path) -> None:
    pair = Pair(tmp_path, patience_s=2.0)
    given = traffic(300)
    pair.both(given[:100])
    pair.responder.ended(pair.wall)
    quarantined = {key[:2] for key, _ in pair.responder.listed(pair.wall)["quarantine"]}
    pair.way.silent.add(1)
    began, blocked = pair.way.now, 0
    for at in (100, 150):
        expected, found = pair.both(given[at : at + 50])
        for row, ours, theirs in zip(given[at : at + 50], found, expected, strict=True):
            if ours["error"] is None or not ours["error"].endswith(LATE):
                assert ours == theirs
                continue
            assert ours["status"] == "partial"
            assert ours["session_score"] is None
            if (row["tenant"], row["session_id"]) in quarantined:
                blocked += 1
                assert ours["action"] == "block"
        assert any(one["status"] == "partial" for one in found)
    assert blocked > 0
    # It was waited for once.
    assert pair.way.now == began + 2.0
    assert pair.said[-1].startswith("shard 1 of sessions does not answer")
    pair.way.silent.clear()
    pair.sharded.forget()
    assert pair.said[-1] == "shard 1 of sessions answers again"
    expected, found = pair.both(given[200:])
    assert found == expected


def test_a_shard_that_hangs_is_started_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path, patience_s=2.0)
    given = traffic(100)
    pair.both(given[:50])
    pair.way.silent.add(2)
    pair.both(given[50:75])
    pair.way.now += 31.0
    pair.sharded.forget()
    assert pair.way.stopped == [2]
    expected, found = pair.both(given[75:])
    assert found == expected


def test_what_is_lost_with_shard_and_ledger_is_said_and_begins_anew(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    given = traffic(200)
    pair.both(given[:100])
    pair.way.ledger._shards.clear()
    for shard in range(3):
        pair.way.die(shard)
    _, found = pair.both(given[100:150])
    assert {row["status"] for row in found} == {"partial"}
    assert all(row["error"].endswith(ANEW) for row in found)
    assert sum("are lost; it begins anew" in line for line in pair.said) == 3
    again = pair.told(pair.sharded, given[150:])
    assert {row["status"] for row in again} == {"ok"}
    assert any(row["violations"] for row in again)


def test_a_session_that_is_let_go_is_held_no_more(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    talk = [
        {"request_id": "a", "session_id": "s", "text": "0.005 direct_injection"},
        {"request_id": "b", "session_id": "s", "text": "1 none", "channel": "tool"},
    ]
    assert [row["session_action"] for row in pair.both(talk)[1]] == ["none", "quarantine"]
    assert not pair.responder.release(None, "s", pair.wall)
    pair.responder.ended(pair.wall)
    assert pair.responder.counts == {"quarantine": 1, "rate_limit": 0}
    assert pair.responder.release(None, "s", pair.wall)
    assert pair.responder.counts["quarantine"] == 0
    assert pair.told(pair.sharded, [{"request_id": "c", "session_id": "s", "text": "1 none"}])[0]["action"] == "allow"


def test_other_policies_are_handed_to_all_shards_and_what_was_owed_is_told(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.both(traffic(120))
    (tmp_path / "policies.toml").write_text(POLICIES.replace('version = "1"', 'version = "2"'))
    other = TracePolicies.load(tmp_path / "policies.toml")
    expected = owed(pair.inside.use(Watch(other, capacity=1000, max_age_s=3600.0)))
    assert owed(pair.sharded.use(other)) == expected
    assert expected
    assert pair.sharded.use(other) == []
    given = traffic(160)[120:]
    found, ours = pair.both(given)
    assert ours == found


def test_batches_name_the_policy_they_were_judged_by(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.both(traffic(30))
    (tmp_path / "policy.toml").write_text(HOLDING.replace("escalate", "block"))
    for path in ("policy.toml", None, "policy.toml"):
        pair.screener = PolicyScreener(None if path is None else str(tmp_path / path))
        expected, found = pair.both(traffic(60)[30:])
        assert found == expected
    pair.way.die(0)
    expected, found = pair.both(traffic(60)[30:])
    assert found == expected


TALK = [
    {"request_id": "a", "session_id": "s", "text": "0.005 direct_injection"},
    {"request_id": "b", "session_id": "s", "text": "1 none", "channel": "tool"},
]


def test_a_release_and_a_policy_reach_a_shard_for_which_too_much_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimds.actors.lines.MOST_WAITING", 3)
    pair = Pair(tmp_path, shards=1)
    pair.told(pair.sharded, TALK)
    pair.responder.ended(pair.wall)
    pair.way.silent.add(0)
    for row in traffic(6):
        pair.told(pair.sharded, [row])
    assert pair.responder.release(None, "s", pair.wall)
    (tmp_path / "policy.toml").write_text(HOLDING.replace("escalate", "block"))
    pair.screener = PolicyScreener(str(tmp_path / "policy.toml"))
    pair.told(pair.sharded, traffic(7)[6:])
    pair.way.silent.clear()
    for _ in range(10):
        pair.sharded.forget()
    assert pair.told(pair.sharded, [{"request_id": "c", "session_id": "s", "text": "1 none"}])[0]["action"] == "allow"


def test_a_policy_that_is_used_is_remembered_though_many_others_come(tmp_path: Path) -> None:
    pair = Pair(tmp_path, shards=1)
    other = pair.another(1, "you")
    for number in range(20):
        pair.told(pair.sharded, traffic(1))
        (tmp_path / "policy.toml").write_text(HOLDING.replace('version = "1"', f'version = "{number}"'))
        before, pair.screener = pair.screener, PolicyScreener(str(tmp_path / "policy.toml"))
        pair.told(other, traffic(1))
        pair.screener = before


def test_a_policy_that_a_shard_forgot_is_handed_over_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path, shards=1)
    pair.told(pair.sharded, traffic(1))
    pair.way.keeper(0)._state._known.clear()
    with pytest.raises(ShardError, match="KeyError"):
        pair.told(pair.sharded, traffic(1))
    assert pair.told(pair.sharded, traffic(1))[0]["status"] == "ok"


@pytest.mark.parametrize("late", ["lend", "take", "leave"])
def test_a_hold_is_kept_where_a_shard_is_late_while_sessions_move(tmp_path: Path, late: str) -> None:
    pair = Pair(tmp_path, shards=1)
    talks = [[{**row, "session_id": f"s{number}"} for row in TALK] for number in range(40)]
    for talk in talks:
        pair.told(pair.sharded, talk)
    sent = pair.way.send

    def send(shard: int, sender: str, number: int, call: Call) -> object:
        if call.method == late:
            pair.way.silent.add(shard)
        return sent(shard, sender, number, call)

    pair.way.send = send
    pair.way.stop = lambda shard: None
    with pytest.raises(ShardError, match="in time"):
        pair.sharded.resize(2)
    pair.way.send = sent
    pair.way.silent.clear()
    pair.sharded.forget()
    pair.sharded.forget()
    found = [pair.told(pair.sharded, [{**talk[0], "request_id": "c", "text": "1 none"}])[0] for talk in talks]
    assert {row["session_action"] for row in found} == {"quarantine"}


def test_what_was_lost_between_two_batches_is_said_by_the_next(tmp_path: Path) -> None:
    pair = Pair(tmp_path, shards=1)
    pair.told(pair.sharded, traffic(5))
    pair.way.ledger._shards.clear()
    pair.way.die(0)
    pair.responder.ended(pair.wall)
    assert all(row["error"].endswith(ANEW) for row in pair.told(pair.sharded, traffic(5)))
    assert {row["status"] for row in pair.told(pair.sharded, traffic(5))} == {"ok"}


def test_who_reads_what_is_held_is_not_in_the_way_of_who_lets_one_go() -> None:
    responder = ShardedResponder()
    keys = [(None, f"s{number}", None) for number in range(3)]
    responder.known = [{"quarantine": dict.fromkeys(keys, Hold(0.0, 9.0, "a")), "rate_limit": {}}]
    reading = iter(responder.known[0]["quarantine"].items())
    next(reading)
    assert responder.release(None, "s1", 1.0)
    assert len(list(reading)) == 2
    assert [key for key, _ in responder.listed(1.0)["quarantine"]] == [keys[0], keys[2]]


def test_other_policies_are_in_force_and_what_was_owed_is_told_though_shards_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path)
    pair.both(traffic(120))
    (tmp_path / "policies.toml").write_text(POLICIES.replace('version = "1"', 'version = "2"'))
    other = TracePolicies.load(tmp_path / "policies.toml")
    expected = owed(pair.inside.use(Watch(other, capacity=1000, max_age_s=3600.0)))

    def failing(shards: int) -> int:
        raise ShardError(1, "did not answer in time")

    monkeypatch.setattr(pair.sharded, "resize", failing)
    settings = dataclasses.replace(
        INSECURE, sessions=Following(policies=tmp_path / "policies.toml"), ray=Ray(None, 1, 1, 5)
    )
    made = object.__new__(app_following.Following)
    made.follower, made._say = pair.sharded, pair.said.append
    with pytest.raises(ShardError):
        made.renewed(settings)()
    assert pair.sharded.policies is not None
    assert pair.sharded.policies.version == other.version
    assert owed(pair.sharded.forget()) == expected


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("forget", lambda pair: pair.sharded.forget()),
        ("use", lambda pair: pair.sharded.use(pair.policies)),
        ("tick", lambda pair: pair.responder.ended(pair.wall)),
    ],
)
def test_a_shard_that_cannot_do_what_no_row_waits_for_is_counted_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, ask: Any
) -> None:
    pair = Pair(tmp_path, shards=2)

    def broken(self: Any, *arguments: Any) -> Any:
        raise DataError("shard", "no room")

    with monkeypatch.context() as patched:
        patched.setattr(SessionShard, method, broken)
        ask(pair)
        ask(pair)
    assert pair.sharded.failed == {method: 4}
    assert [f"could not do {method!r}" in line and "no room" in line for line in pair.said] == [True, True]
    ask(pair)
    assert pair.sharded.failed == {method: 4}
    with monkeypatch.context() as patched:
        patched.setattr(SessionShard, method, broken)
        ask(pair)
    assert len(pair.said) == 4
