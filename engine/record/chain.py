"""The format of the audit log: one canonical JSON line per record, each holding the SHA-256 of the one before it.

    {"body":…,"commit":…,"hash":…,"kind":…,"prev":…,"private":…,"seq":…,"time":…}     sorted keys, no spaces, ASCII

    commit  SHA-256 of private, which says whom the record is about, under 16 random bytes ("salt")
    digest  SHA-256 of {"body":…,"commit":…}; not written
    hash    SHA-256 of {"digest":…,"kind":…,"prev":…,"seq":…,"time":…}

A record that is about nobody has neither commit nor private. Since the hash covers commit and not private, the private
part can be taken out of a record and the chain still holds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import msgspec

from aimds.errors import SchemaError

FORMAT = 2
GENESIS, SEGMENT, CHECKPOINT, ERASED, RETAINED, RECOVERED = CONTROL = (
    *("genesis", "segment", "checkpoint"),
    *("erased", "retained", "recovered"),
)
"""Kinds that the log itself writes: its beginning, that of each further file, signatures, and what was taken out."""
PRIVATE = frozenset({"identity", "path", "peer", "reason", "request_id", "sender", "session_id", "tenant", "text"})
"""Names whose values tell whom a record is about: they go into its private part."""
SALT = "salt"
SALT_BYTES = 16
NO_HASH = "0" * 64
MAX_LINE_BYTES = 1 << 20
MAX_DEPTH = 16
_FIELDS = {"body", "hash", "kind", "prev", "seq", "time"}
_COMMITTED = _FIELDS | {"commit"}
_WHOLE = _COMMITTED | {"private"}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log. ``seq`` counts from 0, ``time`` is ISO 8601, UTC, ``prev`` the hash of the one before.
    ``private`` is None where the record is about nobody (``commit`` is None too) or its private part was taken out."""

    seq: int
    time: str
    kind: str
    body: dict[str, Any]
    prev: str
    hash: str
    commit: str | None = None
    private: dict[str, Any] | None = None


def encode(
    seq: int,
    time: str,
    kind: str,
    body: dict[str, Any],
    prev: str,
    private: dict[str, Any] | None = None,
    commit: str | None = None,
) -> tuple[bytes, str]:
    """The line of a record, newline included, and its hash. ``commit`` is that of a private part that was taken out.

    Raises:
        SchemaError: the body holds something that JSON cannot give back unchanged, or is too long or too deep.
    """
    content = _encoded(body, "body")
    held = None if private is None else _encoded(private, "private")
    if held is not None:
        commit = hashlib.sha256(held).hexdigest()
    committed = _committed(commit)
    hashed = hash_of(digest_of(content, commit), kind, prev, seq, time)
    clear = f',"hash":"{hashed}","kind":{quoted(kind)},"prev":{quoted(prev)}'.encode()
    end = f',"seq":{seq},"time":{quoted(time)}}}\n'.encode()
    parts = (b'{"body":', content, committed, clear) + (() if held is None else (b',"private":', held))
    line = b"".join((*parts, end))
    if len(line) > MAX_LINE_BYTES:
        raise SchemaError("body", f"makes a record of {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    return line, hashed


def digest_of(body: bytes, commit: str | None) -> str:
    """SHA-256 of the content of a record: its body as canonical JSON, and what it commits to."""
    return hashlib.sha256(b'{"body":' + body + _committed(commit) + b"}").hexdigest()


def _committed(commit: str | None) -> bytes:
    return b"" if commit is None else f',"commit":{quoted(commit)}'.encode()


def hash_of(digest: str, kind: str, prev: str, seq: int, time: str) -> str:
    """The hash of a record; all but the digest of its content is in the clear."""
    return sha256(
        f'{{"digest":"{digest}","kind":{quoted(kind)},"prev":{quoted(prev)},"seq":{seq},"time":{quoted(time)}}}'
    )


def sha256(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


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
    if not isinstance(fields, dict) or fields.keys() not in (_FIELDS, _COMMITTED, _WHOLE):
        raise ValueError("the line is not a record")
    seq, body, private, commit = fields["seq"], fields["body"], fields.get("private"), fields.get("commit")
    texts = [fields[name] for name in ("time", "kind", "prev", "hash")]
    held = "private" not in fields or isinstance(private, dict)
    committed = "commit" not in fields or isinstance(commit, str)
    if not (is_number(seq) and isinstance(body, dict) and held and committed):
        raise ValueError("the line is not a record")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("the line is not a record")
    try:
        rebuilt, hashed = encode(seq, fields["time"], fields["kind"], body, fields["prev"], private, commit)
    except SchemaError as error:
        raise ValueError(str(error)) from None
    if rebuilt != line or hashed != fields["hash"]:
        raise ValueError("the content does not have the hash that the record states")
    return Record(seq, fields["time"], fields["kind"], body, fields["prev"], hashed, commit, private)


def is_number(value: Any) -> bool:
    """Whether ``value`` can be the number of a record. Python writes no number of 4,301 digits, so there is a bound."""
    return type(value) is int and 0 <= value < 1 << 63


_TEXT = {str}
_QUICK = msgspec.json.Encoder(order="sorted")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(values: dict[str, Any], where: str) -> str:
    """``values`` as canonical JSON: sorted keys, no spaces, ASCII.

    Raises:
        SchemaError: something in it cannot be given back unchanged; named by its place in ``where``.
    """
    return _encoded(values, where).decode("ascii")


def _encoded(values: dict[str, Any], where: str) -> bytes:
    if not _simple(values):
        return _ENCODER.encode(_plain(values, where, 0)).encode()
    # The same text several times as fast: both encoders write such values alike, but for what only ASCII escapes tell.
    try:
        content = _QUICK.encode(values)
    except UnicodeEncodeError:
        return _ENCODER.encode(values).encode()
    if content.isascii() and b"\\u" not in content and b"\x7f" not in content:
        return content
    return _ENCODER.encode(values).encode()


def _simple(values: dict[str, Any]) -> bool:
    """Whether ``values`` are flat, and numbers among them such as both encoders write alike."""
    if not _TEXT.issuperset(map(type, values)):
        return False
    for value in values.values():
        kind = type(value)
        if kind is float:
            if not (1e-4 <= value < 1e16 or value == 0 or -1e16 < value <= -1e-4):
                return False
        elif kind is int:
            if not -(1 << 63) <= value < 1 << 64:
                return False
        elif kind is not str and kind is not bool and value is not None:
            return False
    return True


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
