"""Connections over TLS, one handshake each beside the others, so that one which is refused can be told of."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Final

PAUSE_S: Final = 1.0
"""Until the next try where the process has no more file descriptors."""
MOST_GREETINGS: Final = 1024
"""Handshakes under way, and at most a quarter of the file descriptors that the process may have; of more, the
connections are closed at once."""
GREETING_S: Final = 10.0
NO_CERTIFICATE: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
Refused = Callable[[str, str], None]
"""Told the address of a client and why its certificate, or having none, ended the handshake."""


class Accepting:
    """Takes the connections that come to ``sock``, in place of an `asyncio.Server`, which keeps to itself why a
    handshake failed.

    Args:
        make: makes the protocol of a connection.
        context: for TLS.
        refused: see `Refused`.
        backlog: connections that the kernel keeps waiting.
    """

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        refused: Refused,
        backlog: int,
    ) -> None:
        self._sock, self._make, self._context, self._refused = sock, make, context, refused
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(backlog)
        self._most = min(MOST_GREETINGS, _descriptors() // 4)
        self._greetings: set[asyncio.Task[None]] = set()
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
            greeting = self._loop.create_task(self._greet(connection, str(address[0])))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, connection: socket.socket, address: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=GREETING_S
            )
        except ssl.SSLCertVerificationError as error:
            self._refused(address, f"the certificate was refused: {error.verify_message}")
        except ssl.SSLError as error:
            if error.reason == NO_CERTIFICATE:
                self._refused(address, "no certificate was given")
        except OSError:
            # It went away, or took too long.
            connection.close()

    def close(self) -> None:
        """Take no more; handshakes under way are given up."""
        for task in (self._accepting, *self._greetings):
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing is left of it."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._accepting, *self._greetings, return_exceptions=True)


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4 * MOST_GREETINGS if soft == resource.RLIM_INFINITY else soft
