"""The file behind the queue: SQLite with a write-ahead log, so that a step is whole or not there after any kill.

One process writes at a time and the others wait for it: every step that changes something is one transaction that takes
the write lock before it reads.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError, DataError
from aimds.record import disk, write_ahead
from aimds.respond.review.items import BANDS

APPLICATION = 0x41494D52
FORMAT = 1
WAIT_S = 30.0
"""Seconds to wait for another process that writes."""
_TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE,
    request_id TEXT NOT NULL, session_id TEXT, turn INTEGER, tenant TEXT, ts INTEGER, channel TEXT NOT NULL, text BLOB,
    action TEXT NOT NULL, threat_type TEXT NOT NULL, score REAL, p_value REAL, severity REAL, detail TEXT NOT NULL,
    band INTEGER NOT NULL, added_at INTEGER NOT NULL, due_at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    claimed_by TEXT, claimed_until INTEGER, label TEXT, reviewer TEXT, reason TEXT, decided_at INTEGER,
    text_removed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX items_due ON items (state, due_at, id);
CREATE INDEX items_session ON items (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX items_decided ON items (decided_at, id) WHERE state = 'decided';
CREATE TABLE turns (
    key BLOB PRIMARY KEY, tenant TEXT, session_id TEXT NOT NULL, turn INTEGER, request_id TEXT NOT NULL, ts INTEGER,
    channel TEXT NOT NULL, action TEXT NOT NULL, threat_type TEXT NOT NULL, score REAL, text BLOB,
    added_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX turns_session ON turns (session_id);
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL,
    what TEXT NOT NULL, label TEXT, reason TEXT
);
CREATE INDEX history_item ON history (item, id);
CREATE TABLE proposals (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, tenant TEXT, threat TEXT, pattern_id TEXT, sha256 TEXT,
    expires TEXT NOT NULL, reason TEXT NOT NULL, proposed_by TEXT NOT NULL, proposed_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open', answered_by TEXT, answered_at INTEGER, answer TEXT
);
CREATE INDEX proposals_state ON proposals (state, id);
"""


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


class Store:
    """The database at ``path``; may be used from several threads.

    Args:
        create: make it where it is missing, readable by its owner alone.

    Raises:
        DataError: it is missing, cannot be read, or is another kind of file.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if not create and not path.is_file():
            raise DataError(path, "no such review queue; `aimds review add` makes one")
        try:
            if create and not path.exists():
                # SQLite gives its side files the same mode.
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
                disk.sync_folder(path.parent)
            self._base = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        except OSError as error:
            raise DataError(path, f"cannot be made: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise DataError(path, f"cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._base.close()
            raise DataError(path, f"is not a review queue that can be used: {error}") from error
        except DataError:
            self._base.close()
            raise

    def _prepare(self) -> None:
        base = self._base
        base.row_factory = sqlite3.Row
        (application,) = base.execute("PRAGMA application_id").fetchone()
        (tables,) = base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION:
            raise DataError(self.path, "is a database of something else, not a review queue")
        (mode,) = base.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            base.execute("PRAGMA journal_mode = WAL")
        # A step that was answered survives a power cut; what is removed is overwritten.
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA secure_delete = ON")
        with self.change():
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _TABLES.split(";\n"):
                    base.execute(statement)
                base.execute("INSERT INTO settings VALUES ('key', ?)", (os.urandom(32),))
                base.execute(f"PRAGMA application_id = {APPLICATION}")
                base.execute(f"PRAGMA user_version = {FORMAT}")
            elif version != FORMAT:
                raise DataError(self.path, f"has format {version}, this version of aimds reads format {FORMAT}")

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock; rolled back where the block raises."""
        with self._lock, self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One state of the database, which writers do not change meanwhile."""
        with self._lock, self._told():
            self._base.execute("BEGIN")
            try:
                yield self._base
            finally:
                self._base.execute("ROLLBACK")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            # An argument of a command line may hold bytes that are no text.
            raise ConfigError("text", error.object[:80], "text that can be written as UTF-8") from None
        except sqlite3.OperationalError as error:
            raise DataError(self.path, f"cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(self.path, f"is damaged: {error}") from error

    def empty_log(self) -> None:
        """Bring everything into the database itself, so that removed texts are gone from the write-ahead log too."""
        with self._lock, self._told():
            write_ahead.cut(self._base, self.path)

    def setting(self, name: str) -> Any:
        """A value of the table of settings."""
        with self._lock, self._told():
            return self._base.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()
