"""The playbook carried out: held sessions, endings, forwarded texts, and hooks."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from verdict_batches import batch

from aimds import data
from aimds.errors import ConfigError
from aimds.respond import recorded
from aimds.respond.carry_out import Responder, responses
from aimds.respond.notify import NotifyFile
from aimds.respond.playbook import ENDINGS
from aimds.respond.policy import Policy
from aimds.schema import ACTIONS, VERDICTS, requests

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
POLICY = Policy({**SHIPPED, "rate_limit": {"action": "block", "minutes": 10, "turns_per_minute": 2}})


def asked(n: int) -> pa.RecordBatch:
    return requests(pa.table({"text": [f"text {i}" for i in range(n)]}))


def acted(responder: Responder, now: float, *rows: dict[str, Any], policy: Policy = POLICY) -> list[tuple[str, str]]:
    out = responder.respond(policy, batch(*rows), now)
    return list(zip(out.column("action").to_pylist(), out.column("session_action").to_pylist(), strict=True))


def test_every_action_ends_as_the_playbook_says_and_forwards_the_right_text() -> None:
    rows = [{"action": name, "mitigated_text": "m" if name in ("redact", "sandwich") else None} for name in ACTIONS]
    found = responses(POLICY.playbook, asked(len(rows)), batch(*rows))
    assert [ENDINGS[code] for code in found.ending] == ["forward", "forward", "forward", "forward", "refuse", "hold"]
    assert found.text.to_pylist() == ["text 0", "text 1", "m", "m", None, None]
    assert found.audit.tolist() == [1, 2, 3, 4, 5]
    assert (found.notify.tolist(), found.review.tolist()) == ([5], [5])


def test_later_turns_of_a_session_in_quarantine_are_blocked_until_it_is_released() -> None:
    responder = Responder()
    start = {"session_id": "s", "session_action": "quarantine"}
    turns = [
        {"session_id": "s"},
        start,
        {"session_id": "s"},
        {"session_id": "other"},
        {"session_id": "s", "tenant": "b"},
    ]
    assert acted(responder, 0.0, *turns) == [
        ("allow", "none"),
        ("allow", "quarantine"),
        ("block", "quarantine"),
        ("allow", "none"),
        ("allow", "none"),
    ]
    assert acted(responder, 3599.0, {"session_id": "s"}) == [("block", "quarantine")]
    assert responder.counts == {"quarantine": 1, "rate_limit": 0}
    assert not responder.release("b", "s", 3599.0)
    assert responder.release("acme-test", "s", 3599.0)
    assert acted(responder, 3599.0, {"session_id": "s"}) == [("allow", "none")]


def test_a_quarantine_ends_by_itself_after_its_minutes() -> None:
    responder = Responder()
    acted(responder, 0.0, {"session_id": "s", "session_action": "quarantine"})
    assert acted(responder, 3600.0, {"session_id": "s"}) == [("allow", "none")]


def test_a_turn_of_a_held_session_says_so_and_loses_no_violation_of_its_own() -> None:
    responder = Responder()
    acted(responder, 0.0, {"session_id": "s", "session_action": "quarantine"})
    row = {"session_id": "s", "violations": ["threat_rate"], "action": "redact", "mitigated_text": "m"}
    out = responder.held(POLICY, batch(row), 1.0)
    assert out.column("violations").to_pylist() == [["threat_rate", "session_quarantined"]]
    assert out.column("mitigated_text").to_pylist() == [None]
    assert out.schema.equals(VERDICTS)


def test_a_recorded_hold_is_replayed_to_the_same_action() -> None:
    responder = Responder()
    acted(responder, 0.0, {"session_id": "s", "session_action": "quarantine"})
    out = responder.held(POLICY, batch({"session_id": "s"}), 1.0)
    decided = recorded.decide(POLICY, out, None)
    assert ACTIONS[decided.action[0]] == "block"
    gentle = Policy({**SHIPPED, "quarantine": {"action": "flag", "minutes": 1}})
    assert ACTIONS[recorded.decide(gentle, out, None).action[0]] == "flag"


def test_a_limited_session_gets_its_turns_and_then_the_action() -> None:
    responder = Responder()
    limited = {"session_id": "s", "session_action": "rate_limit"}
    turns = [limited, *[{"session_id": "s"}] * 3, {"session_id": "other"}]
    assert [action for action, _ in acted(responder, 0.0, *turns)] == ["allow", "allow", "allow", "block", "allow"]
    assert acted(responder, 60.0, {"session_id": "s"}) == [("allow", "none")]


def test_a_row_without_a_session_limits_its_sender_and_never_shuts_it_out() -> None:
    responder = Responder()
    rows = batch(*[{"session_id": None, "session_action": "quarantine"}] * 4)
    out = responder.respond(POLICY, rows, 0.0, ["ann", "ann", "ann", "ann"])
    assert out.column("action").to_pylist() == ["allow", "allow", "allow", "block"]
    assert responder.counts == {"quarantine": 0, "rate_limit": 1}
    bare = Responder()
    assert bare.respond(POLICY, rows, 0.0) is rows


def test_shadow_mode_holds_nobody() -> None:
    policy = Policy({**SHIPPED, "mode": "shadow"})
    responder = Responder()
    acted(responder, 0.0, {"session_id": "s", "session_action": "quarantine"})
    assert acted(responder, 1.0, {"session_id": "s"}, policy=policy) == [("flag", "none")]


def test_hook_gets_a_line_for_each_row_without_its_text_and_what_it_loses_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "notify.jsonl"
    responder = Responder(notifier=NotifyFile(file))
    acted(responder, 0.0, {"action": "escalate", "tenant": "a\n\u2028b"}, {"action": "block"})
    lines = file.read_text().splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["at"], told["tenant"], told["action"]) == ("1970-01-01T00:00:00.000+00:00", "a\n\u2028b", "escalate")
    assert "text 0" not in lines[0]
    assert file.stat().st_mode & 0o777 == 0o600
    lost = Responder(notifier=NotifyFile(tmp_path / "none" / "n.jsonl"))
    assert acted(lost, 0.0, {"action": "escalate"}) == [("escalate", "none")]
    assert (lost.lost, lost.notified) == (1, 0)


def test_hook_begins_a_new_file_where_the_old_one_is_full(tmp_path: Path) -> None:
    hook = NotifyFile(tmp_path / "n.jsonl", max_bytes=1500)
    for _ in range(9):
        hook.notify(batch({"action": "escalate"}), 0.0)
    assert (tmp_path / "n.jsonl").stat().st_size <= 1500
    assert (tmp_path / "n.jsonl.1").stat().st_size <= 1500
    for name in ("n.jsonl", "n.jsonl.1"):
        assert all(json.loads(line) for line in (tmp_path / name).read_text().splitlines())


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ({"quarantine": {"action": "redact", "minutes": 1}}, "quarantine.action"),
        ({"quarantine": {"action": "block", "minutes": -1}}, "quarantine.minutes"),
        ({"rate_limit": {"action": "block", "minutes": 0, "turns_per_minute": 1}}, "rate_limit.minutes"),
        ({"rate_limit": {"action": "block", "minutes": 1}}, "rate_limit.turns_per_minute"),
        ({"traces": {**SHIPPED["traces"], "session_quarantined": {"action": "allow"}}}, "traces.session_quarantined"),
    ],
)
def test_bad_value_is_named(part: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy({**SHIPPED, **part})
    assert caught.value.key == key
