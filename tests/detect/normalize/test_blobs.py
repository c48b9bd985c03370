"""Kernels of the decoders."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from encoders import ATTACK, b64, in_selectors, in_tags, wrapped
from hypothesis import example, given
from hypothesis import strategies as st

from aimds.detect.normalize.blobs import clean, decode85, hidden, pack, runs64
from aimds.detect.normalize.digits import VALUES_16, VALUES_32, VALUES_64


def raw(text: str | bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)


@given(st.binary(max_size=60))
def test_digits_become_the_bytes_they_encode(data: bytes) -> None:
    assert pack(VALUES_64[raw(base64.b64encode(data).rstrip(b"="))], 6, 8).tobytes() == data
    assert pack(VALUES_64[raw(base64.urlsafe_b64encode(data).rstrip(b"="))], 6, 8).tobytes() == data
    assert pack(VALUES_32[raw(base64.b32encode(data).rstrip(b"="))], 5, 8).tobytes() == data
    assert pack(VALUES_16[raw(data.hex())], 4, 8).tobytes() == data
    assert pack(raw("".join(f"{byte:08b}" for byte in data)) - np.uint8(48), 1, 8).tobytes() == data


@example(".aa .. aa.\na 😀aa\naaa.aaaaaaaaa")  # its first words are text in another alphabet as well
@given(st.text("ab é漢😀.\n", min_size=30, max_size=60))
def test_base85_is_that_of_the_standard_library(text: str) -> None:
    for encode in (base64.a85encode, base64.b85encode):
        encoded = encode(text.encode())
        values, begins, ends = decode85(raw(encoded), 0, len(encoded), 1 << 20)
        assert values.tobytes() == text.encode()
        assert (ends - begins <= 5).all()
        assert begins[0] == 0


def test_z85_is_read_too() -> None:
    text = (ATTACK + "  ").encode()
    plain = base64.b85encode(text).decode()
    rfc = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    encoded = plain.translate(str.maketrans(rfc, z85))
    assert decode85(raw(encoded), 0, len(encoded), 1 << 20)[0].tobytes() == text


@given(st.binary(max_size=40))
def test_cleaning_gives_valid_text_of_the_same_length(data: bytes) -> None:
    values, bad, first = clean(raw(data))
    assert len(values) == len(data)
    text = values.tobytes().decode()
    assert bad == sum(a != b for a, b in zip(values.tolist(), data, strict=True)) + int((values == 63).sum()) - sum(
        a == 63 != b for a, b in zip(values.tolist(), data, strict=True)
    ) - sum(a == b == 63 for a, b in zip(values.tolist(), data, strict=True))
    assert first == len(data) or values[first] == 63
    assert not any(ord(char) < 32 and char not in "\t\n\r\0" for char in text)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (b64(ATTACK), 1),
        (f"one {b64(ATTACK)} two {b64(ATTACK)} three", 2),
        (wrapped(ATTACK, 20), 1),
        (wrapped(ATTACK, 24, "\r\n    "), 1),
        (f"/path/{b64(ATTACK)}", 1),
        ("this that with from into over some more than", 0),
        (base64.b64encode(bytes(range(128, 256))).decode(), 0),
        ("", 0),
    ],
)
def test_runs_of_base64_are_found_and_put_together(text: str, texts: int) -> None:
    runs = runs64(raw(text), 100)
    assert len(np.unique(runs[:, 3])) == texts
    assert (runs[:, 0] < runs[:, 1]).all()


def test_hidden_code_points_spell_what_was_hidden() -> None:
    for encode, selectors in ((in_tags, False), (in_selectors, True)):
        values, begins, ends = hidden(raw("Hello 😊" + encode("payload") + " there"), selectors)
        assert values.tobytes() == b"payload"
        assert begins[0] == len("Hello 😊".encode())
        assert (ends - begins >= 3).all()


def test_emoji_flags_and_lone_selectors_hide_nothing() -> None:
    text = "🏴" + in_tags("gbeng") + "\U000e007f ❤️ ☀️ 1️⃣"
    assert len(hidden(raw(text), False)[0]) == 0
    assert len(hidden(raw(text), True)[0]) == 0
