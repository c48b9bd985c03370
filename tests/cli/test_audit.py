from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from aimds.cli import audit, policy
from aimds.errors import ConfigError, DataError
from aimds.printable import hidden
from aimds.record.audit import AuditLog
from aimds.record.keys import create_key, load_key


def run(*arguments: object) -> Result:
    app = typer.Typer()
    audit.register(app)
    policy.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with AuditLog(tmp_path / "log") as opened:
        opened.append_many("verdict", [{"i": i} for i in range(5)])
    return tmp_path / "log"


def test_whole_log_verifies_with_exit_code_0_and_says_what_is_not_proved(log: Path) -> None:
    result = run("audit", "verify", log)
    assert result.exit_code == 0
    assert "6 records, ok" in result.stdout
    assert "not proved" in result.stdout


def test_changed_log_fails_with_exit_code_1_and_the_line(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"i":3', b'"i":4'))
    result = run("audit", "verify", log)
    assert result.exit_code == 1
    assert "line 5: edit" in result.stdout


def test_json_report_is_one_document(log: Path) -> None:
    whole = run("audit", "verify", log, "--json")
    assert json.loads(whole.stdout)["ok"] is True
    log.write_bytes(log.read_bytes()[:-3])
    broken = run("audit", "verify", log, "--json")
    assert broken.exit_code == 1
    report = json.loads(broken.stdout)
    assert (report["ok"], report["records"]) == (False, 5)
    assert {problem["kind"] for problem in report["problems"]} == {"torn", "truncation"}


def test_unreadable_log_raises_an_error_for_a_user(tmp_path: Path) -> None:
    result = run("audit", "verify", tmp_path / "none")
    assert isinstance(result.exception, DataError)


def test_key_made_by_the_command_verifies_the_log(tmp_path: Path) -> None:
    assert run("audit", "key", tmp_path / "key").exit_code == 0
    with AuditLog(tmp_path / "log", key=load_key(tmp_path / "key")) as opened:
        opened.append("verdict", {})
    result = run("audit", "verify", tmp_path / "log", "--key", tmp_path / "key")
    assert result.exit_code == 0
    assert "holder of the key" in result.stdout
    create_key(tmp_path / "wrong")
    assert run("audit", "verify", tmp_path / "log", "--key", tmp_path / "wrong").exit_code == 1
    assert isinstance(run("audit", "key", tmp_path / "key").exception, DataError)


def test_last_line_is_a_checkpoint_that_verifies_later(log: Path) -> None:
    noted = run("audit", "verify", log).stdout.split()[-1]
    with AuditLog(log) as opened:
        opened.append("verdict", {})
    assert run("audit", "verify", log, "--expect", noted).exit_code == 0
    assert run("audit", "verify", log, "--expect", "9" + noted).exit_code == 1


@pytest.mark.parametrize(
    "text", ["7", "x:y", "1:" + "g" * 64, ":" + "0" * 64, "-1:" + "0" * 64, "9" * 5000 + ":" + "0" * 64]
)
def test_malformed_checkpoint_is_refused(log: Path, text: str) -> None:
    result = run("audit", "verify", log, f"--expect={text}")
    assert isinstance(result.exception, ConfigError)


def test_last_records_are_shown_without_control_characters(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'\x1b[31mred\xff\x07"\n')
    shown = run("audit", "show", log, "--last", "2").stdout.splitlines()
    assert json.loads(shown[0])["body"] == {"i": 4}
    assert shown[1] == '\\x1b[31mred\\xff\\x07"'


def test_last_records_come_from_closed_files_too(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as opened:
        for i in range(6):
            opened.append("verdict", {"i": i})
            if i in (1, 3):
                opened.rotate()
    for last in (1, 3, 5, 100):
        shown = [
            json.loads(line)["seq"]
            for line in run("audit", "show", tmp_path / "log", "--last", last).stdout.splitlines()
        ]
        assert shown == list(range(9))[-last:]


def test_control_characters_in_a_file_name_stay_off_the_terminal(tmp_path: Path) -> None:
    for arguments in (("key", tmp_path / "\x1b[31mkey"), ("verify", tmp_path / "\x1b[31mlog")):
        with AuditLog(tmp_path / "\x1b[31mlog"):
            pass
        shown = run("audit", *arguments).stdout
        assert "⟨U+001B⟩[31m" in shown.replace("\n", "")
        assert not [c for c in shown if hidden(c)]
