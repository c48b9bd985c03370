"""Where the queue of a test is: in a file, and in a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_server
import pytest

from aimds.respond.review import store


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path | str]:
    """A place for a queue that is not made yet; what a test opens there is closed after it."""
    where: Path | str = tmp_path / "review.db"
    if request.param == "postgres":
        server: postgres_server.Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("PGPASSFILE", str(server.passfile))
        where = server.database()
    opened: list[store.Store] = []
    at = store.at

    def noted(*arguments: Any, **more: Any) -> store.Store:
        opened.append(at(*arguments, **more))
        return opened[-1]

    monkeypatch.setattr(store, "at", noted)
    yield where
    for one in opened:
        one.close()
