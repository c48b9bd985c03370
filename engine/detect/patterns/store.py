"""A pattern store: a folder of signed versions, each a change to the shipped bank, taken up while batches run.

    versions/000007.json, .sig   the change and its detached Ed25519 signature; numbered without a gap
    head.json                    number and hash of the newest version, signed, so that cutting off the end shows
    trusted/*.pem                public keys whose signatures count, unless the caller brings others

Everything is checked at every load; a version that is unsigned, changed, missing or out of order is refused with its
file and number. `aimds.detect.patterns.ledger` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aimds.detect.patterns import Bank
from aimds.detect.patterns.keys import PublicKey, load_public
from aimds.detect.patterns.version import NO_HASH, State, Version, canonical, decode
from aimds.errors import ArtefactError, ConfigError, DataError

VERSIONS, HEAD, TRUSTED = "versions", "head.json", "trusted"
VERSION, CHECKPOINT = "version", "head"
"""Purposes of signatures: one made for a version is none for a head."""
FOLDER = "patterns"
_HEAD_FIELDS = {"hash", "key", "number", "signature"}
_SIGNATURE_FIELDS = {"key", "signature"}

Stamp = tuple[int, int, int]


def home(environ: Mapping[str, str]) -> Path:
    """The user's data folder by ``environ``: AIMDS_HOME, else aimds in XDG_DATA_HOME, else ~/.local/share/aimds."""
    if environ.get("AIMDS_HOME"):
        return Path(environ["AIMDS_HOME"])
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "aimds"
    return Path.home() / ".local" / "share" / "aimds"


@dataclass(frozen=True, slots=True)
class PatternStore:
    """The versions in ``folder`` as they were when it was loaded; immutable, so that a batch sees one version.

    ``states``: the state at each version. ``pinned``: whether the caller brought the ``trusted`` keys, by id.
    ``stamp``: what the head file looked like, for `changed`.
    """

    folder: Path
    versions: tuple[Version, ...]
    states: tuple[State, ...]
    trusted: Mapping[str, PublicKey]
    pinned: bool
    stamp: Stamp

    @classmethod
    def load(cls, folder: Path, *, trusted: Mapping[str, PublicKey] | None = None) -> PatternStore:
        """The store in ``folder``.

        Args:
            trusted: keys by id whose signatures count, instead of those in the folder. Who may write into the folder
                may also add a key there; bring the keys where that matters.

        Raises:
            ArtefactError: no store, a file in ``trusted`` that is no key, or a version that is not signed by a trusted
                key, changed, missing or out of order; file and version are named.
        """
        stamp = _stamp(folder)
        if stamp is None:
            raise ArtefactError(folder, "is no pattern store; aimds patterns keygen makes one")
        keys = _trusted(folder) if trusted is None else dict(trusted)
        # The head first: a version that is written meanwhile is newer than it, never missing.
        head_number, head_hash = _head(folder / HEAD, keys)
        files = sorted((folder / VERSIONS).glob("*.json"))
        versions: list[Version] = []
        states: list[State] = []
        for number, file in enumerate(files):
            if file.name != version_file(folder, number).name:
                raise ArtefactError(version_file(folder, number), f"version {number} is missing; {file.name} is there")
            version = _version(file, number, keys)
            _check_place(file, version, versions)
            versions.append(version)
            states.append(_state(file, version, states))
        if head_number >= len(versions):
            problem = f"ends at version {len(versions) - 1}, but its head knows version {head_number}"
            raise ArtefactError(folder / VERSIONS, f"{problem}: versions were removed")
        if versions[head_number].hash != head_hash:
            file = version_file(folder, head_number)
            raise ArtefactError(file, f"version {head_number} is not the one that the head knows")
        return cls(folder, tuple(versions), tuple(states), keys, trusted is not None, stamp)

    @property
    def number(self) -> int:
        """Number of the newest version; 0 is the empty store."""
        return self.versions[-1].number

    @property
    def version(self) -> str:
        """Number and the beginning of the hash of the newest version."""
        return self.versions[-1].name

    @property
    def state(self) -> State:
        """The state at the newest version."""
        return self.states[-1]

    def bank(self, base: Bank) -> Bank:
        """``base`` with the store's patterns in, its removed ids out and its thresholds set; ``base`` if all is empty.

        The store wins: its pattern stands in for a pattern of ``base`` with the same id. Ids that ``base`` lacks, as
        after an upgrade, are passed over.

        Raises:
            ArtefactError: a pattern of the store has too few words that count in the lexicon of ``base``.
        """
        try:
            return applied(self.state, base)
        except ConfigError as error:
            raise ArtefactError(self.folder, f"version {self.number} cannot be applied: {error}") from error

    def changed(self) -> bool:
        """Whether the store has been written since it was loaded; costs one stat.

        Raises:
            ArtefactError: its head cannot be looked at.
        """
        return _stamp(self.folder) != self.stamp

    def reload(self) -> PatternStore:
        """The store as it is now.

        Raises:
            ArtefactError: as `load`, or the versions known so far are not all there any more.
        """
        now = PatternStore.load(self.folder, trusted=self.trusted if self.pinned else None)
        for old, new in zip(self.versions, now.versions, strict=False):
            if old.hash != new.hash:
                file = version_file(self.folder, old.number)
                raise ArtefactError(file, f"version {old.number} is another than the one in use; versions never change")
        if now.number < self.number:
            raise ArtefactError(self.folder, f"went back from version {self.number} to {now.number}")
        return now


def applied(state: State, base: Bank) -> Bank:
    """``base`` with the patterns of ``state`` in, its removed ids out and its thresholds set.

    Raises:
        ConfigError: a pattern has too few words that count in the lexicon of ``base``, or none would be left.
    """
    known = {pattern.id for pattern in base.patterns}
    added = [state.added[name].pattern for name in sorted(state.added)]
    gone = (state.removed | state.added.keys()) & known
    if not added and gone == known:
        raise ConfigError("removed", f"all {len(gone)} patterns", "one pattern to stay; thresholds of 0 turn them off")
    bank = base
    if added or gone:
        limits = {name: limit for name, limit in state.limits.items() if name in state.added}
        bank = base.with_patterns(added, gone, limits=limits)
    if state.limits.keys() & (known - state.added.keys()):
        values = [
            state.limits.get(pattern.id, limit)
            for pattern, limit in zip(bank.patterns, bank.limits.tolist(), strict=True)
        ]
        bank = replace(bank, limits=np.array(values, np.float32))
    return bank


def version_file(folder: Path, number: int) -> Path:
    """The document of version ``number``."""
    return folder / VERSIONS / f"{number:06}.json"


def signature_file(document: Path) -> Path:
    """The detached signature beside ``document``."""
    return document.with_suffix(".sig")


def head_content(number: int, digest: str) -> bytes:
    """What the signature of a head covers."""
    return canonical({"hash": digest, "number": number})


def _stamp(folder: Path) -> Stamp | None:
    try:
        status = os.stat(folder / HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArtefactError(folder / HEAD, f"the head cannot be read: {error.strerror}") from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _trusted(folder: Path) -> dict[str, PublicKey]:
    keys = [_public(file) for file in sorted((folder / TRUSTED).glob("*.pem"))]
    if not keys:
        raise ArtefactError(folder / TRUSTED, "holds no public key; put one there with aimds patterns trust")
    return {key.id: key for key in keys}


def _public(file: Path) -> PublicKey:
    try:
        return load_public(file)
    except ConfigError as error:
        raise ArtefactError(file, f"is no trusted key: expected {error.expected}") from error
    except DataError as error:
        raise ArtefactError(file, error.problem) from error


def _version(file: Path, number: int, keys: Mapping[str, PublicKey]) -> Version:
    content = _read(file, f"version {number}")
    beside = signature_file(file)
    if not beside.exists():
        raise ArtefactError(file, f"version {number} is not signed; {beside.name} is missing")
    fields = _fields(beside, _read(beside, f"the signature of version {number}"), _SIGNATURE_FIELDS)
    _check_signature(beside, f"version {number}", VERSION, content, fields, keys)
    try:
        return decode(content)
    except ValueError as error:
        raise ArtefactError(file, f"version {number} {error}") from None


def _check_place(file: Path, version: Version, before: list[Version]) -> None:
    number = len(before)
    if version.number != number:
        raise ArtefactError(file, f"holds version {version.number}, expected version {number}: versions were reordered")
    if version.previous != (before[-1].hash if before else NO_HASH):
        raise ArtefactError(file, f"version {number} does not follow the version before it")
    if before and version.store != before[0].store:
        raise ArtefactError(file, f"version {number} belongs to another store")


def _state(file: Path, version: Version, states: list[State]) -> State:
    change = version.change
    before = states[-1] if states else State()
    if change.restores is not None:
        if not 0 <= change.restores < len(states):
            raise ArtefactError(file, f"version {version.number} goes back to version {change.restores}")
        before = states[change.restores]
    return before.after(change)


def _head(file: Path, keys: Mapping[str, PublicKey]) -> tuple[int, str]:
    fields = _fields(file, _read(file, "the head"), _HEAD_FIELDS)
    number, digest = fields["number"], fields["hash"]
    if type(number) is not int or not 0 <= number < 1_000_000 or not isinstance(digest, str):
        raise ArtefactError(file, "is no head of a pattern store")
    _check_signature(file, "the head", CHECKPOINT, head_content(number, digest), fields, keys)
    return number, digest


def _check_signature(
    file: Path,
    what: str,
    purpose: str,
    content: bytes,
    fields: Mapping[str, object],
    keys: Mapping[str, PublicKey],
) -> None:
    name, text = fields["key"], fields["signature"]
    key = keys.get(name) if isinstance(name, str) else None
    if key is None:
        raise ArtefactError(file, f"{what} is signed by key {name}, which is not trusted; there is {', '.join(keys)}")
    try:
        signature = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        signature = b""
    if not key.signed(purpose, content, signature):
        raise ArtefactError(file, f"the signature of {what} is wrong: it was changed, or signed by another key")


def _fields(file: Path, content: bytes, names: set[str]) -> dict[str, object]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise ArtefactError(file, "is not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != names:
        raise ArtefactError(file, f"expected the fields {', '.join(sorted(names))}")
    return fields


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtefactError(file, f"{what} cannot be read: {error.strerror}") from error
