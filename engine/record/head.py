"""The head of an audit log, ``<name>.head``: the newest checkpoint, in two slots that are written in turn.

    slot    one JSON line, sealed, filled up with spaces to `SLOT_BYTES`; both say the same, or the other the one before

A seal counts in one of the two places only, so that the slot of the flush before cannot be put over the newest without
the key; a log that is closed leaves both alike. A slot is overwritten in place, which costs the disk a third of what a
new file does; one torn by a power cut leaves the other. A head too long for a slot is a file of one line, replaced as a
whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from aimds.errors import DataError
from aimds.record import disk
from aimds.record.chain import canonical, is_number
from aimds.record.checkpoints import Checkpoint
from aimds.record.keys import mac

SLOT_BYTES = 4096
"""A block of the disk: what tears one slot leaves the other."""
_DAMAGED = "is damaged: not the head of an audit log"
_TEXTS = ("chain", "hash", "seal", "time")
_PLAIN = {*_TEXTS, "seq"}
_SIGNED = _PLAIN | {"signer", "signature"}


class Head(NamedTuple):
    """The newest checkpoint of a head file that is sealed, or, where none is, the newest. ``sealed``: whether its seal
    is right for the key; ``torn``: whether the other slot is not what a writer left there."""

    point: Checkpoint
    sealed: bool
    torn: bool = False


def head_path(path: Path) -> Path:
    """Where the head of the log ``path`` lies."""
    return path.with_name(path.name + ".head")


def encode_head(head: Checkpoint, key: bytes | None, place: int | None = None) -> bytes:
    """The line of a head, for slot ``place`` or, None, for a file of its own; ``seal`` is an HMAC where there is a key,
    else a plain hash against accidents."""
    fields = {name: value for name, value in asdict(head).items() if value is not None}
    content = canonical(fields, "head").encode()
    placed = content if place is None else content + b"\n%d" % place
    seal = hashlib.sha256(placed).hexdigest() if key is None else mac(key, "head", placed)
    return (canonical({**fields, "seal": seal}, "head") + "\n").encode()


def read_head(path: Path, key: bytes | None) -> Head | None:
    """The head beside the log ``path``; None where there is no file.

    Raises:
        DataError: the file is no head, or cannot be read.
    """
    file = head_path(path)
    return read_checkpoint(file, key) if file.exists() else None


def read_checkpoint(file: Path, key: bytes | None = None) -> Head:
    """What ``file`` holds, a head or a copy of one.

    Raises:
        DataError: the file is no head, or cannot be read.
    """
    try:
        content, again = file.read_bytes(), b""
        # A writer at work may be half way through a slot.
        for _ in range(10):
            content, again = file.read_bytes(), content
            if content == again:
                break
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    slots = [content]
    if len(content) == 2 * SLOT_BYTES:
        slots = [content[:SLOT_BYTES], content[SLOT_BYTES:]]
    found = []
    for place, slot in enumerate(slots):
        if point := _read(slot):
            right = encode_head(point, key) if len(slots) == 1 else _slot(point, key, place)
            found.append((point, hmac.compare_digest(right, slot)))
    if not found:
        raise DataError(file, _DAMAGED)
    point, sealed = max(found, key=lambda one: (one[1], one[0].seq))
    wrong = len(found) < len(slots) or (sealed and not all(right for _, right in found))
    return Head(point, sealed, wrong)


def _slot(point: Checkpoint, key: bytes | None, place: int) -> bytes:
    return encode_head(point, key, place)[:-1].ljust(SLOT_BYTES - 1) + b"\n"


def _read(slot: bytes) -> Checkpoint | None:
    try:
        fields = json.loads(slot)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.keys() not in (_PLAIN, _SIGNED) or not is_number(fields["seq"]):
        return None
    if not all(isinstance(value, str) for name, value in fields.items() if name != "seq"):
        return None
    del fields["seal"]
    return Checkpoint(**fields)


class HeadFile:
    """The head of the log ``path``, open for writing by the one that holds the log; ``key`` seals it."""

    def __init__(self, path: Path, key: bytes | None) -> None:
        self._path, self._key = head_path(path), key
        self._file: int | None = None
        self._next = 0
        self._newest: Checkpoint | None = None

    def write(self, point: Checkpoint) -> None:
        """Put ``point`` in place of the older of the two, durably.

        Raises:
            DataError: it cannot be written; the newest one before it is still there.
        """
        content = _slot(point, self._key, self._next)
        try:
            if len(content) > SLOT_BYTES:
                self.close()
                disk.replace(self._path, encode_head(point, self._key))
                return
            if self._in_place():
                assert self._file is not None
                disk.write_at(self._file, content, self._next * SLOT_BYTES)
                os.fdatasync(self._file)
                self._next = 1 - self._next
            else:
                # Both slots alike, so that each is whole from the beginning.
                disk.replace(self._path, b"".join(_slot(point, self._key, place) for place in range(2)))
                self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            self._newest = point
        except OSError as error:
            # After a failed sync nobody knows what the disk holds: the next head is a new file.
            self.close()
            problem = f"cannot be written: {error.strerror}; the records themselves are durable"
            raise DataError(self._path, problem) from error

    def settle(self) -> None:
        """Put the newest one into the other slot as well, so that none before it is left.

        Raises:
            DataError: as `write`.
        """
        if self._newest is not None:
            self.write(self._newest)

    def _in_place(self) -> bool:
        """Whether the file that is open is still the one of that name."""
        if self._file is None:
            return False
        mine = os.fstat(self._file)
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self._path)
            if (there.st_dev, there.st_ino, there.st_size) == (mine.st_dev, mine.st_ino, 2 * SLOT_BYTES):
                return True
        self.close()
        return False

    def close(self) -> None:
        """Let go of the file; a later `write` makes it anew."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._next, self._newest = None, 0, None
