"""What was removed from an SQLite file is gone from its log too, or it is said that it is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aimds.errors import DataError
from aimds.record import write_ahead


def opened(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None, timeout=0.05)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA secure_delete = ON")
    return base


def test_what_a_reader_keeps_in_the_log_is_an_error_and_gone_once_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    base, reader = opened(path), opened(path)
    base.execute("CREATE TABLE t(x)")
    base.execute("INSERT INTO t VALUES('harbour-master')")
    reader.execute("BEGIN")
    assert reader.execute("SELECT x FROM t").fetchall() == [("harbour-master",)]
    base.execute("DELETE FROM t")
    with pytest.raises(DataError, match=r"a\.db: what was removed is in its log"):
        write_ahead.cut(base, path)
    assert b"harbour-master" in path.with_name("a.db-wal").read_bytes()
    reader.execute("COMMIT")
    write_ahead.cut(base, path)
    assert path.with_name("a.db-wal").read_bytes() == b""
    assert b"harbour-master" not in path.read_bytes()
