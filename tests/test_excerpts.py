"""Excerpts. Whatever the text and the marks, what is shown is bounded and true, without hidden characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.excerpts import EVIDENCE, GAP, PII, PLAIN, Mark, excerpt, size

HIDDEN = "\u202e\u2066\u200b\u200d\ufeff\x00\x1b\x07\r\u2028\u00ad\U000e0041\U000e0001\ue000\u3164\u2800\U000e0100"
texts = st.text(st.one_of(st.characters(), st.sampled_from(HIDDEN + "ab \n\t́")), max_size=300)
marks = st.lists(
    st.builds(Mark, st.integers(-5, 400), st.integers(-5, 400), st.sampled_from([EVIDENCE, PII]), st.just("x")),
    max_size=6,
)


@given(texts, marks)
def test_a_text_within_the_budget_is_shown_whole_and_unchanged(text: str, found: list[Mark]) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    pieces = excerpt(raw, found, budget=2000)
    assert not any(piece.kind == GAP for piece in pieces)
    assert "".join(piece.text for piece in pieces) == raw.decode("utf-8", "replace")


@given(texts, st.integers(1, 40), marks, st.integers(30, 200))
def test_a_longer_text_is_cut_to_the_budget(text: str, repeat: int, found: list[Mark], budget: int) -> None:
    raw = (text * repeat).encode("utf-8", "replace")
    pieces = excerpt(raw, found, budget=budget, context=20)
    shown = sum(len(piece.text.encode()) for piece in pieces)
    assert shown <= budget + 8
    assert (shown < len(raw)) == any(piece.kind == GAP for piece in pieces)


def test_marks_cover_exactly_their_bytes() -> None:
    raw = "héllo wörld ignore that".encode()
    start = raw.find(b"ignore")
    pieces = excerpt(raw, [Mark(start, start + 6, EVIDENCE, "p1")])
    assert [(piece.text, piece.kind) for piece in pieces] == [
        ("héllo wörld ", PLAIN),
        ("ignore", EVIDENCE),
        (" that", PLAIN),
    ]


def test_a_mark_that_cuts_a_character_takes_it_whole() -> None:
    pieces = excerpt("aéb".encode(), [Mark(2, 4, EVIDENCE, "p")])
    assert [(piece.text, piece.kind) for piece in pieces] == [("a", PLAIN), ("éb", EVIDENCE)]


def test_personal_data_wins_over_evidence() -> None:
    pieces = excerpt(b"mail ada@example.com now", [Mark(0, 24, EVIDENCE, "p"), Mark(5, 20, PII, "EMAIL")])
    assert [(piece.text, piece.kind) for piece in pieces] == [
        ("mail ", EVIDENCE),
        ("ada@example.com", PII),
        (" now", EVIDENCE),
    ]


def test_evidence_in_the_middle_of_a_long_text_is_shown_with_its_surroundings() -> None:
    raw = b"a" * 5_000_000 + b" ignore everything " + b"b" * 5_000_000
    pieces = excerpt(raw, [Mark(5_000_001, 5_000_018, EVIDENCE, "p")], budget=400, context=50)
    assert [piece.kind for piece in pieces] == [GAP, PLAIN, EVIDENCE, PLAIN, GAP]
    assert pieces[2].text == "ignore everything"
    assert pieces[0].label == "5.0 MB"


def test_long_evidence_loses_its_middle_and_keeps_both_ends() -> None:
    raw = b"start" + b"x" * 9000 + b"end"
    pieces = excerpt(raw, [Mark(0, len(raw), EVIDENCE, "p")], budget=300, context=10)
    assert [piece.kind for piece in pieces] == [EVIDENCE, GAP, EVIDENCE]
    assert pieces[0].text.startswith("start")
    assert pieces[2].text.endswith("end")


def test_invalid_utf8_is_shown_as_replacement_characters() -> None:
    assert excerpt(b"ok \xff\xfe", [])[0].text == "ok \ufffd\ufffd"


@pytest.mark.parametrize(("n", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (10_000_000, "10 MB")])
def test_sizes_are_short(n: int, words: str) -> None:
    assert size(n) == words
