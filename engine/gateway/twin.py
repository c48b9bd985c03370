"""What carries the TCP twin: uvicorn's HTTP/1.1 with connections of our own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import sys
from _ssl import ENCODING_DER
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aimds.gateway.accepting import Accepting, Refused
from aimds.gateway.closing import LINGER_S, sent, shut, unsent, untaken
from aimds.gateway.headers import MAX_HEADER_BYTES
from aimds.gateway.http import CERTIFICATES, CUT, GONE
from aimds.gateway.places import Places
from aimds.gateway.unread import LOOKS

HEAD_S: float = 30.0
"""Seconds in which a client must have sent the head of a request, from when it connected or was answered."""


class _Protocol(H11Protocol):
    """A connection that hands the client's certificate on, counts itself, and ends where nobody reads."""

    counted: Callable[[int], None] = staticmethod(lambda change: None)
    closed: Callable[[str], None] = staticmethod(lambda reason: None)
    unread_s: float = 0.0
    gone: asyncio.Future[None]
    _head: asyncio.TimerHandle | None = None
    _look_at: asyncio.TimerHandle | None = None
    _stuck: tuple[int, int, float] | None = None
    """What waited for the reader when it was looked last, and since when nothing of it was taken."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        type(self).counted(1)
        encrypted = transport.get_extra_info("ssl_object")
        shown = () if encrypted is None else _shown(encrypted)
        app, self.gone = self.app, asyncio.get_running_loop().create_future()

        async def sending(send: Any, message: Any) -> None:
            self._watch()
            await send(message)

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope[CERTIFICATES] = shown
            scope[GONE], scope[CUT] = self.gone, self._cut
            await app(scope, receive, functools.partial(sending, send))

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

    async def _cut(self) -> None:
        """End here: all that was written is sent, but nothing that would look like the end of it."""
        await sent(self.transport, self.gone)
        shut(self.transport)
        await asyncio.wait([self.gone], timeout=LINGER_S)
        self.transport.abort()
        await asyncio.wait([self.gone])

    def _watch(self) -> None:
        if self._look_at is None and self.unread_s and not self.gone.done():
            self._look_at = self.loop.call_later(self.unread_s / LOOKS, self._look)

    def _look(self) -> None:
        self._look_at, now = None, self.loop.time()
        left = unsent(self.transport), untaken(self.transport)
        if not left[0]:
            # What the kernel has is no memory of ours.
            self._stuck = None
            return
        if self._stuck is None or self._stuck[:2] != left:
            self._stuck = (*left, now)
        elif now - self._stuck[2] >= self.unread_s:
            type(self).closed("unread")
            self.transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._look_at):
            if timer is not None:
                timer.cancel()
        type(self).counted(-1)
        if not self.gone.done():
            self.gone.set_result(None)
        super().connection_lost(exc)


def _shown(encrypted: Any) -> tuple[bytes, ...]:
    """The certificates that a client showed, in DER, its own first."""
    leaf = encrypted.getpeercert(binary_form=True)
    if leaf is None:
        # Python's chain has one that is None then.
        return ()
    if sys.version_info >= (3, 13):
        return tuple(encrypted.get_unverified_chain()) or (leaf,)
    # Before, only what is below an SSLObject tells more than the first.
    chain = encrypted._sslobj.get_unverified_chain() or ()
    return tuple(one.public_bytes(ENCODING_DER) for one in chain) or (leaf,)


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
        places: of source addresses; by default each may have as many connections as it likes.
        unread_s: how long an answer may wait without any of it being taken, 0 for ever.
        closed: told why a connection is turned away or ended.
    """

    def __init__(
        self,
        app: Any,
        *,
        context: ssl.SSLContext | None = None,
        counted: Callable[[int], None] | None = None,
        refused: Refused = lambda address, reason: None,
        places: Places | None = None,
        unread_s: float = 0.0,
        closed: Callable[[str], None] = lambda reason: None,
        grace_s: int = 30,
    ) -> None:
        own = {
            "counted": staticmethod(counted or (lambda change: None)),
            "closed": staticmethod(closed),
            "unread_s": unread_s,
        }
        protocol = type("Connection", (_Protocol,), own)
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
        self._places, self._closed = Places() if places is None else places, closed
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen at ``sockets``; handshakes are ours, since uvicorn says of none why it failed."""
        config, state = self.config, self.server_state
        protocol: Any = config.http_protocol_class

        def made() -> Any:
            return protocol(config, state, {})

        self.servers = [
            Accepting(  # type: ignore[misc]
                one,
                made,
                self._context,
                refused=self._refused,
                places=self._places,
                closed=self._closed,
                backlog=config.backlog,
            )
            for one in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `aimds serve`."""
        yield
