from __future__ import annotations

import os

import pytest

from aimds.actors.cell import Cell, found
from aimds.errors import ConfigError


class Counter:
    def __init__(self, start: int) -> None:
        if start < 0:
            raise ConfigError("start", start, "at least 0")
        self.n = start

    def about(self) -> str:
        return f"from {self.n}"

    def pulse(self) -> int:
        return self.n

    def add(self, more: int) -> int:
        self.n += more
        return self.n


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    monkeypatch.setenv("AIMDS_DEVICE", "3")
    return Cell(f"{__name__}:Counter", {"start": 5})


def test_an_object_is_made_once_and_asked_by_name(cell: Cell) -> None:
    assert cell.pulse() is None
    assert cell.ready() == (os.getpid(), "from 5", None)
    assert [cell.call("add", 2), cell.call("add", 3), cell.pulse()] == [7, 10, 10]
    assert "AIMDS_DEVICE" not in os.environ


def test_an_object_that_cannot_be_made_says_why() -> None:
    assert Cell(f"{__name__}:Counter", {"start": -1}).ready()[1:] == (None, "start = -1: expected at least 0")


def test_a_name_that_is_not_there_is_refused() -> None:
    for target in ("no_such_module:x", "os:nothing", "os"):
        with pytest.raises(ConfigError, match="module:callable"):
            found(target)
