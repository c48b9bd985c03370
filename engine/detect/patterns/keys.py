"""Ed25519 keys (RFC 8032) that sign a pattern store, as PEM files: PKCS #8 for the secret, SubjectPublicKeyInfo for the
public half, so that `openssl genpkey -algorithm ed25519` makes them too.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from aimds.errors import ConfigError, DataError
from aimds.record import disk

SIGNATURE_BYTES = 64
_EXPECTED = "a PEM file with an Ed25519 {} key; aimds patterns keygen makes one"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 raw bytes; ``id`` is a short name of them."""

    raw: bytes

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def signed(self, purpose: str, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is that of this key under ``content``, made for ``purpose``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _message(purpose, content))
        except (InvalidSignature, ValueError):
            return False
        return True

    def pem(self) -> bytes:
        """The content of its file."""
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """32 secret bytes and the public key that belongs to them."""

    secret: bytes = field(repr=False)
    public: PublicKey

    @classmethod
    def of(cls, secret: bytes) -> SigningKey:
        """The key of 32 ``secret`` bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        public = Ed25519PrivateKey.from_private_bytes(secret).public_key()
        return cls(secret, PublicKey(public.public_bytes_raw()))

    def sign(self, purpose: str, content: bytes) -> bytes:
        """The signature, 64 bytes; one made for another ``purpose`` differs."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(_message(purpose, content))


def _message(purpose: str, content: bytes) -> bytes:
    return f"aimds.patterns.{purpose}\0".encode() + content


def create(path: Path, secret: bytes) -> SigningKey:
    """The key of 32 random ``secret`` bytes, written to ``path``, which must not exist; only its owner may read it.

    Raises:
        DataError: the file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(secret)
    content = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            disk.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error
    return SigningKey.of(secret)


def load(path: Path, *, made_by: str | None = None) -> SigningKey:
    """The secret key in the file ``path``.

    Args:
        made_by: the command that makes such a file, to be named where there is none.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key, or one that a passphrase locks; with ``made_by``, there is no file.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if made_by is not None and not path.exists():
        raise ConfigError("key", str(path), f"a file with the secret key; {made_by} makes one")
    try:
        key = load_pem_private_key(_content(path), None)
    except (ValueError, TypeError) as error:
        raise ConfigError("key", str(path), _EXPECTED.format("secret")) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("key", str(path), _EXPECTED.format("secret"))
    return SigningKey.of(key.private_bytes_raw())


def load_public(path: Path) -> PublicKey:
    """The public key in the file ``path``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("trusted key", str(path), _EXPECTED.format("public")) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("trusted key", str(path), _EXPECTED.format("public"))
    return PublicKey(key.public_bytes_raw())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
