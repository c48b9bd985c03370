from __future__ import annotations

from pathlib import Path

import pytest

from aimds.detect.patterns import keys
from aimds.detect.patterns.keys import PublicKey, SigningKey
from aimds.errors import ConfigError, DataError

# RFC 8032, section 7.1, test 1.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_public_key_is_that_of_the_standard() -> None:
    assert SigningKey.of(SECRET).public == PublicKey(PUBLIC)


def test_signature_counts_for_its_key_its_content_and_its_purpose_only() -> None:
    key, other = SigningKey.of(SECRET), SigningKey.of(bytes(32))
    signature = key.sign("version", b"content")
    assert len(signature) == keys.SIGNATURE_BYTES
    assert key.public.signed("version", b"content", signature)
    assert not key.public.signed("version", b"contents", signature)
    assert not key.public.signed("head", b"content", signature)
    assert not other.public.signed("version", b"content", signature)
    assert not key.public.signed("version", b"content", signature[:-1])
    assert not key.public.signed("version", b"content", b"")


def test_key_written_to_a_file_is_read_again_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key.pem"
    made = keys.create(file, SECRET)
    assert keys.load(file) == made
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "public.pem").write_bytes(made.public.pem())
    assert keys.load_public(tmp_path / "public.pem") == made.public


def test_secret_bytes_are_not_in_what_is_printed_of_a_key() -> None:
    assert str(list(SECRET)[:4]) not in repr(SigningKey.of(SECRET))
    assert repr(SECRET) not in repr(SigningKey.of(SECRET))


def test_existing_key_is_not_overwritten(tmp_path: Path) -> None:
    keys.create(tmp_path / "key.pem", SECRET)
    with pytest.raises(DataError, match=r"key\.pem"):
        keys.create(tmp_path / "key.pem", bytes(32))
    assert keys.load(tmp_path / "key.pem").secret == SECRET


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "key.pem", SECRET)
    (tmp_path / "public.pem").write_bytes(made.public.pem())
    (tmp_path / "text.pem").write_text("no key")
    for name in ("public.pem", "text.pem"):
        with pytest.raises(ConfigError, match=name):
            keys.load(tmp_path / name)
    for name in ("key.pem", "text.pem"):
        with pytest.raises(ConfigError, match=name):
            keys.load_public(tmp_path / name)
    for load in (keys.load, keys.load_public):
        with pytest.raises(DataError, match=r"none\.pem"):
            load(tmp_path / "none.pem")


def test_key_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    other = X25519PrivateKey.from_private_bytes(SECRET)
    secret = other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "secret.pem").write_bytes(secret)
    public = other.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    with pytest.raises(ConfigError, match="Ed25519"):
        keys.load(tmp_path / "secret.pem")
    with pytest.raises(ConfigError, match="Ed25519"):
        keys.load_public(tmp_path / "public.pem")
