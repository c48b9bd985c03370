"""What of a verdict stands in the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import verdict_factory

from aimds.app.recording import opened, recorder
from aimds.gateway.identity import Identity
from aimds.gateway.pieces import Piece
from aimds.gateway.settings import Audit, Settings
from aimds.respond.policy import Policy


def test_policies_that_a_verdict_breaks_are_recorded_with_it(tmp_path: Path) -> None:
    settings = Settings(audit=Audit(tmp_path / "audit.log", None, "all"))
    log = opened(settings)
    assert log is not None
    policy = Policy.load()
    record = recorder(settings, log, None, lambda: policy)
    assert record is not None
    rows = [verdict_factory.row(0), verdict_factory.row(1, violations=["no_tool_after_injection"])]
    verdicts = verdict_factory.table(rows).combine_chunks().to_batches()[0]
    who = Identity("app", "acme-test", frozenset(), "key")
    piece = Piece("screen", who, "json", lambda *_: None, lambda *_: None, table=verdicts)
    record(pa.record_batch({"text": pa.array(["a", "b"], pa.large_string())}), verdicts, [piece])
    log.close()
    bodies = [json.loads(line)["body"] for line in (tmp_path / "audit.log").read_text().splitlines()[1:]]
    assert [body.get("violations") for body in bodies] == [None, ["no_tool_after_injection"]]


def test_what_in_its_session_raised_a_row_is_recorded_with_it(tmp_path: Path) -> None:
    settings = Settings(audit=Audit(tmp_path / "audit.log", None, "all"))
    log = opened(settings)
    assert log is not None
    record = recorder(settings, log, None, Policy.load)
    assert record is not None
    rows = [verdict_factory.row(0), verdict_factory.row(1, session_score=0.97)]
    plain = verdict_factory.table(rows, text=False).to_batches()[0]
    verdicts = Policy.load().with_sessions(plain)
    who = Identity("app", "acme-test", frozenset(), "key")
    piece = Piece("screen", who, "json", lambda *_: None, lambda *_: None, table=verdicts)
    record(pa.record_batch({"text": pa.array(["a", "b"], pa.large_string())}), verdicts, [piece])
    log.close()
    bodies = [json.loads(line)["body"] for line in (tmp_path / "audit.log").read_text().splitlines()[1:]]
    assert [(body["threat_type"], body.get("session")) for body in bodies] == [
        ("none", None),
        ("multi_turn", ["sessions.score"]),
    ]
