"""Tables on narrow terminals and in pipes."""

from __future__ import annotations

import pytest
from rich.table import Table

from aimds.cli import terminal

NAMES = ("indirect_injection_of_a_very_long_name", "data_exfiltration", "conversation_manipulation")


def table() -> Table:
    made = Table(box=None, pad_edge=False)
    for name in ("turn", "threat", "bar"):
        made.add_column(name)
    for name in NAMES:
        made.add_row("1", name, "█" * 30)
    return made


def test_a_narrow_terminal_folds_what_it_cannot_show(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.console().print(terminal.uncut(table()))
    told = capsys.readouterr().out
    assert "…" not in told
    assert told.count("█") == 30 * len(NAMES)
    assert max(map(len, told.splitlines())) <= 40


def test_a_pipe_has_room_for_whole_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal.console(soft_wrap=True).print(terminal.uncut(table()), markup=False)
    told = capsys.readouterr().out
    assert all(any(name in line and "█" * 30 in line for line in told.splitlines()) for name in NAMES)
