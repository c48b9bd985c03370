"""The format of the audit log: one canonical JSON line per record, each holding the SHA-256 of the one before it.

A line is ``{"body":…,"hash":…,"kind":…,"prev":…,"seq":…,"time":…}`` with sorted keys, no spaces, ASCII; ``hash`` covers
the line without ``hash``. The first record has kind ``genesis`` and names the chain. Beside the log lies its head, the
last durable record's number and hash, with an HMAC-SHA256 (RFC 2104) where a key is used.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimds.errors import ConfigError, DataError, SchemaError

FORMAT = 1
GENESIS = "genesis"
NO_HASH = "0" * 64
MAX_LINE_BYTES = 1 << 20
MAX_DEPTH = 16
KEY_BYTES = 32
HEAD_KEYS = {"chain", "hash", "seal", "seq", "time"}
_FIELDS = {"body", "hash", "kind", "prev", "seq", "time"}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log. ``seq`` counts from 0, ``time`` is ISO 8601, UTC, ``prev`` the hash of the one before."""

    seq: int
    time: str
    kind: str
    body: dict[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint: the log ``chain`` was durable up to record ``seq`` with ``hash``."""

    chain: str
    seq: int
    hash: str
    time: str


def encode(seq: int, time: str, kind: str, body: dict[str, Any], prev: str) -> tuple[bytes, str]:
    """The line of a record, newline included, and its hash.

    Raises:
        SchemaError: the body holds something that JSON cannot give back unchanged, or is too long or too deep.
    """
    start = '{"body":' + _canonical(_plain(body, "body", 0))
    rest = f',"kind":{_canonical(kind)},"prev":"{prev}","seq":{seq},"time":{_canonical(time)}}}'
    digest = hashlib.sha256((start + rest).encode()).hexdigest()
    line = f'{start},"hash":"{digest}"{rest}\n'.encode()
    if len(line) > MAX_LINE_BYTES:
        raise SchemaError("body", f"makes a record of {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    return line, digest


def decode(line: bytes) -> Record:
    """The record in a whole ``line``.

    Raises:
        ValueError: the line is not byte for byte what `encode` writes; says what is wrong.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end" if len(line) <= MAX_LINE_BYTES else "the line is too long")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the line is not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise ValueError("the line is not a record")
    seq, body = fields["seq"], fields["body"]
    texts = [fields[name] for name in ("time", "kind", "prev", "hash")]
    if not _is_number(seq) or not isinstance(body, dict) or not all(isinstance(text, str) for text in texts):
        raise ValueError("the line is not a record")
    try:
        rebuilt, digest = encode(seq, fields["time"], fields["kind"], body, fields["prev"])
    except SchemaError as error:
        raise ValueError(str(error)) from None
    if rebuilt != line or digest != fields["hash"]:
        raise ValueError("the content does not have the hash that the record states")
    return Record(seq, fields["time"], fields["kind"], body, fields["prev"], digest)


def _is_number(value: Any) -> bool:
    """Whether ``value`` can be the number of a record. Python writes no number of 4,301 digits, so there is a bound."""
    return type(value) is int and 0 <= value < 1 << 63


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, where: str, depth: int) -> Any:
    # Only what json.loads gives back equal, so that a record read again has the hash it was written with.
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise SchemaError(where, "holds a whole number of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise SchemaError(where, f"holds {value}, expected a finite number")
        return float(value)
    if depth == MAX_DEPTH:
        raise SchemaError(where, f"is nested more than {MAX_DEPTH} deep")
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise SchemaError(where, f"holds the key {key!r}, expected text")
        return {key: _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    raise SchemaError(where, f"holds a {type(value).__name__}, expected JSON values")


def mac(key: bytes, purpose: str, content: bytes) -> str:
    """HMAC-SHA256 of ``content`` in hex; the same key gives unrelated values for different purposes."""
    return hmac.new(key, f"aimds.audit.{purpose}\0".encode() + content, hashlib.sha256).hexdigest()


def key_id(key: bytes | None) -> str | None:
    """A short name of ``key`` that tells nothing about it."""
    return None if key is None else mac(key, "key-id", b"")[:16]


def load_key(path: Path) -> bytes:
    """The key in the file ``path``: hexadecimal, at least 32 bytes.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it does not hold such a key.
    """
    try:
        text = path.read_text("ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError("key", str(path), f"a file with at least {KEY_BYTES} bytes in hexadecimal")
    return key


def create_key(path: Path) -> bytes:
    """A new random key, written to ``path``, which must not exist and which only its owner may read.

    Raises:
        DataError: the file exists or cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error
    return key


def head_path(path: Path) -> Path:
    """Where the head of the log ``path`` lies."""
    return path.with_name(path.name + ".head")


def encode_head(head: Head, key: bytes | None) -> bytes:
    """The content of a head file; ``seal`` is an HMAC where there is a key, else a plain hash against accidents."""
    fields = {"chain": head.chain, "hash": head.hash, "seq": head.seq, "time": head.time}
    content = _canonical(fields).encode()
    seal = hashlib.sha256(content).hexdigest() if key is None else mac(key, "head", content)
    return (_canonical({**fields, "seal": seal}) + "\n").encode()


def read_head(path: Path, key: bytes | None) -> tuple[Head, bool] | None:
    """The head beside the log ``path`` and whether its seal is right for ``key``; None where there is no file.

    Raises:
        DataError: the file is no head, or cannot be read.
    """
    file = head_path(path)
    try:
        content = file.read_bytes()
        fields = json.loads(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise DataError(file, "is damaged: not the head of an audit log") from None
    if not isinstance(fields, dict) or fields.keys() != HEAD_KEYS or not _is_number(fields["seq"]):
        raise DataError(file, "is damaged: not the head of an audit log")
    head = Head(str(fields["chain"]), fields["seq"], str(fields["hash"]), str(fields["time"]))
    return head, hmac.compare_digest(encode_head(head, key), content)
