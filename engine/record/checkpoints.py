"""Checkpoints: which record a chain was durable up to, sealed by the key of the log and signed by its signing key.

The newest lies beside the log as its head (`aimds.record.head`); whoever keeps a copy of it elsewhere can later show
that nothing before it was changed or cut off. Signed ones stand in the chain too, as records of kind ``checkpoint``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aimds.record.chain import canonical, is_number
from aimds.record.keys import signer_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PURPOSE = b"aimds.audit.checkpoint\0"
_TEXTS = ("chain", "hash", "time")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log ``chain`` was durable up to record ``seq`` with ``hash``. ``signature`` is 64 bytes in hex."""

    chain: str
    seq: int
    hash: str
    time: str
    signer: str | None = None
    signature: str | None = None

    def signed_by(self, keys: Sequence[Ed25519PublicKey]) -> bool:
        """Whether one of ``keys`` signed it."""
        from cryptography.exceptions import InvalidSignature

        for key in keys:
            if self.signature is not None and self.signer == signer_id(key):
                try:
                    key.verify(bytes.fromhex(self.signature), _statement(self))
                except (InvalidSignature, ValueError):
                    continue
                return True
        return False


def checkpoint(chain: str, seq: int, hashed: str, time: str, key: Ed25519PrivateKey | None = None) -> Checkpoint:
    """A checkpoint, signed where there is a ``key``."""
    plain = Checkpoint(chain, seq, hashed, time)
    if key is None:
        return plain
    signature = key.sign(_statement(plain)).hex()
    return Checkpoint(chain, seq, hashed, time, signer_id(key.public_key()), signature)


def from_body(body: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint in the body of a record, None where it is none."""
    texts = [body.get(name) for name in (*_TEXTS, "signer", "signature")]
    whole = body.keys() == {*_TEXTS, "seq", "signer", "signature"} and is_number(body["seq"])
    if not whole or not all(isinstance(text, str) for text in texts):
        return None
    return Checkpoint(**body)


def _statement(point: Checkpoint) -> bytes:
    # The names of the fields are part of what is signed, so that no other statement of ours can be taken for this one.
    fields = {"chain": point.chain, "hash": point.hash, "seq": point.seq, "time": point.time}
    return _PURPOSE + canonical(fields, "checkpoint").encode()
