"""`aimds report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import verdict_factory as factory
from typer.testing import CliRunner

from aimds.cli import report as command
from aimds.errors import DataError


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    command.register(app)
    return app


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return factory.write(tmp_path / "v.parquet", [factory.row(0), factory.attack(1), factory.row(2, status="partial")])


def test_the_page_goes_to_report_html_and_one_line_says_so(app: typer.Typer, source: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(source)])
    assert result.exit_code == 0
    assert result.stdout.startswith("report.html (")
    assert "3 requests, 1 caught, 1 not fully judged" in result.stdout
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_prints_one_document_and_writes_no_page(app: typer.Typer, source: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(source), "--json"])
    figures = json.loads(result.stdout)
    assert (figures["rows"], figures["caught"], figures["unjudged"]) == (3, 1, 1)
    assert figures["threats"][0]["name"] == "direct_injection"
    assert not Path("report.html").exists()


def test_json_with_out_does_both_and_keeps_stdout_clean(app: typer.Typer, source: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(source), "--json", "-o", "deep/er/page.html"])
    json.loads(result.stdout)
    assert "page.html" in result.stderr
    assert Path("deep/er/page.html").exists()


def test_title_and_unmask_reach_the_page(app: typer.Typer, source: Path) -> None:
    CliRunner().invoke(app, ["report", str(source), "--title", "Night shift", "--unmask"])
    page = Path("report.html").read_text(encoding="utf-8")
    assert "<h1>Night shift</h1>" in page
    assert "ops@example.com" in page


def test_bad_input_is_an_error_of_ours(app: typer.Typer, source: Path) -> None:
    result = CliRunner().invoke(app, ["report", "absent.parquet"])
    assert isinstance(result.exception, DataError)
    assert not Path("report.html").exists()


def test_open_without_a_display_prints_where_the_page_is(
    app: typer.Typer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["report", str(source), "--open"])
    assert result.exit_code == 0
    assert Path("report.html").resolve().as_uri() in result.stderr


def test_open_with_a_display_asks_the_browser(app: typer.Typer, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    CliRunner().invoke(app, ["report", str(source), "--open"])
    assert opened == [Path("report.html").resolve().as_uri()]


def test_control_characters_in_the_name_of_the_page_stay_off_the_terminal(app: typer.Typer, source: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(source), "--out", "\x1b[31mpage.html"])
    assert result.stdout.startswith("⟨U+001B⟩[31mpage.html (")
