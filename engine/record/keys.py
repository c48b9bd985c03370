"""Keys of an audit log: one that digests and seals, a pair that signs, of which an auditor has the public half only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from aimds.errors import ConfigError, DataError
from aimds.record import pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


def mac(key: bytes, purpose: str, content: bytes) -> str:
    """HMAC-SHA256 of ``content`` in hex; the same key gives unrelated values for different purposes."""
    return hmac.new(key, f"aimds.audit.{purpose}\0".encode() + content, hashlib.sha256).hexdigest()


def key_id(key: bytes | None) -> str | None:
    """A short name of ``key`` that tells nothing about it."""
    return None if key is None else mac(key, "key-id", b"")[:16]


def load_key(path: Path) -> bytes:
    """The key in the file ``path``: hexadecimal, at least 32 bytes.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it does not hold such a key.
    """
    try:
        text = path.read_text("ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError("key", str(path), f"a file with at least {KEY_BYTES} bytes in hexadecimal")
    return key


def create_key(path: Path) -> bytes:
    """A new random key, written to ``path``, which must not exist and which only its owner may read.

    Raises:
        DataError: the file exists or cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    pem.create(path, key.hex().encode() + b"\n", 0o600)
    return key


def public_path(path: Path) -> Path:
    """Where the public half of the signing key ``path`` lies."""
    return path.with_name(path.name + ".pub")


def create_signing_key(path: Path) -> Path:
    """A new Ed25519 key (RFC 8032) in PEM, for its owner only; its public half, whose path is given, is for everybody.

    Raises:
        DataError: one of the files exists or cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = public_path(path)
    if public.exists():
        raise DataError(public, "exists already")
    pair = Ed25519PrivateKey.generate()
    pem.create(path, pem.secret_pem(pair), 0o600)
    pem.create(public, pem.public_pem(pair.public_key()), 0o644)
    return public


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in the file ``path``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no Ed25519 private key, or one under a passphrase.
    """
    return pem.secret(path, "signing key", "an Ed25519 private key in PEM; aimds audit signing-key makes one")


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in the file ``path``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no Ed25519 public key.
    """
    return pem.public(path, "public key", "an Ed25519 public key in PEM, the .pub beside the signing key")


def signer_id(public: Ed25519PublicKey) -> str:
    """A short name of a public key: the start of its SHA-256."""
    return pem.short_name(public.public_bytes_raw())
