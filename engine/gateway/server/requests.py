"""What comes on the stream of a request, as most clients send it: one head, then frames of data until the end.

Anything else (a head in pieces or one that waits for the table, trailers, other frames) is taken to aioquic's HTTP/3,
which goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pylsqpack
from aioquic.h3.connection import (
    FrameType,
    H3Stream,
    HeadersState,
    MessageError,
    ProtocolError,
    validate_request_headers,
)
from aioquic.h3.events import H3Event
from aioquic.quic.events import StreamDataReceived

from aimds.gateway.exchange import Exchange
from aimds.gateway.feeding import Feeding
from aimds.gateway.headers import KEY, MAX_KEY, Head
from aimds.gateway.packets.bounded import Bounded, Cut
from aimds.gateway.packets.kept import LINE_BYTES, Kept
from aimds.gateway.packets.wire import pulled
from aimds.gateway.problem import Problem

MOST_HEAD_BYTES: Final = 128 << 10
"""Of the heads that a connection keeps as they were read: some 80 ordinary ones."""
RAW_KEY, LONGEST_KEY = KEY.encode(), b"k" * MAX_KEY
DATA, HEADERS = int(FrameType.DATA), int(FrameType.HEADERS)


@dataclass(frozen=True, slots=True)
class Opening:
    """The head of a request; ``read`` is None where the service has to say what is wrong with it."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    read: Head | None
    size: int | None
    """Bytes of the body, where they are stated."""


class Request(Feeding):
    """A stream."""

    def __init__(self, exchange: Exchange, size: int | None = None, *, plain: bool = False, bare: bool = False) -> None:
        super().__init__(exchange)
        self.bare = bare
        """Its answer is sent without its body (RFC 9110, section 9.3.2)."""
        self.heard_at = 0.0
        """When something of its body came last, or was of no use yet."""
        self.plain = plain
        """Its frames are read here."""
        self.left = 0
        """Bytes that are still to come of a frame of data."""
        self.got, self.size = 0, size
        self.fresh = 0
        """Bytes of a body that nobody has seen yet, and that do not count as held."""
        self.rest = b""
        """The beginning of a frame."""


class Requests:
    """Reads request streams of ``http``, whose tables it uses."""

    def __init__(self, http: Bounded) -> None:
        self._http = http
        self._heads = Kept[tuple[tuple[bytes, bytes], ...], Opening](MOST_HEAD_BYTES)

    def opening(self, stream_id: int, content: bytes, over: bool) -> tuple[Opening, bytes] | list[H3Event]:
        """The head at the beginning of ``content`` and what comes after it; or what aioquic made of all of it.

        Raises:
            ProtocolError: the connection is to be closed.
        """
        stop = 0
        try:
            if content[0] == HEADERS:
                size, start = pulled(content, 1)
                stop = start + size
        except IndexError:
            stop = 0
        if not 0 < stop <= len(content):
            return self._http.handle_event(StreamDataReceived(data=content, end_stream=over, stream_id=stream_id))
        try:
            headers = self._http._decode_headers(stream_id, content[start:stop])
        except pylsqpack.StreamBlocked:
            stream = self._http._stream[stream_id] = H3Stream(stream_id)
            stream.blocked, stream.blocked_frame_size = True, size
            stream.buffer, stream.receiving_ended = content[stop:], over
            return []
        return self._read(headers), content[stop:]

    def _read(self, headers: list[tuple[bytes, bytes]]) -> Opening:
        """The head that ``headers`` are. Many are alike but for an Idempotency-Key at their end, so that is read apart.

        Raises:
            ProtocolError: they are no head of a request.
        """
        if not headers or headers[-1][0] != RAW_KEY:
            return self._alike(headers)
        value = headers[-1][1].decode("latin-1")
        if not value.isascii() or not value.isprintable() or " " in value or len(value) > MAX_KEY:
            return self._alike(headers)
        # Whatever the key, they are no larger than this.
        found = self._alike([*headers[:-1], (RAW_KEY, LONGEST_KEY)])
        read = None if found.read is None else found.read.keyed(value)
        return Opening(found.method, found.target, headers, read, found.size)

    def _alike(self, headers: list[tuple[bytes, bytes]]) -> Opening:
        key = tuple(headers)
        found = self._heads.get(key)
        if found is None:
            seen = H3Stream(0)
            validate_request_headers(headers, seen)
            named = dict(headers)
            method, target = (named.get(name, b"").decode("latin-1") for name in (b":method", b":path"))
            try:
                read = Head.read(method, target, headers)
            except Problem:
                read = None
            found = Opening(method, target, headers, read, seen.expected_content_length)
            # The text stands in the lines and in what was read of them.
            size = sum(2 * (len(name) + len(value)) + LINE_BYTES for name, value in headers)
            self._heads.put(key, found, size)
        return found

    def body(self, stream_id: int, request: Request, content: bytes, over: bool) -> list[H3Event]:
        """Put the data in ``content`` to what ``request`` holds; what aioquic made of it where that is not all it is.

        Raises:
            ProtocolError: the connection is to be closed.
        """
        if request.rest:
            content, request.rest = request.rest + content, b""
        at, size = 0, len(content)
        while at < size:
            if request.left:
                stop = min(at + request.left, size)
                request.held.append(content[at:stop])
                request.left -= stop - at
                request.got += stop - at
                request.fresh += stop - at
                at = stop
                continue
            try:
                kind, start = pulled(content, at)
                length, start = pulled(content, start)
            except IndexError:
                request.rest = content[at:]
                break
            if kind != DATA:
                return self._handed(stream_id, request, content[at:], over)
            request.left, at = length, start
        if over:
            request.over = True
            if request.left or request.rest:
                raise Cut("the stream ended in the middle of a frame")
            if request.size is not None and request.size != request.got:
                raise MessageError("content-length does not match data size")
        return []

    def _handed(self, stream_id: int, request: Request, content: bytes, over: bool) -> list[H3Event]:
        request.plain = False
        stream = self._http._stream[stream_id] = H3Stream(stream_id)
        stream.headers_recv_state = HeadersState.AFTER_HEADERS
        stream.expected_content_length, stream.content_length = request.size, request.got
        return self._http.handle_event(StreamDataReceived(data=content, end_stream=over, stream_id=stream_id))

    def finish(self, stream_id: int) -> None:
        """The request is over."""
        self._http.finish(stream_id)

    def close(self, error: ProtocolError) -> None:
        """End the connection as aioquic does."""
        self._http._is_done = True
        self._http._quic.close(error_code=error.error_code, reason_phrase=error.reason_phrase)
