"""What commands say before they begin."""

import time

import pytest

from aimds.cli import startup


def test_a_slow_start_is_explained_and_a_fast_one_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "DELAY_S", 0.05)
    monkeypatch.setattr(startup, "kept", lambda: False)
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


def test_a_slow_start_with_machine_code_on_disk_says_nothing_of_compiling(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "DELAY_S", 0.05)
    monkeypatch.setattr(startup, "kept", lambda: True)
    with startup.notice():
        time.sleep(0.3)
    assert capsys.readouterr().err == ""
