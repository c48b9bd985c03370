"""What comes on the stream of an answer, as most servers send it: one head by the static table, then whole frames of
data. Anything else is taken to aioquic's HTTP/3, which goes on from there."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from aioquic.h3.connection import (
    FrameType,
    H3Stream,
    HeadersState,
    ProtocolError,
    validate_response_headers,
)
from aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from aioquic.quic.events import StreamDataReceived

from aimds.gateway.packets.bounded import Bounded, is_interim
from aimds.gateway.packets.kept import LINE_BYTES, Kept
from aimds.gateway.packets.wire import pulled

MOST_HEAD_BYTES: Final = 64 << 10
"""Of the heads that a connection keeps as they were read."""
DATA, HEADERS = int(FrameType.DATA), int(FrameType.HEADERS)
MOST_BEGUN: Final = 256
"""Answers that have begun, beyond which it is looked whether somebody still waits for each."""
STATIC: Final = b"\0\0"
"""How a head begins that needs nothing but the static table (RFC 9204, section 4.5.1): the same bytes are the same."""


@dataclass(slots=True)
class _Answer:
    """Of which the head has come: bytes of the body that are to come in all, where that is stated, and have come."""

    size: int | None
    got: int = 0


class Answers:
    """Reads the streams of answers over ``http``, those that are among ``waited``."""

    def __init__(self, http: Bounded, waited: Container[int]) -> None:
        self._http, self._waited = http, waited
        self._heads = Kept[bytes, tuple[Headers, int | None]](MOST_HEAD_BYTES)
        self._begun: dict[int, _Answer] = {}
        self._most = MOST_BEGUN

    def read(self, event: StreamDataReceived) -> Sequence[H3Event]:
        """What came on a stream, as aioquic would tell it."""
        stream_id, content, over = event.stream_id, event.data, event.end_stream
        found: list[HeadersReceived | DataReceived] = []
        answer, at, size = self._begun.get(stream_id), 0, len(content)
        if answer is None:
            head = None if stream_id in self._http._stream else self._head(stream_id, content)
            if head is None:
                return self._http.handle_event(event)
            (headers, expected), at = head
            answer = _Answer(expected)
            found.append(HeadersReceived(headers, stream_id, False))
        while at < size:
            try:
                kind, start = pulled(content, at)
                length, start = pulled(content, start)
            except IndexError:
                break
            stop = start + length
            if kind != DATA or stop > size:
                break
            found.append(DataReceived(content[start:stop], stream_id, False))
            answer.got += length
            at = stop
        if at == size and not over:
            self._keep(stream_id, answer)
            return found
        self._begun.pop(stream_id, None)
        if at == size and answer.size in (None, answer.got):
            if found:
                found[-1].stream_ended = True
            else:
                found.append(DataReceived(b"", stream_id, True))
            return found
        stream = self._http._stream[stream_id] = H3Stream(stream_id)
        stream.headers_recv_state = HeadersState.AFTER_HEADERS
        stream.expected_content_length, stream.content_length = answer.size, answer.got
        return [*found, *self._http.handle_event(StreamDataReceived(content[at:], over, stream_id))]

    def _keep(self, stream_id: int, answer: _Answer) -> None:
        if len(self._begun) >= self._most:
            self._begun = {name: one for name, one in self._begun.items() if name in self._waited}
            self._most = max(MOST_BEGUN, 2 * len(self._begun))
        self._begun[stream_id] = answer

    def _head(self, stream_id: int, content: bytes) -> tuple[tuple[Headers, int | None], int] | None:
        """The head that ``content`` begins with, the length it states, and where it ends."""
        try:
            if content[0] != HEADERS:
                return None
            size, start = pulled(content, 1)
        except IndexError:
            return None
        stop = start + size
        block = content[start:stop]
        if stop > len(content) or not block.startswith(STATIC):
            return None
        known = self._heads.get(block)
        if known is None:
            seen = H3Stream(stream_id)
            try:
                headers = self._http._decode_headers(stream_id, block)
                validate_response_headers(headers, seen)
                if is_interim(headers):
                    return None
            except ProtocolError:
                return None
            known = headers, seen.expected_content_length
            self._heads.put(block, known, sum(2 * (len(name) + len(value)) + LINE_BYTES for name, value in headers))
        return known, stop
