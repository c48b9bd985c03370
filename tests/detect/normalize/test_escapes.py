"""Escapes decoded in place, against the peers of the standard library."""

from __future__ import annotations

import html
import json
import quopri
import urllib.parse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.normalize.candidates import ESCAPES, HTML, QUOTED, URL
from aimds.detect.normalize.escapes import Unescaped, unescape

MOST = 1 << 20


def run(raw: bytes, style: int) -> Unescaped:
    return unescape(np.frombuffer(raw, np.uint8), style, MOST)


@given(st.text(st.characters(codec="utf-8", exclude_characters="+"), max_size=40))
def test_percent_escapes_are_those_of_urllib(text: str) -> None:
    assert run(urllib.parse.quote(text).encode(), URL).values.tobytes() == text.encode()


@given(st.text("%2aF+ x", max_size=30).filter(lambda text: "+" not in text))
def test_broken_percent_escapes_are_left_as_urllib_leaves_them(text: str) -> None:
    assert run(text.encode(), URL).values.tobytes() == urllib.parse.unquote_to_bytes(text)


@given(st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_categories=["Cc", "Cn"]), max_size=30))
def test_html_references_are_those_of_the_standard_library(text: str) -> None:
    decimal = "".join(f"&#{ord(char)};" for char in text)
    assert run(decimal.encode(), HTML).values.tobytes().decode() == text
    assert run(html.escape(text).encode(), HTML).values.tobytes().decode() == text


def test_named_references_are_known() -> None:
    assert (
        run(b"&lt;b&gt; &eacute; &NotEqual; &nosuch; &amp &lbrack;", HTML).values.tobytes()
        == "<b> é ≠ &nosuch; &amp [".encode()
    )


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_json_escapes_are_those_of_json(text: str) -> None:
    escaped = "".join(json.dumps(char)[1:-1] if ord(char) > 127 else f"\\u{ord(char):04x}" for char in text)
    assert run(escaped.encode(), ESCAPES).values.tobytes().decode() == text


@given(st.binary(max_size=60))
def test_quoted_printable_is_that_of_quopri(raw: bytes) -> None:
    assert run(quopri.encodestring(raw.replace(b"\r", b"")), QUOTED).values.tobytes() == raw.replace(b"\r", b"")


@pytest.mark.parametrize(
    ("raw", "style", "expected"),
    [
        ("\\x69\\151\\u0069\\u{69}\\U00000069", ESCAPES, "iiiii"),
        ("U+0069 U+0067 x", ESCAPES, "ig x"),
        ("aU+0069 XU+00", ESCAPES, "aU+0069 XU+00"),
        ("\\\\u0041", ESCAPES, "A"),
        ("\\ud83d\\ude00\\ud83d", ESCAPES, "😀\ufffd"),
        ("\\u12 \\x \\9", ESCAPES, "\\u12 \\x \\9"),
        ("a+b c%20d+e", URL, "a+b c d e"),
        ("%u0069%u4e2d", URL, "i中"),
        ("&#x69&#105", HTML, "ii"),
        ("&#; &#x; &", HTML, "&#; &#x; &"),
        ("a=\nb=\r\nc=41", QUOTED, "abcA"),
    ],
)
def test_forms_of_escapes(raw: str, style: int, expected: str) -> None:
    assert run(raw.encode(), style).values.tobytes().decode() == expected


@given(st.text("%u0069\\x&#;=U+{}\n a", max_size=60), st.sampled_from([URL, HTML, ESCAPES, QUOTED]))
def test_each_byte_knows_where_it_came_from(text: str, style: int) -> None:
    raw = text.encode()
    out = run(raw, style)
    assert len(out.values) <= len(raw)
    assert (out.begins < out.ends).all()
    assert (np.diff(out.begins) >= 0).all()
    for byte, begin, end, made in zip(*(column.tolist() for column in out[:4]), strict=True):
        if not made:
            assert raw[begin:end] == bytes([byte])


def test_a_limit_stops_and_says_so() -> None:
    raw = np.frombuffer(b"%41" * 100, np.uint8)
    assert unescape(raw, URL, 10).values.tobytes() == b"A" * 10
    assert unescape(raw, URL, 10).cut
    assert not unescape(raw, URL, 101).cut
