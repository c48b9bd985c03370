"""Numbers that stand for characters: octal, decimal without gaps, padded numbers of letters."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import ATTACK, letters
from text_source import source

from aimds.detect.normalize import normalize
from aimds.detect.normalize.codes import decimal, octal, ordinals

LIMIT = 1 << 16
OCTAL = [" ".join(f"{byte:03o}" for byte in ATTACK.encode()), " ".join(f"0o{byte:o}" for byte in ATTACK.encode())]
TRIPLES = "".join(f"{byte:03d}" for byte in ATTACK.encode())


@pytest.mark.parametrize("hidden", OCTAL)
def test_octal_codes_are_read_where_they_stand(hidden: str) -> None:
    (found,) = octal(source(f"say {hidden} now"), LIMIT)
    assert found.text.values.tobytes().decode() == ATTACK
    at = hidden.index("147") + 4
    assert (int(found.text.starts[1]), int(found.text.ends[1])) == (at, at + 3)


def test_decimal_codes_without_gaps_are_read_in_threes() -> None:
    (found,) = decimal(source(f"say {TRIPLES}"), LIMIT)
    assert found.text.values.tobytes().decode() == ATTACK
    assert (int(found.text.starts[1]), int(found.text.ends[1])) == (7, 10)


def test_numbers_of_letters_may_begin_with_a_zero() -> None:
    hidden = " / ".join(" ".join(f"{ord(char) - 96:02d}" for char in word) for word in letters(ATTACK).split())
    (found,) = ordinals(source(hidden), LIMIT)
    assert found.text.values.tobytes().decode() == letters(ATTACK)


@pytest.mark.parametrize("hidden", [*OCTAL, TRIPLES])
def test_an_attack_in_numbers_becomes_a_view(hidden: str) -> None:
    row = source(hidden).values
    views = normalize(row, np.array([0, len(row)], np.int64))
    assert [decoded.text.decode() for decoded in views.decoded] == [ATTACK]


@pytest.mark.parametrize(
    "text",
    [
        "chmod 644 755 600 640 750 700 660 770 664 775",
        "Rooms 101 102 103 104 105 106 107 110 111 112 on the first floor",
        "1" * 60,
        "3141592653589793238462643383279502884197",
    ],
)
def test_numbers_that_spell_nothing_give_no_view(text: str) -> None:
    row = source(text).values
    assert normalize(row, np.array([0, len(row)], np.int64)).decoded == ()


def test_no_more_is_decoded_than_the_limit_and_the_cut_is_said() -> None:
    for decode, hidden in ((octal, OCTAL[0] + " "), (decimal, TRIPLES)):
        (found,) = decode(source(hidden * 20), 100)
        assert len(found.text) == 100
        assert found.cut
