"""The file of an audit log that is written: locked for one writer, appended to, cut back where a write fails."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aimds.errors import DataError
from aimds.record import disk
from aimds.record.segments import regular


class InUse(DataError):
    """Another process writes the log."""


class Journal:
    """The file ``path``, open and locked; made where it is missing.

    Args:
        fresh: an empty file is made in place of whatever is there.

    Raises:
        DataError: it cannot be opened, or is no regular file.
        InUse: another process writes it.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.broken: str | None = None
        self.closed = False
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0)
        try:
            self.file = os.open(path, flags, 0o600)
        except OSError as error:
            raise DataError(path, f"cannot be opened: {error.strerror}") from error
        try:
            self._acquire()
        except BaseException:
            os.close(self.file)
            raise
        self.size = os.fstat(self.file).st_size

    def _acquire(self) -> None:
        if not regular(self.file):
            raise DataError(self.path, "is not a regular file")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A writer may have closed this file and begun the next one since it was opened here.
            now = os.stat(self.path)
        except (BlockingIOError, FileNotFoundError):
            raise InUse(self.path, "is being written by another process") from None
        if now.st_ino != os.fstat(self.file).st_ino:
            raise InUse(self.path, "is being written by another process")

    def check(self) -> None:
        """Raises:
        DataError: the file cannot be trusted any more, or is closed.
        """
        if self.broken:
            raise DataError(self.path, self.broken)

    def append(self, content: bytes) -> None:
        """Add ``content``, durably.

        Raises:
            DataError: it cannot be written, and nothing of it was; after a failed fsync the file has to be opened anew.
        """
        self.check()
        try:
            disk.write(self.file, content)
        except OSError as error:
            self.cut(self.size)
            raise DataError(self.path, f"cannot be written: {error.strerror}") from error
        # After a failed fsync the kernel may have dropped the pages; only reading the file anew tells what is left.
        try:
            os.fsync(self.file)
        except OSError as error:
            self.broken = f"cannot be made durable: {error.strerror}; open it anew"
            raise DataError(self.path, self.broken) from error
        self.size += len(content)

    def cut(self, size: int) -> None:
        """Leave the first ``size`` bytes.

        Raises:
            DataError: they cannot be cut; the file has to be opened anew.
        """
        try:
            os.ftruncate(self.file, size)
        except OSError as error:
            self.broken = f"cannot be cut back to its last record: {error.strerror}; open it anew"
            raise DataError(self.path, self.broken) from error
        self.size = size

    def close(self) -> None:
        """Let others open the file."""
        if not self.closed:
            os.close(self.file)
        self.closed, self.broken = True, "is closed"
