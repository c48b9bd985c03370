"""The answers of one client over HTTP/3: written as there is room, and given up where nobody reads them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from aioquic.h3.connection import ErrorCode

from aimds.gateway.feeding import PORTION
from aimds.gateway.packets import heads
from aimds.gateway.packets.credit import Quic
from aimds.gateway.packets.end import End
from aimds.gateway.packets.wire import varint
from aimds.gateway.server.requests import Request
from aimds.gateway.unread import LOOKS, Unread
from aimds.metrics import Metrics

SEND_BUFFER = 256 << 10
"""Bytes of an answer that aioquic may hold, sent or not, until they are acknowledged."""
LITTLE_SEND_BUFFER, MOST_BUFFERS = 32 << 10, 32
"""As much where more streams than so many have something to send or to be acknowledged."""
SILENT_S: Final = 1.0
"""Without a packet and without an answer to probes, after which nothing is owed to a client any more."""
DATA: Final = b"\0"
"""Type of a frame (RFC 9114, section 7.2.1)."""


class Answering(End, ABC):
    """The half of a connection that sends.

    Args:
        unread_s: how long an answer may wait without any of it being taken, 0 for ever.
    """

    def __init__(self, quic: Quic, metrics: Metrics, unread_s: float) -> None:
        super().__init__(quic)
        self._metrics, self._unread_s = metrics, unread_s
        self._requests: dict[int, Request] = {}
        self._due: set[int] = set()
        self._full: set[int] = set()
        """Streams whose answer waits for room."""
        self._breaking: set[int] = set()
        """Streams whose answer breaks off, once all that was written of it has arrived."""
        self._watched = Unread(unread_s)
        self._look_at: asyncio.TimerHandle | None = None

    @abstractmethod
    def _feed(self, stream_id: int, request: Request) -> None:
        """Hand on what came for ``request``."""

    @abstractmethod
    def _forget(self, stream_id: int, request: Request) -> None:
        """``request`` is over."""

    @abstractmethod
    def _abandon(self) -> None:
        """All requests are over."""

    def owes(self) -> bool:
        """Whether some of an answer that is complete has not arrived, at a client that is still there."""
        ended = any(request.exchange.ended for request in self._requests.values())
        if not ended and next(self.quic.owing(), None) is None:
            return False
        return not self.quic.is_silent(self._loop.time() - SILENT_S)

    def _wake(self, stream_id: int) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due.add(stream_id)

    def _flush(self) -> None:
        due, self._due = self._due, set()
        self._answer_all(due)
        self.transmit()

    def _answer_all(self, streams: set[int]) -> None:
        for stream_id in streams:
            request = self._requests.get(stream_id)
            if request is not None:
                self._answer(stream_id, request)

    def _answer(self, stream_id: int, request: Request) -> None:
        exchange, quic = request.exchange, self.quic
        if not exchange.status and not exchange.ended:
            self._feed(stream_id, request)
            return
        parts: list[bytes] = []
        if exchange.status and not request.begun:
            request.begun = True
            headers = exchange.headers
            if request.bare:
                # Clients such as aioquic's hold the length against a body, whatever they asked for.
                headers = [one for one in headers if one[0] != "content-length"]
            parts.append(heads.head(exchange.status, tuple(headers)))
        room = SEND_BUFFER if len(self._quic._streams) <= MOST_BUFFERS else LITTLE_SEND_BUFFER
        room -= quic.unsent(stream_id)
        while exchange.unsent and room > 0:
            content = exchange.take(PORTION)
            if not request.bare:
                parts += (DATA, varint(len(content)), content)
                room -= len(content)
            if not exchange.ended or exchange.unsent:
                exchange.sent(self._loop.time())
        over = exchange.ended and not exchange.unsent
        quic.send_stream_data(stream_id, b"".join(parts), over and not exchange.broken)
        self._watch()
        if over:
            if exchange.broken:
                self._breaking.add(stream_id)
            self._finish(stream_id)
            return
        if exchange.unsent:
            self._full.add(stream_id)
        self._feed(stream_id, request)

    def _finish(self, stream_id: int) -> None:
        request = self._requests.pop(stream_id)
        stream = self._quic._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished and not request.over:
            # The answer is complete, so the rest of the body is of no use (RFC 9114, section 4.1).
            self._quic.stop_stream(stream_id, ErrorCode.H3_NO_ERROR)
        self._forget(stream_id, request)
        if self._breaking:
            self._break_off()

    def _break_off(self) -> None:
        """End answers that break off, so that nobody takes them for whole (RFC 9114, section 4.1). A reset drops what
        was not sent yet, and the other end may drop what came late, so all of it arrives first."""
        for stream_id in [one for one in self._breaking if not self.quic.unsent(one)]:
            self._breaking.discard(stream_id)
            if self.quic.takes_more(stream_id):
                self._quic.reset_stream(stream_id, ErrorCode.H3_INTERNAL_ERROR)

    def _watch(self) -> None:
        if self._look_at is None and self._unread_s:
            self._look_at = self._loop.call_later(self._unread_s / LOOKS, self._look)

    def _unwatch(self) -> None:
        if self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None

    def _look(self) -> None:
        """Give up answers that nobody reads: all with their connection, or some while others go on."""
        self._look_at = None
        found = self._watched.look(self.quic.owing(), self.quic.over, self._loop.time())
        if found.all:
            self._metrics.closed.labels("quic", "unread").inc()
            self._abandon()
            self.close(ErrorCode.H3_EXCESSIVE_LOAD, f"answers were not read for {self._unread_s:g} s")
            return
        for stream_id in found.stale:
            self._metrics.unread.labels("quic").inc()
            request = self._requests.pop(stream_id, None)
            if request is not None:
                request.exchange.abort(self._loop.time())
                self._forget(stream_id, request)
            self._breaking.discard(stream_id)
            self.quic.cancel(stream_id, ErrorCode.H3_EXCESSIVE_LOAD)
        if found.stale:
            self.transmit()
        if found.waits:
            self._watch()

    def more(self) -> None:
        """Datagrams were taken in: there may be events, and room in what is being sent."""
        self._process_events()
        if self._breaking:
            self._break_off()
        if self._full:
            full, self._full = self._full, set()
            self._answer_all(full)
        self.transmit()
