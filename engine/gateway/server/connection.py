"""One client over HTTP/3: its streams are requests, read as they are wanted, answered as there is room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from aioquic.h3.connection import ErrorCode, ProtocolError
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    ProtocolNegotiated,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from cryptography.hazmat.primitives.serialization import Encoding

from aimds.gateway.datagrams import Address
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import Peer
from aimds.gateway.packets import heads
from aimds.gateway.packets.bounded import Bounded
from aimds.gateway.packets.credit import Quic
from aimds.gateway.packets.receiving import Arrived
from aimds.gateway.packets.wire import varint
from aimds.gateway.problem import Problem
from aimds.gateway.server.answering import DATA, Answering
from aimds.gateway.server.requests import Opening, Request, Requests
from aimds.gateway.turning_away import Refusal
from aimds.metrics import Metrics

MOST_UNSENT = 8 << 20
"""Bytes of all answers of a connection that may wait for its reader, beside a little of each."""

LOOK_S = 5.0
"""Between two looks for heads and bodies that do not go on: they are given up so much late at most."""
HEAD_S = 30.0
"""In which the head of a request must have come, from when its stream was seen first."""


class Opens(Protocol):
    """What a connection wants of the service, wherever that is: see `Service`."""

    metrics: Metrics

    def open(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        peer: Peer,
        now: float,
        head: Head | None = None,
    ) -> Exchange:
        """The exchange of a request."""
        ...

    def refusal(self, head: Head, peer: Peer, waited_s: float, now: float) -> Refusal | None:
        """Why a text that begins with ``head``, and came ``waited_s`` ago, is refused with no request opened for
        it; None where one has to be."""
        ...

    def rest(self) -> float:
        """Seconds for which requests may be left unread."""
        ...


class Connection(Answering):
    """One client. Everything that it does wrong ends at this connection.

    Args:
        completed: called once, when the handshake is over or has failed.
        ended: called once, when the connection is over.
        unread_s: see `Answering`.
    """

    def __init__(
        self,
        quic: Quic,
        service: Opens,
        address: Address,
        completed: Callable[[], None],
        ended: Callable[[], None],
        unread_s: float,
    ) -> None:
        super().__init__(quic, service.metrics, unread_s)
        self._service, self._address, self._completed, self._ended = service, address, completed, ended
        self._http: Bounded | None = None
        self._reader: Requests | None = None
        self._came: dict[int, Request] = {}
        """Requests with something that was not handed on yet."""
        self._unread: dict[int, int] = {}
        """Bytes that aioquic keeps of streams: of a frame that is not whole, or behind a head that waits."""
        self._headless: dict[int, float] = {}
        """Streams on which no request has begun, and when they were looked at first."""
        self._peer: Peer | None = None
        self._listens_at: asyncio.TimerHandle | None = None
        self._connections = service.metrics.connections.labels("quic")
        self._counted = self._over = False
        self.came = self._loop.time()
        """When the first of the datagrams that are taken in together came to this machine."""

    def _process_events(self) -> None:
        super()._process_events()
        now = self._loop.time()
        while self._came:
            came, self._came = self._came, {}
            for stream_id, request in came.items():
                self._hand_on(stream_id, request, now, now - self.came)
        # Each stream that a client opened is of a request, was over before, or has no head yet.
        if self._quic._local_max_streams_bidi.used > self.quic.done + len(self._requests):
            self._look_later()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take in what the connection tells."""
        if isinstance(event, ProtocolNegotiated):
            self._http = Bounded(self.quic)
            self._reader = Requests(self._http)
            self.quic.arrived = self._arrived
        elif isinstance(event, HandshakeCompleted):
            # What a client sends first is enough for the event before; only this one shows that it hears the answers.
            self._counted = True
            self._completed()
            self._connections.inc()
        elif isinstance(event, ConnectionTerminated):
            self._abandon()
            self._unwatch()
            if self._listens_at is not None:
                self._listens_at.cancel()
            self.quic.let_go()
            # They hold heads, and so tokens, while this connection is a cycle that waits for the collector.
            self._http = self._reader = None
            if not self._over:
                self._over = True
                if self._counted:
                    self._connections.dec()
                else:
                    self._completed()
                self._ended()
            return
        elif isinstance(event, (StreamReset, StopSendingReceived)):
            self._abort(event.stream_id)
        if isinstance(event, StreamDataReceived) and not event.stream_id & 3:
            self._arrived(Arrived(event.stream_id, event.data, event.end_stream))
        elif self._http is not None:
            for found in self._http.handle_event(event):
                self._take(found)
            self._weigh()

    def _arrived(self, event: Arrived) -> None:
        stream_id, over = event.stream_id, event.over
        content = event.parts[0] if len(event.parts) == 1 else b"".join(event.parts)
        request, reader, http = self._requests.get(stream_id), self._reader, self._http
        if reader is None or http is None or http._is_done or (request is None and self.quic.is_forgotten(stream_id)):
            return
        found: list[H3Event] = []
        try:
            if request is not None and request.plain:
                if request.exchange.ended:
                    return
                found = reader.body(stream_id, request, content, over)
                self._heard(stream_id, request)
            elif request is not None or stream_id in http._stream:
                found = http.handle_event(StreamDataReceived(data=content, end_stream=over, stream_id=stream_id))
            else:
                opening = reader.opening(stream_id, content, over)
                if isinstance(opening, list):
                    found = opening
                else:
                    head, rest = opening
                    if over and head.read is not None and self._turned_away(stream_id, head.read):
                        return
                    request = self._open(stream_id, head)
                    found = reader.body(stream_id, request, rest, over)
                    self._heard(stream_id, request)
        except ProtocolError as error:
            reader.close(error)
        for one in found:
            self._take(one)
        if self._unread or stream_id in http._stream:
            self._weigh(stream_id)

    def _weigh(self, *more: int) -> None:
        """Count what aioquic keeps of requests as held, so that no credit is given for it."""
        assert self._http is not None
        for stream_id in {*self._unread, *more}:
            stream = self._http._stream.get(stream_id)
            size = 0 if stream is None or self.quic.is_forgotten(stream_id) else len(stream.buffer)
            if change := size - self._unread.pop(stream_id, 0):
                self.quic.hold(stream_id, change)
            if size:
                self._unread[stream_id] = size

    def _heard(self, stream_id: int, request: Request) -> None:
        self._came[stream_id] = request
        request.heard_at = self._loop.time()
        if not request.over:
            self._look_later()

    def _look_later(self) -> None:
        if self._listens_at is None and not self._over:
            self._listens_at = self._loop.call_later(LOOK_S, self._listen)

    def _listen(self) -> None:
        """Give up streams on which no head comes, and requests of which the body is wanted and does not go on."""
        self._listens_at, now = None, self._loop.time()
        # What is held of other requests keeps a client from sending more of any.
        full = self.quic.is_full
        waiting = [one for one in self._requests.values() if not one.over and not one.exchange.ended]
        for request in waiting:
            exchange = request.exchange
            if full or request.held or not exchange.wants_data:
                request.heard_at = now
            elif now - request.heard_at >= exchange.idle_s:
                exchange.refuse(Problem("slow-request", f"nothing came for {exchange.idle_s:g} s"))
        # Bodies that wait for us may have used up the credit for a head; what waits behind heads is the client's doing.
        before = {} if full and any(one.held for one in waiting) else self._headless
        self._headless = {
            stream_id: before.get(stream_id, now)
            for stream_id in self._quic._streams
            if not stream_id & 3 and stream_id not in self._requests and not self.quic.is_forgotten(stream_id)
        }
        late = [stream_id for stream_id, since in self._headless.items() if now - since >= HEAD_S]
        for stream_id in late:
            self._decline(stream_id, ErrorCode.H3_REQUEST_REJECTED)
        if late:
            self.transmit()
        if waiting or self._headless:
            self._look_later()

    def _take(self, event: H3Event) -> None:
        """What aioquic made of a stream that is not a plain one."""
        if not isinstance(event, (HeadersReceived, DataReceived)):
            return
        stream_id = event.stream_id
        request = self._requests.get(stream_id)
        if isinstance(event, HeadersReceived):
            if request is None:
                if self.quic.is_forgotten(stream_id):
                    # It was broken off while its head waited for the table.
                    assert self._reader is not None
                    self._reader.finish(stream_id)
                    return
                named = dict(event.headers)
                method, target = (named.get(name, b"").decode("latin-1") for name in (b":method", b":path"))
                request = self._open(stream_id, Opening(method, target, event.headers, None, None), plain=False)
        elif request is None or request.exchange.ended:
            return
        elif event.data:
            request.held.append(event.data)
            request.fresh += len(event.data)
        request.over = request.over or event.stream_ended
        self._heard(stream_id, request)

    def _open(self, stream_id: int, head: Opening, *, plain: bool = True) -> Request:
        now = self._loop.time()
        exchange = self._service.open(head.method, head.target, head.headers, self._who(), now, head.read)
        request = self._requests[stream_id] = Request(exchange, head.size, plain=plain, bare=head.method == "HEAD")
        exchange.wake = lambda: self._wake(stream_id)
        exchange.has_share = self._has_share
        if exchange.status or exchange.ended:
            self._wake(stream_id)
        return request

    def _turned_away(self, stream_id: int, head: Head) -> bool:
        """Answer at once that a text with ``head`` is refused, where that can be told by it alone."""
        if not self.quic.takes_more(stream_id):
            # It was broken off together with what came of it, which the next event says.
            return False
        now = self._loop.time()
        refusal = self._service.refusal(head, self._who(), now - self.came, now)
        if refusal is None:
            return False
        self.quic.send_stream_data(stream_id, refusal.once("HTTP/3", _framed), True)
        self.quic.forget(stream_id)
        self._watch()
        return True

    def _has_share(self) -> bool:
        exchanges = [request.exchange for request in self._requests.values()]
        return sum(one.unsent + one.expected for one in exchanges) < MOST_UNSENT

    def _who(self) -> Peer:
        path, known = self._quic._network_paths[0], self._address[0]
        # Anybody can write another's address on a packet, so one counts once what was sent there has come back.
        if path.is_validated:
            self._address = path.addr
        moving = path.addr[0] != self._address[0]
        if self._peer is None:
            tls = self._quic.tls
            chain = [tls._peer_certificate, *tls._peer_certificate_chain] if tls._peer_certificate is not None else []
            certificates = tuple(one.public_bytes(Encoding.DER) for one in chain)
            self._peer = Peer(str(self._address[0]), certificates, moving=moving)
        elif known != self._address[0] or moving != self._peer.moving:
            self._peer = replace(self._peer, address=str(self._address[0]), moving=moving)
        return self._peer

    def _feed(self, stream_id: int, request: Request) -> None:
        # What waits for credit is kept back by us, what waits to be read is not.
        self._hand_on(stream_id, request, self._loop.time(), 0.0)

    def _hand_on(self, stream_id: int, request: Request, now: float, waited_s: float) -> None:
        """Hand on what is wanted, and hold the rest."""
        taken = request.feed(now, waited_s)
        change, request.fresh = request.fresh - taken, 0
        if change or (taken and not request.over):
            self.quic.hold(stream_id, change)

    def _abandon(self) -> None:
        for request in self._requests.values():
            request.exchange.abort(self._loop.time())
        self._requests.clear()
        self._came.clear()

    def _abort(self, stream_id: int) -> None:
        request = self._requests.pop(stream_id, None)
        if request is not None:
            request.exchange.abort(self._loop.time())
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._forget(stream_id, request)
        elif not stream_id & 3:
            self._decline(stream_id, ErrorCode.H3_REQUEST_CANCELLED)

    def _decline(self, stream_id: int, code: int) -> None:
        """The head of a request did not come, or not all of it: whatever of it comes late begins none."""
        if self.quic.forget(stream_id):
            self.quic.cancel(stream_id, code)
            self._unread.pop(stream_id, None)
            if self._reader is not None:
                self._reader.finish(stream_id)

    def _forget(self, stream_id: int, request: Request) -> None:
        self._came.pop(stream_id, None)
        self._full.discard(stream_id)
        self._unread.pop(stream_id, None)
        if not request.plain and self._reader is not None:
            self._reader.finish(stream_id)
        self.quic.forget(stream_id)


def _framed(problem: Problem) -> bytes:
    """All of the answer that ``problem`` is."""
    body = problem.body()
    return b"".join((heads.head(problem.status, tuple(problem.headers())), DATA, varint(len(body)), body))
