"""`aimds redteam` as a person and as a script use it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from redteam_data import GARAK, environment, front
from typer.testing import CliRunner, Result

from aimds.cli import redteam
from aimds.errors import ConfigError, DataError

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def benign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.getbasetemp() / "redteam_benign.txt"
    file.write_text("How do I bake bread?\n")
    return file


@pytest.fixture
def run(benign: Path) -> Run:
    def invoked(*arguments: object) -> Result:
        app = typer.Typer()
        redteam.register(app)
        return CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--benign", benign)])

    return invoked


def test_attacks_of_our_own_need_nothing_else(run: Run, tmp_path: Path) -> None:
    with front() as url:
        result = run("-o", tmp_path / "out", "--target", url, "--only", "own", "--texts", 3, "--probe", "hex")
    assert result.exit_code == 0, result.output
    assert "1 probe, 3 attempts" in result.stdout
    assert "What got through" in (tmp_path / "out" / "redteam.html").read_text()


def test_json_is_one_document(run: Run, tmp_path: Path) -> None:
    with front() as url:
        result = run("-o", tmp_path, "--target", url, "--only", "own", "--texts", 2, "--probe", "hex", "--json", "-q")
    found = json.loads(result.stdout)
    assert [probe["name"] for probe in found["probes"]] == ["hex"]
    assert not result.stderr


def test_tool_that_is_not_there_is_left_out_unless_it_was_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with front() as url:
        result = run("-o", tmp_path / "out", "--target", url, "--texts", 1, "--probe", "hex")
        assert result.exit_code == 0
        assert "garak is left out: no .venv-redteam-garak here" in result.stderr
        asked = run("-o", tmp_path / "out", "--target", url, "--only", "garak")
    assert isinstance(asked.exception, DataError)
    assert "--garak-python" in str(asked.exception)


def test_another_release_is_warned_of(run: Run, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", "garak", "0.99", GARAK)
    with front() as url:
        result = run("-o", tmp_path / "out", "--target", url, "--only", "garak", "--garak-python", python)
    assert result.exit_code == 0
    assert "garak 0.99 was not tried with this; 0.17.1 was" in result.stderr


def test_python_without_the_tool_is_an_error(run: Run, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", "other", "1", {})
    result = run("-o", tmp_path / "out", "--only", "garak", "--garak-python", python)
    assert isinstance(result.exception, DataError)
    assert "pip install garak==" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nmap"], "one of own, garak, pyrit"),
        (["--target", "https://example.org"], "of this machine"),
        (["--target", "http://127.0.0.1:x"], "of this machine"),
        (["--target", "http://127.0.0.1:9", "--profile", "fast"], "none of these beside --target"),
        (["--profile", "quick"], "one of fast"),
        (["--garak-python", "/nowhere/python"], "has garak"),
    ],
)
def test_bad_settings_name_the_way_out(run: Run, arguments: list[str], said: str, tmp_path: Path) -> None:
    result = run("-o", tmp_path / "out", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_a_page_is_not_written_over_something_else_and_that_is_said_before_the_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("format = 1")
    result = run("-o", tmp_path / "out", "--only", "own", "--page", tmp_path / "policy.toml")
    assert "holds something else than a page" in str(result.exception)
    assert (tmp_path / "policy.toml").read_text() == "format = 1"
    assert not (tmp_path / "out").exists()


def test_target_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    result = run("-o", tmp_path / "out", "--target", "http://127.0.0.1:9", "--only", "own")
    assert isinstance(result.exception, DataError)
    assert sys.executable not in str(result.exception)
