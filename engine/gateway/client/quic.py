"""One HTTP/3 connection of a client: what comes on each stream is handed on, and bodies are sent as there is room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult

from aioquic.h3.connection import H3_ALPN, ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StreamDataReceived, StreamReset

from aimds.gateway.client.answers import Answers
from aimds.gateway.client.options import Options, trust
from aimds.gateway.client.unanswered import silent, untrusted
from aimds.gateway.datagrams import Address, Datagrams, bound, in_one_piece
from aimds.gateway.packets import heads
from aimds.gateway.packets.bounded import Bounded
from aimds.gateway.packets.credit import Quic as Credit
from aimds.gateway.packets.end import End
from aimds.gateway.packets.probing import LEAST
from aimds.gateway.packets.receiving import Arrived
from aimds.gateway.packets.wire import varint

DISTRUST = frozenset(0x100 + alert for alert in (42, 43, 44, 45, 46, 48))
"""What a QUIC connection ends with where a certificate is bad, unsupported, revoked, expired, unknown or of an unknown
CA: the TLS alerts (RFC 8446, section 6.2) as RFC 9001, section 4.8, carries them."""
SEND_BUFFER = 1 << 20
DATA: Final = b"\0"
# What went wrong with a connection is in the error; aioquic's lines about it are for who asks for them.
logging.getLogger("quic").addHandler(logging.NullHandler())
Told = Callable[[HeadersReceived | DataReceived | None], None]
"""Gets what comes on a stream; None where it broke off."""


class Transport(Credit):
    """The connection below. What comes is taken at once, so credit returns as it comes, but for what is behind a head
    that waits for the table."""

    stream_window, connection_window = 1 << 20, 16 << 20


class Quic(End):
    """One HTTP/3 connection; ``streams`` has who is told of what comes on each."""

    def __init__(self, quic: Transport) -> None:
        super().__init__(quic)
        self._http: Bounded | None = None
        self._answers: Answers | None = None
        self.streams: dict[int, Told] = {}
        self.over = False
        self.distrust = ""
        """Why the server's certificate was not accepted, where that ended the connection."""
        self.room = asyncio.Event()
        self._heads = heads.Heads()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand events to their streams."""
        if isinstance(event, ProtocolNegotiated):
            self._http = Bounded(self.quic)
            self._answers = Answers(self._http, self.streams)
            self.quic.arrived = self._arrived
        elif isinstance(event, ConnectionTerminated):
            if event.error_code in DISTRUST:
                self.distrust = event.reason_phrase or "it was refused"
            self._broken()
        elif isinstance(event, StreamReset):
            self._finish(event.stream_id)
            if (told := self.streams.get(event.stream_id)) is not None:
                told(None)
        elif isinstance(event, StreamDataReceived) and not event.stream_id & 3:
            self._came(event)
            return
        if self._http is not None:
            self._tell(self._http.handle_event(event))

    def _tell(self, events: Sequence[H3Event]) -> None:
        for found in events:
            if isinstance(found, (HeadersReceived, DataReceived)):
                if kept := self.quic.held.get(found.stream_id):
                    self.quic.hold(found.stream_id, -kept)
                told = self.streams.get(found.stream_id)
                if told is not None:
                    told(found)
                if found.stream_ended or (told is None and not found.stream_id & 3):
                    # Of a request that was given up there may be a head that waited for the table.
                    self._finish(found.stream_id)

    def _finish(self, stream_id: int) -> None:
        if self._http is not None:
            self._http.finish(stream_id)
        if stream_id in self.quic.held:
            self.quic.forget(stream_id)

    def _arrived(self, event: Arrived) -> None:
        content = event.parts[0] if len(event.parts) == 1 else b"".join(event.parts)
        self._came(StreamDataReceived(content, event.over, event.stream_id))

    def _came(self, event: StreamDataReceived) -> None:
        """Something of an answer, unless its request was given up."""
        if self._answers is not None and event.stream_id in self.streams:
            self._tell(self._answers.read(event))
            if self._http is not None and self._http.waits(event.stream_id):
                self.quic.hold(event.stream_id, len(event.data))

    def _broken(self) -> None:
        self.over = True
        self._heads.clear()
        # It holds heads that came.
        self._answers = None
        for told in list(self.streams.values()):
            told(None)
        self.room.set()

    async def wait_connected(self) -> None:
        """Wait for the handshake. When that is given up, what it ends with later is told to nobody."""
        try:
            await super().wait_connected()
        except asyncio.CancelledError:
            self._connected_waiter = None
            raise

    def received(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Take in what the socket has read; what was acknowledged makes room."""
        now = self._loop.time()
        for data, address in datagrams:
            # Anybody can send to the socket, so what is no packet is dropped.
            with contextlib.suppress(Exception):
                self.quic.receive_datagram(data, address, now=now)
        self._process_events()
        self.transmit()
        self.room.set()

    def begin(
        self,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        told: Told,
        *,
        more: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Start a request, with all of its body where there is one; its stream.

        ``told``: see `Told`. ``headers`` begin other requests alike, ``more`` are of this one alone.
        """
        if self._http is None:
            raise ConnectionError("the server speaks no HTTP/3")
        stream = int(self.quic.get_next_available_stream_id())
        self.streams[stream] = told
        head = self._heads.request(headers, more)
        content = head if not body else b"".join((head, DATA, varint(len(body)), body))
        self.quic.send_stream_data(stream, content, body is not None)
        self._transmit_soon()
        return stream

    async def send(self, stream: int, content: bytes, *, end: bool = False) -> None:
        """More of a body, once there is room for it."""
        while not self.over and self.is_full(stream):
            self.room.clear()
            await self.room.wait()
        if self.over:
            raise ConnectionError("the connection is closed")
        self.write(stream, content, end=end)

    def write(self, stream: int, content: bytes, *, end: bool = False) -> None:
        """More of a body, whether or not there is room; nothing where the server wants no more of it."""
        if not self.quic.takes_more(stream):
            return
        framed = b"".join((DATA, varint(len(content)), content)) if content else b""
        self.quic.send_stream_data(stream, framed, end)
        self._transmit_soon()

    def cancel(self, stream: int) -> None:
        """Give up what is not over of a request: the server is told to stop (RFC 9114, section 4.1.1), and the other
        requests of the connection go on."""
        self.streams.pop(stream, None)
        self._finish(stream)
        if not self.over:
            self.quic.cancel(stream, ErrorCode.H3_REQUEST_CANCELLED)
            self._transmit_soon()

    def is_dead(self, since: float) -> bool:
        """Whether no packet has come ``since`` then, in seconds of the loop, though the server was asked for one."""
        return self.over or self.quic.is_silent(since)

    def is_full(self, stream: int) -> bool:
        """Whether so much waits that more should."""
        return self.quic.unsent(stream) > SEND_BUFFER

    def end(self) -> None:
        """Close the connection and the socket at once: nothing that comes late is answered then, so there is no need to
        wait for it (RFC 9000, section 10.2)."""
        if self._transport is None:
            return
        self.close()
        self._transport.close()
        for waiting in (self._timer, self._transmit_task):
            if waiting is not None:
                waiting.cancel()
        self._broken()


async def opened(url: SplitResult, options: Options, stack: contextlib.AsyncExitStack) -> Quic:
    """A connection to ``url``, closed by ``stack``.

    Raises:
        ServerError: the server says nothing, or its certificate is not trusted.
        ConnectionError: it could not be made for another reason.
        DataError: a file that ``options`` name is not there, or is no PEM that can be used.
    """
    trust(options)  # what is wrong with a file is said here: aioquic would say it while shaking hands, or not at all
    settings = configuration(url.hostname or "")
    if options.ca is not None:
        settings.load_verify_locations(str(options.ca))
    if options.certificate is not None:
        settings.load_cert_chain(str(options.certificate), options.key and str(options.key))
    quic = Quic(Transport(configuration=settings, datagram_bytes=options.datagram_bytes))
    try:
        async with asyncio.timeout(options.connect_s):
            await connect(quic, url.hostname or "", url.port or 443)
    except BaseException as error:
        quic.end()
        if isinstance(error, ConnectionError) and quic.distrust:
            raise untrusted(url, quic.distrust) from None
        if isinstance(error, TimeoutError):
            raise silent(url, options.connect_s) from None
        raise
    stack.callback(quic.end)
    return quic


def configuration(name: str) -> QuicConfiguration:
    """Settings for a connection to the server called ``name``."""
    return QuicConfiguration(
        alpn_protocols=H3_ALPN,
        server_name=name,
        max_data=Transport.connection_window,
        max_stream_data=Transport.stream_window,
    )


async def connect(quic: Quic, host: str, port: int) -> None:
    """Shake hands with the server at ``host``; `Quic.end` is to be called whatever comes of it.

    Raises:
        ConnectionError: it went wrong.
        OSError: there is no such host.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, address = found[0][0], found[0][4]
    sock = bound("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
    if quic.quic.datagram_bytes > LEAST and not in_one_piece(sock):
        quic.quic.datagram_bytes = LEAST
    transport: Any = Datagrams(sock, quic.received)
    quic.connection_made(transport)
    quic.connect(address)
    await quic.wait_connected()
