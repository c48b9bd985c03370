"""A text that streams: what was found in it leaves neither whole nor in part, however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from desk import ATTACK, SECRET, Fake, policy
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.gateway.output import OutputConfig
from aimds.gateway.rows import Row, batch_of, objects
from aimds.integrations.proxy.track import LONGEST_RUN, TooLong, Track, Window, cleaned

SMALL = OutputConfig(look_back_bytes=64, step_bytes=8, max_new_bytes=64, held_bytes=24)


def verdict(text: str) -> dict[str, Any]:
    row = Row(text=text, request_id="0", channel="assistant")
    return objects(Fake().screen_batch(batch_of([row])))[0]


def advance(track: Track) -> None:
    while (window := track.window()) is not None:
        track.judged(window, verdict(window.text), policy())


def left(pieces: list[str], config: OutputConfig = SMALL, **options: Any) -> str:
    """All that leaves of ``pieces``, each of which leaves as a whole or not at all."""
    track, out, places = Track("assistant", config, **options), [], []
    for i, piece in enumerate(pieces):
        start = track.stop
        track.feed(piece)
        places.append((start, track.stop, piece))
        if i == len(pieces) - 1:
            track.close()
        advance(track)
        while places and places[0][1] <= track.released:
            start, stop, text = places.pop(0)
            changed = track.part(start, stop)
            out.append(text if changed is None else changed)
            track.forget(stop)
    return "".join(out)


def cut(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["word ", "ü€😀", "\n", SECRET, " ", "x" * 30]), max_size=25), st.integers(1, 40))
def test_a_secret_leaves_neither_whole_nor_in_part(parts: list[str], size: int) -> None:
    text = "".join(parts)
    # The stand-in finds one secret a window.
    if text.count(SECRET) < 2:
        assert left(cut(text, size)) == text.replace(SECRET, "[CREDIT_CARD]")


@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_nothing_of_an_attack_leaves_nor_anything_behind_it(size: int) -> None:
    text = "Grüße, Ω. " * 30 + ATTACK + " and more" * 30
    found = left(cut(text, size))
    assert text.startswith(found)
    assert ATTACK[:1] not in found
    assert size > len(text) or len(found.encode()) >= len(("Grüße, Ω. " * 30).encode()) - 200


def test_what_may_be_the_beginning_of_something_is_held_back() -> None:
    track = Track("assistant", SMALL)
    track.feed("words " * 20)
    advance(track)
    assert 0 < track.released <= 120 - SMALL.held_bytes


def test_a_run_of_letters_and_digits_is_held_back_until_it_is_over_or_very_long() -> None:
    track = Track("assistant", SMALL)
    track.feed("see ")
    for _ in range(30):
        track.feed("a1B2" * 10)
        advance(track)
    assert track.released <= 4
    track.feed(" and on it goes, with words that are plain enough")
    advance(track)
    assert track.released > 1200
    for _ in range(200):
        track.feed("a1B2" * 10)
        advance(track)
    assert track.stop - track.released <= LONGEST_RUN + 64


def test_a_span_that_goes_on_is_held_from_its_beginning() -> None:
    track = Track("assistant", SMALL)
    track.feed("key: " + "k " * 40)
    window = track.window()
    assert window is not None
    found = verdict("x") | {"action": "redact", "spans": [{"start": 5, "end": window.stop, "kind": "PRIVATE_KEY"}]}
    track.judged(window, found, policy())
    assert track.released <= 5
    track.feed("k " * 40 + " the end, and then some more plain words so that it is over")
    window = track.window()
    assert window is not None
    assert window.start <= 5
    found["spans"] = [{"start": 5 - window.start, "end": 100 - window.start, "kind": "PRIVATE_KEY"}]
    track.judged(window, found, policy())
    track.close()
    advance_with(track, found | {"spans": [], "action": "allow", "status": "partial"})
    assert track.part(0, track.stop) == "key: [PRIVATE_KEY]" + track._tail[100 - track._tail_start :].decode()


def advance_with(track: Track, found: dict[str, Any]) -> None:
    while (window := track.window()) is not None:
        track.judged(window, found, policy())


def test_an_endless_span_ends_the_response() -> None:
    track = Track("assistant", OutputConfig(step_bytes=1 << 17, max_new_bytes=1 << 20))
    spans = [{"start": 0, "end": 0, "kind": "PRIVATE_KEY"}]
    found = verdict("x") | {"action": "redact", "spans": spans}

    def judge(window: Window) -> None:
        spans[0] |= {"start": 0, "end": window.stop - window.start}
        track.judged(window, found, policy())

    def go_on(times: int) -> None:
        for _ in range(times):
            track.feed("k " * (1 << 16))
            if (window := track.window()) is not None:
                judge(window)

    go_on(2)
    with pytest.raises(TooLong, match="a finding"):
        go_on(1)


def test_what_stands_in_the_place_of_a_number_keeps_json_json() -> None:
    text = '{"a": 4111 1111 1111 1111, "b": 2}'.replace("4111 1111 1111 1111", SECRET)
    found = verdict(text)
    assert json.loads(cleaned(text, found, policy(), json=True) or "") == {"a": "[CREDIT_CARD]", "b": 2}
    text = json.dumps({"say": 'a "quoted" ' + SECRET})
    assert json.loads(cleaned(text, verdict(text), policy(), json=True) or "") == {"say": 'a "quoted" [CREDIT_CARD]'}
    assert json.loads(left(cut(text, 5), json=True)) == {"say": 'a "quoted" [CREDIT_CARD]'}


def test_a_text_without_a_finding_is_left_as_it_came() -> None:
    assert cleaned("plain", verdict("plain"), policy()) is None


def test_the_whole_is_judged_once_where_nothing_may_leave_before() -> None:
    track = Track("assistant", SMALL, whole=True)
    for _ in range(100):
        track.feed("some words ")
        assert track.window() is None
    track.close()
    window = track.window()
    assert window is not None
    assert (window.start, window.stop, window.last) == (0, 1100, True)


def test_a_text_that_goes_on_after_all_is_judged_on() -> None:
    track = Track("assistant", SMALL)
    track.feed("the beginning " + ATTACK[:3])
    track.close()
    advance(track)
    assert track.released == 17
    track.feed(ATTACK[3:] + " and more")
    track.close()
    advance(track)
    assert track.blocked


def test_memory_is_bounded_by_the_look_back() -> None:
    track = Track("assistant", SMALL)
    for _ in range(200):
        track.feed("some plain words ")
        advance(track)
        track.forget(track.released)
        assert len(track._tail) < 300
        assert len(track._labels) == 0
