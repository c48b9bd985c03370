"""Checkpoints: which record a chain was durable up to, sealed by the key of the log and signed by its signing key.

The newest lies beside the log as its head, ``<name>.head``; whoever keeps a copy of it elsewhere can later show that
nothing before it was changed or cut off. Signed ones stand in the chain too, as records of kind ``checkpoint``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimds.errors import DataError
from aimds.record.chain import canonical, is_number
from aimds.record.keys import mac, signer_id

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


def head_path(path: Path) -> Path:
    """Where the head of the log ``path`` lies."""
    return path.with_name(path.name + ".head")


def encode_head(head: Checkpoint, key: bytes | None) -> bytes:
    """The content of a head file; ``seal`` is an HMAC where there is a key, else a plain hash against accidents."""
    fields = {name: value for name, value in asdict(head).items() if value is not None}
    content = canonical(fields, "head").encode()
    seal = hashlib.sha256(content).hexdigest() if key is None else mac(key, "head", content)
    return (canonical({**fields, "seal": seal}, "head") + "\n").encode()


def read_head(path: Path, key: bytes | None) -> tuple[Checkpoint, bool] | None:
    """The head beside the log ``path`` and whether its seal is right for ``key``; None where there is no file.

    Raises:
        DataError: the file is no head, or cannot be read.
    """
    file = head_path(path)
    return read_checkpoint(file, key) if file.exists() else None


def read_checkpoint(file: Path, key: bytes | None = None) -> tuple[Checkpoint, bool]:
    """The checkpoint in ``file``, a head or a copy of one, and whether its seal is right for ``key``.

    Raises:
        DataError: the file is no head, or cannot be read.
    """
    try:
        content = file.read_bytes()
        fields = json.loads(content)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise DataError(file, "is damaged: not the head of an audit log") from None
    needed, signed = {*_TEXTS, "seal", "seq"}, {"signer", "signature"}
    if not isinstance(fields, dict) or fields.keys() not in (needed, needed | signed) or not is_number(fields["seq"]):
        raise DataError(file, "is damaged: not the head of an audit log")
    if not all(isinstance(value, str) for name, value in fields.items() if name != "seq"):
        raise DataError(file, "is damaged: not the head of an audit log")
    del fields["seal"]
    head = Checkpoint(**fields)
    return head, hmac.compare_digest(encode_head(head, key), content)
