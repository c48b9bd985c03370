"""A chat request and what became of it."""

from __future__ import annotations

import pytest
from redteam_data import front

from aimds.jobs.redteam import wire
from aimds.jobs.redteam.wire import Target, read


@pytest.mark.parametrize(
    ("text", "outcome", "action"),
    [
        ("HOLD", "held", "block"),
        ("FLAG", "flagged", "flag"),
        ("MASK", "changed", "redact"),
        ("hello", "passed", "allow"),
        ("BREAK", "failed", ""),
    ],
)
def test_outcome_is_what_the_proxy_says(text: str, outcome: str, action: str) -> None:
    with front() as url:
        target = Target(url)
        reply = target.ask([("user", text)])
        target.close()
    assert (reply.outcome, reply.action) == (outcome, action)
    assert (reply.text is None) == (outcome in ("held", "failed"))


def test_busy_target_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_WAIT_S", 0.0)
    with front() as url:
        target = Target(url)
        assert target.ask([("user", "BUSY")]).outcome == "passed"
        target.close()


def test_target_that_is_not_there_is_a_failed_reply() -> None:
    reply = Target("http://127.0.0.1:9").ask([("user", "hello")])
    assert reply.outcome == "failed"
    assert "not reachable" in reply.why


def test_answer_that_was_changed_is_no_pass() -> None:
    body = b'{"choices": [{"message": {"content": "It is [CREDIT_CARD]."}}]}'
    assert read(200, {"aimds-changed": "response"}, body).outcome == "changed"


@pytest.mark.parametrize("body", [b"no json", b"{}", b'{"choices": []}', b"[]", b'{"choices": [{"message": null}]}'])
def test_answer_of_another_form_counts_nowhere(body: bytes) -> None:
    assert read(200, {}, body).outcome == "failed"


def test_another_error_400_is_not_taken_for_a_refusal() -> None:
    assert read(400, {}, b'{"error": {"message": "no such model", "code": "model_not_found"}}').outcome == "failed"
    assert read(400, {}, b'{"error": "x"}').outcome == "failed"
    assert read(400, {}, b"[1]").outcome == "failed"
