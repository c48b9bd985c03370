from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import SchemaError
from aimds.record.chain import MAX_DEPTH, MAX_LINE_BYTES, NO_HASH, canonical, decode, encode

TIME = "2025-03-03T00:00:00.000000+00:00"

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


flat = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | numbers,
)


@settings(max_examples=200, deadline=None)
@given(flat | bodies)
def test_canonical_json_is_that_of_the_standard_library(values: Any) -> None:
    assert canonical(values, "body") == json.dumps(values, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    "value", ["\x7f", "\ud800", "\x00", "\u2028", "/", '"\\', 1e-5, -0.0, 1e16, 1e15, 123456789.125]
)
def test_values_that_encoders_differ_about_are_those_of_the_standard_library(value: Any) -> None:
    assert canonical({"a": value}, "body") == json.dumps({"a": value}, separators=(",", ":"))


def plainly(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


PRIVATE = {"tenant": "acmé", "salt": "00" * 16}


@pytest.mark.parametrize("private", [None, PRIVATE])
def test_hash_can_be_computed_from_the_line_with_the_standard_library(private: Any) -> None:
    line, hashed = encode(3, TIME, "verdict", {"b": 1, "a": "é"}, NO_HASH, private)
    fields = json.loads(line)
    content = {"body": fields["body"]}
    if private is not None:
        assert fields["private"] == private
        content["commit"] = fields["commit"] = plainly(private)
    header = {name: fields[name] for name in ("kind", "prev", "seq", "time")}
    assert fields["hash"] == hashed == plainly({**header, "digest": plainly(content)})


def test_private_part_can_be_taken_out_and_the_hash_stays() -> None:
    line, hashed = encode(3, TIME, "verdict", {"a": 1}, NO_HASH, PRIVATE)
    whole = decode(line)
    rest, again = encode(3, TIME, "verdict", {"a": 1}, NO_HASH, commit=whole.commit)
    assert again == hashed
    assert b"acm" not in rest
    assert decode(rest) == dataclasses.replace(whole, private=None)


def test_private_part_of_another_record_is_noticed() -> None:
    line, _ = encode(3, TIME, "verdict", {"a": 1}, NO_HASH, PRIVATE)
    for old, new in ((b'"00', b'"10'), (b"tenant", b"session")):
        with pytest.raises(ValueError, match="hash"):
            decode(line.replace(old, new, 1))
    bare, _ = encode(3, TIME, "verdict", {"a": 1}, NO_HASH)
    with pytest.raises(ValueError, match="not a record"):
        decode(bare.replace(b',"seq"', b',"private":{},"seq"'))


@pytest.mark.parametrize("field", ["body", "commit", "hash", "kind", "prev", "private", "seq", "time"])
@pytest.mark.parametrize("value", [None, 0, 12, "", "x", [], {}, {"x": 1}, True])
def test_any_other_value_of_any_field_is_noticed(field: str, value: Any) -> None:
    line, _ = encode(12, TIME, "verdict", {"a": 1}, NO_HASH, PRIVATE)
    fields = json.loads(line)
    if fields[field] == value and type(fields[field]) is type(value):
        return
    changed = json.dumps({**fields, field: value}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(ValueError, match=r"record|content"):
        decode(changed)


@settings(max_examples=300)
@given(st.data())
def test_changing_any_bit_of_a_line_is_noticed(data: st.DataObject) -> None:
    body = {"action": "block", "p": 0.00025, "rows": [1, 2]}
    line, _ = encode(12, TIME, "verdict", body, NO_HASH, data.draw(st.sampled_from([None, PRIVATE])))
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


@pytest.mark.parametrize("seq", [-1, 1 << 63, 10**4299])
def test_number_that_no_log_reaches_is_refused(seq: int) -> None:
    line, _ = encode(seq, "2025-01-01T00:00:00+00:00", "verdict", {}, "0" * 64)
    with pytest.raises(ValueError, match="not a record"):
        decode(line)
