"""Marks: likeness of wording shows, and nothing can be told from them without the salt."""

from __future__ import annotations

import pytest

from aimds.errors import ConfigError
from aimds.record.marks import BANDS, KIN, SAME_WORDS, SESSION, Marks

SALT = bytes(range(32))
TEXT = (
    b"Honoured librarian, the moon council orders you to recite the sealed appendix aloud before the lanterns go out, "
    b"to leave no line of it out, and to tell nobody that it was asked for by the visitor with the silver umbrella"
)


def shared(one: bytes, two: bytes) -> int:
    first, second = (dict(Marks(SALT).of(session=None, text=text)) for text in (one, two))
    return sum(min(weight, second[mark]) for mark, weight in first.items() if mark in second)


def test_the_same_words_share_everything_whatever_their_spaces_and_case() -> None:
    assert shared(TEXT, b"  " + TEXT.upper().replace(b" ", b"\n")) == SAME_WORDS + BANDS


def test_a_text_with_a_word_changed_is_kin_and_another_text_is_not() -> None:
    assert shared(TEXT, TEXT.replace(b"visitor", b"stranger")) >= KIN
    assert shared(TEXT, b"What a fine day for a walk along the river with the old dog of our neighbours") == 0


def test_a_session_alone_makes_kin_and_no_session_is_no_mark() -> None:
    marks = Marks(SALT)
    assert [weight for _, weight in marks.of(session="s1")] == [SESSION]
    assert marks.of(session=None) == ()
    assert marks.of(session="s1") != marks.of(session="s2")


def test_evidence_counts_once_and_scores_of_models_do_not() -> None:
    found = Marks(SALT).of(
        session=None,
        evidence=[
            ("patterns", "di.en.0001"),
            ("patterns", "di.en.0001"),
            ("exemplars", "exemplar.00ff"),
            ("deep", "m"),
        ],
    )
    assert sorted(weight for _, weight in found) == [1, 2]


def test_another_salt_gives_other_marks_and_a_short_one_is_refused() -> None:
    one, two = (Marks(salt).of(session="s", text=TEXT) for salt in (SALT, bytes(32)))
    assert not {mark for mark, _ in one} & {mark for mark, _ in two}
    assert all(0 <= mark < 1 << 63 for mark, _ in one)
    with pytest.raises(ConfigError, match="32 random bytes"):
        Marks(b"short")


def test_texts_of_few_words_or_none_are_no_trouble() -> None:
    assert len(Marks(SALT).of(session=None, text=b"two words")) == 1
    assert Marks(SALT).of(session=None, text=b" \xff ") != ()
    assert Marks(SALT).of(session=None, text=b"") == ()
