"""One HTTP/3 connection of a client: a queue for each stream, and bodies sent as there is room."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import SplitResult

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StreamReset

from aimds.gateway.client.options import Options, ServerError, trust, untrusted

DISTRUST = frozenset(0x100 + alert for alert in (42, 43, 44, 45, 46, 48))
"""What a QUIC connection ends with where a certificate is bad, unsupported, revoked, expired, unknown or of an unknown
CA: the TLS alerts (RFC 8446, section 6.2) as RFC 9001, section 4.8, carries them."""
SEND_BUFFER = 1 << 20


class Quic(QuicConnectionProtocol):
    """One HTTP/3 connection; each stream has a queue of what came on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http: H3Connection | None = None
        self.streams: dict[int, asyncio.Queue[HeadersReceived | DataReceived | None]] = {}
        self.over = False
        self.distrust = ""
        """Why the server's certificate was not accepted, where that ended the connection."""
        self.room = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand events to their streams."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        elif isinstance(event, ConnectionTerminated):
            self.over = True
            if event.error_code in DISTRUST:
                self.distrust = event.reason_phrase or "it was refused"
            for queue in self.streams.values():
                queue.put_nowait(None)
        elif isinstance(event, StreamReset) and event.stream_id in self.streams:
            self.streams[event.stream_id].put_nowait(None)
        for found in self._http.handle_event(event) if self._http is not None else ():
            if isinstance(found, (HeadersReceived, DataReceived)) and found.stream_id in self.streams:
                self.streams[found.stream_id].put_nowait(found)

    async def wait_connected(self) -> None:
        """Wait for the handshake. When that is given up, what it ends with later is told to nobody."""
        try:
            await super().wait_connected()
        except asyncio.CancelledError:
            self._connected_waiter = None
            raise

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """What was acknowledged makes room."""
        super().datagram_received(data, addr)
        self.room.set()

    def begin(self, headers: list[tuple[bytes, bytes]], body: bytes | None) -> int:
        """Start a request, with all of its body where there is one; its stream."""
        if self._http is None:
            raise ConnectionError("the server speaks no HTTP/3")
        stream = int(self._quic.get_next_available_stream_id())
        self.streams[stream] = asyncio.Queue()
        self._http.send_headers(stream, headers, end_stream=body == b"")
        if body:
            self._http.send_data(stream, body, True)
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
        """More of a body, whether or not there is room."""
        assert self._http is not None
        self._http.send_data(stream, content, end)
        self._transmit_soon()

    def is_full(self, stream: int) -> bool:
        """Whether so much waits that more should."""
        found = self._quic._streams.get(stream)
        return found is not None and len(found.sender._buffer) > SEND_BUFFER


async def opened(url: SplitResult, options: Options, stack: contextlib.AsyncExitStack) -> Quic:
    """A connection to ``url``, closed by ``stack``.

    Raises:
        ServerError: the server says nothing, or its certificate is not trusted.
        ConnectionError: it could not be made for another reason.
        DataError: a file that ``options`` name is not there, or is no PEM that can be used.
    """
    trust(options)  # what is wrong with a file is said here: aioquic would say it while shaking hands, or not at all
    settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=url.hostname)
    if options.ca is not None:
        settings.load_verify_locations(str(options.ca))
    if options.certificate is not None:
        settings.load_cert_chain(str(options.certificate), options.key and str(options.key))
    made: list[Quic] = []

    def protocol(*arguments: Any, **more: Any) -> Quic:
        made.append(Quic(*arguments, **more))
        return made[-1]

    opening = connect(url.hostname or "", url.port or 443, configuration=settings, create_protocol=protocol)
    try:
        async with asyncio.timeout(options.connect_s):
            quic = await stack.enter_async_context(opening)
    except ConnectionError:
        if made and made[-1].distrust:
            raise untrusted(url, made[-1].distrust) from None
        raise
    except TimeoutError:
        told = f"nothing over HTTP/3 (UDP) within {options.connect_s:g} s; is it running? HTTP 1 asks over TCP"
        raise ServerError(0, {"title": "No answer", "detail": told}) from None
    assert isinstance(quic, Quic)
    return quic
