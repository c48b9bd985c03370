"""A scan does what the policy says of session scores, as a gateway would, and a replay finds nothing to change."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from policy_screener import PolicyScreener
from scan_data import fingerprint, scan

from aimds.analyze.sessions import Sessions
from aimds.jobs.replay import replay
from aimds.jobs.scan import Factory
from aimds.schema import requests

STRICT = """
format = 1
version = "1"
[sessions.critical]
action = "escalate"
session_action = "quarantine"
above = 0.5
[sessions.high]
action = "flag"
session_action = "rate_limit"
above = 0.05
[sessions.medium]
action = "flag"
session_action = "none"
above = 0.02
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(STRICT)
    return path


def ramps(path: Path, sessions: int = 8, turns: int = 12) -> pa.Table:
    """Conversations that grow more unusual turn by turn, each faster than the one before."""
    rows = [
        {"session_id": f"s{who}", "turn": turn, "role": "user", "text": f"{10 ** (-turn * who / 20):.6f} jailbreak"}
        for turn in range(turns)
        for who in range(sessions)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=40)
    return pa.Table.from_pylist(rows)


def by(policy: Path) -> Factory:
    return Factory("policy_screener:PolicyScreener", {"policy": str(policy)})


def test_a_scan_acts_on_session_scores_as_a_gateway_does(tmp_path: Path, policy: Path) -> None:
    table = ramps(tmp_path / "a.parquet")
    summary = scan(tmp_path / "a.parquet", tmp_path / "out", factory=by(policy))
    screener = PolicyScreener(str(policy))
    asked = requests(table.rename_columns(["session_id", "turn", "channel", "text"]))
    live = screener.policy.with_sessions(*Sessions().observed(asked, screener.screen_batch(asked), 0.0))
    found = pq.read_table(tmp_path / "out" / "a.parquet")
    for name in ("action", "session_action", "session_score", "threat_type", "severity", "evidence"):
        assert found[name].to_pylist() == live.column(name).to_pylist()
    assert {"rate_limit", "none"} <= set(found["session_action"].to_pylist())
    raised = {item["pattern_id"] for row in found["evidence"].to_pylist() for item in row}
    assert raised == {"sessions.rise"}
    assert summary.actions == {item["values"]: item["counts"] for item in found["action"].value_counts().to_pylist()}
    assert found["action"].to_pylist() != screener.screen_batch(asked).column("action").to_pylist()


def test_a_replay_of_the_policy_that_scanned_changes_nothing(tmp_path: Path, policy: Path) -> None:
    ramps(tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out", factory=by(policy))
    found = replay([tmp_path / "out"], PolicyScreener(str(policy)).policy, today=date(2026, 1, 1))
    assert found.whole.changed == 0


def test_counts_of_the_output_are_the_same_after_a_resume(tmp_path: Path, policy: Path) -> None:
    ramps(tmp_path / "a.parquet")
    first = scan(tmp_path / "a.parquet", tmp_path / "out", factory=by(policy))
    again: Any = scan(tmp_path / "a.parquet", tmp_path / "out", factory=by(policy))
    assert again.nothing_to_do
    assert again.actions == first.actions


def test_text_and_carried_columns_stay_beside_what_follows(tmp_path: Path, policy: Path) -> None:
    table = ramps(tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out", factory=by(policy), with_text=True, carry=("role",))
    found = pq.read_table(tmp_path / "out" / "a.parquet")
    assert found["text"].to_pylist() == table["text"].to_pylist()
    assert found["role"].to_pylist() == table["role"].to_pylist()
    assert len(fingerprint(tmp_path / "out")) == 1
