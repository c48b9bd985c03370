"""Clients of `benchmarks.gateway` that do little themselves: HTTP/3 as our client speaks it, HTTP/1.1, Arrow Flight.

The same HTTP/3 client asks every server that speaks it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow as pa
from aioquic.h3.events import DataReceived, HeadersReceived

from aimds.gateway.client.quic import Quic, Transport, configuration, connect

Found = Callable[[bytes, bool], None]
"""Gets pieces of an answer's body, and whether it was the last."""


class Caller(Quic):
    """One HTTP/3 connection; what is begun in one turn of the loop leaves together."""

    def post(self, path: str, kind: str, body: bytes | None, found: Found, *more: tuple[str, str]) -> int:
        """A request, with all of its body or, with None, none of it yet; its stream."""

        def told(event: HeadersReceived | DataReceived | None) -> None:
            # What was asked has no more answer than it has now when the connection ends.
            if isinstance(event, HeadersReceived) and (status := dict(event.headers)[b":status"]) != b"200":
                raise RuntimeError(f"status {status.decode()}")
            over = event is None or event.stream_ended
            if over:
                del self.streams[stream]
            found(event.data if isinstance(event, DataReceived) else b"", over)

        first = ((":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path))
        stream = self.begin((*first, ("content-type", kind)), body, told, more=more)
        return stream

    def wake(self) -> None:
        """Show the server that we are still there."""
        self.quic.send_ping(0)
        self._transmit_soon()

    async def ask(self, path: str, kind: str, body: bytes) -> bytes:
        """The whole answer to a request."""
        parts: list[bytes] = []
        done = self._loop.create_future()

        def found(content: bytes, over: bool) -> None:
            parts.append(content)
            if over:
                done.set_result(None)

        self.post(path, kind, body, found)
        await done
        return b"".join(parts)


@asynccontextmanager
async def http3(port: int, folder: Path, size: int = 1200) -> AsyncIterator[Caller]:
    """A connection to the server on ``port`` with datagrams of ``size`` bytes."""
    settings = configuration("localhost")
    settings.load_verify_locations(str(folder / "ca.pem"))
    settings.idle_timeout = 120.0
    caller = Caller(Transport(configuration=settings, datagram_bytes=size))
    try:
        async with asyncio.timeout(10):
            await connect(caller, "127.0.0.1", port)
        yield caller
    finally:
        caller.end()


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
    async with http3(port, folder, size) as caller:
        return await asked(caller, bodies)


async def asked(caller: Caller, bodies: Sequence[bytes]) -> list[bytes]:
    """As `tables`, over a connection that is there."""
    found: list[bytes] = [b""] * len(bodies)
    numbers = iter(range(len(bodies)))

    async def lane() -> None:
        for number in numbers:
            found[number] = await caller.ask("/v1/screen/batch", "application/vnd.apache.arrow.stream", bodies[number])

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
