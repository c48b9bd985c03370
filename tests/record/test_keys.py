from __future__ import annotations

import os
from pathlib import Path

import pytest

from aimds.errors import ConfigError, DataError
from aimds.record.keys import (
    create_key,
    create_signing_key,
    load_key,
    load_public_key,
    load_signing_key,
    mac,
    public_path,
    signer_id,
)

KEY = bytes(range(32))


def test_new_key_is_readable_by_its_owner_only_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = create_key(path)
    assert load_key(path) == key
    assert len(key) == 32
    assert os.stat(path).st_mode & 0o777 == 0o600
    with pytest.raises(DataError, match=r"audit\.key"):
        create_key(path)
    assert load_key(path) == key


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "é"])
def test_file_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="hexadecimal"):
        load_key(tmp_path / "key")


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load_key(tmp_path / "key")


def test_macs_of_different_purposes_and_keys_differ() -> None:
    found = {mac(KEY, "text", b"a"), mac(KEY, "head", b"a"), mac(KEY[::-1], "text", b"a"), mac(KEY, "text", b"b")}
    assert len(found) == 4


def test_signing_key_is_for_its_owner_and_its_public_half_for_everybody(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        public = create_signing_key(tmp_path / "sign")
    finally:
        os.umask(old)
    assert public == public_path(tmp_path / "sign")
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "sign", public)] == [0o600, 0o644]
    assert b"PRIVATE" not in public.read_bytes()
    pair = load_signing_key(tmp_path / "sign")
    load_public_key(public).verify(pair.sign(b"a"), b"a")
    assert signer_id(pair.public_key()) == signer_id(load_public_key(public))


def test_signing_key_takes_no_place_of_another(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "sign")
    before = (tmp_path / "sign").read_bytes()
    with pytest.raises(DataError, match=r"sign\.pub"):
        create_signing_key(tmp_path / "sign")
    public_path(tmp_path / "sign").unlink()
    with pytest.raises(DataError, match="sign: cannot be written"):
        create_signing_key(tmp_path / "sign")
    assert (tmp_path / "sign").read_bytes() == before
    assert not public_path(tmp_path / "sign").exists()


def test_half_of_a_key_is_not_taken_for_the_other(tmp_path: Path) -> None:
    public = create_signing_key(tmp_path / "sign")
    with pytest.raises(ConfigError, match="private key"):
        load_signing_key(public)
    with pytest.raises(ConfigError, match="public key"):
        load_public_key(tmp_path / "sign")
    (tmp_path / "text").write_text("no key at all")
    for load in (load_signing_key, load_public_key):
        with pytest.raises(ConfigError, match="Ed25519"):
            load(tmp_path / "text")
        with pytest.raises(DataError, match="cannot be read"):
            load(tmp_path / "none")
