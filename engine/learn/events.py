"""A folder of signed events, each naming the hash of the one before: who did what, when, and what was judged.

    events/000007.json, .sig   the event and its detached Ed25519 signature; numbered without a gap
    head.json                  number and hash of the newest event, signed, so that cutting off the end shows
    trusted/*.pem              public keys whose signatures count, unless the caller brings others

Everything is checked at every load. The signature is on the disk before its event, the event before the head that names
it, so a writer that dies at any moment leaves a folder that loads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aimds.detect.patterns.keys import PublicKey, SigningKey, load_public
from aimds.detect.patterns.version import NO_HASH, canonical
from aimds.errors import ArtefactError, ConfigError, DataError
from aimds.record import disk

EVENTS, HEAD, TRUSTED = "events", "head.json", "trusted"
EVENT, SEAL = "learn.event", "learn.head"
"""Purposes of signatures: one made for an event is none for a head, nor for a pattern store."""
OPENED = "opened"
PUBLIC, SHARED = 0o644, 0o755
MAX_TEXT = 500
_FIELDS = {"body", "by", "kind", "note", "number", "previous", "time"}

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """``by``: who answers for it; ``time`` ISO 8601, UTC; ``previous``: hash of the event before; ``hash``: its own."""

    number: int
    time: str
    kind: str
    by: str
    note: str
    body: dict[str, Any]
    previous: str
    hash: str


def stamp(folder: Path) -> Stamp | None:
    """What the head of ``folder`` looks like, to see whether it was written since; None where there is none.

    Raises:
        ArtefactError: it cannot be looked at.
    """
    try:
        status = os.stat(folder / HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArtefactError(folder / HEAD, f"cannot be read: {error.strerror}") from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def create(folder: Path, *, key: SigningKey, name: str, now: datetime) -> None:
    """A new folder of events that trusts ``key``; ``name`` is random and tells it from any other.

    Raises:
        DataError: there is one already, or it cannot be written.
    """
    with disk.locked(folder, SHARED):
        if (folder / HEAD).exists():
            raise DataError(folder, "is a state of learning already")
        _put(folder / TRUSTED / f"{key.public.id}.pem", key.public.pem())
        _write(folder, 0, NO_HASH, {"kind": OPENED, "by": "", "note": "", "body": {"name": name}}, key, now)


def load(folder: Path, trusted: Mapping[str, PublicKey] | None = None) -> tuple[Event, ...]:
    """The events in ``folder``, oldest first.

    Args:
        trusted: keys by id whose signatures count, instead of those in the folder. Who may write into the folder may
            also add a key there; bring the keys where that matters.

    Raises:
        ArtefactError: there are none, or one is not signed by a trusted key, changed, missing or out of order.
    """
    if stamp(folder) is None:
        raise ArtefactError(folder, "is no state of learning; aimds learn keygen makes one")
    keys = trusted_keys(folder) if trusted is None else trusted
    # The head first: an event that is written meanwhile is newer than it, never missing.
    head = _signed(folder / HEAD, folder / HEAD, SEAL, keys)
    events: list[Event] = []
    for number, file in enumerate(sorted((folder / EVENTS).glob("*.json"))):
        if file != event_file(folder, number):
            raise ArtefactError(event_file(folder, number), f"event {number} is missing; {file.name} is there")
        fields = _signed(file, file.with_suffix(".sig"), EVENT, keys)
        before = events[-1].hash if events else NO_HASH
        if fields.keys() != _FIELDS or fields["number"] != number or fields["previous"] != before:
            raise ArtefactError(file, f"event {number} does not follow the one before it")
        events.append(Event(**fields, hash=hashlib.sha256(file.read_bytes()).hexdigest()))
    if head["number"] >= len(events):
        raise ArtefactError(folder / EVENTS, f"ends at event {len(events) - 1}, but its head knows {head['number']}")
    if events[head["number"]].hash != head["hash"]:
        raise ArtefactError(event_file(folder, head["number"]), "is not the event that the head knows")
    return tuple(events)


def append(
    folder: Path,
    kind: str,
    make: Callable[[tuple[Event, ...]], dict[str, Any]],
    *,
    key: SigningKey,
    now: datetime,
    by: str = "",
    note: str = "",
    trusted: Mapping[str, PublicKey] | None = None,
) -> Event:
    """One more event, signed by ``key``, whose body ``make`` draws from the events before it; one writer at a time.

    Raises:
        ConfigError: ``key`` is not trusted, or ``by`` or ``note`` is too long.
        ArtefactError: the folder is damaged.
        DataError: it cannot be written.
    """
    for name, text in (("by", by), ("note", note)):
        if len(text) > MAX_TEXT or not text.isprintable():
            raise ConfigError(name, text[:40], f"one line of at most {MAX_TEXT} characters")
    if stamp(folder) is None:
        load(folder)  # which says what is missing
    with disk.locked(folder, SHARED):
        events = load(folder, trusted)
        keys = trusted_keys(folder) if trusted is None else trusted
        if key.public.id not in keys:
            raise ConfigError("key", key.public.id, "a key that the state trusts: " + ", ".join(keys))
        fields = {"kind": kind, "by": by, "note": note, "body": make(events)}
        return _write(folder, len(events), events[-1].hash, fields, key, now)


def trusted_keys(folder: Path) -> dict[str, PublicKey]:
    """Public keys that ``folder`` trusts, by id.

    Raises:
        ArtefactError: there are none, or one is no key.
    """
    try:
        keys = [load_public(file) for file in sorted((folder / TRUSTED).glob("*.pem"))]
    except (ConfigError, DataError) as error:
        raise ArtefactError(folder / TRUSTED, f"holds what is no public key: {error}") from error
    if not keys:
        raise ArtefactError(folder / TRUSTED, "holds no public key")
    return {key.id: key for key in keys}


def event_file(folder: Path, number: int) -> Path:
    """The document of event ``number``."""
    return folder / EVENTS / f"{number:06}.json"


def put(path: Path, content: bytes) -> None:
    """Write ``path`` whole and durably, readable to all: who screens is often another user than who signs.

    Raises:
        DataError: it cannot be written.
    """
    try:
        _put(path, content)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(SHARED, parents=True, exist_ok=True)
    disk.replace(path, content, mode=PUBLIC)
    disk.sync_folder(path.parent)


def _write(folder: Path, number: int, previous: str, fields: dict[str, Any], key: SigningKey, now: datetime) -> Event:
    whole = {
        **fields,
        "number": number,
        "previous": previous,
        "time": now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    content = canonical(whole)
    digest = hashlib.sha256(content).hexdigest()
    file = event_file(folder, number)
    seal = {"hash": digest, "number": number}
    try:
        _put(file.with_suffix(".sig"), canonical(_signature(key, EVENT, content)))
        _put(file, content)
        _put(folder / HEAD, canonical({**seal, **_signature(key, SEAL, canonical(seal))}))
    except OSError as error:
        raise DataError(folder, f"event {number} cannot be written: {error.strerror}") from error
    return Event(**whole, hash=digest)


def _signature(key: SigningKey, purpose: str, content: bytes) -> dict[str, str]:
    return {"key": key.public.id, "signature": key.sign(purpose, content).hex()}


def _signed(file: Path, beside: Path, purpose: str, keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """The fields of ``file``, whose signature stands in ``beside``, or in itself."""
    content, mark = _json(file), _json(beside)
    name, signature = mark.pop("key", None), mark.pop("signature", "")
    signed = canonical(mark) if beside == file else file.read_bytes()
    if name not in keys:
        raise ArtefactError(beside, f"is signed by key {name}, which is not trusted; there is {', '.join(keys)}")
    try:
        raw = bytes.fromhex(signature)
    except (ValueError, TypeError):
        raw = b""
    if not keys[name].signed(purpose, signed, raw):
        raise ArtefactError(file, "its signature is wrong: it was changed, or signed by another key")
    return mark if beside == file else content


def _json(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise ArtefactError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise ArtefactError(file, "is not JSON") from None
    if not isinstance(fields, dict):
        raise ArtefactError(file, "is not what it should be")
    return fields
