"""A server of one kind with a screener behind it: `python -m benchmarks.gateway_servers KIND FOLDER`.

``ours`` is the gateway without identity; ``aioquic`` its library's own server, ``hypercorn`` and ``uvicorn`` an ASGI
application, ``flight`` Arrow Flight. Those screen each request by itself, as a service does that has no queue; with
``stub`` they do not even make a table. Prints the port and serves until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds import assembly
from aimds.detect.stages import P_VALUE, STATUS, Scores
from aimds.detect.texts import Texts
from aimds.gateway.rows import BRIEF, Row, batch_of, encoded, lines, row
from aimds.respond.policy import Policy
from aimds.schema import VERDICTS, requests

ARROW = "application/vnd.apache.arrow.stream"
MARK = "MARKED"
"""The stub blocks texts with this word."""
ROWS = 512
KINDS = ("ours", "aioquic", "hypercorn", "uvicorn", "flight")
VERSIONS = {"engine": "0", "model": "0", "signatures": "0", "policy": "0"}


class Stub:
    """In a screener's place: verdicts by one word, out of a table that was made before."""

    def __init__(self) -> None:
        self.policy = Policy.load()
        blank = requests(pa.table({"text": pa.array([""] * 4096, pa.large_string())}))
        scores = Scores.empty(4096)
        scores.numbers[:] = 0.0
        scores.numbers[:, P_VALUE] = 0.9
        scores.numbers[:, STATUS] = 0
        texts = Texts.from_arrow(blank.column("text"))
        self._made = assembly.verdicts(blank, texts, scores, self.policy, "fast", "cpu", VERSIONS)
        words = self._made.column("action").dictionary
        self._words, self._codes = words, [words.index(name).as_py() for name in ("allow", "block")]
        self._type = self._made.column("action").indices.type

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Verdicts of ``batch``."""
        made = self._made.slice(0, batch.num_rows)
        columns = dict(zip(made.schema.names, made.columns, strict=True))
        for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel"):
            columns[name] = batch.column(name)
        marked = pc.match_substring(batch.column("text"), MARK)
        allow, block = (pa.scalar(code, self._type) for code in self._codes)
        columns["action"] = pa.DictionaryArray.from_arrays(pc.if_else(marked, block, allow), self._words)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=VERDICTS)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Nothing is left unjudged here."""
        raise RuntimeError(reason)


def screener_of(name: str) -> Any:
    """``stub``, or the screener of profile ``fast``, ready to work."""
    if name == "stub":
        return Stub()
    from aimds import Screener

    made = Screener.default(profile="fast", threads=1, cache_bytes=0)
    made.screen(["warm up"] * 600)
    return made


def answer(screener: Any, path: str, kind: str, body: bytes) -> tuple[str, bytes]:
    """Media type and body of the answer to one request, as the gateway would give it."""
    if path.startswith("/sink"):
        return "application/json", str(len(body)).encode()
    if kind == ARROW:
        table = requests(pa.ipc.open_stream(body).read_all())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, VERDICTS) as writer:
            for start in range(0, table.num_rows, ROWS):
                writer.write_batch(screener.screen_batch(table.slice(start, ROWS)))
        return ARROW, bytes(sink.getvalue())
    one = row(body)
    if isinstance(screener, Stub):
        found = dict.fromkeys(BRIEF) | {"request_id": "0", "status": "ok", "score": 0.0}
        return "application/json", encoded(found | {"action": "block" if MARK in one.text else "allow"})
    one.request_id = "0"
    return "application/json", lines(screener.screen_batch(batch_of([one])), brief=True)[0]


async def ours(screener: Any, folder: Path, port: int, size: int) -> None:
    """The gateway, with one thread that judges."""
    from aimds.app import Gateway
    from aimds.gateway.garbage import settle
    from aimds.gateway.pieces import Limits
    from aimds.gateway.protocol import Everybody
    from aimds.gateway.settings import Screening, Settings

    # Settings ask for some identity; then nobody is asked for it, as by the others.
    settings = Settings(
        port=port,
        certificate=folder / "server.pem",
        key=folder / "server.key",
        keys=folder / "keys.toml",
        # The others refuse nothing either, however late they are.
        limits=Limits(deadline_ms=100_000),
        screening=Screening(profile="fast", workers=0),
        datagram_bytes=size or 1200,
    )
    gateway = Gateway(settings, build=lambda _: screener)
    gateway.service.access = Everybody()
    await gateway.start()
    settle()
    print(gateway.port, flush=True)
    await asyncio.Event().wait()


async def aioquic(screener: Any, folder: Path, port: int, size: int) -> None:
    """The server of the library, as it comes."""
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.asyncio.server import serve
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ProtocolNegotiated

    class Protocol(QuicConnectionProtocol):
        http: H3Connection | None = None

        def quic_event_received(self, event: Any) -> None:
            if isinstance(event, ProtocolNegotiated):
                self.http, self.open = H3Connection(self._quic), {}
            for found in self.http.handle_event(event) if self.http is not None else ():
                if isinstance(found, HeadersReceived):
                    self.open[found.stream_id] = (dict(found.headers), bytearray())
                elif isinstance(found, DataReceived):
                    self.open[found.stream_id][1].extend(found.data)
                if found.stream_ended:  # type: ignore[attr-defined]
                    self.reply(found.stream_id)  # type: ignore[attr-defined]

        def reply(self, stream: int) -> None:
            headers, body = self.open.pop(stream)
            path, kind = (headers.get(name, b"").decode() for name in (b":path", b"content-type"))
            media, content = answer(screener, path, kind, bytes(body))
            assert self.http is not None
            self.http.send_headers(stream, [(b":status", b"200"), (b"content-type", media.encode())])
            self.http.send_data(stream, content, True)

    settings = QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        max_data=4 << 20,
        max_stream_data=1 << 20,
        max_datagram_size=size or 1200,
    )
    settings.load_cert_chain(folder / "server.pem", folder / "server.key")
    await serve("127.0.0.1", port, configuration=settings, create_protocol=Protocol)
    print(port, flush=True)
    await asyncio.Event().wait()


def application(screener: Any) -> Callable[..., Awaitable[None]]:
    """The same as ASGI."""

    async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http":
            return
        parts = []
        while True:
            event = await receive()
            parts.append(event.get("body", b""))
            if not event.get("more_body"):
                break
        kind = dict(scope["headers"]).get(b"content-type", b"").decode()
        media, content = answer(screener, scope["path"], kind, b"".join(parts))
        headers = [(b"content-type", media.encode()), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


async def hypercorn(screener: Any, folder: Path, port: int, size: int) -> None:
    """Hypercorn over HTTP/3."""
    from hypercorn.asyncio import serve  # type: ignore[import-not-found, unused-ignore]
    from hypercorn.config import Config  # type: ignore[import-not-found, unused-ignore]

    config = Config()
    config.quic_bind = config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = str(folder / "server.pem"), str(folder / "server.key")
    config.h2_max_concurrent_streams, config.keep_alive_timeout = 128, 600
    print(port, flush=True)
    await serve(application(screener), config, mode="asgi")


async def uvicorn(screener: Any, folder: Path, port: int, size: int) -> None:
    """uvicorn over HTTP/1.1 with TLS."""
    import uvicorn as server

    config = server.Config(
        application(screener),
        host="127.0.0.1",
        port=port,
        ssl_certfile=str(folder / "server.pem"),
        ssl_keyfile=str(folder / "server.key"),
        log_level="warning",
        access_log=False,
        lifespan="off",
    )
    print(port, flush=True)
    await server.Server(config).serve()


def flight(screener: Any, folder: Path, port: int) -> None:
    """Arrow Flight: tables in, verdicts out, as they come."""
    from pyarrow import flight as arrow

    class Server(arrow.FlightServerBase):  # type: ignore[misc, unused-ignore]
        def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
            writer.begin(VERDICTS)
            count = 0
            for chunk in reader:
                table = requests(chunk.data, first_row=count)
                count += table.num_rows
                writer.write_batch(screener.screen_batch(table))

    parts = (folder / "server.pem").read_bytes(), (folder / "server.key").read_bytes()
    with Server(f"grpc+tls://127.0.0.1:{port}", tls_certificates=[parts]) as server:
        print(server.port, flush=True)
        server.serve()


def free() -> int:
    """A port that nobody listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="one server for benchmarks.gateway")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path, help="server.pem, server.key, keys.toml")
    parser.add_argument("--screener", choices=("stub", "fast"), default="stub")
    parser.add_argument("--datagram", type=int, default=0, help="bytes of a datagram (default: as it comes)")
    options = parser.parse_args()
    # Arrow looks for pandas at its first column: not while a client waits.
    batch_of([Row("", request_id="")])
    screener = screener_of(options.screener)
    if options.kind == "flight":
        flight(screener, options.folder, free())
        return
    made = {"ours": ours, "aioquic": aioquic, "hypercorn": hypercorn, "uvicorn": uvicorn}[options.kind]
    asyncio.run(made(screener, options.folder, free(), options.datagram))


if __name__ == "__main__":
    main()
