from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aimds.errors import DataError
from aimds.jobs.scan import durable
from aimds.jobs.scan.durable import OutputError


def test_a_file_appears_whole_under_its_name_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with durable.writing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with durable.writing(path) as file:
            file.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_an_error_that_names_the_path_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    script = """
import resource, sys
from pathlib import Path
from aimds.jobs.scan import durable
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    with durable.writing(Path(sys.argv[1])) as file:
        for _ in range(1000):
            file.write(b"x" * 4096)
except durable.OutputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"{path}: cannot write: File too large"
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in ("file", "file/deep", "file/deep/er"):
        with pytest.raises(OutputError, match=r"file: is a file where a folder is needed; name a folder"):
            durable.make_folder(tmp_path / path)


def test_json_comes_back_and_damage_is_none(tmp_path: Path) -> None:
    durable.write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert durable.read_json(tmp_path / "a.json") == {"ä": [1, None]}
    (tmp_path / "a.json").write_text('{"cut')
    assert durable.read_json(tmp_path / "a.json") is None
    assert durable.read_json(tmp_path / "b.json") is None


def test_a_lock_is_held_by_one_and_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "lock"
    lock.parent.mkdir()
    with durable.locked(lock, "busy"), pytest.raises(DataError, match=r"busy"), durable.locked(lock, "busy"):
        pass
    with durable.locked(lock, "busy"):
        pass


def test_the_first_of_two_errors_is_the_one_that_counts() -> None:
    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ValueError, match="first"):
        durable.finish(lambda: fail(ValueError("first")), lambda: fail(ValueError("second")))
    with pytest.raises(ValueError, match="second"):
        durable.finish(lambda: None, lambda: fail(ValueError("second")))
