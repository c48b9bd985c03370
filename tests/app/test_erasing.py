"""`aimds audit erase` beside a running gateway, which writes the log meanwhile."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from live import INSECURE, live
from typer.testing import CliRunner

from aimds.cli import audit
from aimds.gateway.settings import Audit
from aimds.record.keys import create_key, load_key
from aimds.record.verification import verify


def run(*arguments: object) -> Any:
    app = typer.Typer()
    audit.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_subject_is_erased_while_the_gateway_runs_and_goes_on_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMDS_HOME", str(tmp_path / "home"))
    log, key = tmp_path / "audit.log", tmp_path / "audit.key"
    create_key(key)
    with live(dataclasses.replace(INSECURE, audit=Audit(log, key, "all"))) as server:

        def turn(session: str) -> None:
            body = json.dumps({"text": "hello", "session_id": session})
            assert server.ask("POST", "/v1/screen", body)[0] == 200

        for session in ("s-gone", "s-stays", "s-gone"):
            turn(session)
        refused = run("audit", "erase", log, "--session", "s-gone", "--yes", "--wait", "30")
        assert "not sealed" in str(refused.exception)
        result = run("audit", "erase", log, "--session", "s-gone", "--key", key, "--yes", "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        assert json.loads(result.stdout)["erased"] == {"audit": 2}
        turn("s-stays")
    content = b"".join(file.read_bytes() for file in tmp_path.glob("audit.log*"))
    assert b"s-gone" not in content
    assert content.count(b'"s-stays"') == 2
    assert verify(log, key=load_key(key)).ok
