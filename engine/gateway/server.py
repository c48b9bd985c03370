"""HTTP/3 over QUIC: aioquic's protocol machines, our sockets, and flow-control credit that returns on consumption.

What is overridden of aioquic is private to it; a test looks whether all of it is still there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StopSendingReceived, StreamReset
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from cryptography.hazmat.primitives.serialization import Encoding

from aimds.gateway.datagrams import Address, Datagrams
from aimds.gateway.exchange import Exchange
from aimds.gateway.identity import Peer
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service

STREAM_WINDOW = 256 << 10
CONNECTION_WINDOW = 4 << 20
STREAMS = 128
"""Requests that a connection may have open at once."""
SEND_BUFFER = 256 << 10
"""Bytes of an answer that aioquic may hold, sent or not, until they are acknowledged."""
LEAST_FRAME = 32
"""Bytes of a packet below which no piece of an answer is put into it."""
MOST_CONNECTIONS = 20_000
IDLE_S = 60.0
RETRY_AFTER = 256
"""Handshakes under way from which on a new client has to show that its address is its own (RFC 9000, section 8.1)."""


class _Finished:
    """Ids of streams that are over, as aioquic keeps them, without one entry for each request a client ever made."""

    def __init__(self) -> None:
        self._all = [0, 0, 0, 0]
        """Streams of each kind (RFC 9000, section 2.1) up to which all are over."""
        self._some: set[int] = set()

    def __contains__(self, stream_id: int) -> bool:
        return stream_id >> 2 < self._all[stream_id & 3] or stream_id in self._some

    def __len__(self) -> int:
        return len(self._some)

    def add(self, stream_id: int) -> None:
        """``stream_id`` is over."""
        self._some.add(stream_id)
        kind = stream_id & 3
        while (first := self._all[kind] << 2 | kind) in self._some:
            self._some.discard(first)
            self._all[kind] += 1


class _Quic(QuicConnection):
    """A connection that grants credit for what was consumed, not for what was received."""

    def __init__(self, *, ask_certificate: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._ask = ask_certificate
        self.held: dict[int, int] = {}
        """Bytes received and not consumed, by stream."""
        self.done = 0
        """Requests that are over."""
        self._streams_finished = _Finished()  # type: ignore[assignment]

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = self._ask

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        receiver, limit = stream.receiver, stream.max_stream_data_local
        if receiver.is_finished:
            # aioquic comes by for each packet and each stream; most wait only for their answer or its acknowledgement.
            return
        if limit:
            wanted = receiver.highest_offset - self.held.get(stream.stream_id, 0) + STREAM_WINDOW
            if wanted - limit >= STREAM_WINDOW // 4:
                stream.max_stream_data_local = wanted
        # With nothing seen, aioquic does not double the limit by itself.
        seen, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = seen

    def _write_stream_frame(self, builder: Any, space: Any, stream: Any, max_offset: int) -> int:
        # Where a packet is full, aioquic tries all the other streams all the same.
        if builder.remaining_flight_space < LEAST_FRAME:
            return 0
        return int(super()._write_stream_frame(builder, space, stream, max_offset))

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        data, streams = self._local_max_data, self._local_max_streams_bidi
        wanted = data.used - sum(self.held.values()) + CONNECTION_WINDOW
        if wanted - data.value >= CONNECTION_WINDOW // 4:
            data.value = wanted
        if self.done + STREAMS - streams.value >= STREAMS // 4:
            streams.value = self.done + STREAMS
        used = data.used, streams.used
        data.used = streams.used = 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            data.used, streams.used = used

    def unsent(self, stream_id: int) -> int:
        """Bytes that wait to be sent or acknowledged."""
        stream = self._streams.get(stream_id)
        return len(stream.sender._buffer) if stream is not None else 0


class _Request:
    """A stream: its exchange, and what was received but is not wanted yet."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.held: deque[bytes] = deque()
        self.over = self.told = self.begun = False


class _Connection(QuicConnectionProtocol):
    """One client. Everything that it does wrong ends at this connection."""

    def __init__(self, quic: _Quic, service: Service, address: Address, completed: Callable[[], None]) -> None:
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


class Server:
    """Serves ``service`` over HTTP/3 on ``sock``.

    Args:
        configuration: see `configuration`; `use` puts another in its place.
        ask_certificate: whether clients are asked for a certificate; it is verified where identity is.
        offload: False does without GSO and GRO.
    """

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        configuration: QuicConfiguration,
        *,
        ask_certificate: bool = False,
        offload: bool = True,
    ) -> None:
        self._service, self._configuration, self._ask = service, configuration, ask_certificate
        self._loop = asyncio.get_running_loop()
        self._known: dict[bytes, _Connection] = {}
        """Connections by each of their ids."""
        self._retry = QuicRetryTokenHandler()
        self.handshakes = 0
        """Connections whose handshake is not complete."""
        self.datagrams = Datagrams(sock, self._arrived, offload=offload)

    def use(self, configuration: QuicConfiguration) -> None:
        """New connections see ``configuration``."""
        self._configuration = configuration

    def close(self) -> None:
        """Tell all clients that it is over, and close the socket."""
        for connection in set(self._known.values()):
            connection.close(ErrorCode.H3_NO_ERROR)
        self._known.clear()
        self.datagrams.close()

    def _arrived(self, datagrams: list[tuple[bytes, Address]]) -> None:
        now = self._loop.time()
        touched: dict[int, _Connection] = {}
        size = self._configuration.connection_id_length
        for data, address in datagrams:
            if not data:
                continue
            try:
                long = data[0] & 0x80
                connection = self._found(data, address) if long else self._known.get(data[1 : 1 + size])
                if connection is not None:
                    connection.quic.receive_datagram(data, address, now=now)
                    touched[id(connection)] = connection
            except Exception:  # a datagram made to break us is dropped; its connection runs into its own timeout
                self._service.metrics.denied.labels("datagram").inc()
        for connection in touched.values():
            try:
                connection.more()
            except Exception:  # what is made of it ends one connection; the others go on
                self._service.metrics.denied.labels("datagram").inc()
                connection.close(ErrorCode.H3_INTERNAL_ERROR)
        self.datagrams.flush()

    def _found(self, data: bytes, address: Address) -> _Connection | None:
        """The connection of a datagram with a long header, a new one where it begins one."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._configuration.connection_id_length)
        except ValueError:
            return None
        if header.version is not None and header.version not in self._configuration.supported_versions:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=self._configuration.supported_versions,
            )
            self.datagrams.sendto(answer, address)
            return None
        known = self._known.get(header.destination_cid)
        begins = header.packet_type == QuicPacketType.INITIAL and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE
        if known is not None or not begins or len(self._known) >= 4 * MOST_CONNECTIONS:
            return known
        original, source = header.destination_cid, None
        if header.token:
            try:
                original, source = self._retry.validate_token(address, header.token)
            except ValueError:
                return None
        elif self.handshakes >= RETRY_AFTER:
            # Many that begin and do not go on may have false addresses: have them shown to be true first.
            source = os.urandom(8)
            token = self._retry.create_token(address, header.destination_cid, source)
            answer = encode_quic_retry(
                version=header.version or 0,
                source_cid=source,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            )
            self.datagrams.sendto(answer, address)
            return None
        quic = _Quic(
            ask_certificate=self._ask,
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=source,
        )
        return self._register(quic, header.destination_cid, address)

    def _register(self, quic: _Quic, first: bytes, address: Address) -> _Connection:
        connection = _Connection(quic, self._service, address, self._completed)
        connection.connection_made(self.datagrams)  # type: ignore[arg-type]
        ids = {first, quic.host_cid}

        def issued(cid: bytes) -> None:
            ids.add(cid)
            self._known[cid] = connection

        def retired(cid: bytes) -> None:
            ids.discard(cid)
            self._known.pop(cid, None)

        def terminated() -> None:
            for cid in ids:
                self._known.pop(cid, None)

        connection._connection_id_issued_handler = issued
        connection._connection_id_retired_handler = retired
        connection._connection_terminated_handler = terminated
        self._known |= dict.fromkeys(ids, connection)
        self.handshakes += 1
        return connection

    def _completed(self) -> None:
        self.handshakes -= 1


def configuration(certificate: bytes, key: bytes, *, datagram_bytes: int = 1200) -> QuicConfiguration:
    """What `Server` needs of aioquic's settings; ``certificate`` and ``key`` in PEM.

    Raises:
        ValueError: they cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain = x509.load_pem_x509_certificates(certificate)
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        certificate=chain[0],
        certificate_chain=chain[1:],
        private_key=load_pem_private_key(key, None),
        idle_timeout=IDLE_S,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
        max_datagram_size=datagram_bytes,
    )


__all__ = ["STREAMS", "QuicConfiguration", "Server", "configuration"]
