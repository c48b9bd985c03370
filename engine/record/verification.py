"""Checks an audit log over all its files: finds edited, removed, reordered and cut-off records, and says what it cannot
prove."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aimds.errors import DataError
from aimds.record import segments
from aimds.record.chain import MAX_LINE_BYTES, decode
from aimds.record.checking import KINDS, MAX_PROBLEMS, Check, Problem, Proof
from aimds.record.checkpoints import Checkpoint
from aimds.record.head import read_head
from aimds.record.keeping import Standing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["KINDS", "MAX_PROBLEMS", "Problem", "Report", "verify"]
STEP = 2000
TRIES = 5
"""Readings of a log that is erased from again and again meanwhile."""
"""Lines after which progress is told."""
SWITCH_S = 0.05
Progress = Callable[[int, int], None]
"""Told how many of how many bytes are done."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``records`` whole records were read from ``files`` files, the last one intact is ``seq`` with
    ``hash``. ``problem_count`` may exceed the ``problems`` listed. ``signed`` checkpoints stand in the chain,
    ``erased`` records lost their private part, those before ``first`` were let go. ``proved`` and ``unproved`` are
    sentences."""

    path: str
    chain: str | None
    records: int
    seq: int
    hash: str
    problems: tuple[Problem, ...]
    problem_count: int
    proved: tuple[str, ...]
    unproved: tuple[str, ...]
    files: int = 1
    first: int = 0
    signed: int = 0
    erased: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


def verify(
    path: Path,
    *,
    key: bytes | None = None,
    public: Sequence[Ed25519PublicKey] = (),
    expect: tuple[int, str] | None = None,
    points: Iterable[Checkpoint] = (),
    progress: Progress | None = None,
) -> Report:
    """Check the log at ``path``, all its files, and its head.

    Args:
        key: the key the log was started with; with it or ``public`` the results bind someone who can write the files.
        public: keys of those who may have signed it.
        expect: number and hash of a record, noted earlier outside the machine (`AuditLog.head`); proves that the log
            was not cut back or rewritten before it.
        points: checkpoints kept elsewhere, which prove the same; with ``public`` they have to be signed.

    Raises:
        DataError: the log cannot be read, or is no audit log.
    """
    kept = tuple(points)
    for left in reversed(range(TRIES)):
        before = Standing.of(path)
        try:
            report = _checked(path, key, public, expect, kept, progress)
        except DataError:
            if left and before.was_changed(path):
                continue
            raise
        # Read while files were changed, parts do not fit each other: only a reading that found nothing wrong, or one
        # that nobody disturbed, says how it is.
        if report.ok or not left or not before.was_changed(path):
            break
    return report


def _checked(
    path: Path,
    key: bytes | None,
    public: Sequence[Ed25519PublicKey],
    expect: tuple[int, str] | None,
    points: Sequence[Checkpoint],
    progress: Progress | None,
) -> Report:
    outside = [(*expect, "the expected checkpoint")] if expect else []
    outside += [(point.seq, point.hash, "the checkpoint that was kept") for point in points]
    check = Check(Proof(key, public, outside))
    for point in points:
        if public and not point.signed_by(public):
            check.add(
                "signature", 0, f"the checkpoint of record {point.seq} that was kept is not signed by a key given"
            )
    # The head is read first: a writer at work moves both on, and the log read later is never behind the head.
    try:
        found = read_head(path, key)
        if found:
            check.know(*found)
    except DataError as error:
        check.add("head", 0, str(error))
    with _written(path) as written:
        files, sizes = _closed(path, written)
        done, total = 0, sum(sizes)

        def told(at: int) -> None:
            if progress is not None:
                progress(min(done + at, total), total)

        for file, size in zip(files, sizes, strict=False):
            check.file = file.name
            try:
                with file.open("rb") as opened:
                    _read(check, opened, told, written=False)
            except OSError as error:
                raise DataError(file, f"cannot be read: {error.strerror}") from error
            done += size
        if written is not None:
            check.file = path.name
            _read(check, written, told, written=True)
            done += sizes[-1]
        told(0)
    if not check.records and not check.head:
        raise DataError(path, _no_log(path))
    check.finish()
    _check_index(check, path, [file.name for file in files])
    for point in points:
        if check.chain is not None and point.chain != check.chain:
            check.add("head", 0, "the checkpoint that was kept belongs to another log")
    expected = max((seq for seq, _, _ in outside), default=None)
    proved, unproved = check.claims(expected)
    last_one = check.last
    return Report(
        str(path),
        check.chain,
        check.records,
        last_one.seq,
        last_one.hash,
        tuple(check.problems),
        check.count,
        proved,
        unproved,
        len(sizes),
        max(check.first, 0),
        check.signed,
        len(check.tombs),
    )


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO | None]:
    """The file that is written, open; None where there are closed ones only."""
    found = None
    for again in (True, False):
        try:
            found = path.open("rb")
            break
        except FileNotFoundError as error:
            if not segments.closed(path):
                raise DataError(path, f"cannot be read: {error.strerror}") from error
            if again:
                # A writer that begins the next file leaves none there for a moment; one that was killed leaves none.
                time.sleep(SWITCH_S)
        except OSError as error:
            raise DataError(path, f"cannot be read: {error.strerror}") from error
    try:
        yield found
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
    finally:
        if found is not None:
            found.close()


def _closed(path: Path, written: BinaryIO | None) -> tuple[list[Path], list[int]]:
    """The files that were closed before ``written`` was opened, oldest first, and the sizes of all."""
    own = None if written is None else os.fstat(written.fileno())
    files, sizes = [], []
    for file in segments.closed(path):
        try:
            now = file.stat()
        except OSError as error:
            raise DataError(file, f"cannot be read: {error.strerror}") from error
        # It was closed since; what was begun after it is not looked at.
        if own is not None and now.st_ino == own.st_ino:
            break
        files.append(file)
        sizes.append(now.st_size)
    return files, [*sizes, *([own.st_size] if own is not None else [])]


def _read(check: Check, file: BinaryIO, told: Callable[[int], None], *, written: bool) -> None:
    at = 0
    for number, line in enumerate(segments.lines(file), 1):
        at += len(line)
        if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
            if not written:
                check.add("torn", number, f"the last line of a closed file is not whole ({len(line)} bytes)")
            elif not _being_written(file):
                check.add(
                    "torn", number, f"the last line is not whole ({len(line)} bytes); opening the log cuts it off"
                )
            return
        try:
            record = decode(line)
        except ValueError as error:
            check.bad_line(number, str(error))
            continue
        check.record(record, number)
        if number % STEP == 0:
            told(at)


def _check_index(check: Check, path: Path, read: list[str]) -> None:
    try:
        listed = segments.read_index(path)
        if listed is None:
            return
        for one in listed:
            if one.file in read and segments.looked_at(path.with_name(one.file)) != one:
                check.add("index", 0, f"the index says otherwise of {one.file}; remove it, and it is made anew")
    except DataError as error:
        check.add("index", 0, str(error))


def _no_log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES)
    except OSError:
        first = b""
    problem = segments.why_not(first, "")
    return problem if "format" in problem else "holds no whole record: not an audit log"


def _being_written(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
