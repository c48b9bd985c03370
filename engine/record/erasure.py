"""What does not stay in an audit log: whom a record is about, when a subject is erased, and files that are old.

The chain holds without either. A record of kind ``erased`` or ``retained`` is written first and says what goes: so a
check can tell it from tampering, and what a crash left half done is known and can be done again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aimds.errors import DataError
from aimds.record import disk, segments
from aimds.record.audit import AuditLog
from aimds.record.chain import ERASED, RETAINED, Record, decode, encode
from aimds.record.keeping import marked
from aimds.record.spans import Spans
from aimds.record.subject import NO_TENANT, Subject

SPANS_AT_ONCE = 10_000
"""Spans in one record: a line has a bound."""
NO_LOG = "holds no whole record: not an audit log"
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Found:
    """Records of a subject: how many of each kind, of which tenants, from when to when; ``spans`` says where.
    ``unowned`` more would fit but have no tenant, as denials have none."""

    records: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    tenants: dict[str, int] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    unowned: int = 0
    spans: Spans = field(default_factory=Spans)

    def add(self, record: Record) -> None:
        """Count one of them."""
        self.records += 1
        self.kinds[record.kind] = self.kinds.get(record.kind, 0) + 1
        tenant = str((record.private or {}).get("tenant") or NO_TENANT)
        self.tenants[tenant] = self.tenants.get(tenant, 0) + 1
        self.since, self.until = self.since or record.time, record.time
        self.spans.add(record.seq)


def find(path: Path, subject: Subject, progress: Progress | None = None, *, checked: bool = False) -> Found:
    """The records of ``subject`` in the log ``path``, from all its files.

    ``checked``: the log has just been read whole, so that lines which cannot be about the subject are passed over
    unread; `Found.unowned` is not counted then.

    Raises:
        DataError: a file cannot be read, or is damaged; or there is no record at all.
    """
    found, done = Found(), 0
    alone = subject.session is None and subject.request is None and subject.identity is None
    unowned = replace(subject, tenant=NO_TENANT) if subject.tenant and not alone and not checked else None
    with contextlib.ExitStack() as stack:
        files = _opened(path, stack)
        if not files:
            raise DataError(path, "cannot be read: there is no such log")
        total = sum(os.fstat(file.fileno()).st_size for file in files)
        for opened in files:
            lines = _lines(Path(opened.name), opened, opened.name == str(path), subject.may_fit if checked else None)
            for number, (line, record) in enumerate(lines):
                done += len(line)
                if progress is not None and number % 2000 == 0:
                    progress(min(done, total), total)
                if record is None or record.private is None:
                    continue
                if subject.fits(record.private):
                    found.add(record)
                elif unowned is not None and unowned.fits(record.private):
                    found.unowned += 1
    if not done:
        raise DataError(path, NO_LOG)
    return found


def erase(log: AuditLog, subject: Subject, progress: Progress | None = None, *, checked: bool = False) -> Found:
    """Take whom they are about out of the records of ``subject``: ids, tenant, identity, address, digest of the text.

    What stays of each is its kind, time and place in the chain, and the verdict. The file that is written is closed
    first. Where this is killed, doing it again finishes it. Other threads may append meanwhile; what they add about the
    subject after this has begun stays. ``checked``: as for `find`.

    Raises:
        DataError: a file is damaged, or cannot be written.
    """
    with log.keeping, marked(log.path):
        log.flush()
        _clean(log.path)
        found = find(log.path, subject, progress, checked=checked)
        if found.records:
            spans = list(found.spans)
            for first in range(0, len(spans), SPANS_AT_ONCE):
                part = [list(span) for span in spans[first : first + SPANS_AT_ONCE]]
                log.append(ERASED, {"records": part})
            # The file that holds them is not changed while it is written; and the record that says so is durable first.
            log.rotate()
            for file in segments.closed(log.path):
                _rewrite(file, found.spans, subject.may_fit if checked else None)
        # Also where nothing was left: whoever was killed before may not have come to it.
        log.index()
    return found


def _clean(path: Path) -> None:
    """Remove what an erasure that was killed left of a file it was writing: nobody would look for a subject there."""
    for file in segments.closed(path):
        with contextlib.suppress(OSError):
            _partial(file).unlink(missing_ok=True)


def _partial(file: Path) -> Path:
    return file.with_name(file.name + ".new")


def _rewrite(file: Path, spans: Spans, only: Callable[[bytes], bool] | None) -> None:
    listed = segments.looked_at(file)
    if not any(low <= listed.last and high >= listed.first for low, high in spans):
        return
    partial = _partial(file)
    try:
        target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            waiting: list[bytes] = []
            for whole, record in _records(file, only=only):
                line = whole
                if record is not None and record.private is not None and record.seq in spans:
                    bare = (record.seq, record.time, record.kind, record.body, record.prev)
                    line, _ = encode(*bare, commit=record.commit)
                waiting.append(line)
                if len(waiting) == SPANS_AT_ONCE:
                    disk.write(target, b"".join(waiting))
                    waiting.clear()
            disk.write(target, b"".join(waiting))
            os.fsync(target)
        finally:
            os.close(target)
        os.replace(partial, file)
        disk.sync_folder(file.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DataError(file, f"cannot be written: {error.strerror}; erase again") from error


def old(path: Path, before: datetime) -> list[segments.Segment]:
    """The closed files of the log ``path`` whose last record is from before ``before``: those at its beginning.

    Raises:
        DataError: a file cannot be read, or is damaged; or there is no record at all.
    """
    out, files = [], segments.closed(path)
    if not files and next(_records(path, torn=True), None) is None:
        raise DataError(path, NO_LOG)
    for file in files:
        one = segments.looked_at(file)
        if datetime.fromisoformat(one.until) >= before:
            break
        out.append(one)
    return out


def retain(log: AuditLog, before: datetime) -> list[segments.Segment]:
    """Let go of the closed files whose last record is from before ``before``; which they were.

    Raises:
        DataError: a file is damaged, or cannot be removed.
    """
    with log.keeping, marked(log.path):
        _clean(log.path)
        gone = old(log.path, before)
        if gone:
            body = {"through": gone[-1].last, "hash": gone[-1].hash, "files": len(gone)}
            log.append(RETAINED, {**body, "before": before.astimezone(UTC).isoformat(timespec="microseconds")})
            log.flush()
            for one in gone:
                try:
                    log.path.with_name(one.file).unlink(missing_ok=True)
                except OSError as error:
                    raise DataError(one.file, f"cannot be removed: {error.strerror}") from error
            disk.sync_folder(log.path.parent)
        log.index()
    return gone


def _opened(path: Path, stack: contextlib.ExitStack) -> list[BinaryIO]:
    """All files of the log ``path``, open, the one that is written last."""
    written: BinaryIO | None = None
    try:
        with contextlib.suppress(FileNotFoundError):
            written = stack.enter_context(path.open("rb"))
        # Listed after that one was opened: if a writer has closed it since, it stands in the list.
        files: list[BinaryIO] = [stack.enter_context(file.open("rb")) for file in segments.closed(path)]
    except OSError as error:
        raise DataError(error.filename, f"cannot be read: {error.strerror}") from error
    if written is not None:
        same = os.fstat(written.fileno())
        if not any(os.path.samestat(os.fstat(file.fileno()), same) for file in files):
            files.append(written)
    return files


def _records(
    file: Path, *, torn: bool = False, only: Callable[[bytes], bool] | None = None
) -> Iterator[tuple[bytes, Record | None]]:
    """Lines of ``file`` and their records; None where ``only`` says that it is of no interest."""
    try:
        with file.open("rb") as opened:
            yield from _lines(file, opened, torn, only)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error


def _lines(
    file: Path, opened: BinaryIO, torn: bool, only: Callable[[bytes], bool] | None
) -> Iterator[tuple[bytes, Record | None]]:
    try:
        for number, line in enumerate(segments.lines(opened), 1):
            if torn and not line.endswith(b"\n"):
                return
            try:
                yield line, decode(line) if only is None or only(line) or not line.endswith(b"\n") else None
            except ValueError as error:
                raise DataError(file, f"is damaged at line {number}: {error}; see aimds audit verify") from None
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
