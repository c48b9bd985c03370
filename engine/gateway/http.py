"""The TCP twin: the same exchanges over HTTP/1.1, for clients and networks without QUIC."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Protocol

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aimds.gateway.accepting import Accepting, Refused
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import MAX_HEADER_BYTES
from aimds.gateway.identity import Peer
from aimds.gateway.problem import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
CERTIFICATES, GONE, ABORT = "aimds.certificates", "aimds.gone", "aimds.abort"
IDLE_S = {"stream": 600.0, "output": 120.0}
DEFAULT_IDLE_S = 30.0
"""Seconds in which a client must send something of a body that we are ready to read."""

HEAD_S: float = 30.0
"""Seconds in which a client must have sent the head of a request, from when it connected or was answered."""


class Opens(Protocol):
    """What answers requests: `aimds.gateway.protocol.Service`, or something smaller."""

    def open(self, method: str, target: str, headers: list[tuple[bytes, bytes]], peer: Peer, now: float) -> Exchange:
        """The exchange of a request; one that is refused is answered already."""


class App:
    """An ASGI application around ``service``.

    Args:
        clock: monotonic seconds.
        alt_svc: value of the Alt-Svc header, which tells where HTTP/3 is served.
        idle_s: instead of DEFAULT_IDLE_S, for all routes.
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
                scope[ABORT]()
                await asyncio.wait([gone])
        finally:
            if gone is not None:
                gone.remove_done_callback(abort)
            if reader is not None:
                reader.cancel()
            if not exchange.ended:
                exchange.abort(self._clock())

    async def _read(self, exchange: Exchange, receive: Receive, readable: asyncio.Event) -> None:
        over = False
        idle = self._idle_s or IDLE_S.get(exchange.route, DEFAULT_IDLE_S)
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


class _Protocol(H11Protocol):
    """A connection that hands the client's certificate on and counts itself."""

    counted: Callable[[int], None] = staticmethod(lambda change: None)
    gone: asyncio.Future[None]
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        type(self).counted(1)
        encrypted = transport.get_extra_info("ssl_object")
        leaf = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        app, self.gone = self.app, asyncio.get_running_loop().create_future()

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope[CERTIFICATES] = () if leaf is None else (leaf,)
            scope[GONE], scope[ABORT] = self.gone, transport.abort
            await app(scope, receive, send)

        self.app = with_connection
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        # uvicorn ends a connection that is quiet between two requests, but waits for the rest of a head for ever.
        waits = self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)
        if not waits and self._head is not None:
            self._head.cancel()
            self._head = None
        elif waits and self._head is None:
            self._head = self.loop.call_later(HEAD_S, self._late)

    def _late(self) -> None:
        # One that is closing may still send what it owes.
        if not self.transport.is_closing():
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is not None:
            self._head.cancel()
        type(self).counted(-1)
        if not self.gone.done():
            self.gone.set_result(None)
        super().connection_lost(exc)


def listener(host: str, port: int) -> socket.socket:
    """A TCP socket at an address, 0 being any free port, for `Twin`.

    Raises:
        OSError: the address is not of this machine, or taken.
    """
    # With the protocol named, or asyncio leaves Nagle's algorithm on: an answer in two writes then waits 40 ms for an
    # acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


class Twin(uvicorn.Server):
    """uvicorn with our protocol, our TLS context and no signal handlers of its own.

    Args:
        app: what it serves.
        context: for TLS; plain TCP without one.
        counted: told +1 and -1 as connections come and go.
        refused: told of clients whose certificate ended the handshake.
    """

    def __init__(
        self,
        app: Any,
        *,
        context: ssl.SSLContext | None = None,
        counted: Callable[[int], None] | None = None,
        refused: Refused = lambda address, reason: None,
        grace_s: int = 30,
    ) -> None:
        protocol = type("Connection", (_Protocol,), {"counted": staticmethod(counted or (lambda change: None))})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=grace_s,
            backlog=1024,
        )
        config.load()
        config.ssl = context
        self._context, self._refused = context, refused
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; with TLS the handshakes are ours, since uvicorn says of none why it failed."""
        if self._context is None or sockets is None:
            await super().startup(sockets)
            return
        config, state = self.config, self.server_state
        protocol: Any = config.http_protocol_class

        def made() -> Any:
            return protocol(config, state, {})

        self.servers = [
            Accepting(one, made, self._context, self._refused, config.backlog)  # type: ignore[misc]
            for one in sockets
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `aimds serve`."""
        yield
