"""The streams of answers that the client reads itself, beside what HTTP/3 by aioquic makes of them."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pylsqpack
import pytest
from aioquic.h3.connection import ErrorCode, FrameType, encode_frame
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import ProtocolNegotiated, StreamDataReceived, StreamReset
from hypothesis import example, given
from hypothesis import strategies as st

from aimds.gateway.client.answers import MOST_BEGUN, Answers
from aimds.gateway.client.quic import Quic
from aimds.gateway.packets import heads
from aimds.gateway.packets.bounded import Bounded

RESERVED = 0x21
"""A frame that says nothing (RFC 9114, section 7.2.8)."""


class Below:
    """In the place of a QUIC connection of a client."""

    configuration = SimpleNamespace(is_client=True)
    _quic_logger = None
    _remote_max_datagram_frame_size = None

    def __init__(self) -> None:
        self.closed: int | None = None
        self._next = 2

    def get_next_available_stream_id(self, is_unidirectional: bool = False) -> int:
        assert is_unidirectional
        self._next += 4
        return self._next - 4

    def send_stream_data(self, *_: object) -> None:
        """It goes nowhere."""

    send_later = send_stream_data

    def close(self, error_code: int, **_: object) -> None:
        self.closed = error_code


def told(events: list[H3Event], below: Below) -> dict[str, Any]:
    """What somebody who waits for the answer makes of ``events``."""
    found: dict[str, Any] = {"heads": [], "body": b"", "over": [], "closed": below.closed}
    for event in events:
        assert isinstance(event, (HeadersReceived, DataReceived))
        if isinstance(event, HeadersReceived):
            found["heads"].append(event.headers)
        else:
            found["body"] += event.data
        if event.stream_ended:
            found["over"].append(len(found["body"]))
    return found


def both(parts: list[tuple[bytes, bool]], stream: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``Answers`` and aioquic tell of a stream that comes in ``parts``."""
    ours, theirs = Below(), Below()
    bounded: Any = Bounded(ours)  # type: ignore[arg-type]
    answers, oracle = Answers(bounded, {stream}), Bounded(theirs)  # type: ignore[arg-type]
    found: list[H3Event] = []
    expected: list[H3Event] = []
    for content, over in parts:
        if ours.closed is None:
            found += answers.read(StreamDataReceived(data=content, end_stream=over, stream_id=stream))
        if theirs.closed is None:
            expected += oracle.handle_event(StreamDataReceived(data=content, end_stream=over, stream_id=stream))
    assert not answers._begun or not parts[-1][1]
    return told(found, ours), told(expected, theirs)


@st.composite
def answer(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """An answer, in pieces as they may come."""
    pieces = draw(st.lists(st.binary(max_size=80), max_size=4))
    lines = [("content-type", "application/json")]
    if draw(st.booleans()):
        size = sum(map(len, pieces)) + draw(st.sampled_from([0, 0, 0, 1, -1]))
        lines.append(("content-length", str(max(0, size))))
    content = heads.head(103, (("x-own", "early"),)) if draw(st.integers(0, 4)) == 4 else b""
    content += heads.head(draw(st.sampled_from([200, 404, 429])), tuple(lines))
    for piece in pieces:
        if draw(st.integers(0, 6)) == 6:
            content += encode_frame(RESERVED, b"nothing")
        content += encode_frame(FrameType.DATA, piece)
    content += draw(st.sampled_from([b""] * 8 + [heads._framed(b"\x50\x01x"), b"\0", b"\xff"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=4)))
    bounds = [0, *cuts, len(content)]
    parts = [(content[a:b], False) for a, b in itertools.pairwise(bounds)]
    over = draw(st.booleans())
    # The end comes with the last of it, or by itself.
    return [*parts[:-1], (parts[-1][0], over)] if draw(st.booleans()) else [*parts, (b"", over)]


@given(answer())
@example([(heads.head(200, (("content-length", "2"),)) + b"\0\2ab", True)])
@example([(heads.head(200, (("content-length", "3"),)) + b"\0\2ab", True)])
@example([(heads.head(204, ()), True)])
@example([(heads.head(200, ()), False), (b"\0\2ab", False), (b"", True)])
@example([(b"\1", False), (heads.head(200, ())[1:], True)])
@example([(heads.head(200, ()) + b"\0\4ab", False), (b"cd\0\1e", True)])
@example([(heads.head(200, ()) + b"\0", True)])
@example([(heads.head(200, ()) + b"\0\2ab" + encode_frame(RESERVED, b"nothing"), True)])
def test_an_answer_is_told_as_aioquic_tells_it(parts: list[tuple[bytes, bool]]) -> None:
    found, expected = both(parts)
    if expected["closed"] is None:
        assert found == expected
        return
    # Of what came in one piece with an error aioquic tells nothing, and nobody may take either for whole.
    assert found["closed"] == expected["closed"]
    assert found["over"] == expected["over"] == []
    assert found["body"].startswith(expected["body"])


def test_a_head_that_is_not_by_the_static_table_alone_is_read_by_aioquic() -> None:
    # The first line is of the table, in which there is nothing.
    found, expected = both([(encode_frame(FrameType.HEADERS, b"\x02\0\x80"), False)])
    assert found == expected
    found, expected = both([(encode_frame(FrameType.HEADERS, b"\0\0\x80"), False)])
    assert found == expected
    assert found["closed"] is not None


def test_a_head_is_read_once_and_alike_heads_of_other_answers_are_the_same() -> None:
    bounded: Any = Bounded(Below())  # type: ignore[arg-type]
    answers, read = Answers(bounded, range(0, 400, 4)), []
    decode = bounded._decode_headers
    bounded._decode_headers = lambda stream, block: read.append(stream) or decode(stream, block)
    whole = heads.head(200, (("content-type", "application/json"),)) + b"\0\1a"
    for stream in range(0, 400, 4):
        events = answers.read(StreamDataReceived(data=whole, end_stream=True, stream_id=stream))
        assert told(list(events), bounded._below)["body"] == b"a"
    assert read == [0]


def test_answers_that_nobody_waits_for_any_more_are_not_remembered() -> None:
    bounded: Any = Bounded(Below())  # type: ignore[arg-type]
    waited: set[int] = set()
    answers, head = Answers(bounded, waited), heads.head(200, ())
    for stream in range(0, 40 * MOST_BEGUN, 4):
        waited.add(stream)
        answers.read(StreamDataReceived(data=head, end_stream=False, stream_id=stream))
        if stream:
            waited.discard(stream)
    assert len(answers._begun) <= MOST_BEGUN
    assert 0 in answers._begun


PLAIN = heads.head(200, ())


@pytest.mark.parametrize(
    "parts",
    [
        [PLAIN + b"\0\4ab"],
        [PLAIN, b"\0\4ab"],
        [PLAIN + b"\0\4ab", b""],
        [PLAIN + b"\0\4a", b"b"],
        [PLAIN + b"\0\2ab\0\4cd"],
        [PLAIN + b"\0\2ab\0"],
        [heads.head(200, (("content-length", "2"),)) + b"\0\4ab"],
        [PLAIN + b"\0\2ab" + encode_frame(RESERVED, b"nothing")[:-1]],
        [PLAIN[:3]],
    ],
)
def test_an_answer_that_ends_in_the_middle_of_a_frame_is_not_taken_for_whole(parts: list[bytes]) -> None:
    for found in both([(part, place == len(parts)) for place, part in enumerate(parts, 1)]):
        assert found["over"] == []
        assert found["closed"] == ErrorCode.H3_FRAME_ERROR


@pytest.mark.parametrize("stated", [(), (("content-length", "2"),)])
def test_an_answer_whose_last_frame_says_nothing_is_over_with_it(stated: tuple[tuple[str, str], ...]) -> None:
    found, _ = both([(heads.head(200, stated) + b"\0\2ab" + encode_frame(RESERVED, b"nothing"), True)])
    assert (found["body"], found["over"], found["closed"]) == (b"ab", [2], None)


def test_an_answer_may_follow_others_that_are_interim() -> None:
    early = heads.head(103, (("content-length", "9"),)) + heads.head(100, ())
    for cut in (0, 3, len(early)):
        content = early + PLAIN + b"\0\2ab"
        found, _ = both([(content[:cut], False), (content[cut:], True)])
        assert [dict(one)[b":status"] for one in found["heads"]] == [b"200"]
        assert (found["body"], found["over"], found["closed"]) == (b"ab", [2], None)


@pytest.mark.parametrize("status", ["abc", "20", "2000", ""])
def test_a_status_that_is_no_number_is_none(status: str) -> None:
    _, block = pylsqpack.Encoder().encode(0, [(b":status", status.encode())])
    found, expected = both([(encode_frame(FrameType.HEADERS, block), True)])
    assert found == expected
    assert (found["heads"], found["closed"]) == ([], ErrorCode.H3_MESSAGE_ERROR)


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        (0, PLAIN + encode_frame(FrameType.PUSH_PROMISE, b"")),
        (0, PLAIN + encode_frame(FrameType.PUSH_PROMISE, b"\x40")),
        (3, b"\0" + encode_frame(FrameType.SETTINGS, b"\1")),
    ],
)
def test_a_frame_whose_content_is_none_of_its_kind_ends_the_connection(stream: int, content: bytes) -> None:
    below = Below()
    bounded: Any = Bounded(below)  # type: ignore[arg-type]
    event = StreamDataReceived(data=content, end_stream=False, stream_id=stream)
    Answers(bounded, {0}).read(event) if not stream else bounded.handle_event(event)
    assert below.closed == ErrorCode.H3_FRAME_ERROR


class Waiting(Below):
    """In the place of the connection of a client on which heads wait for the table."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.encoder = pylsqpack.Encoder()
        self.table = self.encoder.apply_settings(4096, 16)

    def answer(self, stream: int, body: bytes) -> bytes:
        """An answer of which the head waits for what comes to ``table``."""
        lines = [(b":status", b"200"), (b"x-own", b"the same"), (b"content-length", b"%d" % len(body))]
        block = b"\0"
        while not block[0]:
            # What comes once goes into no table.
            more, block = self.encoder.encode(stream, lines)
            self.table += more
        return encode_frame(FrameType.HEADERS, block) + encode_frame(FrameType.DATA, body)

    def cancel(self, *_: object) -> None:
        """Nobody is told."""

    def hold(self, stream_id: int, size: int) -> None:
        self.held[stream_id] = self.held.get(stream_id, 0) + size

    def forget(self, stream_id: int) -> None:
        del self.held[stream_id]


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_head_that_waits_for_the_table_when_its_request_is_given_up_is_in_no_others_way(
    over: bool, reset: bool
) -> None:
    async def test() -> None:
        below: Any = Waiting()
        quic, came = Quic(below), list[H3Event | None]()
        quic._transmit_soon = lambda: None  # type: ignore[method-assign]
        quic.quic_event_received(ProtocolNegotiated("h3"))
        first, second = below.answer(0, b"ab"), below.answer(4, b"cd")
        quic.streams |= {0: came.append, 4: came.append}
        quic.quic_event_received(StreamDataReceived(first, over, 0))
        quic.quic_event_received(StreamDataReceived(second, True, 4))
        if reset:
            quic.quic_event_received(StreamReset(0, 0))
            assert came.pop() is None
        quic.cancel(0)
        # No credit returns for what is kept.
        assert below.held == {4: len(second)}
        quic.quic_event_received(StreamDataReceived(b"\2" + below.table, False, 7))
        assert [
            (type(event), event.stream_id) for event in came if isinstance(event, HeadersReceived | DataReceived)
        ] == [
            (HeadersReceived, 4),
            (DataReceived, 4),
        ]
        assert below.closed is None
        assert quic._http is not None
        assert list(quic._http._stream) == [7]
        assert below.held == {}

    asyncio.run(test())


def test_of_a_stream_that_was_reset_nothing_is_kept() -> None:
    async def test() -> None:
        quic = Quic(Waiting())  # type: ignore[arg-type]
        quic.quic_event_received(ProtocolNegotiated("h3"))
        quic.streams[0] = lambda event: None
        quic.quic_event_received(StreamDataReceived(PLAIN[:3], False, 0))
        quic.quic_event_received(StreamReset(0, 0))
        assert quic._http is not None
        assert not quic._http._stream

    asyncio.run(test())
