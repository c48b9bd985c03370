"""Sessions of a gateway outlive its restart: what is said afterwards is what would have been said without one."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from followed import HOLDING, Served
from live import INSECURE, Live, live
from policy_screener import PolicyScreener
from trace_policies import NO_TOOL

from aimds.analyze.packed import pack
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.app import Gateway
from aimds.gateway import session_file
from aimds.gateway.following import Follower
from aimds.gateway.session_file import MARK, SessionFile
from aimds.gateway.settings import Audit, Following, Settings
from aimds.ltl.policies import TracePolicies
from aimds.schema import requests

POLICIES = (
    NO_TOOL
    + """[policies.answered]
says = "Threats are answered."
formula = "G (threat_detected -> F[1us,1h] released)"
holds = ["threat_detected; released"]
fails = ["threat_detected"]
"""
)


class Clocks:
    """A process that began at ``start`` of the wall, with a monotonic clock of its own."""

    def __init__(self, start: float, own: float) -> None:
        self.wall, self.own = start, own

    def follower(self, policies: TracePolicies | None = None, **options: Any) -> Follower:
        watch = Watch(policies or TracePolicies.load(), **options)
        return Follower(Sessions(**options), watch, None, clock=lambda: self.own, wall=lambda: self.wall)


def told(follower: Follower, session: str, text: str = "0.005 direct_injection", channel: str = "user") -> Any:
    asked = requests(pa.table({"text": [text], "session_id": [session], "channel": [channel]}))
    made = follower.respond(None, asked, PolicyScreener().screen_batch(asked), ["me"])
    return made.select(["session_score", "violations"]).to_pylist()[0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "policies.toml").write_text(POLICIES)
    following = Following(policies=tmp_path / "policies.toml", snapshot=tmp_path / "sessions.bin")
    return dataclasses.replace(INSECURE, sessions=following, audit=Audit(tmp_path / "audit.log", None, "none"))


def ask(server: Live, text: str, **more: Any) -> Any:
    return json.loads(server.ask("POST", "/v1/screen", json.dumps({"text": text, "session_id": "s", **more}))[2])


def test_a_gateway_goes_on_with_its_sessions_after_a_restart(tmp_path: Path, settings: Settings) -> None:
    talk = [{"text": "0.05 none"}, {"text": "0.005 direct_injection"}, {"text": "0.001 none", "channel": "tool"}]
    with live(
        dataclasses.replace(settings, sessions=Following(policies=tmp_path / "policies.toml")), Served()
    ) as whole:
        expected = [ask(whole, **one) for one in talk]
    settings = dataclasses.replace(settings, audit=Audit(tmp_path / "later.log", None, "none"))
    found = []
    for one in talk:
        with live(settings, Served()) as server:
            found.append(ask(server, **one))
    assert [one["session_score"] for one in found] == [one["session_score"] for one in expected]
    assert found[2]["violations"] == expected[2]["violations"] == ["no_tool_after_injection"]
    assert stat.S_IMODE((tmp_path / "sessions.bin").stat().st_mode) == 0o600
    assert b"session_ended" not in (tmp_path / "later.log").read_bytes()


def test_a_hold_outlives_a_restart_and_a_session_that_was_let_go_is_not_held_again_for_the_same(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "policy.toml").write_text(HOLDING)
    settings = dataclasses.replace(settings, holds=tmp_path / "holds")
    screener = Served(str(tmp_path / "policy.toml"))
    with live(settings, screener) as server:
        ask(server, "0.005 direct_injection")
        assert ask(server, "1 none", channel="tool")["session_action"] == "quarantine"
    with live(settings, screener) as server:
        held = ask(server, "1 none")
        assert (held["action"], held["violations"]) == ("block", ["session_quarantined"])
        (listed,) = json.loads(server.ask("GET", "/v1/admin/sessions")[2])["sessions"]
        assert (listed["session_id"], listed["session_action"]) == ("s", "quarantine")
        assert server.ask("POST", "/v1/admin/sessions/s/release")[0] == 200
    with live(settings, screener) as server:
        free = ask(server, "1 none")
        assert (free["action"], free["session_action"], free["violations"]) == ("allow", "none", [])


def test_where_holds_are_not_kept_a_broken_policy_holds_its_session_once_more(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "policy.toml").write_text(HOLDING)
    screener = Served(str(tmp_path / "policy.toml"))
    later = dataclasses.replace(settings, holds=tmp_path / "holds", audit=None)
    for then in (dataclasses.replace(settings, audit=None), later):
        with live(dataclasses.replace(settings, audit=None), screener) as server:
            ask(server, "0.005 direct_injection")
            ask(server, "1 none", channel="tool")
        with live(then, screener) as server:
            assert ask(server, "1 none")["session_action"] == "quarantine"
        (tmp_path / "sessions.bin").unlink()


def test_sessions_are_written_from_time_to_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.SNAPSHOT_S", 0.05)
    assert settings.sessions is not None
    assert settings.sessions.snapshot is not None
    with live(settings, Served()) as server:
        ask(server, "0.005 direct_injection")
        until = time.monotonic() + 20
        while not settings.sessions.snapshot.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert settings.sessions.snapshot.exists()


NUMBERS: dict[str, Any] = {"format": 1, "wall": 0.0, "clock": 0.0, "rows": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"torn",
        MARK + b"\0" * 60,
        pack(MARK, {"format": 99}, {}),
        pack(MARK, {"format": 1}, {}),
        pack(MARK, {**NUMBERS, "scores": 3}, {}),
        pack(MARK, {**NUMBERS, "scores": {"window": 32}}, {"scores.keys": np.zeros(2), "scores.seen": np.array(["x"])}),
        pack(MARK, {**NUMBERS, "policies": []}, {}),
    ],
)
def test_a_file_that_cannot_be_used_is_put_aside_and_all_begins_anew(settings: Settings, content: bytes) -> None:
    assert settings.sessions is not None
    path = settings.sessions.snapshot
    assert path is not None
    path.write_bytes(content)
    said: list[str] = []
    gateway = Gateway(settings, build=lambda screening: Served(), say=said.append)
    assert path.name in said[0]
    assert "begin anew" in said[0]
    assert not path.exists()
    assert path.with_name("sessions.bin.bad").read_bytes() == content
    assert gateway.worker.follower.rows == 0


def test_numbers_that_cannot_be_put_a_file_aside(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    policies = TracePolicies.load(tmp_path / "policies.toml")
    follower = Clocks(0.0, 0.0).follower(policies)
    told(follower, "s")
    header, arrays = follower.copied(1 << 20)
    places = [[[math.inf, state] for _, state in found] for found in header["policies"]["monitors"]]
    wide = {name: np.zeros((1, 2)) for name in ("scores.seen", "policies.seen")}
    for head, kept in (
        ({"rows": math.inf}, {}),
        ({"clock": math.nan}, {}),
        ({"policies": {**header["policies"], "owing": [[math.inf, "t", "s", None]]}}, {}),
        ({"policies": {**header["policies"], "monitors": places}}, {}),
        *(({}, {name: array}) for name, array in wide.items()),
        ({}, {"policies.seen": np.array([math.nan])}),
    ):
        said: list[str] = []
        (tmp_path / "s").write_bytes(pack(MARK, {"format": 1, **header, **head}, {**arrays, **kept}))
        SessionFile(tmp_path / "s", Clocks(0.0, 0.0).follower(policies), said.append)
        assert "begin anew" in said[0], (head, kept)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(session_file, "MOST_READ", 10)
    (tmp_path / "s").write_bytes(bytes(11))
    SessionFile(tmp_path / "s", Clocks(0.0, 0.0).follower(), said.append)
    assert "11 bytes, more than 10" in said[0]


def test_time_between_two_processes_counts(tmp_path: Path) -> None:
    said: list[str] = []
    before = Clocks(1000.0, 5.0)
    follower = before.follower(max_age_s=100)
    kept = SessionFile(tmp_path / "s", follower, said.append)
    told(follower, "old")
    before.own, before.wall = 65.0, 1060.0
    first = told(follower, "new")["session_score"]
    assert kept.write()
    for wall, names in ((1070.0, {"old", "new"}), (1110.0, {"new"}), (1300.0, set()), (900.0, {"old", "new"})):
        after = Clocks(wall, 7.0).follower(max_age_s=100)
        SessionFile(tmp_path / "s", after, said.append)
        going = {
            name
            for name in ("old", "new")
            if told(after, name, "1 none")["session_score"] != told(after, "x" + name, "1 none")["session_score"]
        }
        assert going == names, wall
    assert first is not None


def test_ids_of_rows_are_not_used_twice(tmp_path: Path) -> None:
    follower = Clocks(0.0, 0.0).follower()
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    one = told(follower, "s", "0.05 none")["session_score"]
    assert kept.write()
    after = Clocks(0.0, 0.0).follower()
    SessionFile(tmp_path / "s", after, lambda line: None)
    assert told(after, "s", "0.05 none")["session_score"] == told(follower, "s", "0.05 none")["session_score"] != one


def test_other_policies_begin_anew_and_scores_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    follower = Clocks(0.0, 0.0).follower()
    kept = SessionFile(tmp_path / "s", follower, said.append)
    told(follower, "s")
    assert kept.write()
    (tmp_path / "policies.toml").write_text(POLICIES)
    after = Clocks(0.0, 0.0).follower(TracePolicies.load(tmp_path / "policies.toml"))
    SessionFile(tmp_path / "s", after, said.append)
    assert "1 with their scores, 0 with their policies" in said[-1]


def test_no_more_sessions_are_written_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Clocks(0.0, 0.0).follower(capacity=50)
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    for number in range(50):
        told(follower, f"s{number}")
    monkeypatch.setattr(session_file, "MOST_BYTES", 20_000)
    assert kept.write()
    assert 5_000 < (tmp_path / "s").stat().st_size < 25_000
    after = Clocks(0.0, 0.0).follower(capacity=50)
    said: list[str] = []
    SessionFile(tmp_path / "s", after, said.append)
    assert told(after, "s49", "1 none")["session_score"] != told(after, "other", "1 none")["session_score"]
    assert told(after, "s0", "1 none")["session_score"] == told(after, "another", "1 none")["session_score"]


def test_names_that_have_no_room_are_left_out_and_their_sessions_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    policies = TracePolicies.load(tmp_path / "policies.toml")
    follower, said = Clocks(0.0, 0.0).follower(policies, capacity=30), []
    kept = SessionFile(tmp_path / "s", follower, said.append)
    names = [f"{number:03}" + "ö" * 250 for number in range(30)]
    for name in names:
        told(follower, name)
    assert kept.write()
    whole = (tmp_path / "s").stat().st_size
    monkeypatch.setattr(session_file, "MOST_READ", whole - 5_000)
    told(follower, names[-1])
    assert kept.write()
    assert whole - 6_000 < (tmp_path / "s").stat().st_size <= whole - 5_000
    assert "has no room for the names of 10 sessions; what they owe is lost" in said[0]
    after = Clocks(0.0, 0.0).follower(policies, capacity=30)
    SessionFile(tmp_path / "s", after, said.append)
    assert "30 with their scores, 30 with their policies" in said[1]
    assert [one.session_id for one in after.forget(over=True)] == names[10:]


def test_a_name_takes_its_own_bytes_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    follower = Clocks(0.0, 0.0).follower(TracePolicies.load(tmp_path / "policies.toml"))
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    told(follower, "ö" * 250)
    assert kept.write()
    assert ("ö" * 250).encode() in (tmp_path / "s").read_bytes()


def test_a_folder_that_cannot_be_written_is_said_and_nothing_stops(tmp_path: Path) -> None:
    said: list[str] = []
    kept = SessionFile(tmp_path / "missing" / "s", Clocks(0.0, 0.0).follower(), said.append)
    assert not kept.write()
    assert "cannot be kept" in said[0]


def test_what_has_ended_and_was_told_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    policies = TracePolicies.load(tmp_path / "policies.toml")
    clocks = Clocks(0.0, 0.0)
    follower = clocks.follower(policies, max_age_s=100)
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    told(follower, "s")
    assert kept.write()
    clocks.wall = clocks.own = 200.0
    assert [one.session_id for one in follower.forget()] == ["s"]
    assert kept.write()
    after = Clocks(201.0, 0.0).follower(policies, max_age_s=100)
    SessionFile(tmp_path / "s", after, lambda line: None)
    assert after.forget() == []


def test_a_watch_that_is_replaced_says_what_is_owed_in_it(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    follower = Clocks(0.0, 0.0).follower(TracePolicies.load(tmp_path / "policies.toml"))
    told(follower, "s")
    assert follower.use(follower.watch) == []
    assert [(one.session_id, one.policies) for one in follower.use(Watch(TracePolicies.load()))] == [
        ("s", ("answered",))
    ]
    assert follower.forget(over=True) == []


def test_a_reload_with_other_policies_puts_what_is_owed_into_the_log(tmp_path: Path, settings: Settings) -> None:
    with live(settings, Served()) as server:
        ask(server, "0.005 direct_injection")
        (tmp_path / "policies.toml").write_text(POLICIES.replace('version = "1"', 'version = "2"'))
        server.begin(server.gateway.reload()).result(20)
    assert b"session_ended" in (tmp_path / "audit.log").read_bytes()


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    follower = Clocks(0.0, 0.0).follower()
    kept = SessionFile(tmp_path / "s", follower, said.append)
    told(follower, "s")
    monkeypatch.setattr(session_file, "MOST_READ", 10)
    assert not kept.write()
    assert "more than 10" in said[0]
    assert not (tmp_path / "s").exists()

    def full(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(session_file, "pack", full)
    assert not kept.write()
    assert "memory" in said[1]


def test_what_was_owed_by_policies_that_have_changed_is_told_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(POLICIES)
    follower = Clocks(0.0, 0.0).follower(TracePolicies.load(tmp_path / "policies.toml"))
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    told(follower, "s")
    assert kept.write()
    after = Clocks(1.0, 0.0).follower()
    SessionFile(tmp_path / "s", after, lambda line: None)
    assert [(one.session_id, one.policies) for one in after.forget()] == [("s", ("answered",))]
    assert after.forget() == []
