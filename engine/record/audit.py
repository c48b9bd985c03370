"""The audit log: append-only, hash-chained, durable in batches. `aimds.record.verification` checks what this writes.

A record is durable when `AuditLog.flush` has returned after it. Texts never enter: `AuditLog.digest` gives their
HMAC-SHA256 instead, equal for equal texts and worthless without the key.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aimds.errors import ConfigError, DataError
from aimds.record import disk
from aimds.record.chain import (
    FORMAT,
    GENESIS,
    MAX_LINE_BYTES,
    NO_HASH,
    Head,
    Record,
    decode,
    encode,
    encode_head,
    head_path,
    key_id,
    mac,
    read_head,
)

MAX_PENDING_BYTES = 64 << 20
"""Records that wait for a flush; beyond this, the next append flushes first."""
_GENESIS_START = b'{"body":{"chain":"'


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """A log open for writing; one writer at a time, its threads may share it.

    After a crash the log is opened again as it is: a last line that was not written whole is cut off, and a record of
    kind ``recovered`` says how many bytes it had.

    Args:
        path: the log; made if it does not exist. Its head lies beside it as ``<name>.head``.
        key: seals the head and digests sensitive strings; a log is always opened with the key it was started with.
        now: the clock that stamps records.
        chain: name of a new chain, random by default.

    Raises:
        DataError: another writer has it, it is no audit log, it is damaged at its end, or records that were durable
            are missing.
        ConfigError: the key is not the one the log was started with.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: bytes | None = None,
        now: Callable[[], datetime] = _utc_now,
        chain: str | None = None,
    ) -> None:
        self.path, self._key, self._now = path, key, now
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._broken: str | None = None
        self._head_due = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataError(path, f"cannot be opened: {error.strerror}") from error
        try:
            self._acquire()
            self._size = os.fstat(self._file).st_size
            self._resume(chain or secrets.token_hex(16))
        except BaseException:
            os.close(self._file)
            raise

    def _acquire(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise DataError(self.path, "is not a regular file")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(self.path, "is being written by another process") from None

    def _resume(self, chain: str) -> None:
        known = read_head(self.path, self._key)
        first = os.pread(self._file, MAX_LINE_BYTES, 0)
        torn = b""
        if b"\n" not in first:
            if known is not None:
                raise DataError(self.path, f"is empty, but its head knows record {known[0].seq}: records were removed")
            if not (first.startswith(_GENESIS_START) or _GENESIS_START.startswith(first)):
                raise DataError(self.path, "is not an audit log")
            self._start(chain, torn=first)
            return
        try:
            genesis = decode(first[: first.index(b"\n") + 1])
        except ValueError as error:
            raise DataError(self.path, f"is not an audit log, or damaged: {error}") from None
        if genesis.kind != GENESIS or genesis.body.get("format") != FORMAT:
            raise DataError(self.path, f"does not begin like an audit log of format {FORMAT}")
        if genesis.body.get("key") != key_id(self._key):
            started = f"the key with id {genesis.body['key']}" if genesis.body.get("key") else "no key"
            raise ConfigError("key", f"id {key_id(self._key)}", f"{started}, as the log was started with")
        last, torn = self._tail()
        self._chain, self._seq, self._hash = str(genesis.body["chain"]), last.seq, last.hash
        self._check_head(known, last)
        if torn:
            self._cut(self._size - len(torn))
            self._add("recovered", {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()})
        if known is None and last.seq > 0:
            self._add("recovered", {"head": "missing"})
        self._head_due = True
        self._flush()

    def _start(self, chain: str, torn: bytes) -> None:
        self._chain, self._seq, self._hash = chain, -1, NO_HASH
        self._cut(0)
        self._add(GENESIS, {"chain": chain, "format": FORMAT, "key": key_id(self._key)})
        if torn:
            self._add("recovered", {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()})
        self._flush()
        disk.sync_folder(self.path.parent)

    def _tail(self) -> tuple[Record, bytes]:
        start = max(self._size - 2 * MAX_LINE_BYTES, 0)
        content = os.pread(self._file, self._size - start, start)
        end = content.rfind(b"\n") + 1
        line = content[content.rfind(b"\n", 0, max(end - 1, 0)) + 1 : end]
        try:
            return decode(line), content[end:]
        except ValueError as error:
            raise DataError(self.path, f"is damaged at its end ({error}); see aimds audit verify") from None

    def _check_head(self, known: tuple[Head, bool] | None, last: Record) -> None:
        if known is None:
            return
        head, sealed = known
        if not sealed or head.chain != self._chain:
            raise DataError(head_path(self.path), "does not belong to this log, or was changed; see aimds audit verify")
        if head.seq > last.seq or (head.seq == last.seq and head.hash != last.hash):
            problem = (
                f"ends at record {last.seq}, but its head knows record {head.seq}: records were removed or replaced"
            )
            raise DataError(self.path, f"{problem}; see aimds audit verify")

    @property
    def seq(self) -> int:
        """Number of the last record, durable or not."""
        return self._seq

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last record: kept elsewhere, they later prove that nothing was cut off before it."""
        return self._seq, self._hash

    def digest(self, text: str | bytes) -> str:
        """HMAC-SHA256 of a sensitive string, in hex.

        Raises:
            ConfigError: the log was opened without a key.
        """
        if self._key is None:
            raise ConfigError("key", None, "a key: sensitive strings are never recorded without one")
        return mac(self._key, "text", text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add a record and return its number. It is durable after the next `flush`.

        Raises:
            SchemaError: the body does not fit into JSON, or is too large.
            DataError: the log is closed or broken, or too much waits and cannot be written; the record was not added.
        """
        return self.append_many(kind, (body,)).start

    def append_many(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> range:
        """Add a record per body and return their numbers. On an error those before the bad one have been added."""
        with self._lock:
            self._check()
            first = self._seq + 1
            for body in bodies:
                if self._pending_bytes >= MAX_PENDING_BYTES:
                    self._flush()
                self._add(kind, body)
            return range(first, self._seq + 1)

    def flush(self) -> int:
        """Make all records durable and return the number of the last one.

        Raises:
            DataError: they cannot be written. They are kept, nothing of them is left in the file, and a later flush
                tries again; after a failed fsync the log has to be opened anew.
        """
        with self._lock:
            self._flush()
            return self._seq

    def _add(self, kind: str, body: Mapping[str, Any]) -> None:
        time = self._now().astimezone(UTC).isoformat(timespec="microseconds")
        line, digest = encode(self._seq + 1, time, kind, dict(body), self._hash)
        self._pending.append(line)
        self._pending_bytes += len(line)
        self._seq, self._hash, self._time = self._seq + 1, digest, time

    def _check(self) -> None:
        if self._broken:
            raise DataError(self.path, self._broken)

    def _flush(self) -> None:
        self._check()
        if self._pending:
            content = b"".join(self._pending)
            try:
                disk.write(self._file, content)
            except OSError as error:
                self._cut(self._size)
                raise DataError(self.path, f"cannot be written: {error.strerror}") from error
            self._sync()
            self._size += len(content)
            self._pending.clear()
            self._pending_bytes = 0
            self._head_due = True
        if self._head_due:
            self._write_head()
            self._head_due = False

    def _sync(self) -> None:
        # After a failed fsync the kernel may have dropped the pages; only reading the file anew tells what is left.
        try:
            os.fsync(self._file)
        except OSError as error:
            self._broken = f"cannot be made durable: {error.strerror}; open it anew"
            raise DataError(self.path, self._broken) from error

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            self._broken = f"cannot be cut back to its last record: {error.strerror}; open it anew"
            raise DataError(self.path, self._broken) from error
        self._size = size

    def _write_head(self) -> None:
        head = Head(self._chain, self._seq, self._hash, self._now().astimezone(UTC).isoformat(timespec="microseconds"))
        try:
            disk.replace(head_path(self.path), encode_head(head, self._key))
        except OSError as error:
            problem = f"cannot be written: {error.strerror}; the records themselves are durable"
            raise DataError(head_path(self.path), problem) from error

    def close(self) -> None:
        """Make all records durable and let others open the log; the lock goes even if the records cannot be written."""
        with self._lock:
            if self._file < 0:
                return
            try:
                self._flush()
            finally:
                os.close(self._file)
                self._file = -1
                self._broken = "is closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
