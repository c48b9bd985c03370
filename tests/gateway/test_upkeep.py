"""What a gateway does from time to time, each piece of it alone and in a running gateway."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desk import ATTACK, Fake
from live import INSECURE, live
from review_cases import case
from waiting import until

from aimds import data
from aimds.errors import DataError
from aimds.gateway.follow_ups import FollowUp, FollowUps
from aimds.gateway.idempotency import KEEP_S, Answers
from aimds.gateway.settings import Audit, Following, Review
from aimds.gateway.tokens import Jwks
from aimds.gateway.upkeep import Upkeep
from aimds.metrics import Metrics
from aimds.record.audit import AuditLog
from aimds.respond.carry_out import Responder
from aimds.respond.held import Hold
from aimds.respond.policy import Policy
from aimds.respond.review import Queue
from aimds.respond.scheduling import SchedulingConfig


def eventually(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


def made(said: list[str] | None = None, **options: Any) -> tuple[Upkeep, Metrics]:
    metrics = Metrics()
    say = (said if said is not None else []).append
    follow_ups = FollowUps(metrics, say=say)
    clocks = {"clock": lambda: 0.0, "wall": lambda: 0.0, **options}
    return Upkeep(follow_ups, metrics, Responder(), None, say=say, **clocks), metrics


class Brief(Fake):
    """Puts the session of an attack into quarantine for a twentieth of a second."""

    def __init__(self) -> None:
        super().__init__()
        values = tomllib.loads(data.read_bytes("policy.toml").decode())
        values["playbook"]["block"]["steps"] = ["audit", "notify", "quarantine", "refuse"]
        values["quarantine"]["minutes"] = 0.05 / 60
        self.policy = Policy(values)


def test_end_of_a_quarantine_is_recorded_though_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.HOLDS_S", 0.01)
    log = tmp_path / "audit.log"
    with live(dataclasses.replace(INSECURE, audit=Audit(log, None, "none")), Brief()) as server:
        body = json.dumps({"text": ATTACK, "session_id": "s/1", "request_id": "r1"})
        assert server.ask("POST", "/v1/screen", body)[0] == 200
        (line,) = eventually(
            lambda: log.exists() and [one for one in log.read_bytes().splitlines() if b"hold_e" in one]
        )
        metrics = server.ask("GET", "/metrics")[2].decode()
    told = {**json.loads(line)["body"], **json.loads(line)["private"]}
    assert (told["session_action"], told["session_id"], told["sender"]) == ("quarantine", "s/1", None)
    done = [one for one in metrics.splitlines() if one.startswith('aimds_follow_ups_total{event="completed"')]
    assert sum(float(one.split()[-1]) for one in done) > 0


def test_sessions_not_seen_for_long_are_forgotten_though_nothing_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.FORGET_S", 0.01)
    with live(dataclasses.replace(INSECURE, sessions=Following(max_age_s=1))) as server:
        assert server.ask("POST", "/v1/screen", json.dumps({"text": "hello", "session_id": "s"}))[0] == 200
        followed = server.gateway.worker.follower._sessions
        eventually(lambda: len(followed) == 0)


def test_answers_are_forgotten_by_their_age_alone() -> None:
    class Waits:
        def answer(self, *told: Any) -> None: ...

    answers = Answers()
    assert answers.begin(("a", "k"), b"1", Waits(), 0.0)  # type: ignore[arg-type]
    answers.answered(("a", "k"), (200, [], b"{}"))
    answers.forget(KEEP_S)
    assert len(answers) == 1
    answers.forget(KEEP_S + 1)
    assert len(answers) == 0


def test_key_set_that_meets_an_unknown_key_is_read_again_once() -> None:
    reads: list[int] = []

    def read() -> bytes:
        reads.append(1)
        return b'{"keys": []}'

    upkeep, _ = made(clock=lambda: 100.0)
    keys = Jwks(read, remote=True)
    upkeep.use_keys(keys)
    assert len(upkeep._follow_ups._came) == 1
    upkeep._refresh()
    assert len(reads) == 1
    for _ in range(3):
        assert keys.get("unknown", 1e6) is None
    assert len(upkeep._follow_ups._came) == 2


def test_key_set_that_cannot_be_read_is_said_and_stays_in_force() -> None:
    said: list[str] = []
    upkeep, _ = made(said)

    def read() -> bytes:
        raise DataError("https://keys.example/", "cannot be fetched: no route")

    upkeep.use_keys(Jwks(read, remote=True))
    upkeep._refresh()
    assert said == [
        "the key set cannot be read, the old one stays in force: https://keys.example/: cannot be fetched: no route"
    ]


def test_key_set_and_log_for_which_there_was_no_room_are_looked_after_once_there_is(tmp_path: Path) -> None:
    said: list[str] = []
    reads: list[float] = []
    log = AuditLog(tmp_path / "audit.log")

    class Keys(Jwks):
        def refresh(self, now: float) -> None:
            reads.append(now)

    async def test() -> None:
        follow_ups = FollowUps(Metrics(), config=SchedulingConfig(capacity=1, at_once=1), say=said.append)
        clocks: dict[str, Any] = {"clock": lambda: 0.0, "wall": lambda: 0.0}
        upkeep = Upkeep(follow_ups, Metrics(), Responder(), log, say=said.append, **clocks)
        follow_ups.attach()
        keys, hangs = Keys(lambda: b"", remote=True), threading.Event()
        follow_ups.hand(FollowUp("hangs", lambda: hangs.wait(20), aside=True))
        await until(lambda: follow_ups.worker.running)
        upkeep.use_keys(keys)
        upkeep.note("denied", {"reason": "lost"})
        await until(lambda: len(said) == 2)
        assert sorted(said) == [f"{name}: lost, 1 pieces of work wait already" for name in ("audit", "keys")]
        hangs.set()
        await until(lambda: not follow_ups.worker.running)
        # As an unknown key id does, and the next denial.
        keys.wanted()
        await until(lambda: reads and not follow_ups.worker.running)
        upkeep.note("denied", {"reason": "kept"})
        await until(lambda: log.path.exists() and log.path.read_bytes().count(b'"denied"') == 2)
        await follow_ups.close(asyncio.get_running_loop().time() + 10)

    asyncio.run(test())
    log.close()


def test_items_that_wait_past_their_time_are_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.OVERDUE_S", 0.01)
    settings = dataclasses.replace(INSECURE, review=Review(tmp_path / "review.db"))
    with live(settings) as server:
        queue = Queue(tmp_path / "review.db")
        queue.add([case(0)], (), datetime.now(UTC) - timedelta(days=60), "scan")
        queue.add([case(1)], (), datetime.now(UTC), "scan")

        def shown() -> bool:
            text = server.ask("GET", "/metrics")[2].decode()
            return 'aimds_review_items{state="open"} 2.0' in text and 'aimds_review_items{state="overdue"} 1.0' in text

        eventually(shown)


def test_rise_of_what_is_caught_gives_an_alarm_and_steady_traffic_none() -> None:
    said: list[str] = []
    upkeep, metrics = made(said)
    rng = np.random.default_rng(1)
    for caught in [0.02] * 50 + [0.2] * 10:
        hits = int(rng.binomial(200, caught))
        metrics.screened([("allow", 200 - hits), ("block", hits)], [("jailbreak", hits)], 0)
        upkeep._drifted()
        if caught == 0.02:
            assert said == []
    assert said
    assert metrics.registry.get_sample_value("aimds_drift_alarms_total") == len(said)
    upkeep._drifted()


def test_end_of_a_hold_that_the_log_could_not_take_is_recorded_once_it_can() -> None:
    class Log:
        full = True

        def __init__(self) -> None:
            self.found: list[str] = []

        def append(self, kind: str, body: dict[str, Any]) -> None:
            if self.full and len(self.found) == 1:
                raise DataError("audit.log", "the disk is full")
            self.found.append(f"{kind} {body['session_id']}")

    upkeep, _ = made()
    log = Log()
    upkeep._audit = log  # type: ignore[assignment]
    ended = [(("a", f"s{i}", None), Hold(0.0, 1.0, "r")) for i in range(3)]
    left = [{"quarantine": ended}, {"quarantine": []}]
    upkeep._responder.ended = lambda now: left.pop(0)  # type: ignore[assignment,method-assign]
    with pytest.raises(DataError, match="disk is full"):
        upkeep._let_go()
    log.full = False
    upkeep._let_go()
    assert log.found == ["hold_ended s0", "hold_ended s1", "hold_ended s2"]


def test_ends_of_holds_that_wait_for_the_log_are_bounded_and_those_that_are_lost_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.MOST_ENDED", 2)

    class Log:
        full = True

        def __init__(self) -> None:
            self.found: list[str] = []

        def append(self, kind: str, body: dict[str, Any]) -> None:
            if self.full:
                raise DataError("audit.log", "the disk is full")
            self.found.append(f"{kind} {body['session_id']}")

    said: list[str] = []
    upkeep, _ = made(said)
    log = Log()
    upkeep._audit = log  # type: ignore[assignment]
    left = [{"quarantine": [(("a", f"s{i}", None), Hold(0.0, 1.0, "r"))]} for i in range(4)] + [{"quarantine": []}]
    upkeep._responder.ended = lambda now: left.pop(0)  # type: ignore[assignment,method-assign]
    for _ in range(4):
        with pytest.raises(DataError, match="disk is full"):
            upkeep._let_go()
    log.full = False
    upkeep._let_go()
    assert log.found == ["hold_ended s2", "hold_ended s3"]
    assert said == ["the end of 1 hold is not recorded: 2 others wait for the audit log already"] * 2
