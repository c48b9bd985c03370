from __future__ import annotations

import os
from pathlib import Path

import pytest

from aimds.record import disk


def test_all_bytes_are_written_even_where_the_system_takes_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(disk.os, "write", lambda file, content: real(file, bytes(content[:3])))
    disk.replace(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_failed_replacement_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.replace(tmp_path / "a", b"old")

    def broken(file: int) -> None:
        raise OSError("broken")

    monkeypatch.setattr(disk.os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        disk.replace(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_folder_that_cannot_be_synced_is_no_error(tmp_path: Path) -> None:
    disk.sync_folder(tmp_path)
    disk.sync_folder(tmp_path / "none")
