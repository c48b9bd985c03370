"""One client over HTTP/3: its streams are requests, read as they are wanted, answered as there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StopSendingReceived, StreamReset
from cryptography.hazmat.primitives.serialization import Encoding

from aimds.gateway.datagrams import Address, Datagrams
from aimds.gateway.exchange import Exchange
from aimds.gateway.identity import Peer
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.server.credit import Quic

SEND_BUFFER = 256 << 10
"""Bytes of an answer that aioquic may hold, sent or not, until they are acknowledged."""


class _Request:
    """A stream: its exchange, and what was received but is not wanted yet."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.held: deque[bytes] = deque()
        self.over = self.told = self.begun = False


class Connection(QuicConnectionProtocol):
    """One client. Everything that it does wrong ends at this connection."""

    def __init__(self, quic: Quic, service: Service, address: Address, completed: Callable[[], None]) -> None:
        super().__init__(quic)
        self.quic, self._service, self._address, self._completed = quic, service, address, completed
        self._http: H3Connection | None = None
        self._requests: dict[int, _Request] = {}
        self._due: set[int] = set()
        self._peer: Peer | None = None
        self._connections = service.metrics.connections.labels("quic")
        self._counted = self._over = False

    def transmit(self) -> None:
        """Send, all datagrams together."""
        super().transmit()
        transport: Any = self._transport
        if isinstance(transport, Datagrams):
            transport.flush()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take in what the connection tells."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
            self._counted = True
            self._completed()
            self._connections.inc()
        elif isinstance(event, ConnectionTerminated):
            for request in self._requests.values():
                request.exchange.abort(self._loop.time())
            self._requests.clear()
            if not self._over:
                self._over = True
                if self._counted:
                    self._connections.dec()
                else:
                    self._completed()
            return
        elif isinstance(event, (StreamReset, StopSendingReceived)):
            self._abort(event.stream_id)
        if self._http is not None:
            for found in self._http.handle_event(event):
                self._take(found)

    def _take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            request = self._requests.get(event.stream_id)
            if request is None:
                request = self._open(event.stream_id, event.headers)
        elif isinstance(event, DataReceived):
            request = self._requests.get(event.stream_id)
            if request is None or not event.data:
                pass
            elif request.exchange.ended:
                return
            else:
                request.held.append(event.data)
                self.quic.held[event.stream_id] = self.quic.held.get(event.stream_id, 0) + len(event.data)
        else:
            return
        if request is not None:
            request.over = request.over or event.stream_ended
            self._feed(event.stream_id, request)

    def _open(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> _Request:
        named = dict(headers)
        method, target = (named.get(name, b"").decode("latin-1") for name in (b":method", b":path"))
        exchange = self._service.open(method, target, headers, self._who(), self._loop.time())
        request = self._requests[stream_id] = _Request(exchange)
        exchange.wake = lambda: self._wake(stream_id)
        if exchange.status or exchange.ended:
            self._wake(stream_id)
        return request

    def _who(self) -> Peer:
        if self._peer is None:
            tls = self._quic.tls
            chain = [tls._peer_certificate, *tls._peer_certificate_chain] if tls._peer_certificate is not None else []
            certificates = tuple(one.public_bytes(Encoding.DER) for one in chain)
            self._peer = Peer(str(self._address[0]), certificates)
        return self._peer

    def _feed(self, stream_id: int, request: _Request) -> None:
        exchange, now = request.exchange, self._loop.time()
        try:
            while request.held and exchange.wants_data:
                content = request.held.popleft()
                self.quic.held[stream_id] -= len(content)
                exchange.receive(content, now)
            # Where its acknowledgement was lost, the end of a body comes twice.
            if request.over and not request.told and not request.held and not exchange.ended:
                request.told = True
                exchange.end(now)
        except Exception as error:  # a body that nobody foresaw ends its own request alone
            exchange.refuse(Problem("internal", f"{type(error).__name__}: {error}"))

    def _wake(self, stream_id: int) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due.add(stream_id)

    def _flush(self) -> None:
        due, self._due = self._due, set()
        for stream_id in due:
            request = self._requests.get(stream_id)
            if request is not None:
                self._answer(stream_id, request)
        self.transmit()

    def _answer(self, stream_id: int, request: _Request) -> None:
        exchange, http = request.exchange, self._http
        if http is None:
            return
        if exchange.status and not request.begun:
            request.begun = True
            headers = [(name.encode(), value.encode()) for name, value in exchange.headers]
            over = exchange.ended and not exchange.unsent
            http.send_headers(stream_id, [(b":status", b"%d" % exchange.status), *headers], end_stream=over)
            if over:
                self._finish(stream_id)
                return
        while exchange.unsent and self.quic.unsent(stream_id) < SEND_BUFFER:
            content = exchange.take(64 << 10)
            over = exchange.ended and not exchange.unsent
            http.send_data(stream_id, content, end_stream=over)
            if over:
                self._finish(stream_id)
                return
            exchange.sent(self._loop.time())
        if exchange.ended and not exchange.unsent:
            if request.begun:
                http.send_data(stream_id, b"", end_stream=True)
            self._finish(stream_id)
            return
        self._feed(stream_id, request)

    def _finish(self, stream_id: int) -> None:
        request = self._requests.pop(stream_id)
        stream = self._quic._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished and not request.over:
            # The answer is complete, so the rest of the body is of no use (RFC 9114, section 4.1).
            self._quic.stop_stream(stream_id, ErrorCode.H3_NO_ERROR)
        self._forget(stream_id)

    def _abort(self, stream_id: int) -> None:
        request = self._requests.pop(stream_id, None)
        if request is not None:
            request.exchange.abort(self._loop.time())
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.quic.held.pop(stream_id, None)
        self.quic.done += 1

    def more(self) -> None:
        """Datagrams were taken in: there may be events, and room in what is being sent."""
        self._process_events()
        for stream_id, request in list(self._requests.items()):
            if request.exchange.unsent and self.quic.unsent(stream_id) < SEND_BUFFER:
                self._answer(stream_id, request)
        self.transmit()
