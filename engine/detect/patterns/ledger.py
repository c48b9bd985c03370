"""Writing a pattern store: versions are only ever added, one writer at a time, whole or not at all.

The signature is on the disk before its document, the document before the head that names it, so a writer that dies at
any moment leaves a store that loads: with the new version or without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from aimds.detect.patterns import Bank
from aimds.detect.patterns.keys import PublicKey, SigningKey
from aimds.detect.patterns.pattern_file import check
from aimds.detect.patterns.store import (
    CHECKPOINT,
    HEAD,
    TRUSTED,
    VERSION,
    PatternStore,
    applied,
    head_content,
    signature_file,
    version_file,
)
from aimds.detect.patterns.version import MAX_LIMIT, NO_HASH, Change, State, Version, canonical, decode, encode
from aimds.errors import ConfigError, DataError
from aimds.record import disk

MAX_NOTE = 500
PUBLIC, SHARED = 0o644, 0o755


def create(folder: Path, *, key: SigningKey, name: str, now: datetime) -> PatternStore:
    """A new, empty store in ``folder``, which trusts ``key``.

    Args:
        name: what tells this store from any other; random.

    Raises:
        DataError: there is a store already, or it cannot be written.
    """
    with disk.locked(folder, SHARED):
        if (folder / HEAD).exists():
            raise DataError(folder, "is a pattern store already")
        _trust(folder, key.public)
        _write(folder, Version(0, name, _text(now), "", "", NO_HASH, Change(), ""), key)
    return PatternStore.load(folder)


def trust(folder: Path, key: PublicKey) -> None:
    """Let signatures of ``key`` count in the store in ``folder``.

    Raises:
        DataError: there is no store, or it cannot be written.
    """
    if not (folder / HEAD).exists():
        raise DataError(folder, "is no pattern store; aimds patterns keygen makes one")
    with disk.locked(folder, SHARED):
        _trust(folder, key)


def append(
    folder: Path,
    change: Change,
    base: Bank,
    *,
    key: SigningKey,
    now: datetime,
    author: str = "",
    note: str = "",
    trusted: Mapping[str, PublicKey] | None = None,
) -> PatternStore:
    """The store in ``folder`` with one more version, signed by ``key``; it waits while another writer is at work.

    Args:
        change: what the version does.
        base: the bank that the store is laid over; it says which ids and words there are.
        trusted: as for `PatternStore.load`.

    Raises:
        ConfigError: the change does not fit: an id that is taken or unknown, a pattern that the bank would refuse, a
            threshold out of range, nothing to do; or ``key`` is not trusted.
        ArtefactError: the store is damaged.
        DataError: it cannot be written.
    """
    for name, text in (("author", author), ("note", note)):
        if len(text) > MAX_NOTE:
            raise ConfigError(name, text[:40] + "…", f"at most {MAX_NOTE} characters")
    if not (folder / HEAD).exists():
        return PatternStore.load(folder)  # which says what is missing
    with disk.locked(folder, SHARED):
        store = PatternStore.load(folder, trusted=trusted)
        if key.public.id not in store.trusted:
            raise ConfigError("key", key.public.id, "a key that the store trusts: " + ", ".join(store.trusted))
        before = store.state
        if change.restores is not None:
            if not 0 <= change.restores < len(store.versions):
                raise ConfigError("rollback", change.restores, f"a version from 0 to {store.number}")
            before = store.states[change.restores]
        _check(change, before, base)
        change = replace(change, limits={name: float(limit) for name, limit in change.limits.items()})
        last = store.versions[-1]
        version = Version(store.number + 1, last.store, _text(now), author, note, last.hash, change, "")
        # A version that cannot be read again, or that no screener could apply, is never written.
        try:
            decode(encode(version))
        except ValueError as error:
            raise ConfigError("change", version.name, f"a version that can be read again; this one {error}") from error
        applied(before.after(change), base)
        _write(folder, version, key)
    return PatternStore.load(folder, trusted=trusted)


def _check(change: Change, before: State, base: Bank) -> None:
    if change == Change():
        raise ConfigError("change", "nothing", "patterns to add or remove, thresholds, or a version to go back to")
    there = before.added.keys() | ({pattern.id for pattern in base.patterns} - before.removed)
    unknown = sorted(set(change.removed) - there)
    if unknown:
        raise ConfigError("removed", unknown, "ids of patterns in the bank; aimds patterns list shows them")
    taken = there - set(change.removed)
    for entry in change.added:
        pattern = entry.pattern
        problem = check(pattern) or ("an id that is not taken" if pattern.id in taken else "")
        if not pattern.id or " " in pattern.id or not pattern.id.isprintable():
            problem = "an id without spaces"
        if any("\ud800" <= letter <= "\udfff" for letter in pattern.text):
            problem = "a text that is valid Unicode"
        if problem:
            raise ConfigError(f"pattern {pattern.id}", pattern.text, problem)
        taken = taken | {pattern.id}
    for name, limit in change.limits.items():
        if name not in taken:
            raise ConfigError("threshold", name, "the id of a pattern in the bank")
        if not 0 <= limit <= MAX_LIMIT:
            raise ConfigError(f"threshold of {name}", limit, f"a number in [0, {MAX_LIMIT}]; 0 turns the pattern off")


def _write(folder: Path, version: Version, key: SigningKey) -> None:
    content = encode(version)
    digest = hashlib.sha256(content).hexdigest()
    document = version_file(folder, version.number)
    signature = key.sign(VERSION, content).hex()
    seal = key.sign(CHECKPOINT, head_content(version.number, digest)).hex()
    head = {"hash": digest, "key": key.public.id, "number": version.number, "signature": seal}
    try:
        document.parent.mkdir(SHARED, exist_ok=True)
        _put(signature_file(document), canonical({"key": key.public.id, "signature": signature}))
        _put(document, content)
        _put(folder / HEAD, canonical(head))
    except OSError as error:
        raise DataError(folder, f"version {version.number} cannot be written: {error.strerror}") from error


def _trust(folder: Path, key: PublicKey) -> None:
    file = folder / TRUSTED / f"{key.id}.pem"
    try:
        file.parent.mkdir(SHARED, exist_ok=True)
        _put(file, key.pem())
    except OSError as error:
        raise DataError(file, f"cannot be written: {error.strerror}") from error


def _put(path: Path, content: bytes) -> None:
    # Readable to all: who screens is often another user than who signs.
    disk.replace(path, content, mode=PUBLIC)
    disk.sync_folder(path.parent)


def _text(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds")
