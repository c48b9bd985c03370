"""What commands say before they begin."""

import subprocess
import sys
import time

import pytest

from aimds.cli import startup


def test_a_slow_start_is_explained_and_a_fast_one_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "DELAY_S", 0.05)
    with startup.notice():
        time.sleep(0.5)
    assert "compiling the kernels" in capsys.readouterr().err
    with startup.notice():
        pass
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
    with startup.notice(quiet=True):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_asking_for_cascade_says_that_it_has_no_deep_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert startup.profile_to_run("cascade") == "cascade"
    assert "no deep stage" in capsys.readouterr().err
    assert startup.profile_to_run(None) == "cascade"
    assert startup.profile_to_run("fast") == "fast"
    assert capsys.readouterr().err == ""


def test_check_tells_on_stderr_only() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aimds", "check", "--json", "--profile", "cascade", "hello"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert "cascade runs as fast" in done.stderr
