"""Events cut out of a stream: any cut of the bytes gives the same ones, and their bytes add up to what came."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.integrations.proxy.events import Event, Events
from aimds.integrations.proxy.texts import BodyError

STREAM = b": hi\n\nevent: a\ndata: 1\n\ndata:2\r\ndata: 3\r\n\r\nid: 7\rdata: \xe2\x80\xa8 4\r\rdata: last"
DATA = [None, b"1", b"2\n3", b"\xe2\x80\xa8 4", b"last"]


def cut(content: bytes, places: list[int]) -> list[Event]:
    events, out, at = Events(), [], 0
    for place in [*sorted(places), len(content)]:
        out += events.feed(content[at:place])
        at = place
    return out + events.end()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(places: list[int]) -> None:
    found = cut(STREAM, places)
    assert b"".join(event.raw for event in found) == STREAM
    # A line end cut in two leaves its second half as an event without data.
    assert [event.data for event in found if event.raw != b"\n"] == DATA


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"data:", b" x", b":", b"\x0b", b"\xff"]), max_size=30), st.integers(1, 5)
)
def test_no_byte_is_lost(parts: list[bytes], size: int) -> None:
    content = b"".join(parts)
    found = cut(content, list(range(0, len(content), size)))
    assert b"".join(event.raw for event in found) == content


def test_other_data_leaves_the_other_lines_as_they_were() -> None:
    (event,) = cut(b"event: a\r\ndata: {\ndata: }\nid: 1\n\n", [])
    assert event.data == b"{\n}"
    assert event.having(b"{}") == b"event: a\r\ndata: {}\nid: 1\n\n"


def test_an_endless_event_is_refused() -> None:
    events = Events(max_bytes=100)
    events.feed(b"data: xxx\n" * 10)
    with pytest.raises(BodyError, match="100 bytes"):
        events.feed(b"d")
