from __future__ import annotations

import pytest

from aimds.route.wording import signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("book a table for three", "book a table for seven"),
        ("book a table for 3", "book a table for 7"),
        ("turn the lights on", "turn the lights off"),
        ("is this allowed", "is this not allowed"),
        ("don't stop", "do stop"),
        ("what is 2 + 2", "what is 2 * 2"),
        ("not true and false", "true and not false"),
        ("call me on monday", "call me on tuesday"),
    ],
)
def test_words_that_decide_tell_prompts_apart(one: str, other: str) -> None:
    assert signature(one.encode()) != signature(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the boiling point of water?", "please, what is the boiling point of WATER"),
        ("Table for 3, please!", "a table for 3 please"),
        ("", "hello"),
    ],
)
def test_other_words_case_and_punctuation_do_not(one: str, other: str) -> None:
    assert signature(one.encode()) == signature(other.encode())
