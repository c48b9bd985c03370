from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from aimds.errors import DataError
from aimds.gateway import pem
from aimds.gateway.certificates import authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, OTHER = authority("one", NOW), authority("other", NOW)
CUT = b"\n".join(line for k, line in enumerate(ONE.certificate.split(b"\n")) if k != 3)
TRUSTED = ONE.certificate.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
LOCKED = load_pem_private_key(ONE.key, None).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
)


@pytest.mark.parametrize(
    ("certificate", "key", "file", "said"),
    [
        (b"", ONE.key, "server.pem", "is empty; it has to hold a certificate in PEM"),
        (b"\x00\xff nothing", ONE.key, "server.pem", "is no PEM file; it has to hold a certificate"),
        (ONE.key, ONE.key, "server.pem", "holds something else than a certificate"),
        (CUT, ONE.key, "server.pem", "holds a certificate that is damaged"),
        (TRUSTED, ONE.key, "server.pem", "a plain one: openssl x509 -in server.pem -out plain.pem"),
        (ONE.certificate + TRUSTED, ONE.key, "server.pem", "holds a TRUSTED CERTIFICATE"),
        (ONE.certificate, b" \n", "server.key", "is empty; it has to hold a private key in PEM"),
        (ONE.certificate, ONE.certificate, "server.key", "holds something else than a private key"),
        (ONE.certificate, ONE.key[:60] + ONE.key[70:], "server.key", "holds a private key that is damaged"),
        (ONE.certificate, LOCKED, "server.key", "locked with a password"),
        (ONE.certificate, OTHER.key, "server.key", "the private key of another certificate than"),
        (None, ONE.key, "server.pem", "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong_in_it(
    tmp_path: Path, certificate: bytes | None, key: bytes, file: str, said: str
) -> None:
    if certificate is not None:
        (tmp_path / "server.pem").write_bytes(certificate)
    (tmp_path / "server.key").write_bytes(key)
    with pytest.raises(DataError) as caught:
        pem.pair(tmp_path / "server.pem", tmp_path / "server.key")
    assert caught.value.path == str(tmp_path / file)
    assert said in str(caught.value)


def test_a_certificate_and_its_key_are_taken(tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_bytes(ONE.certificate + OTHER.certificate)
    (tmp_path / "server.key").write_bytes(ONE.key)
    pem.pair(tmp_path / "server.pem", tmp_path / "server.key")
    assert len(pem.certificates(tmp_path / "server.pem")) == 2


def test_a_key_of_a_kind_that_cannot_be_looked_into_is_left_to_the_tls_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: object) -> None:
        raise UnsupportedAlgorithm("Curve 1.3.36.3.3.2.8.1.1.9 is not supported")

    (tmp_path / "server.pem").write_bytes(ONE.certificate)
    (tmp_path / "server.key").write_bytes(ONE.key)
    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.load_pem_private_key", unknown)
    pem.pair(tmp_path / "server.pem", tmp_path / "server.key")
