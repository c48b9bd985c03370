from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import verdict_factory as factory
from typer.testing import CliRunner

from aimds.cli import build
from aimds.errors import AimdsError, DataError


def source(folder: Path) -> str:
    start = datetime(2025, 3, 3, tzinfo=UTC)
    rows = [
        factory.row(k, session_id="a", turn=k, ts=start + timedelta(minutes=k), p_value=0.5 if k < 6 else 1e-5)
        for k in range(10)
    ]
    path = folder / "a.parquet"
    factory.write(path, rows)
    return str(path)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(build(), ["session", *arguments])
    if isinstance(result.exception, AimdsError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_says_where_the_level_rises_and_a_page_is_written(tmp_path):
    content = json.loads(said("a", source(tmp_path), "--json", "-o", str(tmp_path / "s.html")))
    assert content["change"] == 6
    assert content["turns"][0]["ts"].startswith("2025-03-03")
    assert (tmp_path / "s.html").read_text().startswith("<!doctype html>")


def test_the_terminal_shows_every_turn_and_the_change(tmp_path):
    shown = said("a", source(tmp_path))
    assert "10 turns" in shown
    assert "level rises" in shown
    assert "motion: too few judged inputs to tell" in shown
    assert "benign sessions that show as much" in shown


def test_an_unknown_session_is_named_with_a_way_out(tmp_path):
    with pytest.raises(DataError, match=r"nobody.*aimds report"):
        said("nobody", source(tmp_path))


def test_a_page_that_cannot_be_written_and_an_empty_id_are_said_first(tmp_path):
    for given, said in (
        ((" ", "nothing"), "ID = ' ': expected"),
        (("a", "nothing", "-o", str(tmp_path)), "is a folder"),
    ):
        done = CliRunner().invoke(build(), ["session", *given])
        assert isinstance(done.exception, AimdsError)
        assert said in str(done.exception)


def test_the_turns_that_the_session_raised_are_told_with_what_raised_them(tmp_path):
    raised = {"detector": "sessions", "pattern_id": "sessions.rise", "start": 0, "end": 0, "score": 0.97}
    changed = {"action": "flag", "threat_type": "multi_turn", "evidence": [raised]}
    rows = [factory.row(k, session_id="a", turn=k, **(changed if k in (3, 5) else {})) for k in range(6)]
    factory.write(tmp_path / "a.parquet", rows)
    shown = said("a", str(tmp_path / "a.parquet"), "-o", str(tmp_path / "s.html"))
    assert "raised by the session up to there: 3, 5: the turns of the session become ever more unusual" in shown
    assert (tmp_path / "s.html").read_text().count("become ever more unusual (session score 0.970)") == 2
