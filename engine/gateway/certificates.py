"""X.509 for the gateway: a development CA, and client chains verified by us whatever the TLS library thinks."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from aimds.errors import ConfigError, DataError
from aimds.gateway.problem import Problem
from aimds.record import disk

MOST_CHAIN = 8
MOST_CACHED = 4096
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


def authority(name: str, now: datetime.datetime, days: int = 825) -> Issued:
    """A new CA, for development: its key lies on the disk as it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(made, key)


def issue(
    ca: Issued, name: str, names: Iterable[str], now: datetime.datetime, *, client: bool = False, days: int = 397
) -> Issued:
    """A certificate of ``ca`` for ``names``: DNS names or IP addresses of a server, or of a client with ``client``.

    Raises:
        ConfigError: ``ca`` cannot be read, or no names.
    """
    alternatives = [_alternative(one) for one in names]
    if not alternatives:
        raise ConfigError("names", "", "at least one name")
    try:
        issuer = x509.load_pem_x509_certificate(ca.certificate)
        signer = serialization.load_pem_private_key(ca.key, None)
    except (ValueError, TypeError) as error:
        raise ConfigError("ca", "PEM", f"a certificate and its key without a password: {error}") from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ConfigError("ca", type(signer).__name__, "an EC key, as aimds certs makes it")
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        _builder(subject, issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pem(made, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    # A day back, since clocks differ.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(made.public_bytes(serialization.Encoding.PEM), raw)


def write(folder: Path, stem: str, issued: Issued) -> tuple[Path, Path]:
    """Write ``stem``.pem, for all to read, and ``stem``.key, for the owner alone, into ``folder``; none is replaced.

    Raises:
        DataError: one of them is there, or cannot be written.
    """
    paths = folder / f"{stem}.pem", folder / f"{stem}.key"
    for path in paths:
        if path.exists():
            raise DataError(path, "is there already; remove it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk.replace(paths[0], issued.certificate, mode=0o644)
        disk.replace(paths[1], issued.key)
    except OSError as error:
        raise DataError(folder, f"cannot be written: {error.strerror or error}") from error
    return paths


class Chains:
    """Verifies client certificates against the CAs in a PEM file; no other trust is used.

    Args:
        authorities: PEM with one CA certificate or more.

    Raises:
        ConfigError: there is none in it.
    """

    def __init__(self, authorities: bytes) -> None:
        try:
            found = x509.load_pem_x509_certificates(authorities)
        except ValueError as error:
            raise ConfigError("client_ca", "PEM", f"certificates: {error}") from None
        self._store = Store(found)
        self._verified: dict[bytes, tuple[tuple[str, ...], datetime.datetime, datetime.datetime]] = {}

    def names(self, chain: Sequence[bytes], now: datetime.datetime) -> tuple[str, ...]:
        """The subject's alternative names, of a ``chain`` in DER, leaf first, that is valid for a client at ``now``.

        Raises:
            Problem: ``unauthenticated``: no certificate, or none that leads to our CA now.
        """
        if not chain:
            raise Problem("unauthenticated", "the client showed no certificate")
        if len(chain) > MOST_CHAIN:
            raise Problem("unauthenticated", f"the client showed {len(chain)} certificates")
        digest = hashlib.sha256(b"".join(chain)).digest()
        known = self._verified.get(digest)
        if known is None or not known[1] <= now <= known[2]:
            known = self._verify(chain, now)
            if len(self._verified) >= MOST_CACHED:
                self._verified.clear()
            self._verified[digest] = known
        return known[0]

    def _verify(
        self, chain: Sequence[bytes], now: datetime.datetime
    ) -> tuple[tuple[str, ...], datetime.datetime, datetime.datetime]:
        try:
            certificates = [x509.load_der_x509_certificate(one) for one in chain]
            verifier = PolicyBuilder().store(self._store).time(now).build_client_verifier()
            verified = verifier.verify(certificates[0], certificates[1:])
        except (VerificationError, ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
            reason = " ".join(str(error).split())[:200]
            raise Problem("unauthenticated", f"the client's certificate is not valid: {reason}") from None
        names = tuple(
            str(one.value)
            for one in verified.subjects or ()
            if isinstance(one, (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier))
        )
        path = verified.chain
        start = max(one.not_valid_before_utc for one in path)
        return names, start, min(one.not_valid_after_utc for one in path)
