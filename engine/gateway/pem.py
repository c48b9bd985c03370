"""Certificates and keys in PEM files, looked at before a TLS library is given them: it says little of what is wrong."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aimds.errors import DataError

if TYPE_CHECKING:
    from cryptography import x509

_BEGINS: Final = b"-----BEGIN "
_TRUSTED: Final = b"-----BEGIN TRUSTED CERTIFICATE-----"
"""Begins what OpenSSL writes for a certificate with settings of its own behind it; other libraries do not read it."""


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in ``path``, at least one.

    Raises:
        DataError: there is none that can be read; says what stands there instead.
    """
    from cryptography import x509

    content = _content(path)
    if b"CERTIFICATE-----" not in content:
        raise DataError(path, _instead(content, "a certificate"))
    if _TRUSTED in content:
        raise DataError(
            path,
            "holds a TRUSTED CERTIFICATE, a form of OpenSSL's own; it has to be a plain one: "
            f"openssl x509 -in {shlex.quote(path.name)} -out plain.pem",
        )
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise DataError(path, "holds a certificate that is damaged") from None


def pair(certificate: Path, key: Path) -> None:
    """Find out whether ``key`` holds the private key of the first certificate in ``certificate``. Keys of a kind that
    only a TLS library may know are left to it.

    Raises:
        DataError: one of them cannot be read, the key is locked, or it is of another certificate.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    leaf, content = certificates(certificate)[0], _content(key)
    if b"PRIVATE KEY-----" not in content:
        raise DataError(key, _instead(content, "a private key"))
    try:
        found, public = load_pem_private_key(content, None), leaf.public_key()
    except UnsupportedAlgorithm:
        return
    except TypeError:
        raise DataError(key, "holds a private key that is locked with a password; it has to be one without") from None
    except ValueError:
        raise DataError(key, "holds a private key that is damaged") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if found.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise DataError(key, f"holds the private key of another certificate than {certificate}")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def _instead(content: bytes, wanted: str) -> str:
    if not content.strip():
        return f"is empty; it has to hold {wanted} in PEM"
    if _BEGINS not in content:
        return f"is no PEM file; it has to hold {wanted} in PEM"
    return f"holds something else than {wanted}"
