"""A gateway that queues what it escalates, off the way of a request, and lets reviewers in."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import postgres_server
import pyarrow as pa
import pytest
from desk import ATTACK, VERSIONS, Fake
from live import INSECURE, live

from aimds import assembly
from aimds.detect.stages import Scores
from aimds.detect.texts import Texts
from aimds.errors import ConfigError, DataError
from aimds.gateway.reviewing import Reviewing, reviewed
from aimds.gateway.settings import Review, Settings, load
from aimds.respond.policy import Policy
from aimds.respond.review import Filter, Queue, Reviewer
from aimds.schema import requests

ADA = Reviewer("ada")
ESCALATING = """format = 1
version = "t"
[threats.default]
at_block = "escalate"
at_flag = "flag"
min_severity = 0.0
"""


class Escalating(Fake):
    """Escalates what the other one blocks."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def _verdicts(self, batch: pa.RecordBatch, scores: Scores) -> pa.RecordBatch:
        texts = Texts.from_arrow(batch.column("text"))
        return assembly.verdicts(batch, texts, scores, self.policy, "fast", "cpu", VERSIONS)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Settings, Escalating]:
    path = tmp_path / "policy.toml"
    path.write_text(ESCALATING)
    screening = dataclasses.replace(INSECURE.screening, policy=path)
    settings = dataclasses.replace(INSECURE, screening=screening, review=Review(tmp_path / "review.db"))
    return settings, Escalating(Policy.load(path))


def waited(queue: Queue, n: int) -> list[Any]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = queue.page(ADA, _now(), Filter("all"))
        if len(found) >= n:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never {n} items")


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_escalated_rows_are_queued_with_their_text_and_the_turns_around_them(
    made: tuple[Settings, Escalating], tmp_path: Path
) -> None:
    settings, screener = made
    with live(settings, screener) as running:
        turns = {"turns": [{"text": "hello", "turn": 1}, {"text": f"{ATTACK} now", "turn": 2, "request_id": "r2"}]}
        status, _, _ = running.ask("POST", "/v1/sessions/s1/turns", json.dumps(turns))
        assert status == 200
        assert running.screen("hello")[1]["action"] == "allow"
        (item,) = waited(Queue(tmp_path / "review.db"), 1)
        case = item.case
        assert (case.request_id, case.session_id, case.action, case.text) == ("r2", "s1", "escalate", b"ATTACK now")
        assert case.detail["evidence"][0]["pattern_id"] == "t.attack"
        around = Queue(tmp_path / "review.db").session(ADA, item.id)
        assert [(turn.turn, turn.action) for turn in around] == [(1, "allow"), (2, "escalate")]


def test_reviewers_decide_at_the_gateway(made: tuple[Settings, Escalating], tmp_path: Path) -> None:
    settings, screener = made
    with live(settings, screener) as running:
        running.screen(f"{ATTACK} now")
        waited(Queue(tmp_path / "review.db"), 1)
        status, headers, _ = running.ask("GET", "/console/")
        assert status == 200
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        status, headers, body = running.ask("GET", "/console/api/me")
        me, cookie = json.loads(body), headers["set-cookie"].partition(";")[0]
        assert me["name"] == "local"
        origin = f"http://127.0.0.1:{running.gateway.port}"
        told = {"label": "attack", "reason": "an order"}
        target = "/console/api/items/1/decide"
        assert running.ask("POST", target, json.dumps(told), cookie=cookie, origin=origin)[0] == 403
        more = {"cookie": cookie, "origin": origin, "x_csrf_token": me["csrf"]}
        status, _, body = running.ask("POST", target, json.dumps(told), **more)
        assert (status, json.loads(body)["item"]["reviewer"]) == (200, "local")
        # Kept alive, the same connection answers what follows.
        connection = running.connect()
        for _ in range(3):
            connection.request("GET", "/console/api/counts", headers={"cookie": cookie})
            assert json.loads(connection.getresponse().read())["attack"] == 1
        connection.close()
        assert running.ask("GET", "/console/", host="attacker.example")[0] == 403
        status, _, body = running.ask("GET", "/metrics")
        assert b'aimds_review_rows_total{outcome="queued"} 1.0' in body
        assert b'aimds_requests_total{route="console",status="200"}' in body
    assert Queue(tmp_path / "review.db").get(ADA, 1).label == "attack"


def test_two_gateways_fill_one_queue_on_a_server(
    made: tuple[Settings, Escalating], postgres: postgres_server.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.passfile))
    settings, screener = made
    settings = dataclasses.replace(settings, review=Review(postgres.database()))
    with live(settings, screener) as one, live(settings, screener) as two:
        for i, running in enumerate((one, two, one)):
            assert running.screen(f"{ATTACK} {i}")[0] == 200
        assert settings.review is not None
        with contextlib.closing(Queue(settings.review.where)) as queue:
            found = sorted(item.case.text for item in waited(queue, 3))
    assert found == [b"ATTACK 0", b"ATTACK 1", b"ATTACK 2"]


def test_without_a_queue_there_is_no_console() -> None:
    with live() as running:
        assert running.ask("GET", "/console/")[0] == 404


def test_a_verdict_does_not_wait_for_the_queue(made: tuple[Settings, Escalating], tmp_path: Path) -> None:
    settings, screener = made
    with live(settings, screener) as running:
        other = Queue(tmp_path / "review.db")
        with other.store.change():
            for i in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", running.gateway.port, timeout=10)
                body = json.dumps({"text": f"{ATTACK} {i}", "request_id": str(i)})
                connection.request("POST", "/v1/screen", body, {"content-type": "application/json"})
                assert json.loads(connection.getresponse().read())["action"] == "escalate"
                connection.close()
        assert len(waited(other, 3)) == 3


def batch(policy: Policy, *texts: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    asked = requests(pa.table({"text": list(texts)}))
    return asked, Escalating(policy).screen_batch(asked)


def test_what_waits_is_written_before_the_end(tmp_path: Path) -> None:
    policy, counted = Policy.load(), []
    target = Queue(tmp_path / "review.db", create=True)
    reviewing = Reviewing(target, ("block",), wall=time.time, counted=lambda *told: counted.append(told))
    for i in range(20):
        reviewing.record(*batch(policy, f"{ATTACK} {i}", "hello"), [])
    reviewing.record(*batch(policy, f"{ATTACK} 3"), [])
    reviewing.close()
    assert sum(n for outcome, n in counted if outcome == "queued") == 20
    assert sum(n for outcome, n in counted if outcome == "known") == 1
    assert Queue(tmp_path / "review.db").matching(ADA, _now(), Filter("all")) == 20


def test_a_queue_that_cannot_be_written_is_tried_again_and_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("aimds.gateway.reviewing.PAUSE_S", 0.01)
    target, said, broken = Queue(tmp_path / "review.db", create=True), [], threading.Event()
    real = target.add

    def add(*arguments: Any) -> Any:
        if not broken.is_set():
            raise DataError("review.db", "the disk is full")
        return real(*arguments)

    monkeypatch.setattr(target, "add", add)
    reviewing = Reviewing(target, ("block",), wall=time.time, say=said.append)
    reviewing.record(*batch(Policy.load(), ATTACK), [])
    until = time.monotonic() + 20
    while not said and time.monotonic() < until:
        time.sleep(0.01)
    broken.set()
    waited(target, 1)
    reviewing.close()
    assert said == ["review: 1 row cannot be queued yet: review.db: the disk is full"]


def test_a_queue_that_stays_unwritable_is_given_up_and_the_requests_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("aimds.gateway.reviewing.PAUSE_S", 0.0)
    monkeypatch.setattr("aimds.gateway.reviewing.TRIES", 3)
    target, said, counted = Queue(tmp_path / "review.db", create=True), [], []

    def add(*arguments: Any) -> Any:
        raise DataError("review.db", "the disk is full")

    real, target.add = target.add, add  # type: ignore[method-assign]
    reviewing = Reviewing(
        target, ("block",), wall=time.time, say=said.append, counted=lambda *told: counted.append(told)
    )
    reviewing.record(*batch(Policy.load(), ATTACK), [])
    until = time.monotonic() + 20
    while len(said) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    target.add = real  # type: ignore[method-assign]
    reviewing.record(*batch(Policy.load(), f"{ATTACK} later"), [])
    reviewing.close()
    assert counted == [("retried", 1)] * 3 + [("lost", 1), ("queued", 1), ("known", 0)]
    assert said == [
        "review: 1 row cannot be queued yet: review.db: the disk is full",
        "review: not queued, requests '0': DataError: review.db: the disk is full",
    ]


def test_a_row_that_breaks_the_queue_is_named_and_its_neighbours_are_queued(tmp_path: Path) -> None:
    target, said, counted = Queue(tmp_path / "review.db", create=True), [], []
    real = target.add

    def add(cases: Any, *arguments: Any) -> Any:
        if any(one.text == b"ATTACK 1" for one in cases):
            raise ValueError("no such value")
        return real(cases, *arguments)

    target.add = add  # type: ignore[method-assign]
    reviewing = Reviewing(
        target, ("block",), wall=time.time, say=said.append, counted=lambda *told: counted.append(told)
    )
    reviewing.record(*batch(Policy.load(), *(f"{ATTACK} {i}" for i in range(3))), [])
    reviewing.record(*batch(Policy.load(), f"{ATTACK} 4"), [])
    reviewing.close()
    assert sum(n for outcome, n in counted if outcome == "queued") == 3
    assert [one for one in counted if one[0] == "lost"] == [("lost", 1)]
    assert said == ["review: not queued, requests '1': ValueError: no such value"]


def test_a_turn_that_breaks_the_queue_keeps_no_row_from_review(tmp_path: Path) -> None:
    target, said, counted = Queue(tmp_path / "review.db", create=True), [], []
    real = target.add

    def add(cases: Any, turns: Any, *arguments: Any) -> Any:
        if turns:
            raise ValueError("no such value")
        return real(cases, turns, *arguments)

    target.add = add  # type: ignore[method-assign]
    reviewing = Reviewing(
        target, ("block",), wall=time.time, say=said.append, counted=lambda *told: counted.append(told)
    )
    asked = requests(pa.table({"text": [ATTACK, "hello"], "session_id": ["s", "s"], "request_id": ["r1", "r2"]}))
    reviewing.record(asked, Escalating(Policy.load()).screen_batch(asked), [])
    reviewing.close()
    assert counted == [("queued", 1), ("known", 0)]
    assert said == ["review: not queued, turns of requests 'r2': ValueError: no such value"]
    assert Queue(tmp_path / "review.db").matching(ADA, _now(), Filter("all")) == 1


def test_rows_that_too_many_wait_before_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("aimds.gateway.reviewing.MOST_WAITING", 1)
    target, said, writing, go = Queue(tmp_path / "review.db", create=True), [], threading.Event(), threading.Event()
    real = target.add

    def add(*arguments: Any) -> Any:
        writing.set()
        go.wait(20)
        return real(*arguments)

    target.add = add  # type: ignore[method-assign]
    reviewing = Reviewing(target, ("block",), wall=time.time, say=said.append)
    reviewing.record(*batch(Policy.load(), f"{ATTACK} 1"), [])
    assert writing.wait(20)
    for i in (2, 3):
        reviewing.record(*batch(Policy.load(), f"{ATTACK} {i}"), [])
    go.set()
    reviewing.close()
    assert said == ["review: not queued, requests '0': 1 batches wait for the disk already"]


@pytest.mark.parametrize(
    ("ids", "lost", "queued"),
    [([b"\xff"], 1, 0), ([b"\xff", b"\xfe", b"\xff"], 3, 0), ([b"a", b"\xff", b"c", b"d"], 1, 3)],
)
def test_rows_that_cannot_be_read_are_counted_and_keep_neither_verdicts_nor_their_neighbours_back(
    tmp_path: Path, ids: list[bytes], lost: int, queued: int
) -> None:
    said: list[str] = []
    counted: list[tuple[str, int]] = []
    target = Queue(tmp_path / "review.db", create=True)
    reviewing = Reviewing(
        target, ("block",), wall=time.time, say=said.append, counted=lambda *told: counted.append(told)
    )
    asked, verdicts = batch(Policy.load(), *(f"{ATTACK} {one!r}" for one in ids))
    index = verdicts.schema.get_field_index("request_id")
    broken = pa.array(ids, pa.binary()).view(pa.string())
    reviewing.record(asked, verdicts.set_column(index, verdicts.schema.field(index), broken), [])
    reviewing.record(*batch(Policy.load(), f"{ATTACK} afterwards"), [])
    reviewing.close()
    assert [told for told in counted if told[0] == "lost"] == [("lost", lost)]
    assert len(said) == 1
    assert f"review: {lost} row" in said[0]
    assert Queue(tmp_path / "review.db").matching(ADA, _now(), Filter("all")) == queued + 1


def test_old_texts_go_where_they_are_not_to_stay(tmp_path: Path) -> None:
    target = Queue(tmp_path / "review.db", create=True)
    from aimds.respond.review.items import cases

    asked, verdicts = batch(Policy.load(), f"{ATTACK} old")
    target.add(cases(verdicts, asked.column("text")), (), _now() - timedelta(days=3), "scan")
    reviewing = Reviewing(target, ("block",), keep=timedelta(days=2), wall=time.time)
    reviewing.record(*batch(Policy.load(), f"{ATTACK} new"), [])
    reviewing.prune()
    reviewing.close()
    texts = [item.case.text for item in Queue(tmp_path / "review.db").page(ADA, _now())]
    assert texts == [None, b"ATTACK new"]


def test_actions_to_review_are_those_whose_steps_say_so() -> None:
    assert reviewed(Policy.load().playbook) == ("escalate",)


def test_the_settings_name_the_queue(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[review]\npath = "review.db"\nkeep_days = 30\n')
    assert load(tmp_path / "a.toml").review == Review(tmp_path / "review.db", 30.0)
    (tmp_path / "a.toml").write_text('[review]\nurl = "postgresql://db.example/aimds"\n')
    assert load(tmp_path / "a.toml").review == Review("postgresql://db.example/aimds")


@pytest.mark.parametrize(
    "lines",
    ['url = "https://ada:correct-horse@db.example/"', 'path = "a"\nurl = "postgresql://ada:correct-horse@db/"', ""],
)
def test_a_queue_that_cannot_be_named_is_refused_without_its_password(tmp_path: Path, lines: str) -> None:
    (tmp_path / "a.toml").write_text(f"[review]\n{lines}\n")
    with pytest.raises(ConfigError, match="review") as told:
        load(tmp_path / "a.toml")
    assert "correct-horse" not in str(told.value)
