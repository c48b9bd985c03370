"""Writing that is whole or not there, and on the disk when the call returns."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from aimds.errors import DataError

LOCK = "lock"
"""The file in a folder that its one writer holds."""


def write(file: int, content: bytes) -> None:
    """Write all of ``content`` to the descriptor ``file``; an OSError may leave a part of it written."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def write_at(file: int, content: bytes, offset: int) -> None:
    """Write all of ``content`` over what ``file`` holds from ``offset`` on; an OSError may leave a part of it."""
    rest = memoryview(content)
    while rest:
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done


def replace(
    path: Path, content: bytes, *, mode: int = 0o600, ready: Callable[[Path], object] = lambda partial: None
) -> None:
    """Put ``content`` in place of ``path``, which holds the old or the new content at any moment; may raise OSError.

    ``mode``: who may read it, whatever the umask of the process and the leavings of one that was killed. ``ready``: is
    told of the new file before that is put in place; what it raises leaves the old one.
    """
    partial = path.with_name(path.name + ".new")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(file, mode)
        write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    ready(partial)
    os.replace(partial, path)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: without it a new file may be gone after a power cut."""
    # Some file systems refuse to sync a folder; there is nothing more to do there.
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@contextlib.contextmanager
def locked(folder: Path, mode: int = 0o777) -> Iterator[None]:
    """One writer at a time in ``folder``, the others wait; it is made, with ``mode``, where it is missing.

    Raises:
        DataError: it cannot be written.
    """
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(folder, f"cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
