"""UTF-8 of the kernels against Python's codec."""

from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.normalize import folding_table
from aimds.detect.normalize.utf8 import compose, decode_at, put


@given(st.one_of(st.binary(max_size=8), st.text(max_size=4).map(str.encode)))
def test_decoding_agrees_with_the_codec_at_every_place(raw: bytes) -> None:
    values = np.frombuffer(raw, np.uint8)
    for i in range(len(raw)):
        code, size = decode_at(values, i, len(raw))
        try:
            expected = next(raw[i : i + n].decode() for n in range(1, 5) if _is_text(raw[i : i + n]))
        except StopIteration:
            assert (code, size) == (-1, 1)
        else:
            assert (code, size) == (ord(expected), len(expected.encode()))


def _is_text(raw: bytes) -> bool:
    try:
        return len(raw.decode()) == 1
    except UnicodeDecodeError:
        return False


@given(st.characters(codec="utf-8"))
def test_what_is_written_is_the_codecs_bytes(char: str) -> None:
    out, starts, ends = np.zeros(8, np.uint8), np.zeros(8, np.int32), np.zeros(8, np.int32)
    end = put(out, starts, ends, 1, ord(char), 5, 9)
    assert out[1:end].tobytes() == char.encode()
    assert starts[1:end].tolist() == [5] * (end - 1)
    assert ends[1:end].tolist() == [9] * (end - 1)


def test_composition_is_that_of_unicode() -> None:
    table, _ = folding_table.load()
    for first, mark in [
        ("и", "\u0306"),
        ("か", "\u3099"),
        ("ᄒ", "\u1161"),
        ("하", "\u11ab"),
        ("α", "\u0301"),
        ("я", "\u0306"),
    ]:
        whole = unicodedata.normalize("NFC", first + mark)
        expected = ord(whole) if len(whole) == 1 else -1
        assert compose(table.pairs, table.composed, ord(first), ord(mark)) == expected
