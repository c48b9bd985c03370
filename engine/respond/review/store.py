"""Where the queue is kept: what both databases do, and which one a place names.

One process writes at a time and the others wait for it: every step that changes something is one transaction that takes
the lock of the queue before it reads. So a claim that was answered is the only one, whoever asks at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from aimds.errors import ConfigError
from aimds.respond.review.items import BANDS

WAIT_S = 30.0
"""Seconds to wait for another process that writes."""
SCHEMES = ("postgresql://", "postgres://")
Row = Mapping[str, Any]


def _sla() -> dict[str, timedelta]:
    return {
        "critical": timedelta(minutes=15),
        "high": timedelta(hours=1),
        "medium": timedelta(hours=8),
        "low": timedelta(hours=24),
    }


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """``lease``: how long a claim holds · ``sla``: time until an item is due, per band.

    Raises:
        ConfigError: a time that is not positive, or a band without one.
    """

    lease: timedelta = timedelta(minutes=15)
    sla: Mapping[str, timedelta] = field(default_factory=_sla)

    def __post_init__(self) -> None:
        if self.lease <= timedelta():
            raise ConfigError("lease", self.lease, "a time above zero")
        if set(self.sla) != set(BANDS) or min(self.sla.values()) <= timedelta():
            raise ConfigError("sla", dict(self.sla), "a time above zero for each of " + ", ".join(BANDS))


class Base(Protocol):
    """A transaction. ``?`` stands for a value; a value None is only written, never compared with."""

    holds: str
    """A condition: whether the bytes in the column text hold the bytes ``?``."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """Do ``statement``; the rows it gives."""

    def one(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row that ``statement`` gives."""

    def insert(self, statement: str, values: Sequence[Any]) -> int:
        """Do ``statement``, which adds one row; its id."""


class Store(Protocol):
    """A database that holds a queue; may be used from several threads."""

    def change(self) -> AbstractContextManager[Base]:
        """A transaction that holds the lock of the queue; rolled back where the block raises."""

    def read(self) -> AbstractContextManager[Base]:
        """One state of the database, which writers do not change meanwhile."""

    def scrub(self) -> None:
        """Leave of what was removed as little as the database can."""

    def setting(self, name: str) -> bytes:
        """A value of the table of settings."""

    def close(self) -> None:
        """Let go of it."""


def place(given: str) -> Path | str:
    """What a command line or a settings file names: the URL of a PostgreSQL database as it is, else a file."""
    return given if given.startswith(SCHEMES) else Path(given)


def at(where: Path | str, *, create: bool = False) -> Store:
    """The store in ``where``: a file, or the URL of a PostgreSQL database.

    Args:
        create: make the file, or the tables, where they are missing.

    Raises:
        DataError: it is missing or cannot be used.
        ConfigError: the URL cannot be used, or psycopg is not installed.
    """
    found = place(where) if isinstance(where, str) else where
    if isinstance(found, str):
        try:
            from aimds.respond.review.postgres import Server
        except ImportError as error:
            raise ConfigError("psycopg", "not installed", "pip install 'aimds[postgres]'") from error
        return Server(found, create=create)
    from aimds.respond.review.sqlite import File

    return File(found, create=create)
