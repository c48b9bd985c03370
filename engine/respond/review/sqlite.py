"""The queue in one SQLite file with a write-ahead log, so that a step is whole or not there after any kill."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError, DataError
from aimds.record import disk, write_ahead
from aimds.respond.review.store import WAIT_S, Row
from aimds.respond.review.tables import FORMAT, statements

APPLICATION = 0x41494D52
TYPES = {
    "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "int": "INTEGER",
    "real": "REAL",
    "text": "TEXT",
    "bytes": "BLOB",
    "keyed": " WITHOUT ROWID",
    "equal": "",
}


class Rows:
    """A transaction of ``base``."""

    holds = "instr(text, ?) > 0"

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        """Do ``statement``; the rows it gives."""
        return [dict(row) for row in self._base.execute(statement, values)]

    def one(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row that ``statement`` gives."""
        row = self._base.execute(statement, values).fetchone()
        return None if row is None else dict(row)

    def insert(self, statement: str, values: Sequence[Any]) -> int:
        """Do ``statement``, which adds one row; its id."""
        made = self._base.execute(statement, values).lastrowid
        assert made is not None
        return made


class File:
    """The database at ``path``; may be used from several threads.

    Args:
        create: make it where it is missing, readable by its owner alone.

    Raises:
        DataError: it is missing, cannot be read, or is another kind of file.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if path.is_dir():
            raise DataError(path, "is a folder; a review queue is a file, such as review.db")
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
            self._prepare(create=create)
        except sqlite3.Error as error:
            self._base.close()
            raise DataError(path, f"is not a review queue that can be used: {error}") from error
        except DataError:
            self._base.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        base = self._base
        base.row_factory = sqlite3.Row
        (application,) = base.execute("PRAGMA application_id").fetchone()
        (tables,) = base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION:
            raise DataError(self.path, "is a database of something else, not a review queue")
        if not tables and not create:
            raise DataError(self.path, "is empty, not a review queue; `aimds review add` makes one of it")
        (mode,) = base.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            base.execute("PRAGMA journal_mode = WAL")
        # A step that was answered survives a power cut; what is removed is overwritten.
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA secure_delete = ON")
        with self.change():
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in statements(TYPES):
                    base.execute(statement)
                base.execute("INSERT INTO settings VALUES ('key', ?)", (os.urandom(32),))
                base.execute(f"PRAGMA application_id = {APPLICATION}")
                base.execute(f"PRAGMA user_version = {FORMAT}")
            elif version != FORMAT:
                raise DataError(self.path, f"has format {version}, this version of aimds reads format {FORMAT}")

    @contextlib.contextmanager
    def change(self) -> Iterator[Rows]:
        """A transaction that holds the write lock; rolled back where the block raises."""
        with self._lock, self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield Rows(self._base)
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    @contextlib.contextmanager
    def read(self) -> Iterator[Rows]:
        """One state of the database, which writers do not change meanwhile."""
        with self._lock, self._told():
            self._base.execute("BEGIN")
            try:
                yield Rows(self._base)
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

    def scrub(self) -> None:
        """Bring everything into the database itself, so that removed texts are gone from the write-ahead log too."""
        with self._lock, self._told():
            write_ahead.cut(self._base, self.path)

    def setting(self, name: str) -> bytes:
        """A value of the table of settings."""
        with self._lock, self._told():
            return bytes(self._base.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()
