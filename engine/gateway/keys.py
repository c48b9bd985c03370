"""API keys: 256 random bits that only their owner has; the file holds SHA-256 of them, which says nothing of the key.

No slow hash is needed: there is nothing to guess in 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aimds.errors import ConfigError, DataError
from aimds.gateway.identity import ROLES, Identity
from aimds.gateway.problem import Problem
from aimds.ids import MAX_ID_BYTES, short
from aimds.record import disk
from aimds.respond.settings import Section

PREFIX = "aimds_"
ANY_TENANT = "*"
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the file: ``ident`` is the public part of the key, ``digest`` SHA-256 of the secret part, in hex."""

    ident: str
    digest: str
    name: str
    tenant: str
    roles: tuple[str, ...]
    expires: datetime | None = None
    rate: float | None = None

    def identity(self) -> Identity:
        """The identity it stands for."""
        tenant = None if self.tenant == ANY_TENANT else self.tenant
        return Identity(self.name, tenant, frozenset(self.roles), "key", self.rate)


def new(name: str, tenant: str, roles: tuple[str, ...], expires: datetime | None = None) -> tuple[str, Entry]:
    """A new key, shown once, and its entry."""
    ident, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return f"{PREFIX}{ident}.{secret}", Entry(ident, _digest(secret), name, tenant, roles, expires)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Keys:
    """The keys of a file."""

    def __init__(self, entries: tuple[Entry, ...] = ()) -> None:
        self._entries = {entry.ident: (entry, entry.identity()) for entry in entries}

    @classmethod
    def load(cls, path: Path) -> Keys:
        """The keys in the TOML file ``path``.

        Raises:
            DataError: it cannot be read.
            ConfigError: an entry is not right; names the place.
        """
        return cls(read(path))

    def identity(self, key: str, now: datetime) -> Identity:
        """Whom ``key`` belongs to.

        Raises:
            Problem: ``unauthenticated``; does not tell an unknown key from a wrong one.
        """
        ident, _, secret = key.removeprefix(PREFIX).partition(".")
        entry, identity = self._entries.get(ident, (None, None))
        matches = hmac.compare_digest(_digest(secret), entry.digest if entry else _NO_DIGEST)
        if entry is None or identity is None or not matches:
            raise Problem("unauthenticated", "the API key is not known")
        if entry.expires is not None and entry.expires <= now:
            raise Problem("unauthenticated", "the API key has expired")
        return identity


def read(path: Path) -> tuple[Entry, ...]:
    """The entries in ``path``.

    Raises:
        DataError, ConfigError: as `Keys.load`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    return _entries(path, content)


def _entries(path: Path, raw: bytes) -> tuple[Entry, ...]:
    try:
        content = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(path, f"is no TOML file: {error}") from None
    top = Section(content, "")
    listed = content.get("keys", [])
    if not isinstance(listed, list):
        raise ConfigError("keys", listed, "a list of tables")
    top.has("keys")
    top.end()
    entries = tuple(_entry(Section(item, f"keys[{i}]")) for i, item in enumerate(listed))
    if len({entry.ident for entry in entries}) != len(entries):
        raise ConfigError("keys", str(path), "ids that are all different")
    return entries


def _entry(section: Section) -> Entry:
    digest = section.text("sha256").lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ConfigError(section.key("sha256"), digest, "64 hex digits")
    expires = section.values.get("expires") if section.has("expires") else None
    if expires is not None and not isinstance(expires, datetime):
        raise ConfigError(section.key("expires"), expires, "a date with a time")
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    rate = section.number("rate", 0.0, 1e9) if section.has("rate") else None
    entry = Entry(
        section.text("id"),
        digest,
        section.text("name"),
        tenant_of(section),
        section.names("roles", ROLES),
        expires,
        rate,
    )
    section.end()
    return entry


def tenant_of(section: Section) -> str:
    """The tenant that ``section`` names.

    Raises:
        ConfigError: it is missing, or too long to stand in a verdict.
    """
    tenant = section.text("tenant")
    if short(tenant) != tenant:
        raise ConfigError(section.key("tenant"), tenant[:40], f"up to {MAX_ID_BYTES} bytes")
    return tenant


def append(path: Path, entry: Entry) -> None:
    """Add ``entry`` to the file, which holds the old or the new content at any moment.

    Raises:
        DataError, ConfigError: as `Keys.load`, also of what ``entry`` would make of the file, or it cannot be written.
    """
    before = b""
    if path.exists():
        read(path)
        before = path.read_bytes().rstrip() + b"\n\n"
    lines = ["[[keys]]", f'id = "{entry.ident}"', f'sha256 = "{entry.digest}"']
    lines += [f"name = {json.dumps(entry.name)}", f"tenant = {json.dumps(entry.tenant)}"]
    lines += [f"roles = {json.dumps(list(entry.roles))}"]
    if entry.expires is not None:
        lines.append(f"expires = {entry.expires.isoformat()}")
    content = before + "\n".join(lines).encode() + b"\n"
    # One entry that cannot be read would take all keys of the file with it.
    _entries(path, content)
    try:
        disk.replace(path, content)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror or error}") from error
