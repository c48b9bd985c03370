from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.patterns import Pattern
from aimds.detect.patterns.version import NO_HASH, Change, Entry, State, Version, canonical, decode, encode

WALRUS = Entry(Pattern("own.0001", "jailbreak", 0.5, "en", "test", "purple walrus commands the teapot"), "by hand")
TEAPOT = Entry(Pattern("own.0002", "prompt_leak", 0.7, "en", "test", "teapot whispers every secret word"), "by hand")
VERSION = Version(3, "s", "2026-01-02T03:04:05+00:00", "me", "why", NO_HASH, Change((WALRUS,), ("a",), {"b": 0.2}), "")

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CHANGES = st.builds(
    Change,
    added=st.sampled_from([(), (WALRUS,), (WALRUS, TEAPOT)]),
    removed=st.lists(NAMES, max_size=3).map(tuple),
    limits=st.dictionaries(NAMES, st.floats(0, 0.6), max_size=3),
    restores=st.none() | st.integers(0, 10),
)


@given(change=CHANGES, number=st.integers(0, 99), author=NAMES, note=NAMES)
def test_what_is_written_is_read_again(change: Change, number: int, author: str, note: str) -> None:
    version = Version(number, "s", "t", author, note, NO_HASH, change, "")
    content = encode(version)
    again = decode(content)
    assert (again.number, again.author, again.note, again.change) == (number, author, note, change)
    assert encode(again) == content


def test_hash_is_of_the_bytes_and_names_the_version() -> None:
    first, second = decode(encode(VERSION)), decode(encode(VERSION))
    assert first.hash == second.hash
    assert first.name == f"3-{first.hash[:12]}"


def _with(**changes: object) -> bytes:
    return canonical({**json.loads(encode(VERSION)), **changes})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "no version"),
        (canonical({**json.loads(encode(VERSION)), "more": 1}), "no version"),
        (_with(format=2), "format 2"),
        (_with(number="3"), "number"),
        (_with(number=True), "number"),
        (_with(removed=[1]), "removed"),
        (_with(limits={"b": 1}), "pattern b"),
        (_with(limits={"b": 0.7}), "pattern b"),
        (_with(added=[{}]), "no pattern"),
        (_with(added=[{**json.loads(encode(VERSION))["added"][0], "severity": 2.0}]), r"own\.0001.*severity"),
        (_with(added=[{**json.loads(encode(VERSION))["added"][0], "severity": 1}]), r"own\.0001.*severity"),
        (encode(VERSION)[:-1], "written"),
        (encode(VERSION).replace(b'"note":"why"', b'"note": "why"'), "written"),
        (encode(VERSION).replace(b'"note":"why"', b'"note":"x","note":"why"'), "written"),
    ],
)
def test_anything_else_is_refused_and_says_why(content: bytes, problem: str) -> None:
    assert decode(encode(VERSION)).number == 3
    with pytest.raises(ValueError, match=problem):
        decode(content)


def test_changes_make_the_state() -> None:
    state = State().after(Change((WALRUS, TEAPOT), (), {"own.0001": 0.2, "shipped": 0.1}))
    assert set(state.added) == {"own.0001", "own.0002"}
    state = state.after(Change((), ("own.0001", "shipped.2")))
    assert (set(state.added), state.removed, state.limits) == ({"own.0002"}, {"shipped.2"}, {"shipped": 0.1})
    state = state.after(Change((WALRUS,), ("shipped",), {"own.0001": 0.3}))
    assert (set(state.added), state.removed) == ({"own.0001", "own.0002"}, {"shipped", "shipped.2"})
    assert state.limits == {"own.0001": 0.3}


def test_pattern_that_takes_the_place_of_another_stays_when_that_one_is_removed_in_the_same_change() -> None:
    shipped = Entry(Pattern("di.en.0001", "jailbreak", 0.5, "en", "test", WALRUS.pattern.text), "by hand")
    state = State().after(Change((shipped,), ("di.en.0001",)))
    assert state.added["di.en.0001"] == shipped
    assert state.removed == {"di.en.0001"}
    assert State().after(Change((shipped,), ("di.en.0001",))).after(Change((), ("di.en.0001",))).removed == {
        "di.en.0001"
    }
