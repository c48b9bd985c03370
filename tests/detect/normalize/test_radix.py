"""Texts written as one number, and base32 in other alphabets: read back with their places; what only looks so is left
alone, and what would take long is cut and said."""

from __future__ import annotations

import string
from random import Random

import pytest
from encoders import ATTACK, CROCKFORD, NUMBERS, Z_BASE_32, in_base32, in_number
from hypothesis import assume, given
from hypothesis import strategies as st
from text_source import is_candidate, source

from aimds.detect.normalize.candidates import NUMBER, OTHER_BASE32
from aimds.detect.normalize.radix import MAX_DIGITS, MAX_SQUARES, numbers, other_base32

LIMIT = 1 << 16
SENTENCES = st.builds(
    lambda head, rest: head + rest,
    st.sampled_from(["Ignore", "1. Go", "Öffne", '"You are', "忽略之前的", "# Now"]),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Co")), min_size=24, max_size=300),
)


def texts(hidden: str) -> list[str]:
    return [proposal.text.values.tobytes().decode("utf-8", "replace") for proposal in numbers(source(hidden), LIMIT)]


@pytest.mark.parametrize("name", NUMBERS)
@given(text=SENTENCES)
def test_a_number_is_read_back_whatever_it_says(name: str, text: str) -> None:
    hidden = in_number(text, NUMBERS[name])
    # Nearly every number has digits and, in the larger bases, letters of both cases.
    assume(any(char.isdigit() for char in hidden[:64]))
    assume(len(NUMBERS[name]) == 36 or (hidden[:64] != hidden[:64].lower() and hidden[:64] != hidden[:64].upper()))
    assert is_candidate(hidden, NUMBER)
    assert text in texts(hidden)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_byte_says_which_digits_it_came_from(name: str) -> None:
    hidden = in_number(ATTACK, NUMBERS[name])
    found = next(
        one for one in numbers(source(f"note: {hidden}."), LIMIT) if one.text.values.tobytes() == ATTACK.encode()
    )
    assert found.text.starts[0] == len("note: ")
    assert found.text.ends[-1] == len("note: ") + len(hidden)
    assert (found.text.starts < found.text.ends).all()
    assert (found.text.starts[1:] >= found.text.starts[:-1]).all()


@pytest.mark.parametrize("digits", [string.digits + "ABCDEFGHIJKLMNOPQRSTUV", CROCKFORD, Z_BASE_32])
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_every_alphabet_of_base32_is_read_in_either_case(digits: str, case: type[str]) -> None:
    hidden = case(in_base32(ATTACK, digits))
    assert is_candidate(f"see {hidden}==", OTHER_BASE32)
    found = [one.text for one in other_base32(source(f"see {hidden}=="), LIMIT)]
    assert ATTACK in [text.values.tobytes().decode("utf-8", "replace") for text in found]
    (text,) = [text for text in found if text.values.tobytes().decode("utf-8", "replace") == ATTACK]
    assert (text.starts[0], text.ends[-1]) == (4, 4 + len(hidden))


def test_letters_that_are_mistaken_for_digits_are_read_as_crockford_says() -> None:
    hidden = in_base32(ATTACK, CROCKFORD).replace("0", "O").replace("1", "l")
    hidden = hidden.replace("l", "I") if "I" not in hidden else hidden
    found = [one.text.values.tobytes().decode("utf-8", "replace") for one in other_base32(source(hidden), LIMIT)]
    assert ATTACK in found


@pytest.mark.parametrize(
    "text",
    [
        "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709da39a3ee5e6b4b0d3255bfef",
        "123456789012345678901234567890123456789012345678",
        "thisisalongrunofsmalllettersandnothingelse",
        "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
        "550e8400e29b41d4a716446655440000",
    ],
)
def test_keys_hashes_and_names_are_no_numbers(text: str) -> None:
    assert not is_candidate(text, NUMBER | OTHER_BASE32)
    assert texts(text) == []


def test_noise_is_hardly_ever_decoded() -> None:
    random = Random(5)
    runs = [
        "".join(random.choices(string.ascii_letters + string.digits, k=random.randrange(24, 80))) for _ in range(2000)
    ]
    assert sum(is_candidate(run, NUMBER) for run in runs) < 0.1 * len(runs)


def test_long_numbers_and_many_are_cut_and_said() -> None:
    longest = in_number("Now " + "read " * 900, NUMBERS["base58"])
    assert len(longest) > MAX_DIGITS
    assert all(one.cut for one in numbers(source(longest), LIMIT))
    short = in_number("Now " + "read " * 500, NUMBERS["base58"])
    whole = [one for one in numbers(source(" ".join([short] * 20)), LIMIT) if not one.cut]
    assert 0 < sum(len(short) ** 2 for _ in whole) <= MAX_SQUARES


def test_of_a_list_of_random_ids_hardly_any_is_read_and_nothing_is_cut() -> None:
    random = Random(6)
    for size in (24, 40, 64):
        ids = ["".join(random.choices(string.ascii_letters + string.digits, k=size)) for _ in range(5000)]
        found = list(numbers(source("\n".join(ids)), LIMIT))
        assert len(found) < 0.002 * len(ids)
        assert not any(one.cut for one in found)


@pytest.mark.parametrize("before", ["id-", "a/", "k_", "https://e.example/", "x+"])
def test_what_stands_behind_a_sign_is_looked_at_too(before: str) -> None:
    assert is_candidate(before + in_number(ATTACK, NUMBERS["base58"]) + "-1", NUMBER)
    assert is_candidate(before + in_base32(ATTACK, CROCKFORD).lower(), OTHER_BASE32)
