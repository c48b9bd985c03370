"""Ed25519 keys (RFC 8032) that sign a pattern store, in the files of `aimds.record.pem`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aimds.errors import ConfigError, DataError
from aimds.record import pem

SIGNATURE_BYTES = 64
_EXPECTED = "a PEM file with an Ed25519 {} key; aimds patterns keygen makes one"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 raw bytes; ``id`` is a short name of them."""

    raw: bytes

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256."""
        return pem.short_name(self.raw)

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
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return pem.public_pem(Ed25519PublicKey.from_public_bytes(self.raw))


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
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error
    pem.create(path, pem.secret_pem(Ed25519PrivateKey.from_private_bytes(secret)), 0o600)
    return SigningKey.of(secret)


def load(path: Path, *, made_by: str | None = None) -> SigningKey:
    """The secret key in the file ``path``.

    Args:
        made_by: the command that makes such a file, to be named where there is none.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key, or one that a passphrase locks; with ``made_by``, there is no file.
    """
    if made_by is not None and not path.exists():
        raise ConfigError("key", str(path), f"a file with the secret key; {made_by} makes one")
    return SigningKey.of(pem.secret(path, "key", _EXPECTED.format("secret")).private_bytes_raw())


def load_public(path: Path) -> PublicKey:
    """The public key in the file ``path``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key.
    """
    return PublicKey(pem.public(path, "trusted key", _EXPECTED.format("public")).public_bytes_raw())
