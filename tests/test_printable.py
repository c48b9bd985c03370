"""Hostile text on a terminal: nothing that is hidden or steers the terminal is printed, and what it was is said."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.printable import counted, hidden, tokens, visible

HIDDEN = "\u202e\u2066\u200b\u200d\ufeff\x00\x1b\x07\r\u2028\u00ad\U000e0041\U000e0001\ue000\u3164\u2800\U000e0100"
texts = st.text(st.one_of(st.characters(), st.sampled_from(HIDDEN + "ab \n\t́")), max_size=300)


@given(texts)
def test_no_hidden_character_survives(text: str) -> None:
    shown = "".join(run for run, _ in tokens(text))
    assert not [c for c in shown if hidden(c)]
    stacked = 0
    for character in shown:
        stacked = stacked + 1 if unicodedata.combining(character) else 0
        assert stacked <= 3


@given(texts)
def test_visible_text_is_one_bounded_line(text: str) -> None:
    line = visible(text, 50)
    assert len(line) <= 50
    assert not [c for c in line if hidden(c) or c in "\n\t"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u200b\u200b\u200b", "a⟨3 × U+200B⟩"),
        ("".join(chr(0xE0000 + ord(c)) for c in "do it"), "⟨tags “do it”⟩"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("a\ufe0f", "a⟨U+FE0F⟩"),
        ("x" + "\u0301" * 9, "x\u0301\u0301\u0301⟨+6 marks⟩"),
        ("one\r\ntwo", "one two"),
        ("\x00", "⟨U+0000⟩"),
    ],
)
def test_hidden_characters_are_named(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_single_one_is_counted_in_the_singular() -> None:
    assert [counted(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


def test_a_text_that_is_cut_at_a_blank_says_that_it_goes_on() -> None:
    assert visible("how to hotwire a car", 16) == "how to hotwire …"
    assert visible("how to hotwire a   ", 16) == "how to hotwire a"
    assert visible("a     b      c d", 4) == "a…"
