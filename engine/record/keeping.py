"""Whether closed files of a log were being changed, by an erasure or by retention, while somebody read it.

<name>.keeping    stands while they are changed; one that a kill left is removed when the log is opened again
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aimds.errors import DataError
from aimds.record import segments

LOOK_S = 0.05
LONGEST_S = 600.0
"""How long an erasure is waited for."""


def keeping_path(path: Path) -> Path:
    """Where the mark of the log ``path`` stands."""
    return path.with_name(path.name + ".keeping")


@contextlib.contextmanager
def marked(path: Path) -> Iterator[None]:
    """Mark the log ``path`` while its closed files are changed.

    Raises:
        DataError: the mark cannot be made.
    """
    mark = keeping_path(path)
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    except OSError as error:
        raise DataError(mark, f"cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        unmark(path)


def unmark(path: Path) -> None:
    """Remove the mark of the log ``path``, if there is one."""
    with contextlib.suppress(OSError):
        keeping_path(path).unlink()


@dataclass(frozen=True, slots=True)
class Standing:
    """The files of a log at one moment: ``closed`` by name, and the one that is ``written``, by inode; ``is_marked``
    while a writer changes some."""

    closed: dict[str, int]
    written: int | None
    is_marked: bool

    @classmethod
    def of(cls, path: Path) -> Standing:
        """That of the log ``path``."""
        is_marked = keeping_path(path).exists() and is_written(path)
        # The written file first: one that is closed meanwhile is in both, never in neither.
        written = _inode(path)
        found = ((file.name, _inode(file)) for file in segments.closed(path))
        return cls({name: inode for name, inode in found if inode is not None}, written, is_marked)

    def was_changed(self, path: Path) -> bool:
        """Whether a file of these was changed or removed since, or may have been; waits for who is at it."""
        later, until = Standing.of(path), time.monotonic() + LONGEST_S
        seen = self.is_marked or later.is_marked
        while later.is_marked and time.monotonic() < until:
            time.sleep(LOOK_S)
            later = Standing.of(path)
        if later.is_marked:
            return False
        known = {later.written, *(inode for name, inode in later.closed.items() if name not in self.closed)}
        followed = self.written in known or self.written in self.closed.values()
        return seen or not followed or any(later.closed.get(name) != inode for name, inode in self.closed.items())


def is_written(path: Path) -> bool:
    """Whether a process has the log ``path`` open for writing, or is just beginning its next file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None
