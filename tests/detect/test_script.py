"""The script of a text is that of most of its letters, whatever the bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.script import SCRIPTS, scripts


def names(texts: list[bytes]) -> list[str]:
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return [SCRIPTS[code] for code in scripts(np.frombuffer(b"".join(texts), np.uint8), offsets)]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("How are you?", "latin"),
        ("Grüße aus Łódź", "latin"),
        ("ＦＵＬＬ ＷＩＤＴＨ", "latin"),
        ("привет, мир", "cyrillic"),
        ("你好世界", "cjk"),
        ("こんにちは", "cjk"),
        ("안녕하세요", "cjk"),
        ("مرحبا بكم", "arabic"),
        ("नमस्ते", "other"),
        ("Καλημέρα", "other"),
        ("שלום", "other"),
        ("", "other"),
        ("12 34 !? 😀", "other"),
        ("Say привет to them", "latin"),
        ("скажи hello им всем", "cyrillic"),
    ],
)
def test_the_most_frequent_letters_decide(text: str, script: str) -> None:
    assert names([text.encode()]) == [script]


def test_no_text_at_all_gives_no_script() -> None:
    assert names([]) == []


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_a_text_has_the_same_script_whatever_stands_beside_it(texts: list[bytes]) -> None:
    assert names(texts) == [name for text in texts for name in names([text])]
