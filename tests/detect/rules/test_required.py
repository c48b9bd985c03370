"""What a regular expression requires: read right, never more than it needs, and never the loss of a finding."""

from __future__ import annotations

import random

import numpy as np
import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.detect.normalize import normalize
from aimds.detect.rules import Rules
from aimds.detect.rules.grams import BITS, marked, met, program
from aimds.detect.rules.required import required
from aimds.detect.rules.signatures import compiled

RULES = Rules.load()
FOLDED = [s for s in RULES.signatures if s.regex and not s.raw]
NEEDS = {s.id: required(s.regex) for s in FOLDED}
REGEX = {s.id: compiled(s, "signatures.toml") for s in FOLDED}
WORDS = sorted({w for s in FOLDED for need in NEEDS[s.id] for w in need})


def able(text: bytes, sets: tuple[frozenset[str], ...]) -> bool:
    flat = program(sets)
    table = np.empty(BITS // 64, np.uint64)
    marked(table, np.frombuffer(text, np.uint8), 0, len(text))
    return bool(met(table, np.array(flat, np.int32), 0, len(flat)))


@pytest.mark.parametrize(
    ("regex", "sets"),
    [
        ("ignore\\s+rules", [{"ignore"}, {"rules"}]),
        ("ignor(?:e|ing) all", [{"ignore all", "ignoring all"}]),
        ("abcd?efg", [{"abcefg", "abcdefg"}]),
        ("abcd*efg", [{"abc"}, {"efg"}]),
        ("abc(?:def){2}", [{"abc"}, {"def"}]),
        ("abc(?:def){0,2}ghi", [{"abc"}, {"ghi"}]),
        ("\\bprompts?\\b", [{"prompt"}]),
        ("(?:hello\\w+there|morning)", [{"hello", "morning"}, {"there", "morning"}]),
        ("caf[eé] noir", [{"caf"}, {"noir"}]),
        ("x\\x22abc", [{'x"abc'}]),
        ("[^a]bcde|", []),
        ("(?i)secret", []),
        ("ab", []),
        ("\\p{L}abc[[:alpha:]-]def", [{"abc"}, {"def"}]),
        ("a{b", []),
    ],
)
def test_the_literals_of_an_expression_are_read(regex: str, sets: list[set[str]]) -> None:
    assert {frozenset(x.strip() for x in s) for s in required(regex)} == {frozenset(s) for s in sets}


def test_most_expressions_require_something() -> None:
    assert sum(bool(sets) for sets in NEEDS.values()) > 0.9 * len(NEEDS)


def test_a_text_without_the_words_is_spared() -> None:
    spared = sum(not able(x.lower().encode(), NEEDS[s.id]) for s in FOLDED for x in s.safe)
    assert spared > 100
    assert not able(b"please ignore the noise", required("ignore\\s+rules"))
    assert able(b"rules: ignore them", required("ignore\\s+rules"))


@given(
    st.sampled_from(FOLDED), st.integers(0, 10**9), st.lists(st.sampled_from([*WORDS, " ", "\n", ".", "é"]), max_size=3)
)
@settings(max_examples=400, deadline=None)
def test_whatever_an_expression_matches_has_what_it_requires(signature, seed: int, inserted: list[str]) -> None:  # type: ignore[no-untyped-def]
    rng = random.Random(seed)
    text = rng.choice(signature.match)
    for word in inserted:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + word + text[at:]
    views = normalize(np.frombuffer(text.encode(), np.uint8), np.array([0, len(text.encode())], np.int64))
    for low, high in zip(views.offsets[:-1], views.offsets[1:], strict=True):
        view = views.values[low:high].tobytes()
        for other in (signature, *rng.sample(FOLDED, 20)):
            if REGEX[other.id].search(view) is not None:
                assert able(view, NEEDS[other.id]), other.id


PIECES = st.recursive(
    st.sampled_from(["abc", "d", "\\s+", "[ef]", "[^g]", "\\w", "hij\\b", "\\.", "é", "^", "kl mn"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda x: f"(?:{'|'.join(x)})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{0,2}?"])).map(lambda x: f"(?:{x[0]}){x[1]}"),
    ),
    max_leaves=8,
)


@given(PIECES, st.lists(st.sampled_from(["abc", "d", " ", "e", "f", "hij", ".", "é", "kl mn", "x"]), max_size=10))
@settings(max_examples=400, deadline=None)
def test_no_expression_requires_what_a_match_of_it_lacks(regex: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    if re2.search(regex, text) is not None:
        assert all(any(x in text for x in s) for s in required(regex))


def test_rules_find_the_same_in_texts_that_come_one_by_one() -> None:
    texts = [x.encode() for s in RULES.signatures for x in (*s.match, *s.safe)]
    values, offsets = np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)
    views, channels = normalize(values, offsets), np.zeros(len(texts), np.int8)
    together = RULES.scan((values, offsets), views, channels)
    one_by_one = []
    for row, text in enumerate(texts):
        alone, ends = np.frombuffer(text, np.uint8), np.array([0, len(text)], np.int64)
        one_by_one += [
            (row, e.pattern_id, e.start, e.end, e.score)
            for e in RULES.scan((alone, ends), normalize(alone, ends), np.zeros(1, np.int8))
        ]
    assert [(e.row, e.pattern_id, e.start, e.end, e.score) for e in together] == one_by_one


def test_an_expression_is_not_tried_on_a_text_that_lacks_what_it_requires() -> None:
    signature = next(s for s in FOLDED if NEEDS[s.id] and not s.channels)
    text = f"{signature.anchors[0]} and no more".encode()
    views = normalize(np.frombuffer(text, np.uint8), np.array([0, len(text)], np.int64))
    hits, tried = RULES._folded.find(views.values, views.offsets)
    assert len(hits.text)
    assert RULES.signatures.index(signature) not in [number for _, number, _ in tried]
