"""HTTP/3 as aioquic reads it, with bounds on what the other end may have it keep, and with ends that are ends.

aioquic collects each frame but DATA until it is whole, whatever size it states, and gives out a head however often it
repeats an entry of the table. It takes a stream that ends in the middle of its data for whole, does not see the end of
one whose last frame it does not know, and takes the answer that follows an interim one for trailers.
"""

from __future__ import annotations

from typing import Final

import pylsqpack
from aioquic._buffer import BufferReadError
from aioquic.h3.connection import (
    ErrorCode,
    H3Connection,
    H3Stream,
    HeadersState,
    MessageError,
    ProtocolError,
    QpackDecompressionFailed,
)
from aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from aioquic.quic.events import QuicEvent, StreamDataReceived

from aimds.gateway.headers import FIELD_BYTES, MAX_HEADER_BYTES
from aimds.gateway.packets.streams import Streams

MOST_FRAME_BYTES: Final = 2 * MAX_HEADER_BYTES
"""Of a frame that is no DATA: so that a head that is only somewhat too large is told so."""
MOST_LINES: Final = MAX_HEADER_BYTES // FIELD_BYTES
"""Of a head: more of them are too large, however short they are."""
MOST_BITS: Final = 62
"""Of a number in a head (RFC 9204, section 4.1.1): to read one as long as its head takes the square of its bytes."""
INTERIM: Final = b"1"
"""How the status of an answer begins that another follows (RFC 9110, section 15.2)."""


class Excess(ProtocolError):
    """The other end makes more work than it needs (RFC 9114, section 8.1)."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class Cut(ProtocolError):
    """A stream ends in the middle of a frame (RFC 9114, section 7.1)."""

    error_code = ErrorCode.H3_FRAME_ERROR


class Bounded(H3Connection):
    """As in aioquic; a connection on which more is kept than a frame may have, or a frame is cut off, is closed."""

    def __init__(self, quic: Streams) -> None:
        super().__init__(quic)
        self._below = quic

    def handle_event(self, event: QuicEvent) -> list[H3Event]:
        """As in aioquic; a frame whose content is no such frame ends the connection, and raises nothing."""
        try:
            return super().handle_event(event)
        except (BufferReadError, AssertionError):
            self._is_done = True
            self._quic.close(error_code=ErrorCode.H3_FRAME_ERROR, reason_phrase="a frame is not as its kind has to be")
            return []

    def _receive_stream_data(self, event: StreamDataReceived) -> list[H3Event]:
        found = super()._receive_stream_data(event)
        stream = self._stream.get(event.stream_id)
        # What waits for the table counts as held, since bodies may be behind it.
        if stream is not None and not stream.blocked and len(stream.buffer) > MOST_FRAME_BYTES:
            raise Excess("a frame is too large")
        return found

    def _receive_request_or_push_data(self, stream: H3Stream, data: bytes, stream_ended: bool) -> list[H3Event]:
        found = super()._receive_request_or_push_data(stream, data, stream_ended)
        if not stream_ended or stream.blocked or stream.session_id is not None:
            return found
        if stream.frame_size is not None or stream.buffer:
            raise Cut("the stream ended in the middle of a frame")
        if not found or not getattr(found[-1], "stream_ended", False):
            # The last of its frames are of a kind that says nothing (RFC 9114, section 9).
            self._check_content_length(stream)
            found.append(DataReceived(b"", stream.stream_id, True, stream.push_id))
        return found

    def _handle_request_or_push_frame(
        self, frame_type: int, frame_data: bytes | None, stream: H3Stream, stream_ended: bool
    ) -> list[H3Event]:
        first = self._is_client and stream.headers_recv_state is HeadersState.INITIAL
        found = super()._handle_request_or_push_frame(frame_type, frame_data, stream, stream_ended)
        if first and found and isinstance(found[0], HeadersReceived) and is_interim(found[0].headers):
            stream.headers_recv_state, stream.expected_content_length = HeadersState.INITIAL, None
            return []
        return found

    def waits(self, stream_id: int) -> bool:
        """Whether the head of a stream waits for the table, and what comes of the stream is kept until then."""
        stream = self._stream.get(stream_id)
        return stream is not None and stream.blocked

    def finish(self, stream_id: int) -> None:
        """Nobody wants more of a stream: what is kept of it goes, but for a head that waits for the table, for which
        aioquic would look."""
        stream = self._stream.get(stream_id)
        if stream is not None and stream.blocked:
            # Nor does it count what its head says of a body that is gone.
            stream.buffer, stream.receiving_ended = b"", False
        elif stream is not None:
            del self._stream[stream_id]

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Headers:
        if frame_data is not None:
            if len(frame_data) > MOST_FRAME_BYTES:
                raise Excess("a head is too large")
            # A byte may stand for an entry of 4,096 in the table, and for a hundred in the static one.
            if len(frame_data) > MOST_LINES and frame_data[:1] > b"\0" and more_lines(frame_data, MOST_LINES):
                raise Excess("a head has too many lines")
        try:
            if frame_data is None:
                said, headers = self._decoder.resume_header(stream_id)
            else:
                said, headers = self._decoder.feed_header(stream_id, frame_data)
        except pylsqpack.DecompressionFailed as error:
            raise QpackDecompressionFailed from error
        if said:
            # Heads that come together are acknowledged together.
            self._decoder_bytes_sent += len(said)
            assert self._local_decoder_stream_id is not None
            self._below.send_later(self._local_decoder_stream_id, said)
        return headers


def is_interim(headers: Headers) -> bool:
    """Whether another head of the same answer follows the one with ``headers``, which aioquic has found sound.

    Raises:
        MessageError: its status is no number of three digits.
    """
    status = headers[0][1]
    if len(status) != 3 or not status.isdigit():
        raise MessageError("the status of an answer is none")
    return status.startswith(INTERIM)


def more_lines(block: bytes, most: int) -> bool:
    """Whether a head encoded as ``block`` (RFC 9204, section 4.5) has more than ``most`` lines; one that is damaged has
    as many as can be read."""
    count = 0
    try:
        _, at = prefixed(block, 0, 8)
        _, at = prefixed(block, at, 7)
        while at < len(block) and count <= most:
            first = block[at]
            if first & 0x80:
                _, at = prefixed(block, at, 6)
            elif first & 0x40:
                _, at = prefixed(block, at, 4)
                at = _after(block, at, 7)
            elif first & 0x20:
                at = _after(block, _after(block, at, 3), 7)
            elif first & 0x10:
                _, at = prefixed(block, at, 4)
            else:
                _, at = prefixed(block, at, 3)
                at = _after(block, at, 7)
            count += 1
    except IndexError:
        pass
    return count > most


def prefixed(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """The number with a prefix of ``bits`` bits (RFC 7541, section 5.1) that begins ``at``, and where it ends.

    Raises:
        IndexError: ``block`` ends before, or the number is longer than MOST_BITS.
    """
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value < most:
        return value, at
    for shift in range(0, MOST_BITS, 7):
        value += (block[at] & 127) << shift
        at += 1
        if block[at - 1] < 128:
            return value, at
    raise IndexError(at)


def _after(block: bytes, at: int, bits: int) -> int:
    """Where the string that begins ``at`` ends."""
    size, at = prefixed(block, at, bits)
    return at + size
