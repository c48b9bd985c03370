"""How a TCP connection ends so that what was written arrives: it is sent first, then nothing more is, and what still
comes is read for a while. A kernel that closes with something unread takes back what it has not sent (RFC 1122,
section 4.2.2.13)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Any, Final

from aimds.gateway.problem import Problem

LINGER_S: Final = 2.0
"""So long what still comes is read when everything has been sent."""
PAUSE_S: Final = 0.01
"""Until it is looked again whether everything has been sent."""


def unsent(transport: Any) -> int:
    """Bytes that were written and are not with the kernel, those that TLS has sealed included."""
    sealed = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return int(transport.get_write_buffer_size()) + (0 if sealed is None else int(sealed.get_write_buffer_size()))


def untaken(transport: Any) -> int:
    """Bytes that are with the kernel and not with the other end; 0 where the kernel does not say (tcp(7), SIOCOUTQ)."""
    sock = transport.get_extra_info("socket")
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0


async def sent(transport: Any, gone: asyncio.Future[None]) -> None:
    """Wait until all that was written is with the kernel, or the connection is ``gone``."""
    while unsent(transport) and not gone.done():
        await asyncio.sleep(PAUSE_S)


def shut(transport: Any) -> None:
    """Send no more: the other end sees the end of the connection behind what was sent, over TLS without its goodbye."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").shutdown(socket.SHUT_WR)


class TurnedAway(asyncio.Protocol):
    """A connection that is told ``problem``, whatever it asks, and ends."""

    def __init__(self, problem: Problem) -> None:
        body = problem.body()
        lines = [f"HTTP/1.1 {problem.status} Refused", *(f"{name}: {value}" for name, value in problem.headers())]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "connection: close", "", ""])
        self._answer = head.encode() + body
        self._late: asyncio.TimerHandle | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Answer before anything is asked."""
        transport.write(self._answer)
        shut(transport)
        self._late = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._late is not None:
            self._late.cancel()
        if not self.gone.done():
            self.gone.set_result(None)
