"""An audit log as Parquet that can be checked by itself: the chain is in it, and what is left out leaves its hashes.

Every record from the first to the last that was asked for has a row, up to the next signed checkpoint. Of one that was
not asked for (of another tenant, outside the time) there are kind, time and the digest of its content, so that the hash
can still be computed, and nothing of the content can be told: a digest covers 16 random bytes of each verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError
from aimds.record import segments
from aimds.record.chain import CHECKPOINT, CONTROL, FORMAT, Record, canonical, decode, digest_of
from aimds.record.head import encode_head, read_head

META = b"aimds.audit"
EASY = ("request_id", "session_id", "tenant", "action", "threat_type", "score")
"""Columns that repeat what body and private say, for those who ask with SQL."""
SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("prev", pa.string(), nullable=False),
        pa.field("hash", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("commit", pa.string()),
        pa.field("body", pa.string()),
        pa.field("private", pa.string()),
        *[pa.field(name, pa.float64() if name == "score" else pa.string()) for name in EASY],
    ]
)
GROUP = 20_000
"""Rows written at once."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records: from ``since`` on, before ``until``, of one tenant ("": of none); with ``private`` parts."""

    since: datetime | None = None
    until: datetime | None = None
    tenant: str | None = None
    private: bool = True

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ConfigError("until", self.until.isoformat(), f"a time after {self.since.isoformat()}")

    def takes(self, record: Record) -> bool:
        """Whether the content of ``record`` was asked for."""
        if record.kind in CONTROL:
            return True
        if not self.in_time(datetime.fromisoformat(record.time)):
            return False
        if self.tenant is None:
            return True
        # Whom a record without a private part is about nobody can tell any more.
        return record.private is not None and (record.private.get("tenant") or "") == self.tenant

    def in_time(self, at: datetime) -> bool:
        """Whether a record of the time ``at`` was asked for."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: ``rows`` rows for the records ``first`` to ``last``, of which ``hidden`` without content;
    ``signed``: it ends with a signed checkpoint."""

    rows: int
    hidden: int
    first: int
    last: int
    signed: bool


def export(path: Path, out: Path, choice: Choice, progress: Progress | None = None) -> Exported:
    """Write the log ``path`` to the Parquet file ``out``, a part at a time, whole or not there.

    Raises:
        DataError: the log cannot be read or is damaged, holds nothing of that time, or ``out`` exists or cannot be
            written.
    """
    if out.exists():
        raise DataError(out, "exists already")
    head = read_head(path, None)
    files = [*segments.closed(path), *([path] if path.exists() else [])]
    if not files:
        raise DataError(path, "cannot be read: there is no such log")
    first, last = _span(path, files, choice)
    meta: dict[str, Any] = {
        "format": FORMAT,
        "log": path.name,
        "head": None if head is None else json.loads(encode_head(head.point, None)),
        "since": choice.since and choice.since.isoformat(),
        "until": choice.until and choice.until.isoformat(),
        "tenant": choice.tenant,
        "private": choice.private,
    }
    partial = out.with_name(out.name + ".new")
    try:
        done = _write(partial, _taken(files, first, last, progress), choice, meta)
        partial.rename(out)
    except (OSError, pa.ArrowException) as error:
        raise DataError(out, f"cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return done


def _span(path: Path, files: list[Path], choice: Choice) -> tuple[int, int]:
    """Numbers of the first and the last record to write: those of the time asked for, and on to the next checkpoint,
    which signs the record before it."""
    first, last, end, known = -1, -1, None, False
    for line, _ in _lines(files):
        try:
            fields = json.loads(line)
            seq, kind, at = int(fields["seq"]), fields["kind"], datetime.fromisoformat(fields["time"])
        except (ValueError, RecursionError, TypeError, KeyError):
            # Reading it again names the line.
            continue
        known = True
        if kind == CHECKPOINT and end is None:
            end = seq
        elif kind not in CONTROL and choice.in_time(at):
            first, last, end = (seq if first < 0 else first), seq, None
    if first < 0:
        raise DataError(path, "holds no record of that time" if known else "is not an audit log")
    return first, last if end is None else end


def _taken(files: list[Path], first: int, last: int, progress: Progress | None) -> Iterator[Record]:
    total, done = sum(file.stat().st_size for file in files), 0
    for line, place in _lines(files):
        done += len(line)
        try:
            record = decode(line)
        except ValueError as error:
            raise DataError(place, f"is damaged: {error}; see aimds audit verify") from None
        if progress is not None and record.seq % 2000 == 0:
            progress(min(done, total), total)
        if record.seq > last:
            break
        if record.seq >= first:
            yield record


def _write(partial: Path, records: Iterator[Record], choice: Choice, meta: dict[str, Any]) -> Exported:
    rows = hidden = 0
    first = last = -1
    signed = False
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    schema = SCHEMA.with_metadata({META: json.dumps(meta).encode()})
    # For its owner only, as the log is.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for record in records:
                shown = choice.takes(record)
                for name, value in _row(record, shown, choice.private).items():
                    columns[name].append(value)
                rows, hidden = rows + 1, hidden + (not shown)
                first, last, signed = (record.seq if first < 0 else first), record.seq, record.kind == CHECKPOINT
                if len(columns["seq"]) == GROUP:
                    writer.write_table(pa.table(columns, schema))
                    columns = {name: [] for name in SCHEMA.names}
            writer.write_table(pa.table(columns, schema))
        file.flush()
        os.fsync(descriptor)
    return Exported(rows, hidden, first, last, signed)


def _row(record: Record, shown: bool, private: bool) -> dict[str, Any]:
    body = canonical(record.body, "body")
    held = record.private if shown and private else None
    row: dict[str, Any] = {
        "seq": record.seq,
        "time": datetime.fromisoformat(record.time),
        "kind": record.kind,
        "prev": record.prev,
        "hash": record.hash,
        "digest": digest_of(body.encode(), record.commit),
        "commit": record.commit if shown else None,
        "body": body if shown else None,
        "private": None if held is None else canonical(held, "private"),
    }
    return row | easy(record.body if shown else {}, held or {})


def easy(body: dict[str, Any], private: dict[str, Any]) -> dict[str, Any]:
    """The columns EASY of a record: None where it has no such value."""
    found = {name: {**body, **private}.get(name) for name in EASY}
    return {
        name: (float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None)
        if name == "score"
        else (value if isinstance(value, str) else None)
        for name, value in found.items()
    }


def _lines(files: list[Path]) -> Iterator[tuple[bytes, str]]:
    for file in files:
        try:
            with file.open("rb") as opened:
                for number, line in enumerate(segments.lines(opened), 1):
                    if file == files[-1] and not line.endswith(b"\n"):
                        return
                    yield line, f"{file}, line {number}"
        except OSError as error:
            raise DataError(file, f"cannot be read: {error.strerror}") from error


def moment(text: str, option: str) -> datetime:
    """The time in ``text``, ISO 8601; UTC where it names no zone.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, text, "a date or time such as 2026-03-01 or 2026-03-01T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
