"""The write-ahead log of an SQLite file, which holds what was removed until it is cut."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from aimds.errors import DataError


def cut(base: sqlite3.Connection, path: Path) -> None:
    """Bring everything into the database ``path`` itself, so that what was removed is gone from its log too.

    Raises:
        DataError: another process reads the file, and went on for as long as ``base`` waits for one.
    """
    try:
        busy, _, _ = base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise DataError(path, f"its log cannot be cut: {error}") from error
    if busy:
        problem = "what was removed is in its log until the other process that reads it ends; then run this again"
        raise DataError(path, problem)
