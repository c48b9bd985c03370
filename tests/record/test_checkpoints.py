from __future__ import annotations

from dataclasses import asdict, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.record.checkpoints import checkpoint, from_body

TIME = "2025-03-03T00:00:00.000000+00:00"
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


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


def test_body_with_other_fields_is_no_checkpoint() -> None:
    body = asdict(checkpoint("c", 7, "ab", TIME, PAIR))
    assert from_body(body) == checkpoint("c", 7, "ab", TIME, PAIR)
    for name in body:
        assert from_body({**body, name: None}) is None
        assert from_body({other: value for other, value in body.items() if other != name}) is None
    assert from_body({**body, "more": 1}) is None
