"""Where a log stands when it is opened: what its files and its head say, and what has to be noted before it goes on.

Nothing is changed here: a log that cannot be gone on with is left as it is.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError, DataError
from aimds.record import segments
from aimds.record.chain import FORMAT, GENESIS, MAX_LINE_BYTES, NO_HASH, RECOVERED, SEGMENT, Record
from aimds.record.head import Head, head_path, read_head
from aimds.record.journal import Journal
from aimds.record.keys import key_id

_GENESIS_START = b'{"body":{"chain":"'


@dataclass(frozen=True, slots=True)
class Standing:
    """A log whose last durable record is ``seq`` with ``hash``. File ``number`` began with record ``first`` at
    ``began``; of it ``size`` bytes are whole. ``notes`` are records to be added first, as kind and body; ``empty``: the
    file holds none yet."""

    chain: str
    number: int
    began: datetime
    first: int
    seq: int
    hash: str
    size: int
    notes: tuple[tuple[str, dict[str, Any]], ...] = ()
    empty: bool = False


def opening(chain: str, number: int, key: bytes | None) -> dict[str, Any]:
    """The body of the record that file ``number`` begins with."""
    return {"chain": chain, "format": FORMAT, "key": key_id(key), "segment": number}


def standing(journal: Journal, key: bytes | None, *, signed: bool, chain: str, now: datetime) -> Standing:
    """Where the log of ``journal`` stands; ``chain`` names a new one, ``signed``: there is a key to sign it with.

    Raises:
        DataError: it is no audit log, is damaged at its end, or records that were durable are missing.
        ConfigError: the key is not the one it was started with, or it is signed and would be no more.
    """
    path = journal.path
    known = read_head(path, key)
    if known is not None and known.point.signer is not None and not signed:
        raise ConfigError("signing key", None, "one: the log is signed, and would be no more")
    content = os.pread(journal.file, MAX_LINE_BYTES, 0)
    if b"\n" in content:
        return _gone_on(journal, key, content, known)
    files = segments.closed(path)
    if files and not content:
        # Killed between closing one file and beginning the next.
        return _after(path, files[-1], key, known, now)
    if known is not None or files:
        problem = f"its head knows record {known.point.seq}" if known else f"{files[-1].name} is there"
        raise DataError(path, f"is empty, but {problem}: records were removed")
    if not (content.startswith(_GENESIS_START) or _GENESIS_START.startswith(content)):
        raise DataError(path, "is not an audit log")
    start = (GENESIS, {"chain": chain, "format": FORMAT, "key": key_id(key)})
    return Standing(chain, 1, now, 0, -1, NO_HASH, 0, (start, *_torn(content)), empty=True)


def _gone_on(journal: Journal, key: bytes | None, content: bytes, known: Head | None) -> Standing:
    path = journal.path
    try:
        start = segments.first_record(journal.file)
    except ValueError as error:
        raise DataError(path, segments.why_not(content, str(error))) from None
    try:
        last, torn = segments.last_record(journal.file, journal.size)
    except ValueError as error:
        raise DataError(path, f"is damaged at its end ({error}); see aimds audit verify") from None
    found = _of(path, start, last, key, known)
    return replace(found, size=journal.size - len(torn), notes=(*_torn(torn), *found.notes))


def _after(path: Path, file: Path, key: bytes | None, known: Head | None, now: datetime) -> Standing:
    found = _of(path, *segments.ends(file), key, known)
    begin = (SEGMENT, opening(found.chain, found.number + 1, key))
    return replace(
        found, number=found.number + 1, began=now, first=found.seq + 1, notes=(begin, *found.notes), empty=True
    )


def _of(path: Path, start: Record, last: Record, key: bytes | None, known: Head | None) -> Standing:
    begun = segments.beginning(start)
    if begun is None:
        raise DataError(path, f"does not begin like an audit log of format {FORMAT}")
    chain, with_key, number = begun
    if with_key != key_id(key):
        expected = f"the key with id {with_key}" if with_key else "no key"
        raise ConfigError("key", f"id {key_id(key)}", f"{expected}, as the log was started with")
    _fits(path, known, chain, last)
    began = datetime.fromisoformat(start.time)
    return Standing(chain, number, began, start.seq, last.seq, last.hash, 0, _unsealed(known, last))


def _fits(path: Path, known: Head | None, chain: str, last: Record) -> None:
    if known is None:
        return
    point = known.point
    if not known.sealed or point.chain != chain:
        raise DataError(head_path(path), "does not belong to this log, or was changed; see aimds audit verify")
    if point.seq > last.seq or (point.seq == last.seq and point.hash != last.hash):
        problem = f"ends at record {last.seq}, but its head knows record {point.seq}: records were removed or replaced"
        raise DataError(path, f"{problem}; see aimds audit verify")


def _unsealed(known: Head | None, last: Record) -> tuple[tuple[str, dict[str, Any]], ...]:
    if known is None:
        return ((RECOVERED, {"head": "missing", "unsealed": [0, last.seq]}),) if last.seq > 0 else ()
    body: dict[str, Any] = {"head": "torn"} if known.torn else {}
    if known.point.seq < last.seq:
        # Killed before it wrote the head, or somebody added records: from here on the head covers them.
        body["unsealed"] = [known.point.seq + 1, last.seq]
    return ((RECOVERED, body),) if body else ()


def _torn(content: bytes) -> tuple[tuple[str, dict[str, Any]], ...]:
    if not content:
        return ()
    return ((RECOVERED, {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}),)
