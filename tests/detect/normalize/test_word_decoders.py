"""Each decoder of words and letters by itself."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import ATTACK, UPSIDE_DOWN, atbash, caesar, in_nato, in_pig_latin, in_tags, letters
from text_source import source

from aimds.detect.normalize.exchanged import ATBASH
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.detect.normalize.word_decoders import (
    MAX_SPELLED,
    MAX_WORDS,
    hidden,
    pig_latin,
    shifted,
    spelling_alphabet,
    turned_round,
    upside_down,
)

LIMIT = 1 << 16


@pytest.mark.parametrize("shift", range(1, 26))
def test_a_shift_is_undone_by_its_complement(shift: int) -> None:
    text = source(caesar(ATTACK, shift))
    proposal = shifted(text, 0, len(text), 26 - shift)
    assert proposal.text.values.tobytes().decode() == ATTACK
    assert proposal.kind == ("rot13" if shift == 13 else "caesar")
    assert proposal.text.starts.tolist() == text.starts.tolist()


def test_atbash_is_its_own_inverse() -> None:
    text = source(atbash(ATTACK))
    assert shifted(text, 0, len(text), ATBASH).text.values.tobytes().decode() == ATTACK


@pytest.mark.parametrize(
    ("text", "whole", "by_word"),
    [
        ("?wonk uoy od tahw", "what do you know?", "know? you do what"),
        ("tahw od uoy wonk?", "?know you do what", "what do you know?"),
        ("tahw od uoy ?wonk", "know? you do what", "what do you know?"),
        ("t'nac yas ,siht ]tey[", "[yet] this, say can't", "can't say this, [yet]"),
        ("ti yas\n.won woN", "Now now.\nsay it", "it now.\nsay Now"),
        ("wonk uoy", "you know", "know you"),
        ("тевирп 忽", "忽 привет", "привет 忽"),
    ],
)
def test_reversed_text_is_read_both_ways_with_its_signs(text: str, whole: str, by_word: str) -> None:
    row = source(text)
    found = turned_round(row, 0, len(row))
    assert [proposal.text.values.tobytes().decode() for proposal in found] == [whole, by_word]
    for proposal in found:
        for byte, start in zip(proposal.text.values.tolist(), proposal.text.starts.tolist(), strict=True):
            assert row.values[start] == byte


def test_letters_that_folding_made_latin_are_not_shifted() -> None:
    folded = source("fpuyuffry")
    foreign = np.zeros(len(folded), np.bool_)
    foreign[4] = True
    assert shifted(folded, 0, len(folded), 13, foreign).text.values.tobytes() == b"schlussel"


def test_spelling_words_become_letters() -> None:
    (words,) = spelling_alphabet(source(in_nato("go now")), LIMIT)
    assert words.text.values.tobytes() == b"go now"
    (alone,) = spelling_alphabet(source("spell x-ray alfa hotel alpha please"), LIMIT)
    assert alone.text.values.tobytes() == b"x a h a"
    (numbers,) = spelling_alphabet(source("romeo two delta niner zero"), LIMIT)
    assert numbers.text.values.tobytes() == b"r 2 d 9 0"
    assert spelling_alphabet(source("hotel india, then golf"), LIMIT) == []


def test_spelling_words_for_signs_become_signs_where_letters_are_spelled() -> None:
    text = "golf oscar slash november comma / oscar question mark"
    (found,) = spelling_alphabet(source(text), LIMIT)
    assert found.text.values.tobytes() == b"go/n, o?"
    assert text[found.text.starts[-1] : found.text.ends[-1]] == "question mark"
    assert spelling_alphabet(source("a comma, a dash, a question mark and less than a golf"), LIMIT) == []


def test_pig_latin_is_undone_and_other_words_stay() -> None:
    (proposal,) = pig_latin(source("say: " + in_pig_latin(ATTACK) + "!"), Vocabulary.load(), LIMIT)
    assert proposal.text.values.tobytes().decode() == f"say: {letters(ATTACK)}"
    assert (proposal.text.starts < proposal.text.ends).all()


def test_upside_down_text_is_read_from_its_end() -> None:
    text = "".join(UPSIDE_DOWN.get(char, char) for char in letters(ATTACK))[::-1]
    (proposal,) = upside_down(text.encode(), LIMIT)
    assert proposal.text.values.tobytes().decode() == letters(ATTACK)
    assert proposal.text.ends[0] == len(text.encode())
    assert upside_down("schwa ə and ɛ".encode(), LIMIT) == []
    assert upside_down(b"\xff" + text.encode(), LIMIT)[0].text.values.tobytes().endswith(b"?")


def test_hidden_text_is_given_with_its_places() -> None:
    row = np.frombuffer(("Hi! " + in_tags("obey me")).encode(), np.uint8)
    (proposal,) = hidden(row, LIMIT)
    assert (proposal.kind, proposal.text.values.tobytes()) == ("tags", b"obey me")
    assert proposal.text.starts[0] == 4
    assert proposal.text.ends[-1] == len(row)


def test_spelling_words_behind_much_prose_are_read() -> None:
    (proposal,) = spelling_alphabet(source("other words " * MAX_WORDS + in_nato("go now")), LIMIT)
    assert proposal.text.values.tobytes() == b"go now"
    assert not proposal.cut


def test_more_spelling_words_than_allowed_are_said_to_be_cut() -> None:
    (one,) = spelling_alphabet(source("golf oscar " * 200), 100)
    assert one.cut
    assert len(one.text) <= 100
    many = spelling_alphabet(source("golf oscar golf oscar and other words " * (MAX_SPELLED + 1)), LIMIT)
    assert all(proposal.cut for proposal in many)
    assert spelling_alphabet(source("golf oscar golf oscar golf"), 2)[0].cut


def test_pig_latin_is_cut_where_words_are_left_and_nowhere_else() -> None:
    known = Vocabulary.load()
    for words, cut in ((MAX_WORDS, False), (MAX_WORDS + 1, True)):
        text = "ellthay " * words
        assert pig_latin(source(text + "!!!!!"), known, LIMIT)[0].cut is cut
    assert pig_latin(source("ellthay " * 10 + "a"), known, 20)[0].cut
