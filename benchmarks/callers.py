"""Clients of `benchmarks.gateway` that do little themselves: HTTP/3 with our sockets, HTTP/1.1, Arrow Flight.

The same HTTP/3 client asks every server that speaks it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated

from aimds.gateway import datagrams

WINDOW = 16 << 20
Found = Callable[[bytes, bool], None]
"""Gets pieces of an answer's body, and whether it was the last."""


class Caller(QuicConnectionProtocol):
    """One HTTP/3 connection; what is begun in one turn of the loop leaves together."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.http: H3Connection | None = None
        self._ready = asyncio.get_running_loop().create_future()
        self._open: dict[int, Found] = {}
        self._due = False

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
            self._ready.set_result(None)
        elif isinstance(event, ConnectionTerminated):
            # What was asked has no more answer than it has now.
            while self._open:
                self._open.popitem()[1](b"", True)
        for found in self.http.handle_event(event) if self.http is not None else ():
            if isinstance(found, HeadersReceived):
                status = dict(found.headers)[b":status"]
                if status != b"200":
                    raise RuntimeError(f"status {status.decode()}")
                if found.stream_ended:
                    self._open.pop(found.stream_id)(b"", True)
            elif isinstance(found, DataReceived):
                took = self._open.pop(found.stream_id) if found.stream_ended else self._open[found.stream_id]
                took(found.data, found.stream_ended)

    def arrived(self, found: list[tuple[bytes, Any]]) -> None:
        """Take in what the socket has read."""
        now = self._loop.time()
        for data, address in found:
            self._quic.receive_datagram(data, address, now=now)
        self._process_events()
        self.transmit()

    def transmit(self) -> None:
        """Send all there is."""
        self._due = False
        super().transmit()
        transport: Any = self._transport
        transport.flush()

    def soon(self) -> None:
        """Send once the loop has done what it is at."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.transmit)

    def wake(self) -> None:
        """Show the server that we are still there."""
        self._quic.send_ping(0)
        self.soon()

    def begin(self, path: str, kind: str, body: bytes | None, found: Found, *more: tuple[bytes, bytes]) -> int:
        """A request, with all of its body or, with None, none of it yet; its stream."""
        assert self.http is not None
        stream = int(self._quic.get_next_available_stream_id())
        self._open[stream] = found
        first = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path.encode()),
        ]
        self.http.send_headers(stream, [*first, (b"content-type", kind.encode()), *more])
        if body is not None:
            self.http.send_data(stream, body, True)
        self.soon()
        return stream

    async def ask(self, path: str, kind: str, body: bytes) -> bytes:
        """The whole answer to a request."""
        parts: list[bytes] = []
        done = self._loop.create_future()

        def found(content: bytes, over: bool) -> None:
            parts.append(content)
            if over:
                done.set_result(None)

        self.begin(path, kind, body, found)
        await done
        return b"".join(parts)


@asynccontextmanager
async def http3(port: int, folder: Path, size: int = 1200) -> AsyncIterator[Caller]:
    """A connection to the server on ``port`` with datagrams of ``size`` bytes."""
    settings = QuicConfiguration(
        alpn_protocols=H3_ALPN,
        server_name="localhost",
        cafile=str(folder / "ca.pem"),
        max_data=WINDOW,
        max_stream_data=WINDOW,
        max_datagram_size=size,
        idle_timeout=120.0,
    )
    caller = Caller(QuicConnection(configuration=settings))
    transport = datagrams.Datagrams(datagrams.bound("127.0.0.1", 0), caller.arrived)
    caller.connection_made(transport)  # type: ignore[arg-type]
    caller.connect(("127.0.0.1", port))
    async with asyncio.timeout(10):
        await caller._ready
    try:
        yield caller
    finally:
        caller.close()
        transport.close()


async def singly(port: int, folder: Path, bodies: Sequence[bytes], at_once: int) -> list[bytes]:
    """Answers to ``bodies``, each a stream of its own, so many at once."""
    found: list[bytes] = [b""] * len(bodies)
    numbers = iter(range(len(bodies)))
    async with http3(port, folder) as caller:

        async def lane() -> None:
            for number in numbers:
                found[number] = await caller.ask("/v1/screen?verdict=brief", "application/json", bodies[number])

        await asyncio.gather(*(lane() for _ in range(at_once)))
    return found


async def over_tcp(port: int, folder: Path, bodies: Sequence[bytes], at_once: int) -> list[bytes]:
    """As `singly` over HTTP/1.1 and TLS, each lane a connection of its own."""
    found: list[bytes] = [b""] * len(bodies)
    numbers = iter(range(len(bodies)))
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    lines = ("POST /v1/screen?verdict=brief HTTP/1.1", "host: localhost", "content-type: application/json")
    head = "\r\n".join([*lines, "content-length: "]).encode()

    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        for number in numbers:
            body = bodies[number]
            writer.write(head + b"%d\r\n\r\n" % len(body) + body)
            told = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not told.startswith(b"http/1.1 200"):
                raise RuntimeError(told.decode("latin-1"))
            size = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
            found[number] = await reader.readexactly(size)
        writer.close()

    await asyncio.gather(*(lane() for _ in range(at_once)))
    return found


async def tables(port: int, folder: Path, bodies: Sequence[bytes], size: int) -> list[bytes]:
    """Answers to Arrow streams, four at once."""
    found: list[bytes] = [b""] * len(bodies)
    numbers = iter(range(len(bodies)))
    async with http3(port, folder, size) as caller:

        async def lane() -> None:
            for number in numbers:
                found[number] = await caller.ask(
                    "/v1/screen/batch", "application/vnd.apache.arrow.stream", bodies[number]
                )

        await asyncio.gather(*(lane() for _ in range(4)))
    return found


def by_flight(port: int, folder: Path, batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Verdicts on ``batches`` by Arrow Flight, written and read at once."""
    from pyarrow import flight

    client = flight.connect(f"grpc+tls://127.0.0.1:{port}", tls_root_certs=(folder / "ca.pem").read_bytes())
    with client:
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_path("screen"))

        def write() -> None:
            writer.begin(batches[0].schema)
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()

        thread = threading.Thread(target=write)
        thread.start()
        found = reader.read_all()
        thread.join()
        writer.close()
    return found
