"""A guard that costs nothing, and a machine without a network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from desk import Fake, policy

from aimds.integrations.guard import Guard


@pytest.fixture
def guard() -> Guard:
    screener: Any = Fake()
    screener.policy = policy()
    return Guard(screener)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every try to reach something is noted and fails; none may be left at the end."""
    tried: list[str] = []

    def refuse(*given: Any, **_: Any) -> Any:
        tried.append(repr(given[-2:]))
        raise OSError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield tried
    assert tried == []
