"""The command line as a whole: help, version, and errors that are one line with the right exit code."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aimds", *arguments],
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_lists_every_command() -> None:
    from aimds.cli import COMMANDS

    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


def test_version_is_printed() -> None:
    from aimds import __version__

    assert run("--version").stdout.strip() == f"aimds {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "no-such-folder"),
        ("train", "no-such-file.parquet"),
        ("scan", "no-such-file.parquet", "-o", "out"),
        ("report", "no-such-folder"),
        ("check", "--file", "no-such-file.txt"),
    ],
)
def test_a_missing_input_is_one_line_naming_it_and_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aimds", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "no-such" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    done = run("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
