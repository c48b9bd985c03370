from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.record.chain import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    NO_HASH,
    Head,
    create_key,
    decode,
    encode,
    encode_head,
    head_path,
    load_key,
    mac,
    read_head,
)

TIME = "2025-03-03T00:00:00.000000+00:00"
KEY = bytes(range(32))

numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=10)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
bodies = st.dictionaries(st.text(max_size=5), values, max_size=4)


@given(st.integers(0, 1 << 40), st.text(max_size=10), bodies)
def test_record_read_again_is_the_record_written(seq: int, kind: str, body: dict[str, Any]) -> None:
    line, digest = encode(seq, TIME, kind, body, NO_HASH)
    record = decode(line)
    assert (record.seq, record.kind, record.body, record.prev, record.hash) == (seq, kind, body, NO_HASH, digest)
    assert line.count(b"\n") == 1


def test_hash_is_sha256_of_the_line_without_the_hash() -> None:
    line, digest = encode(3, TIME, "verdict", {"b": 1, "a": "é"}, NO_HASH)
    fields = json.loads(line)
    assert fields.pop("hash") == digest
    plain = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(plain).hexdigest() == digest


@settings(max_examples=300)
@given(st.data())
def test_changing_any_bit_of_a_line_is_noticed(data: st.DataObject) -> None:
    line, _ = encode(12, TIME, "verdict", {"action": "block", "p": 0.00025, "rows": [1, 2]}, NO_HASH)
    at = data.draw(st.integers(0, len(line) * 8 - 1))
    changed = bytearray(line)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(ValueError, match=r"line|content|holds"):
        decode(bytes(changed))


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"{}\n", b"null\n", b"\x00" * 50 + b"\n", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n", b"{}", b""],
)
def test_line_that_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="line"):
        decode(line)


def test_line_with_another_layout_of_the_same_content_is_refused() -> None:
    line, _ = encode(1, TIME, "verdict", {"a": 1}, NO_HASH)
    spaced = json.dumps(json.loads(line)).encode() + b"\n"
    doubled = line.replace(b'{"a":1}', b'{"a":2,"a":1}')
    for other in (spaced, doubled):
        assert json.loads(other) == json.loads(line)
        with pytest.raises(ValueError, match="content"):
            decode(other)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (1 << 64, "64 bits"),
        ({1: 2}, "key 1"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        ("x" * MAX_LINE_BYTES, "at most"),
    ],
    ids=str,
)
def test_body_that_cannot_be_read_back_is_refused_with_its_place(value: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem) as caught:
        encode(0, TIME, "verdict", {"ok": 1, "bad": value}, NO_HASH)
    assert caught.value.column in ("body.bad", "body")


def test_body_that_is_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(SchemaError, match="deep"):
        encode(0, TIME, "verdict", {"a": deep}, NO_HASH)


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


def test_head_is_sealed_by_its_key(tmp_path: Path) -> None:
    head = Head("c", 7, "ab", TIME)
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


@pytest.mark.parametrize("seq", [-1, 1 << 63, 10**4299])
def test_number_that_no_log_reaches_is_refused(tmp_path: Path, seq: int) -> None:
    line, digest = encode(seq, "2025-01-01T00:00:00+00:00", "verdict", {}, "0" * 64)
    with pytest.raises(ValueError, match="not a record"):
        decode(line)
    head_path(tmp_path / "log").write_bytes(encode_head(Head("c", seq, digest, "t"), None))
    with pytest.raises(DataError, match="not the head"):
        read_head(tmp_path / "log", None)
