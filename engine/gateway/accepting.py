"""Connections over TCP and TLS, one handshake each beside the others, so that one which is refused can be told of."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aimds.gateway.closing import TurnedAway
from aimds.gateway.places import Places
from aimds.gateway.problem import Problem

PAUSE_S: Final = 1.0
"""Until the next try where the process has no more file descriptors."""
MOST_GREETINGS: Final = 1024
"""Handshakes under way, and at most a quarter of the file descriptors that the process may have; of more, the
connections are closed at once."""
MOST_TURNED: Final = 64
"""Connections beyond those of their address that are told so at once; of more, they are closed."""
GREETING_S: Final = 10.0
NO_CERTIFICATE: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
Refused = Callable[[str, str], None]
"""Told the address of a client and why its certificate, or having none, ended the handshake."""


class Accepting:
    """Takes the connections that come to ``sock``, in place of an `asyncio.Server`, which keeps to itself why a
    handshake failed.

    Args:
        make: makes the protocol of a connection; its ``gone`` is done when the connection is over.
        context: for TLS; plain TCP without one.
        refused: see `Refused`.
        places: of source addresses.
        closed: told why a connection is turned away.
        backlog: connections that the kernel keeps waiting.
    """

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], Any],
        context: ssl.SSLContext | None,
        *,
        refused: Refused,
        places: Places,
        closed: Callable[[str], None],
        backlog: int,
    ) -> None:
        self._sock, self._make, self._context, self._refused = sock, make, context, refused
        self._places, self._closed = places, closed
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(backlog)
        self._most = min(MOST_GREETINGS, _descriptors() // 4)
        self._greetings: set[asyncio.Task[None]] = set()
        self._turned: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._sock)
            except ConnectionError:
                continue
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            if len(self._greetings) >= self._most:
                connection.close()
                continue
            name = str(address[0])
            try:
                place = self._places.take(name)
            except Problem as problem:
                self._closed(problem.kind)
                if len(self._turned) >= MOST_TURNED:
                    connection.close()
                else:
                    self._begin(self._turned, self._turn_away(connection, problem))
                continue
            self._begin(self._greetings, self._greet(connection, name, place))

    def _begin(self, some: set[asyncio.Task[None]], greeting: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(greeting)
        some.add(task)
        task.add_done_callback(some.discard)

    async def _connected(self, make: Callable[[], Any], connection: socket.socket) -> Any:
        """The protocol of ``connection``, once hands are shaken."""
        within_s = None if self._context is None else GREETING_S
        _, protocol = await self._loop.connect_accepted_socket(
            make, connection, ssl=self._context, ssl_handshake_timeout=within_s
        )
        return protocol

    async def _greet(self, connection: socket.socket, address: str, place: str) -> None:
        protocol = None
        try:
            protocol = await self._connected(self._make, connection)
        except ssl.SSLCertVerificationError as error:
            self._refused(address, f"the certificate was refused: {error.verify_message}")
        except ssl.SSLError as error:
            if error.reason == NO_CERTIFICATE:
                self._refused(address, "no certificate was given")
        except OSError:
            # It went away, or took too long.
            connection.close()
        finally:
            if protocol is None:
                self._places.leave(place)
            else:
                protocol.gone.add_done_callback(lambda _: self._places.leave(place))

    async def _turn_away(self, connection: socket.socket, problem: Problem) -> None:
        try:
            protocol = await self._connected(lambda: TurnedAway(problem), connection)
        except OSError:
            connection.close()
        else:
            await protocol.gone

    def close(self) -> None:
        """Take no more; handshakes under way are given up."""
        for task in (self._accepting, *self._greetings, *self._turned):
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing is left of it."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._accepting, *self._greetings, *self._turned, return_exceptions=True)


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4 * MOST_GREETINGS if soft == resource.RLIM_INFINITY else soft
