from __future__ import annotations

import pytest

from aimds.detect.patterns.lexicon import FORM, INFLECTED, SYNONYM, Lexicon, fold, split
from aimds.errors import ArtefactError

WORDS = """
[[weight]]
lang = "en"
value = 0.0
words = "the of"
[[weight]]
lang = "de"
value = 0.5
words = "the show"
[[inflect]]
lang = "en"
endings = "s ed ing"
[[stem]]
lang = "en"
words = "tell told"
[[group]]
lang = "en"
words = "tell show"
[[group]]
lang = "en"
cost = 110
words = "secret private"
"""


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.parse("words", WORDS.encode())


def test_word_of_two_languages_keeps_its_highest_weight(lexicon: Lexicon) -> None:
    assert lexicon.weight(b"the") == 0.5
    assert lexicon.weight(b"of") == 0.0
    assert lexicon.weight(b"zebra") == 1.0


def test_forms_come_from_endings_and_stems(lexicon: Lexicon) -> None:
    assert {b"walked", b"walks", b"walking"} <= lexicon.forms("en", b"walk")
    assert b"walk" in lexicon.forms("en", b"walked")
    assert b"told" in lexicon.forms("en", b"tell")
    assert b"walk" not in lexicon.forms("en", b"walk")
    assert lexicon.forms("xx", b"walk") == frozenset()


def test_short_word_keeps_its_ending(lexicon: Lexicon) -> None:
    assert b"b" not in lexicon.forms("en", b"bed")


@pytest.mark.parametrize("char", ["\ufffc", "\ufffd", "\u3000", "\u4e00", "\uac00", "\uffff"])
def test_a_character_that_is_a_word_by_itself_takes_no_ending(lexicon: Lexicon, char: str) -> None:
    assert lexicon.forms("en", char.encode()) == frozenset()


@pytest.mark.parametrize("char", ["\ufffc", "\ufffd", "\u4e00", "\u30ab"])
def test_an_english_pattern_may_hold_a_character_that_is_a_word_by_itself(lexicon: Lexicon, char: str) -> None:
    texts = (f"tell {char} secret words", f"tell{char}secret words")
    for text in texts:
        words = split(fold([text]))[0]
        assert len(words) == 4
        near = lexicon.relations([("en", word) for word in words])
        assert all(split([word]) == [[word]] for word in near)


def test_relations_give_the_cheapest_way(lexicon: Lexicon) -> None:
    near = lexicon.relations([("en", b"tell"), ("en", b"secret")])
    assert near[b"tell"][b"tell"] == 0
    assert near[b"told"][b"tell"] == FORM
    assert near[b"show"][b"tell"] == SYNONYM
    assert near[b"shows"][b"tell"] == SYNONYM + INFLECTED
    assert near[b"private"][b"secret"] == 110
    assert b"secret" not in near[b"tell"]


def test_without_synonyms_only_forms_are_near(lexicon: Lexicon) -> None:
    near = lexicon.relations([("en", b"tell")], synonyms=False)
    assert b"show" not in near
    assert near[b"told"] == {b"tell": FORM}


def test_words_are_folded_each_on_its_own() -> None:
    assert fold(["Écoute", "A", "b"]) == [b"ecoute", b"a", b"b"]
    assert split([b"one two-three", "密码".encode(), b""]) == [
        [b"one", b"two", b"three"],
        ["密".encode(), "码".encode()],
        [],
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[[weight", "cannot be read"),
        ("[[colour]]\nlang = 'en'\nwords = 'red'", "unknown table 'colour'"),
        ("[[group]]\nwords = 'red'", "group 0: needs lang"),
        ("[[stem]]\nlang = 'en'\nwords = ''", "stem 0: needs lang"),
        ("[[inflect]]\nlang = 'en'\nwords = 's'", "inflect 0: needs lang"),
        ("[[weight]]\nlang = 'en'\nvalue = 2\nwords = 'a'", "weight 0: value = 2"),
        ("[[group]]\nlang = 'en'\ncost = 300\nwords = 'a b'", "group 0: cost = 300"),
        ("group = 3", "group is no list"),
    ],
)
def test_bad_file_is_refused_with_its_name(content: str, problem: str) -> None:
    with pytest.raises(ArtefactError, match=problem) as caught:
        Lexicon.parse("words.toml", content.encode())
    assert caught.value.path == "words.toml"
