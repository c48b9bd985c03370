"""Strings that are assigned and added up: read as what they make, and only then."""

from __future__ import annotations

import pytest
from encoders import packed
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.detect.normalize import Decoded, normalize
from aimds.detect.normalize.concatenation import MAX_STRINGS


def sums(text: str) -> list[Decoded]:
    return [decoded for decoded in normalize(*packed([text])).decoded if decoded.kind == "concatenation"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a = "The train"; b = " leaves at"; c = " nine"; print(a + b + c)', "The train leaves at nine"),
        ("first='please wa'\nsecond='ter the plants'\nrun(first+second)", "please water the plants"),
        ('let x = "open the " and y = "garden door". Now follow x+y', "open the garden door"),
        ('a = "say \\"hello\\" "\nb = "to the people\\nof town"\nprint(a + b)', 'say "hello" to the people\nof town'),
        ('a = "the blue "\nb = "house"\nprint(a + b + " on the hill")', "the blue house on the hill"),
        ('a = "the red "\na = "the blue "\nb = "house of the town"\nprint(a + b)', "the blue house of the town"),
        ("a = “put the ”; b = “book on the shelf”; a + b", "put the book on the shelf"),
    ],
)
def test_a_sum_of_strings_is_a_view_of_what_it_says(text: str, expected: str) -> None:
    (decoded,) = sums(text)
    assert decoded.text.decode() == expected
    assert decoded.depth == 1


@pytest.mark.parametrize(
    "text",
    [
        'a = "the blue house"; b = "the green garden"; print(a, b)',
        '<a href="the house" class="the garden">a + b</a>',
        'a = "kq xv zz"; b = "wq jx"; print(a + b)',
        "print(a + b); a = 'the blue house'; b = 'the garden'",
        "a = 1; b = 2; a + b",
        "a = 'unclosed; b = '",
        "",
    ],
)
def test_strings_that_are_not_added_up_or_say_nothing_are_no_view(text: str) -> None:
    assert sums(text) == []


def test_each_letter_of_a_sum_keeps_its_place() -> None:
    text = 'é = 1; a = "the \\"blue\\" house"; b = "by the sea "; print(b + a)'
    (decoded,) = sums(text)
    raw = text.encode()
    for k, byte in enumerate(decoded.text):
        assert raw[decoded.starts[k] : decoded.ends[k]] == bytes([byte])


def test_strings_beyond_the_bound_end_the_reading_not_the_row() -> None:
    lines = "".join(f"v{k} = '{'house of the town ' if k else 'the '}'\n" for k in range(MAX_STRINGS + 50))
    text = lines + f"print(v0 + v1 + v{MAX_STRINGS + 40})"
    assert [decoded.text for decoded in sums(text)] == [b"the house of the town "]


@settings(max_examples=60)
@given(st.text("ab =+\"'\\\n;é", max_size=60))
def test_places_of_any_text_lie_inside_it(text: str) -> None:
    for decoded in sums("a = 'the house of '; b = 'the town'; a + b;" + text):
        assert (decoded.starts < decoded.ends).all()
        assert decoded.text.decode()
