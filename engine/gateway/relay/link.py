"""A gateway and a process that speaks QUIC for it, over a socket pair: frames of a kind, a number and a payload.

Both sides are of one version and start together, so nothing of this is kept or read from strangers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgspec

from aimds.gateway.identity import Peer

HEAD: Final = struct.Struct("<BQI")
"""Kind, number and bytes of the payload."""
COUNT: Final = struct.Struct("<I")
WHEN: Final = struct.Struct("<d")
"""When what is handed on came to this machine, on the clock that its processes share."""
CONNECTION: Final = struct.Struct("<Q")
"""What the requests of a connection have in common, as long as one of them is open."""
MOST_WRITTEN: Final = 4 << 20
"""Bytes that may wait to be taken by the other side, before what may be lost is."""
WINDOW: Final = 128 << 10
"""Bytes of a body, and of an answer, that may be on their way to the other side and in its hands."""
Receive = Callable[[int, int, bytes], None]


class Kind(IntEnum):
    """Of a frame. The number is that of a request where nothing else is said."""

    # To the gateway.
    READY = 1  # it listens; with a payload it cannot, and that is why
    PEER = 2  # number: of a client; `Peer`
    OPEN = 3  # CONNECTION, and `Begun`
    DATA = 4  # WHEN, and a piece of the body
    END = 5  # WHEN: the body is complete
    ABORT = 6  # the client is gone
    REFUSE = 7  # `Refusal`
    CREDIT = 8  # COUNT: bytes of the answer that were taken
    TAKE = 9  # an address opened a connection
    LEAVE = 10  # one of its connections is over
    COUNTS = 11  # `Counted`
    STRAY = 12  # number: of a process; `Stray`: a datagram for it
    HERE = 13  # the answer to THERE
    # From it.
    SETUP = 32  # `Setup`
    HEADERS = 33  # `Head`
    BODY = 34  # a piece of the answer
    FINISH = 35  # the answer is complete; with a payload it breaks off
    CONSUMED = 36  # COUNT: bytes of the body that were taken
    IDLE = 37  # `float`: the seconds of Exchange.idle_s
    STANDING = 38  # number: how an address stands, see `places`; the address
    USE = 39  # `Certified`
    CLOSE = 40  # `float`: seconds that are left
    HANDED = 41  # `Stray`: a datagram that came to another process
    THERE = 42  # asks whether it is there


class Certified(msgspec.Struct):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


class Setup(msgspec.Struct):
    """How a process listens; see `Server`. ``number`` of ``count``."""

    certified: Certified
    number: int
    count: int
    ask_certificate: bool
    unread_s: float
    datagram_bytes: int
    standings: dict[str, int]


class Begun(msgspec.Struct, array_like=True):
    """A request, and which client sent it."""

    peer: int
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]


class Head(msgspec.Struct, array_like=True):
    """The beginning of an answer."""

    status: int
    headers: list[tuple[str, str]]


class Refusal(msgspec.Struct, array_like=True):
    """What a process says of a request, see `Problem`."""

    kind: str
    detail: str


class Counted(msgspec.Struct):
    """What a process has counted so far: metric, label and value."""

    values: list[tuple[str, tuple[str, ...], float]]


class Stray(msgspec.Struct, array_like=True):
    """A datagram, and where it came from."""

    data: bytes
    address: tuple[str | int, ...]
    came: float
    """As WHEN."""


def encoded(content: Any) -> bytes:
    """``content`` as a payload."""
    return msgspec.msgpack.encode(content)


def peer_of(payload: bytes) -> Peer:
    """The peer in a payload."""
    return msgspec.msgpack.decode(payload, type=Peer)


class Link(asyncio.Protocol):
    """One end. What is sent in one round of the loop goes out together.

    Args:
        receive: given each frame.
        lost: called once, when the other end is gone.
    """

    def __init__(self, receive: Receive, lost: Callable[[], None]) -> None:
        self._receive, self._lost = receive, lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._out: list[bytes] = []

    @classmethod
    async def over(cls, sock: socket.socket, receive: Receive, lost: Callable[[], None]) -> Link:
        """A link over one socket of a pair, which it closes."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: cls(receive, lost), sock=sock)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        self._transport = None
        self._out.clear()
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take frames apart."""
        if self._rest:
            data = self._rest + data
        at, size, receive = 0, len(data), self._receive
        while size - at >= HEAD.size:
            kind, number, length = HEAD.unpack_from(data, at)
            stop = at + HEAD.size + length
            if stop > size:
                break
            receive(kind, number, data[at + HEAD.size : stop])
            at = stop
        self._rest = data[at:]

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Send a frame."""
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out += (HEAD.pack(kind, number, len(payload)), payload)

    def flush(self) -> None:
        """Send what was collected."""
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    @property
    def is_full(self) -> bool:
        """Whether the other side is far behind."""
        return self._transport is not None and self._transport.get_write_buffer_size() > MOST_WRITTEN

    def close(self) -> None:
        """Send what is left, and end."""
        self.flush()
        if self._transport is not None:
            self._transport.close()
