"""Ed25519 keys (RFC 8032) in PEM files: PKCS #8 for the secret, SubjectPublicKeyInfo for the public half, so that
`openssl genpkey -algorithm ed25519` makes them too.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aimds.errors import ConfigError, DataError
from aimds.record import disk

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def short_name(raw: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the 32 ``raw`` bytes of a public key."""
    return hashlib.sha256(raw).hexdigest()[:16]


def secret_pem(key: Ed25519PrivateKey) -> bytes:
    """The content of the file of a secret key."""
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The content of the file of a public key."""
    from cryptography.hazmat.primitives import serialization as form

    return key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def secret(path: Path, name: str, expected: str) -> Ed25519PrivateKey:
    """The secret key in the file ``path``, which errors call ``name``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key, or one that a passphrase locks.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(path)
    try:
        found = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(name, str(path), expected) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ConfigError(name, str(path), expected)
    return found


def public(path: Path, name: str, expected: str) -> Ed25519PublicKey:
    """The public key in the file ``path``, which errors call ``name``.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it holds no such key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _content(path)
    try:
        found = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(name, str(path), expected) from error
    if not isinstance(found, Ed25519PublicKey):
        raise ConfigError(name, str(path), expected)
    return found


def create(path: Path, content: bytes, mode: int) -> None:
    """Write ``content`` to ``path``, which must not exist, with the access rights ``mode``, durably.

    Raises:
        DataError: the file exists or cannot be written.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(file, mode)
            disk.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
