"""Responses judged while they stream."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from random import Random

import pytest
from desk import ATTACK, NDJSON, SECRET, Desk, Fake, documents, feed, forwards, ndjson
from hypothesis import given, settings
from hypothesis import strategies as st
from live import INSECURE, live

from aimds import data
from aimds.errors import ConfigError
from aimds.gateway.output import Output, OutputConfig
from aimds.gateway.problem import Problem
from aimds.respond.policy import Policy

TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


def screened(content: bytes, size: int, **config: int) -> list[dict[str, object]]:
    desk = Desk(output=OutputConfig(**config))
    exchange = desk.open("/v1/screen/output", TEXT)
    for start in range(0, len(content), size):
        exchange.receive(content[start : start + size], desk.now)
        desk.run()
    exchange.end(desk.now)
    desk.run()
    assert exchange.ended
    return documents(exchange)


def test_verdicts_come_while_the_response_does() -> None:
    desk = Desk(output=OutputConfig(step_bytes=100, held_bytes=20))
    exchange = desk.open("/v1/screen/output", TEXT)
    exchange.receive(b"x" * 99, desk.now)
    assert desk.step() == 0
    exchange.receive(b"x" * 51, desk.now)
    desk.run()
    (first,) = documents(exchange)
    assert (first["judged"], first["released"], first["final"], first["action"]) == (150, 130, False, "allow")
    exchange.end(desk.now)
    desk.run()
    assert exchange.ended


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_an_attack_split_over_chunks_is_caught_where_it_lies(size: int) -> None:
    content = "Grüße, Ω. ".encode() * 50 + ATTACK.encode() + b" and more." * 50
    found = screened(content, size, step_bytes=8, look_back_bytes=64)
    last = found[-1]
    assert last["final"]
    assert last["action"] == "block"
    (item,) = last["evidence"]
    assert content[item["start"] : item["end"]] == ATTACK.encode()


def test_nothing_is_released_once_the_action_is_block() -> None:
    content = b"a" * 500 + ATTACK.encode() + b"b" * 2000
    found = screened(content, 50, step_bytes=50, held_bytes=20)
    at = next(one for one in found if one["action"] == "block")
    assert at["released"] <= 500
    assert {one["released"] for one in found if one["seq"] >= at["seq"]} == {at["released"]}
    assert found[-1]["judged"] == len(content)


class Escalating(Fake):
    """What others block waits for a person here, or not, as ``ending`` says."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        values = tomllib.loads(data.read_bytes("policy.toml").decode())
        values["threats"]["default"]["at_block"] = "escalate"
        values["playbook"]["escalate"]["steps"] = ["audit", "review", ending]
        self.policy = Policy(values)


@pytest.mark.parametrize("ending", ["hold", "refuse", "forward"])
def test_nothing_is_released_that_the_playbook_does_not_forward(ending: str) -> None:
    content = b"a" * 500 + ATTACK.encode() + b"b" * 2000
    with live(INSECURE, Escalating(ending)) as server:
        _, _, answer = server.ask("POST", "/v1/screen/output", content, content_type="text/plain")
    last = json.loads(answer.splitlines()[-1])
    assert (last["action"], last["judged"], last["final"]) == ("escalate", len(content), True)
    assert last["released"] == len(content) if ending == "forward" else last["released"] <= 500


def test_the_beginning_of_an_attack_is_not_released_before_it_is_seen_whole() -> None:
    for cut in range(1, len(ATTACK)):
        desk = Desk(output=OutputConfig(step_bytes=1, held_bytes=16))
        exchange = desk.open("/v1/screen/output", TEXT)
        exchange.receive(b"a" * 100 + ATTACK[:cut].encode(), desk.now)
        desk.run()
        assert max(one["released"] for one in documents(exchange)) <= 100


def test_a_secret_is_told_once_with_its_place_in_the_whole_response() -> None:
    content = b"n" * 300 + SECRET.encode() + b"n" * 300
    found = screened(content, 10, step_bytes=10, look_back_bytes=200)
    spans = [span for one in found for span in one["spans"]]
    assert spans == [{"start": 300, "end": 300 + len(SECRET), "kind": "CREDIT_CARD"}]


def test_the_look_back_is_bounded() -> None:
    state = Output(OutputConfig(look_back_bytes=100, step_bytes=10, max_new_bytes=50), forwards)
    verdict = {"evidence": [], "spans": [], "action": "allow", "threat_type": "none", "score": 0.0, "status": "ok"}
    verdict |= {"error": None, "model_version": "", "signature_version": "", "policy_version": ""}
    for _ in range(100):
        state.feed(b"y" * 45)
        while (window := state.window()) is not None:
            assert len(window.text) <= 150
            state.judged(window, json.loads(json.dumps(verdict)))
        assert len(state._tail) <= 150


@settings(max_examples=60)
@given(st.text(max_size=200), st.integers(1, 20), st.integers(16, 60), st.integers(16, 60), st.integers(1, 40))
def test_windows_cover_every_byte_and_never_cut_a_character(
    text: str, size: int, back: int, new: int, step: int
) -> None:
    content = text.encode("utf-8", "ignore")
    found = screened(content, size, look_back_bytes=back, max_new_bytes=new, step_bytes=step)
    judged = [one["judged"] for one in found]
    assert judged == sorted(judged)
    assert judged[-1] == len(content) == found[-1]["released"]
    assert [one["final"] for one in found] == [False] * (len(found) - 1) + [True]


def test_chunks_may_come_as_lines() -> None:
    desk = Desk()
    exchange = desk.open("/v1/screen/output?request_id=r&session_id=s", NDJSON)
    half = len(ATTACK) // 2
    feed(desk, exchange, ndjson({"text": ATTACK[:half]}, {"text": ATTACK[half:]}), 5)
    desk.run()
    assert documents(exchange)[-1]["action"] == "block"


def test_an_empty_response_has_a_verdict() -> None:
    (only,) = screened(b"", 1)
    assert (only["final"], only["judged"], only["action"]) == (True, 0, "allow")


@pytest.mark.parametrize("content", [b"abc\xff" + b"d" * 500, b"abc\xe2\x82"])
def test_what_is_not_utf8_is_refused(content: bytes) -> None:
    desk = Desk()
    exchange = desk.open("/v1/screen/output", TEXT)
    exchange.receive(content, desk.now)
    exchange.end(desk.now)
    desk.run()
    assert exchange.status == 400


def test_a_response_beyond_the_limit_is_refused_and_what_was_judged_stands() -> None:
    desk = Desk(output=OutputConfig(max_bytes=1000))
    exchange = desk.open("/v1/screen/output", TEXT)
    exchange.receive(b"x" * 900, desk.now)
    desk.run()
    exchange.receive(b"x" * 900, desk.now)
    found = documents(exchange)
    assert found[0]["judged"] == 900
    assert found[1]["problem"]["status"] == 413
    assert exchange.ended


def test_a_fast_sender_is_held_back_until_its_text_is_judged() -> None:
    desk = Desk(output=OutputConfig(max_new_bytes=100))
    exchange = desk.open("/v1/screen/output", TEXT)
    exchange.receive(b"x" * 450, desk.now)
    assert not exchange.wants_data
    desk.run()
    assert exchange.wants_data


def test_a_random_split_changes_no_final_verdict() -> None:
    random = Random(3)
    content = ("safe words " * 100 + ATTACK + " more words" * 20).encode()
    finals = set()
    for _ in range(10):
        last = screened(content, random.randint(1, 200), step_bytes=random.randint(1, 300))[-1]
        finals.add((last["action"], last["threat_type"], last["evidence"][0]["start"]))
    assert len(finals) == 1


def test_a_bad_setting_names_its_key() -> None:
    with pytest.raises(ConfigError, match="step_bytes"):
        OutputConfig(step_bytes=0)


def test_feeding_past_the_limit_raises_a_problem() -> None:
    with pytest.raises(Problem):
        Output(OutputConfig(max_bytes=3), forwards).feed(b"four")


def test_the_bounds_that_the_page_states_are_those_in_force() -> None:
    config = OutputConfig()
    page = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
    assert f"up to {config.look_back_bytes:,} bytes before it" in page
    assert f"The last {config.held_bytes} bytes stay back" in page


def test_what_lies_in_the_session_has_no_place_in_the_response() -> None:
    made = Output(OutputConfig(step_bytes=1, look_back_bytes=16), forwards)
    made.feed(b"x" * 100)
    verdict = {
        **dict.fromkeys(("score", "error", "model_version", "signature_version", "policy_version")),
        "action": "flag",
        "threat_type": "multi_turn",
        "status": "ok",
        "spans": [],
        "evidence": [{"detector": "sessions", "pattern_id": "sessions.rise", "start": 0, "end": 0, "score": 0.97}],
    }
    for _ in range(2):
        window = made.window()
        assert window is not None
        told = made.judged(window, {**verdict, "evidence": [dict(one) for one in verdict["evidence"]]})
        made.feed(b"x" * 100)
    assert window.start > 0
    assert [(one["start"], one["end"]) for one in told["evidence"]] == [(0, 0)]
