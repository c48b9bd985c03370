"""What follows from whole sessions: thresholds on their score, and policies over sessions that they break."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_rows import scored
from verdict_batches import batch

from aimds import data
from aimds.errors import ConfigError
from aimds.respond.policy import Policy
from aimds.respond.scored import REASONS
from aimds.schema import ACTIONS, SESSION_ACTIONS

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
STRENGTH = ("allow", "flag", "redact", "sandwich", "escalate", "block")
SESSIONS = {
    "critical": {"action": "escalate", "session_action": "quarantine"},
    "high": {"action": "flag", "session_action": "rate_limit"},
    "medium": {"action": "flag", "session_action": "none"},
}
TRACES = {
    "default": {"action": "flag", "session_action": "none"},
    "no_pii_exposure": {"action": "block"},
    "quarantine_holds": {"session_action": "quarantine"},
}


def changed(**parts: Any) -> Policy:
    return Policy({**SHIPPED, "sessions": SESSIONS, "traces": TRACES, **parts})


def after(policy: Policy, *rows: dict[str, Any]) -> list[tuple[str, str]]:
    out = policy.with_sessions(batch(*rows))
    return list(zip(out.column("action").to_pylist(), out.column("session_action").to_pylist(), strict=True))


def test_score_of_a_session_is_judged_by_its_confidence_class_with_open_lower_ends() -> None:
    scores = [None, 0.7, 0.71, 0.85, 0.86, 0.95, 0.96]
    assert after(changed(), *({"session_score": score} for score in scores)) == [
        ("allow", "none"),
        ("allow", "none"),
        ("flag", "none"),
        ("flag", "none"),
        ("flag", "rate_limit"),
        ("flag", "rate_limit"),
        ("escalate", "quarantine"),
    ]


def test_broken_policy_has_its_own_consequence_or_the_general_one() -> None:
    broken = [[], ["other"], ["no_pii_exposure"], ["quarantine_holds"], ["quarantine_holds", "no_pii_exposure"]]
    assert after(changed(), *({"violations": names} for names in broken)) == [
        ("allow", "none"),
        ("flag", "none"),
        ("block", "none"),
        ("flag", "quarantine"),
        ("block", "quarantine"),
    ]


def test_action_only_becomes_stronger_and_a_replaced_one_loses_its_text() -> None:
    rows = [
        {"action": "block", "session_score": 0.99},
        {"action": "redact", "mitigated_text": "[EMAIL]", "session_score": 0.99},
        {"action": "redact", "mitigated_text": "[EMAIL]", "session_score": 0.9},
    ]
    out = changed().with_sessions(batch(*rows))
    assert out.column("action").to_pylist() == ["block", "escalate", "redact"]
    assert out.column("mitigated_text").to_pylist() == [None, None, "[EMAIL]"]
    assert out.column("session_action").to_pylist() == ["quarantine", "quarantine", "rate_limit"]


def test_batch_without_session_scores_and_violations_comes_back_as_it_is() -> None:
    rows = batch({}, {"action": "block"}, {"session_score": 0.1})
    assert changed().with_sessions(rows) is rows
    assert changed().with_sessions(rows.slice(0, 0)).num_rows == 0


def test_shadow_mode_flags_and_leaves_the_session_alone() -> None:
    policy = changed(tenants={"new": {"mode": "shadow"}})
    rows = [{"session_score": 0.99, "tenant": tenant} for tenant in ("new", "old")]
    assert after(policy, *rows) == [("flag", "none"), ("escalate", "quarantine")]


def test_tenant_changes_single_values() -> None:
    policy = changed(
        tenants={
            "strict": {"sessions": {"medium": {"above": 0.5, "action": "block"}}, "traces": {"x": {"action": "block"}}}
        }
    )
    rows = [{"session_score": 0.6, "tenant": tenant} for tenant in ("strict", "other", None)]
    assert after(policy, *rows) == [("block", "none"), ("allow", "none"), ("allow", "none")]
    rows = [{"violations": ["x"], "tenant": tenant} for tenant in ("strict", "other")]
    assert after(policy, *rows) == [("block", "none"), ("flag", "none")]


def test_session_steps_of_the_playbook_follow_the_action_that_a_session_got() -> None:
    playbook = {**SHIPPED["playbook"], "block": {"steps": ["audit", "quarantine", "refuse"]}}
    assert after(changed(playbook=playbook), {"violations": ["no_pii_exposure"]}) == [("block", "quarantine")]


def test_reason_names_what_decided() -> None:
    policy = changed()
    decided = policy.decide(scored([{}, {}, {"p": 1e-9}]))
    violations = pa.array([[], ["no_pii_exposure"], []], pa.list_(pa.string()))
    later = policy.decide_later(decided, None, np.array([0.99, np.nan, 0.99], np.float32), violations)
    assert [REASONS[code].split()[1] for code in later.reason] == ["score", "session", "at"]


row_strategy = st.fixed_dictionaries(
    {
        "action": st.sampled_from(ACTIONS),
        "session_action": st.sampled_from(SESSION_ACTIONS),
        "session_score": st.sampled_from([None, 0.0, 0.7, 0.8, 0.9, 0.97, 1.0]),
        "violations": st.lists(st.sampled_from(["a", "no_pii_exposure", "quarantine_holds"]), max_size=3),
        "tenant": st.sampled_from([None, "new", "old"]),
    }
)


def expected(row: dict[str, Any]) -> tuple[str, str]:
    """By plain rules, one row at a time."""
    found = [TRACES["default"] | TRACES.get(name, {}) for name in row["violations"]]
    score = row["session_score"]
    for name, above in (("critical", 0.95), ("high", 0.85), ("medium", 0.7)):
        if score is not None and np.float32(score) > np.float32(above):
            found.append(SESSIONS[name])
    action = max([row["action"], *(one["action"] for one in found)], key=STRENGTH.index)
    session = max([row["session_action"], *(one["session_action"] for one in found)], key=SESSION_ACTIONS.index)
    if row["tenant"] == "new":
        return (min(action, "flag", key=STRENGTH.index), "none")
    return action, session


@settings(max_examples=60)
@given(st.lists(row_strategy, min_size=1, max_size=20))
def test_batch_equals_the_rules_applied_row_by_row(rows: list[dict[str, Any]]) -> None:
    assert after(changed(tenants={"new": {"mode": "shadow"}}), *rows) == [expected(row) for row in rows]


@pytest.mark.parametrize(
    ("part", "key", "accepted"),
    [
        ({"sessions": {"critical": SESSIONS["critical"]}}, "sessions.medium", "missing"),
        ({"sessions": {**SESSIONS, "low": {}}}, "sessions.low", "medium, high, critical"),
        ({"sessions": {**SESSIONS, "high": {"action": "redact"}}}, "sessions.high.action", "allow, flag, escalate"),
        ({"sessions": {**SESSIONS, "high": {**SESSIONS["high"], "above": 2}}}, "sessions.high.above", "0 to 1"),
        ({"sessions": {**SESSIONS, "high": {**SESSIONS["high"], "above": 0.1}}}, "sessions.high.above", "medium"),
        ({"traces": {}}, "traces.default", "missing"),
        ({"traces": {**TRACES, "x": {"session_action": "ban"}}}, "traces.x.session_action", "quarantine"),
        ({"traces": {**TRACES, "x": {"score": 1}}}, "traces.x.score", "no such key"),
    ],
)
def test_bad_value_is_named_with_its_place(part: dict[str, Any], key: str, accepted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(**part)
    assert caught.value.key == key
    assert accepted in caught.value.expected
