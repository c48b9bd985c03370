"""Uuencode: read back with its places, told from prose, and bounded."""

from __future__ import annotations

import binascii

import pytest
from encoders import ATTACK, in_uuencode, in_xxencode
from hypothesis import given
from hypothesis import strategies as st
from text_source import is_candidate, source

from aimds.detect.normalize.candidates import UUENCODE
from aimds.detect.normalize.uuencode import MAX_TEXTS, uuencode

LIMIT = 1 << 16


@given(text=st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=12, max_size=300))
@pytest.mark.parametrize("encode", [in_uuencode, in_xxencode])
def test_what_is_read_is_what_was_hidden(encode, text: str) -> None:
    hidden = encode(text)
    assert is_candidate(hidden, UUENCODE)
    (found,) = uuencode(source(hidden), LIMIT)
    assert found.text.values.tobytes().decode() == text


def test_each_byte_comes_from_its_own_digits() -> None:
    hidden = f"see\n{in_uuencode(ATTACK)}now"
    (found,) = uuencode(source(hidden), LIMIT)
    first = hidden.index("M") + 1
    assert found.text.starts[:5].tolist() == [first, first + 1, first + 2, first + 4, first + 5]
    assert found.text.ends[:5].tolist() == [first + 2, first + 3, first + 4, first + 6, first + 7]
    second = hidden.index("\n", first) + 2
    assert found.text.starts[45] == second


def test_blanks_cut_off_a_line_and_a_check_sign_behind_it_do_no_harm() -> None:
    for text in (ATTACK[:43], ATTACK[:44]):
        line = binascii.b2a_uu(text.encode()).decode().rstrip()
        for written in (line, line + "\r\n", binascii.b2a_uu(text.encode()).decode().rstrip("\n") + "X"):
            (found,) = uuencode(source(written), LIMIT)
            assert found.text.values.tobytes().decode() == text


def test_two_texts_are_read_apart_and_prose_between_them_is_none() -> None:
    hidden = f"{in_uuencode(ATTACK)}\nand then\n{in_xxencode(ATTACK)}\n"
    assert [found.text.values.tobytes().decode() for found in uuencode(source(hidden), LIMIT)] == [ATTACK, ATTACK]


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN 644 NOTE\nTHE QUICK BROWN FOX JUMPS\nEND",
        "ID,NAME,TOTAL\n1001,WIDGET,12.50\n1002,GADGET,7.25",
        "A" * 61,
        "M" + "A" * 59,
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n",
        "+" * 62 + "\n" + "-" * 62,
    ],
)
def test_what_only_looks_like_it_is_not_read(text: str) -> None:
    assert not is_candidate(text, UUENCODE)
    assert list(uuencode(source(text), LIMIT)) == []


def test_no_more_is_decoded_than_the_limit_and_the_cut_is_said() -> None:
    for hidden in (in_uuencode(ATTACK * 50), f"{in_uuencode(ATTACK)}x\n" * 50):
        found = list(uuencode(source(hidden), 1000))
        assert sum(len(one.text) for one in found) <= 1000
        assert all(one.cut for one in found)
    many = list(uuencode(source(f"{in_uuencode(ATTACK, frame=False)}x\n" * (MAX_TEXTS + 1)), 1 << 20))
    assert len(many) == MAX_TEXTS
    assert many[0].cut
