from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.errors import DataError
from aimds.record.checkpoints import Checkpoint, checkpoint, encode_head, from_body, head_path, read_head

TIME = "2025-03-03T00:00:00.000000+00:00"
KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def test_head_is_sealed_by_its_key(tmp_path: Path) -> None:
    head = Checkpoint("c", 7, "ab", TIME)
    for key in (KEY, None):
        head_path(tmp_path / "log").write_bytes(encode_head(head, key))
        assert read_head(tmp_path / "log", key) == (head, True)
        assert read_head(tmp_path / "log", b"x" * 32) == (head, False)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b'{"chain":"c","hash":"","seal":"","seq":"7","time":""}']
)
def test_damaged_head_is_refused(tmp_path: Path, content: bytes) -> None:
    head_path(tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_head(tmp_path / "log", None)


@pytest.mark.parametrize("seq", [-1, 1 << 63, 10**4299], ids=["negative", "64 bits", "4300 digits"])
def test_number_that_no_log_reaches_is_refused(tmp_path: Path, seq: int) -> None:
    content = encode_head(Checkpoint("c", 7, "0" * 64, "t"), None).replace(b":7,", b":%s," % str(seq).encode())
    head_path(tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="not the head"):
        read_head(tmp_path / "log", None)


def test_signature_holds_for_its_key_and_for_every_field_as_it_was() -> None:
    point = checkpoint("c", 7, "ab", TIME, PAIR)
    keys = [OTHER.public_key(), PAIR.public_key()]
    assert point.signed_by(keys)
    assert not point.signed_by(keys[:1])
    assert not point.signed_by([])
    assert not checkpoint("c", 7, "ab", TIME).signed_by(keys)
    changed = {"chain": "d", "seq": 8, "hash": "ac", "time": TIME.replace("03T", "04T"), "signature": "00" * 64}
    for name, value in {**changed, "signer": "0" * 16}.items():
        assert not replace(point, **{name: value}).signed_by(keys), name
    assert not replace(point, signature="no hex").signed_by(keys)


def test_signed_head_is_read_back_and_a_body_with_other_fields_is_none(tmp_path: Path) -> None:
    point = checkpoint("c", 7, "ab", TIME, PAIR)
    head_path(tmp_path / "log").write_bytes(encode_head(point, KEY))
    assert read_head(tmp_path / "log", KEY) == (point, True)
    body = asdict(point)
    assert from_body(body) == point
    for name in body:
        assert from_body({**body, name: None}) is None
        assert from_body({other: value for other, value in body.items() if other != name}) is None
    assert from_body({**body, "more": 1}) is None
