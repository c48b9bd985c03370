"""Writing that survives a kill: a file appears whole and fsynced under its name, or not at all.

Everything a scan leaves behind goes through here, so every failure to write (disk full, no permission, read-only) is
one ``OutputError`` that names the path, and never a torn file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from aimds.errors import DataError

TEMPORARY = ".tmp"
KEPT = ".log"
"""Ends the name of what outlives a kill, and is swept away once the output stands."""


class OutputError(DataError):
    """A result cannot be written; the job stops, and what was finished before stays good."""

    @classmethod
    def of(cls, path: Path, error: OSError, doing: str = "write") -> OutputError:
        """The error for ``path`` with the operating system's reason."""
        return cls(path, f"cannot {doing}: {error.strerror or error}")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, *, scratch: Path | None = None) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``path`` when the block ends well, and leaves nothing when it does not.

    ``scratch`` is the folder of the unfinished file (default: beside ``path``); it must be on the same file system.

    Raises:
        OutputError: the operating system refuses a write, the fsync or the rename.
    """
    # Machines that share the folder may have processes of one number. A name may be as long as names can be.
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = (scratch or path.parent) / f".{mark}.{os.uname().nodename}.{os.getpid()}{TEMPORARY}"
    done = False
    try:
        with open(temporary, "wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        done = True
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        if not done:
            with suppress(OSError):
                temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON, atomically."""
    with writing(path) as file:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        # What is no character, as in a file name that is not UTF-8, is escaped as JSON does it.
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")


def read_json(path: Path) -> Any:
    """The JSON in ``path``, or None where there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def make_folder(path: Path) -> None:
    """Create ``path`` and its parents.

    Raises:
        OutputError: it cannot be created, or something that is no folder is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        way = next(one for one in (path, *path.parents) if os.path.lexists(one))
        raise OutputError(way, "is a file where a folder is needed; name a folder") from error
    except OSError as error:
        raise OutputError.of(path, error, "create this folder") from error


@contextmanager
def guarded(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError.of(path, error, doing) from error


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the operating system lets go of it when this process dies in any way.

    Raises:
        DataError: another process holds it (``busy`` is the message).
        OutputError: the lock file cannot be created.
    """
    with guarded(path, "create this lock file"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(path.parent.parent, busy) from error
        yield
    finally:
        os.close(handle)


def finish(write: Callable[[], None], close: Callable[[], None]) -> None:
    """Run ``write`` then ``close``; where ``write`` fails, ``close`` may fail too and only the first error counts."""
    try:
        write()
    except BaseException:
        with suppress(Exception):
            close()
        raise
    close()
