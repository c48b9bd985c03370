"""The TCP twin: the same exchanges over HTTP/1.1, for clients and networks without QUIC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from aimds.gateway.exchange import Exchange
from aimds.gateway.identity import Peer
from aimds.gateway.problem import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
CERTIFICATES, GONE, CUT = "aimds.certificates", "aimds.gone", "aimds.cut"


class Opens(Protocol):
    """What answers requests: `aimds.gateway.protocol.Service`, or something smaller."""

    def open(self, method: str, target: str, headers: list[tuple[bytes, bytes]], peer: Peer, now: float) -> Exchange:
        """The exchange of a request; one that is refused is answered already."""


class App:
    """An ASGI application around ``service``.

    Args:
        clock: monotonic seconds.
        alt_svc: value of the Alt-Svc header, which tells where HTTP/3 is served.
        idle_s: instead of `Exchange.idle_s`, for all routes.
    """

    def __init__(
        self,
        service: Opens,
        clock: Callable[[], float] = time.monotonic,
        *,
        alt_svc: str | None = None,
        idle_s: float | None = None,
    ) -> None:
        self._service, self._clock, self._idle_s = service, clock, idle_s
        self._more = [] if alt_svc is None else [(b"alt-svc", alt_svc.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        target = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope.get("query_string"):
            target += "?" + scope["query_string"].decode("latin-1")
        peer = Peer(scope["client"][0] if scope.get("client") else "", scope.get(CERTIFICATES, ()))
        exchange = self._service.open(scope["method"], target, scope["headers"], peer, self._clock())
        woken = asyncio.Event()
        exchange.wake = woken.set
        readable = asyncio.Event()
        reader = None
        gone: asyncio.Future[None] | None = scope.get(GONE)

        def abort(_: object) -> None:
            # Known at once, although nothing is being read because the client sent more than can be screened.
            if not exchange.ended:
                exchange.abort(self._clock())
                woken.set()

        if not exchange.ended:
            reader = asyncio.create_task(self._read(exchange, receive, readable))
            if gone is not None:
                gone.add_done_callback(abort)
        woken.set()
        try:
            await self._write(exchange, send, woken, readable, head_only=scope["method"] == "HEAD")
            if exchange.broken and gone is not None:
                # Its end would look like that of a whole answer.
                if reader is not None:
                    reader.cancel()
                await _cut(scope[CUT], receive)
        finally:
            if gone is not None:
                gone.remove_done_callback(abort)
            if reader is not None:
                reader.cancel()
            if not exchange.ended:
                exchange.abort(self._clock())

    async def _read(self, exchange: Exchange, receive: Receive, readable: asyncio.Event) -> None:
        over = False
        idle = self._idle_s or exchange.idle_s
        while not exchange.ended:
            if not over and not exchange.wants_data:
                readable.clear()
                await readable.wait()
                continue
            try:
                async with asyncio.timeout(None if over else idle):
                    message = await receive()
            except TimeoutError:
                exchange.refuse(Problem("slow-request", f"nothing came for {idle:g} s"))
                return
            if message["type"] == "http.disconnect":
                exchange.abort(self._clock())
                exchange.wake()
                return
            over = not message.get("more_body", False)
            try:
                if body := message.get("body", b""):
                    exchange.receive(body, self._clock())
                if over:
                    exchange.end(self._clock())
            except Exception as error:  # a body that nobody foresaw ends its own request alone
                exchange.refuse(Problem("internal", f"{type(error).__name__}: {error}"))

    async def _write(
        self, exchange: Exchange, send: Send, woken: asyncio.Event, readable: asyncio.Event, *, head_only: bool
    ) -> None:
        begun = False
        while True:
            await woken.wait()
            woken.clear()
            readable.set()
            if exchange.status and not begun:
                begun = True
                headers = [(name.encode(), value.encode()) for name, value in exchange.headers] + self._more
                await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
            while exchange.unsent:
                content = exchange.take(256 << 10)
                await send({"type": "http.response.body", "body": b"" if head_only else content, "more_body": True})
                exchange.sent(self._clock())
                readable.set()
            if exchange.ended and not exchange.unsent:
                if begun and not exchange.broken:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                return


async def _cut(cut: Callable[[], Awaitable[None]], receive: Receive) -> None:
    """End a connection in the middle of an answer; what still comes is read, so that what was sent arrives."""

    async def discard() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    discarding = asyncio.create_task(discard())
    try:
        await cut()
    finally:
        discarding.cancel()
