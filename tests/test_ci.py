"""`.ci/run` on a machine without a network: what it could not install is named at the end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = (
    "bash",
    "cat",
    "cp",
    "env",
    "grep",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "tail",
    "tee",
    "timeout",
    "wc",
    "dirname",
)
CLIENTS = ("gtlsclient", "curl", "chromium")
SUMMARY = "======= 7 passed, 3 skipped in 1.00s ======="


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in which every target passes, and programs that are found from there; no pip installs anything."""
    for name in (".ci", ".venv/bin", "bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    for name in PROGRAMS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    stub(tmp_path / "bin" / "make", f'[ "$2" != test ] || echo "{SUMMARY}"')
    stub(tmp_path / ".venv" / "bin" / "python", "echo no network >&2; exit 1")
    return tmp_path


def stub(path: Path, content: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{content}\n")
    path.chmod(0o755)


def ran(tree: Path) -> list[str]:
    done = subprocess.run(
        [tree / ".ci" / "run"], env={"PATH": str(tree / "bin")}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_what_could_not_be_installed_is_named_in_the_last_lines(tree: Path) -> None:
    told = ran(tree)
    assert "no network" in told
    *_, head, helm, niquests, first, second, third, nothing, last = told
    assert head == "NOT TRIED, since it could not be installed here:"
    assert [one.strip() for one in (helm, niquests, first, second, third)] == ["helm", "niquests", *CLIENTS]
    assert nothing == ""
    # All but the wheel.
    assert last.startswith("13 passed, 1 failed in ")


def test_nothing_is_named_where_all_is_there(tree: Path) -> None:
    stub(tree / ".venv" / "bin" / "python", "exit 0")
    for name in CLIENTS:
        stub(tree / "bin" / name, "exit 0")
    told = ran(tree)
    assert not any("NOT TRIED" in line or "ABSENT" in line for line in told)
