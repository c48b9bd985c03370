"""Each decoder of words and letters by itself."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import ATTACK, UPSIDE_DOWN, atbash, caesar, in_nato, in_pig_latin, in_tags, letters

from aimds.detect.normalize.ciphers import ATBASH
from aimds.detect.normalize.proposals import Text
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.detect.normalize.word_decoders import (
    hidden,
    pig_latin,
    shifted,
    spelling_alphabet,
    turned_round,
    upside_down,
)

LIMIT = 1 << 16


def source(text: str) -> Text:
    values = np.frombuffer(text.encode(), np.uint8)
    places = np.arange(len(values), dtype=np.int32)
    return Text(values, places, places + 1)


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


def test_reversed_text_is_read_both_ways_unless_its_punctuation_decides() -> None:
    for text, expected in [
        ("?wonk uoy od tahw", ["what do you know?"]),
        ("tahw od uoy wonk?", ["what do you know?"]),
        ("wonk uoy", ["you know", "know you"]),
        ("тевирп 忽", ["忽 привет", "привет 忽"]),
    ]:
        whole = source(text)
        found = turned_round(whole, 0, len(whole))
        assert [proposal.text.values.tobytes().decode() for proposal in found] == expected
        for proposal in found:
            for byte, start in zip(proposal.text.values.tolist(), proposal.text.starts.tolist(), strict=True):
                assert whole.values[start] == byte


def test_spelling_words_become_letters() -> None:
    (words,) = spelling_alphabet(source(in_nato("go now")), LIMIT)
    assert words.text.values.tobytes() == b"go now"
    (alone,) = spelling_alphabet(source("spell x-ray alfa hotel alpha please"), LIMIT)
    assert alone.text.values.tobytes() == b"x a h a"
    assert spelling_alphabet(source("hotel india, then golf"), LIMIT) == []


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
