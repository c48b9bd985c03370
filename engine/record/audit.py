"""The audit log: append-only, hash-chained, durable in batches. `aimds.record.verification` checks what this writes.

A record is durable when `AuditLog.flush` has returned after it. Texts never enter: `AuditLog.digest` gives their
HMAC-SHA256 instead, equal for equal texts and worthless without the key. What tells whom a record is about
(`chain.PRIVATE`) stands apart in it, so that it can be taken out later.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aimds.errors import ConfigError, DataError
from aimds.record import disk, keeping, segments
from aimds.record.chain import CHECKPOINT, PRIVATE, SALT, SALT_BYTES, SEGMENT, encode
from aimds.record.checkpoints import checkpoint
from aimds.record.head import HeadFile
from aimds.record.journal import Journal
from aimds.record.keys import mac
from aimds.record.rotation import BY_SIZE, Rotation, follow
from aimds.record.standing import opening, standing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_PENDING_BYTES = 64 << 20
"""Records that wait for a flush; beyond this, the next append flushes first."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """A log open for writing; one writer at a time. Its threads may share it: one fsync is for all that waits.

    After a crash the log is opened again as it is: a last line that was not written whole is cut off, and a record of
    kind ``recovered`` says how many bytes it had, and which records no head had sealed.

    Args:
        path: the file that is written; made if it does not exist. Its head lies beside it as ``<name>.head``, closed
            files as ``<name>.00000001`` and so on.
        key: seals the head and digests sensitive strings; a log is always opened with the key it was started with.
        signing: signs the head at every flush, and checkpoints in the chain.
        rotation: when the next file is begun.
        now: the clock that stamps records.
        chain: name of a new chain, random by default.
        entropy: gives so many random bytes, which keep private parts from being guessed.

    Raises:
        DataError: another writer has it, it is no audit log, it is damaged at its end, or records that were durable
            are missing.
        ConfigError: the key is not the one the log was started with, or a log that is signed is opened without one.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: bytes | None = None,
        signing: Ed25519PrivateKey | None = None,
        rotation: Rotation = BY_SIZE,
        now: Callable[[], datetime] = _utc_now,
        chain: str | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.path, self._key, self._signing, self._now = path, key, signing, now
        self._rotation, self._entropy = rotation, entropy
        self.keeping = threading.Lock()
        """Held by whoever changes closed files."""
        self.served: set[str] = set()
        """Names of the questions that `aimds.record.wanted` has done."""
        # After that one, always in this order: who appends, or what comes between (rotation); who writes; what waits.
        self._appending, self._writing, self._waiting = threading.RLock(), threading.RLock(), threading.Lock()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._unsigned = 0
        self._head_due = False
        self._journal, self._head = Journal(path), HeadFile(path, key)
        try:
            # Whoever left it there is dead: nobody else writes now.
            keeping.unmark(path)
            self._resume(chain or secrets.token_hex(16))
        except BaseException:
            self._head.close()
            self._journal.close()
            raise

    def _resume(self, chain: str) -> None:
        found = standing(self._journal, self._key, signed=self._signing is not None, chain=chain, now=self._now())
        self._chain, self._number, self._began, self._first = found.chain, found.number, found.began, found.first
        self._seq, self._hash, self._durable = found.seq, found.hash, (found.seq, found.hash)
        self._last_signed = self._now()
        if self._journal.size != found.size:
            self._journal.cut(found.size)
        stamp = self._stamp()
        for kind, body in found.notes:
            self._add(kind, body, stamp)
        self._head_due = True
        self._flush()
        if found.empty:
            disk.sync_folder(self.path.parent)

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

    def sealed(self, purpose: str, content: bytes, seal: str) -> bool:
        """Whether a holder of the key made ``seal`` of ``content`` for ``purpose``; a log that has neither key nor
        signature takes anything, one that is signed without a key takes nothing."""
        if self._key is None:
            return self._signing is None
        return hmac.compare_digest(mac(self._key, purpose, content).encode(), seal.encode("utf-8", "replace"))

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add a record and return its number. It is durable after the next `flush`.

        Raises:
            SchemaError: the body does not fit into JSON, or is too large.
            DataError: the log is closed or broken, or too much waits and cannot be written; the record was not added.
        """
        return self.append_many(kind, (body,)).start

    def append_many(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> range:
        """Add a record per body, all of one time, and return their numbers. On an error those before the bad one have
        been added."""
        with self._appending:
            self._journal.check()
            self._between()
            first, stamp = self._seq + 1, self._stamp()
            for body in bodies:
                if self._pending_bytes >= MAX_PENDING_BYTES:
                    self.flush()
                self._add(kind, body, stamp)
            return range(first, self._seq + 1)

    def flush(self) -> int:
        """Make all records durable and return the number of the last one.

        Raises:
            DataError: they cannot be written. They are kept, nothing of them is left in the file, and a later flush
                tries again; after a failed fsync the log has to be opened anew.
        """
        with self._writing:
            # Nothing is left to do where another thread's fsync covered what this one waited for.
            self._flush()
            return self._durable[0]

    def rotate(self) -> None:
        """Close the file and begin the next one.

        Raises:
            DataError: that cannot be done.
        """
        with self._appending:
            self._journal.check()
            self._rotate()

    def index(self) -> list[segments.Segment]:
        """Make the index of the closed files anew; gives what it holds.

        Raises:
            DataError: a closed file is damaged, or the index cannot be written.
        """
        with self._writing:
            return segments.write_index(self.path)

    def _between(self) -> None:
        at, rotation = self._now(), self._rotation
        old = (at - self._began).total_seconds() >= rotation.segment_s
        full = self._journal.size + self._pending_bytes >= rotation.segment_bytes
        if self._seq > self._first and (old or full):
            self._rotate()
        elif self._unsigned and (
            self._unsigned >= rotation.checkpoint_records
            or (at - self._last_signed).total_seconds() >= rotation.checkpoint_s
        ):
            self._sign()

    def _sign(self) -> None:
        if self._signing is not None:
            point = checkpoint(self._chain, self._seq, self._hash, self._stamp(), self._signing)
            self._add(CHECKPOINT, asdict(point), point.time)
            self._last_signed = self._now()
        self._unsigned = 0

    def _rotate(self) -> None:
        if self._unsigned:
            self._sign()
        with self._writing:
            self._flush()
            body = opening(self._chain, self._number + 1, self._key)
            line, hashed = encode(self._seq + 1, self._stamp(), SEGMENT, body, self._hash)
            following = follow(self._journal, self.path, segments.segment_path(self.path, self._number), line)
            self._journal, self._number, self._began, self._first = (
                following,
                self._number + 1,
                self._now(),
                self._seq + 1,
            )
            self._seq, self._hash = self._seq + 1, hashed
            self._durable, self._head_due = (self._seq, hashed), True
            disk.sync_folder(self.path.parent)
            self._flush()
            # The records are safe without it, and the next file that is closed makes it anew.
            with contextlib.suppress(DataError):
                self.index()

    def _stamp(self) -> str:
        at = self._now()
        return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")

    def _add(self, kind: str, body: Mapping[str, Any], stamp: str) -> None:
        private = None
        if PRIVATE.isdisjoint(body):
            public = dict(body)
        else:
            public, private = {}, {SALT: self._entropy(SALT_BYTES).hex()}
            for name, value in body.items():
                (private if name in PRIVATE else public)[name] = value
        line, hashed = encode(self._seq + 1, stamp, kind, public, self._hash, private)
        with self._waiting:
            self._pending.append(line)
            self._pending_bytes += len(line)
            self._seq, self._hash = self._seq + 1, hashed
        self._unsigned += self._signing is not None

    def _flush(self) -> None:
        self._journal.check()
        with self._waiting:
            count, content, last = len(self._pending), b"".join(self._pending), (self._seq, self._hash)
        if count:
            self._journal.append(content)
            with self._waiting:
                del self._pending[:count]
                self._pending_bytes -= len(content)
            self._durable, self._head_due = last, True
        if self._head_due:
            self._head.write(checkpoint(self._chain, *self._durable, self._stamp(), self._signing))
            self._head_due = False

    def close(self) -> None:
        """Make all records durable and let others open the log; the lock goes even if the records cannot be written."""
        # An erasure that still changes closed files does so under the lock of the log.
        with self.keeping, self._appending, self._writing:
            if self._journal.closed:
                return
            try:
                if self._unsigned:
                    self._sign()
                self._flush()
                self._head.settle()
            finally:
                self._head.close()
                self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
