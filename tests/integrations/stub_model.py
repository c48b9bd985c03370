"""A server that answers as it is told, byte by byte, and notes what it was asked; and a proxy before it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h11
from desk import Fake, policy
from live import INSECURE, Live, live

from aimds.gateway.settings import Settings
from aimds.integrations.proxy.front import Front
from aimds.integrations.proxy.routing import Routing
from aimds.integrations.proxy.screened import Bounds
from aimds.integrations.proxy.senders import Senders
from aimds.integrations.proxy.upstream import Address, Upstream
from aimds.route.tiers import Tiers

IDENT = "0123456789abcdef"


@dataclass
class Asked:
    """A request as it came to the server."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


Respond = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stub:
    """The server; ``left`` is set when a client hangs up in the middle of an answer."""

    respond: Respond
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        try:
            while (asked := await self._read(http, reader)) is not None:
                self.asked.append(asked)
                answering = asyncio.create_task(self.respond(asked, writer))  # type: ignore[arg-type]
                watching = asyncio.create_task(reader.read(1))
                await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    self.left.set()
                    answering.cancel()
                elif answering.exception() is not None:
                    watching.cancel()
                found = await asyncio.gather(answering, watching, return_exceptions=True)
                if found[0] is not None or not found[1] or isinstance(found[1], BaseException):
                    return
                http = h11.Connection(h11.SERVER)
                http.receive_data(found[1])
        except (ConnectionError, h11.RemoteProtocolError):
            self.left.set()
        finally:
            writer.close()

    async def _read(self, http: h11.Connection, reader: asyncio.StreamReader) -> Asked | None:
        head, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                content = await reader.read(1 << 16)
                if not content:
                    return None
                http.receive_data(content)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                headers = [(name.decode(), value.decode()) for name, value in head.headers]
                return Asked(head.method.decode(), head.target.decode(), headers, body)
            else:
                return None


def answered(
    body: bytes, kind: str = "application/json", status: str = "200 OK", headers: str = "", *, cut: bool = False
) -> Respond:
    """Answer with ``body``; ``cut``: hang up in its middle."""

    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + (body[: len(body) // 2] if cut else body))
        await writer.drain()
        if cut:
            raise ConnectionError

    return respond


def streamed(
    pieces: list[bytes], *, wait: Callable[[int], Awaitable[None]] | None = None, cut: bool = False
) -> Respond:
    """Answer with a stream of ``pieces``, each a chunk; ``wait`` is awaited before each."""

    async def respond(asked: Asked, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Own: Kept\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for i, piece in enumerate(pieces):
            if wait is not None:
                await wait(i)
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if cut:
            raise ConnectionError
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return respond


@contextlib.contextmanager
def proxied(
    respond: Respond,
    bounds: Bounds | None = None,
    *,
    settings: Settings = INSECURE,
    screener: Any = None,
    tenant: str | None = None,
    prefix: str = "",
    timeout_s: float = 20.0,
    port: int | None = None,
    said: list[str] | None = None,
    strict: bool = False,
    tiers: Callable[[int], Tiers] | None = None,
    **options: Any,
) -> Iterator[tuple[Live, Stub]]:
    """A proxy before a stub; with ``port``, before whatever is there. ``tiers``: models at the port of the stub."""
    stub, made = Stub(respond), screener or Fake()
    if not hasattr(made, "policy"):
        made.policy = policy()
    servers: list[Upstream | Routing] = []
    lines = [] if said is None else said

    def front(own: Any, gateway: Any) -> Front:
        url = f"http://127.0.0.1:{port or stub.port}{prefix}"
        server = Upstream(Address.read(url), timeout_s=timeout_s)
        servers.append(server)
        senders = Senders(b"k" * 32, tenant)
        parts = (own, gateway.service, gateway.policy, server, senders, bounds)
        routing = None if tiers is None else Routing(tiers(stub.port), {"KEY": "tier-key"}, gateway.service.metrics)
        servers.extend([] if routing is None else [routing])
        return Front(*parts, strict=strict, routing=routing, ids=lambda: IDENT, say=lines.append)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(stub.start(), loop).result(20)
        with live(settings, made, front=front, **options) as running:
            try:
                yield running, stub
            finally:
                for server in servers:
                    running.loop.call_soon_threadsafe(server.close)
    finally:
        asyncio.run_coroutine_threadsafe(stub.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def chat(*contents: str, **more: Any) -> bytes:
    """A request of chat completions, each of ``contents`` a message of the user."""
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": one} for one in contents], **more}
    ).encode()


def said(content: str, **more: Any) -> bytes:
    """An answer of chat completions."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode()


def chunk(content: str | None = None, index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    """An event of a streamed answer of chat completions."""
    held = delta if content is None else {"content": content, **delta}
    choice = {"index": index, "delta": held, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def event(kind: str, **more: Any) -> bytes:
    """An event of a streamed answer of messages."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


DONE = b"data: [DONE]\n\n"
