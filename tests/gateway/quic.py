"""The least of an HTTP/3 client, and a service with its server on the loop of the test."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StopSendingReceived, StreamReset
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from desk import forwards
from live import Fake

from aimds.gateway import certificates, datagrams
from aimds.gateway.batching import Batcher
from aimds.gateway.certificates import Issued
from aimds.gateway.hooks import Hooks
from aimds.gateway.pieces import Limits
from aimds.gateway.places import Places
from aimds.gateway.protocol import Service
from aimds.gateway.relay.link import Certified, Kind, Link, Setup, encoded
from aimds.gateway.relay.near import Near
from aimds.gateway.relay.process import Process
from aimds.gateway.server import Server, configuration
from aimds.gateway.worker import Worker

NOW = datetime.now(UTC)


@cache
def ca() -> Issued:
    return certificates.authority("test", NOW)


@cache
def server_certificate() -> Issued:
    return certificates.issue(ca(), "server", ["127.0.0.1", "localhost"], NOW)


class Client(QuicConnectionProtocol):
    """The least of an HTTP/3 client."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.http: H3Connection | None = None
        self.answers: dict[int, dict[str, Any]] = {}
        self.changed = asyncio.Event()
        self.ended: ConnectionTerminated | None = None

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if isinstance(event, ConnectionTerminated):
            self.ended = event
        if isinstance(event, (StreamReset, StopSendingReceived)):
            name = "broken" if isinstance(event, StreamReset) else "stopped"
            self.answers.setdefault(event.stream_id, {"body": b""})[name] = True
        for found in self.http.handle_event(event) if self.http is not None else []:
            if isinstance(found, (HeadersReceived, DataReceived)):
                answer = self.answers.setdefault(found.stream_id, {"body": b""})
                if isinstance(found, HeadersReceived):
                    answer["status"] = int(dict(found.headers)[b":status"])
                else:
                    answer["body"] += found.data
                answer["over"] = found.stream_ended
        self.changed.set()

    def begin(
        self,
        target: str,
        content: bytes = b"",
        *,
        end: bool = True,
        method: str = "POST",
        kind: str = "application/json",
    ) -> int:
        assert self.http is not None
        stream = int(self._quic.get_next_available_stream_id())
        headers = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", target.encode()),
        ]
        self.http.send_headers(stream, [*headers, (b"content-type", kind.encode())], end_stream=end and not content)
        if content:
            self.http.send_data(stream, content, end)
        self.transmit()
        return stream

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := condition()):
                self.changed.clear()
                await self.changed.wait()
            return found

    async def answer(self, stream: int) -> dict[str, Any]:
        await self.until(lambda: self.answers.get(stream, {}).get("over") or self.ended)
        return self.answers.get(stream, {})

    def acknowledge_nothing(self) -> None:
        """Send no acknowledgement from here on."""

        def silent(builder: Any, space: Any, now: float) -> None:
            space.ack_at = None

        self._quic._write_ack_frame = silent  # type: ignore[method-assign]

    async def ask(self, target: str, content: bytes = b"", **more: Any) -> dict[str, Any]:
        return await self.answer(self.begin(target, content, **more))


class Running:
    """A service with its server, on the loop of the test."""

    def __init__(
        self,
        *,
        screener: Any = None,
        access: Any = None,
        offload: bool = True,
        limits: Limits | None = None,
        places: Places | None = None,
        unread_s: float = 0.0,
        datagram_bytes: int = 1200,
        relayed: bool = False,
    ) -> None:
        self.screener = screener or Fake()
        self.recorded = 0
        self.worker = Worker(self.screener, record=self._record)
        self.denied: list[dict[str, Any]] = []
        hooks = Hooks(self.worker.work, self.worker.unjudged, forwards, denied=self.denied.append)
        self.service = Service(Batcher(), hooks, access=access, limits=limits or Limits(deadline_ms=20_000))
        self.worker.attach(self.service)
        sock = datagrams.bound("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        issued, self._sock = server_certificate(), sock
        self._setup = Setup(
            Certified(issued.certificate, issued.key), 0, 1, access is not None, unread_s, datagram_bytes, {}
        )
        self._places, self._carrying = Places() if places is None else places, None
        if not relayed:
            self.server = Server(
                self.service,
                sock,
                configuration(issued.certificate, issued.key),
                ask_certificate=access is not None,
                places=places,
                unread_s=unread_s,
                datagram_bytes=datagram_bytes,
                offload=offload,
            )

    def halt(self) -> Callable[[], None]:
        """Have nothing judged until what this gives is called."""
        going: list[bool] = []
        work, self.worker.work = self.worker.work, lambda: None  # type: ignore[method-assign]
        self.service.hooks = Hooks(lambda: work() if going else None, self.worker.unjudged, forwards)

        def go_on() -> None:
            going.append(True)
            work()

        return go_on

    async def relay(self) -> None:
        """Have what speaks QUIC in a process bring requests here: that process is this one, its link a real one."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        process = Process(self._sock)
        self._carrying = asyncio.ensure_future(process.run(theirs))
        self.near = Near(self.service, self._places, lambda number, payload: None)
        self.near.link = await Link.over(ours, self.near.receive, self.near.lost)
        self._places.changed = lambda name, standing: self.near.link.send(Kind.STANDING, standing, name.encode())
        self.near.link.send(Kind.SETUP, 0, encoded(self._setup))
        assert await self.near.ready == ""
        self.server = process._server

    async def close(self) -> None:
        """End."""
        if self._carrying is None:
            self.server.close()
        else:
            self.near.link.send(Kind.CLOSE, 0, encoded(0.0))
            await self._carrying
        self.worker.close()

    def _record(self, requests: Any, *_: Any) -> None:
        self.recorded += requests.num_rows

    def counted(self, name: str, **labels: str) -> float:
        """What the metric ``name`` says."""
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0

    @asynccontextmanager
    async def client(
        self, issued: Issued | None = None, *, port: int | None = None, **options: Any
    ) -> AsyncIterator[Client]:
        async with a_client(port or self.port, issued, **options) as client:
            yield client


@asynccontextmanager
async def a_client(port: int, issued: Issued | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client, connected to ``port``, with the certificate that was ``issued`` to it."""
    settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", cadata=ca().certificate, **options)
    if issued is not None:
        settings.certificate = x509.load_pem_x509_certificate(issued.certificate)
        settings.private_key = load_pem_private_key(issued.key, None)  # type: ignore[assignment]
    async with connect("127.0.0.1", port, configuration=settings, create_protocol=Client) as client:
        assert isinstance(client, Client)
        await client.until(lambda: client.http)
        yield client


def running(test: Callable[[Running], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        one = Running(**options)
        if options.get("relayed"):
            await one.relay()
        try:
            await test(one)
        finally:
            await one.close()
            await asyncio.sleep(0)

    asyncio.run(whole())


def first_datagrams(now: float) -> list[bytes]:
    """With what a client begins a handshake."""
    settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", cadata=ca().certificate)
    quic = QuicConnection(configuration=settings)
    quic.connect(("127.0.0.1", 1), now)
    return [content for content, _ in quic.datagrams_to_send(now)]


def body(text: str, **more: Any) -> bytes:
    return json.dumps({"text": text, **more}).encode()
