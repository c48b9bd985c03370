"""One UDP port, several processes: the first byte of a connection id says whose a datagram is, whatever its address.

The ids that a client is given have the number of their process in them, so what it sends goes there also after it has
moved (RFC 9000, section 5.1). What a client sends first has an id that it drew at random, and goes to the process which
that one names. Linux looks at the byte itself: socket(7), SO_ATTACH_REUSEPORT_CBPF. What comes to another process all
the same is handed on.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from dataclasses import dataclass

from aimds.gateway import datagrams

MOST_LANES = 64
SO_ATTACH_REUSEPORT_CBPF = 51
LONG = 0x80
"""Of the first byte of a packet with a long header (RFC 8999, section 5.1)."""
SHORT_ID, LONG_ID = 1, 6
"""Where the destination connection id begins after a short header and after a long one, of which byte 5 is its size."""
_LOAD, _IF_ANY, _JUMP, _MODULO, _RETURN = 0x30, 0x45, 0x05, 0x94, 0x16
"""Classic BPF: a byte of the packet, a jump if any of these bits is set, a jump, the remainder, the number is it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Process ``number`` of ``count``."""

    number: int
    count: int

    def steered(self, cid: bytes) -> bytes:
        """The connection id ``cid``, which was drawn at random, such that it leads here."""
        first = cid[0] - cid[0] % self.count + self.number
        return bytes((first if first < 256 else first - self.count,)) + cid[1:]

    def of(self, datagram: bytes) -> int:
        """Which process ``datagram`` belongs to; one that is too short to have an id is anybody's."""
        at = LONG_ID if datagram[0] & LONG else SHORT_ID
        return datagram[at] % self.count if at < len(datagram) else self.number


def bound(host: str, port: int, count: int) -> tuple[list[socket.socket], bool]:
    """UDP sockets on one port, one for each of ``count`` processes, in order, and whether the kernel gives each what is
    its own; all of them are to stay open as long as one of them is, or it would count anew.

    Raises:
        OSError: the address cannot be used.
    """
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(datagrams.bound(host, port, shared=count > 1))
            port = made[0].getsockname()[1]
        return made, count == 1 or _steer(made[0], count)
    except OSError:
        for one in made:
            one.close()
        raise


def _steer(sock: socket.socket, count: int) -> bool:
    program = (
        (_LOAD, 0, 0, 0),
        (_IF_ANY, 0, 2, LONG),
        (_LOAD, 0, 0, LONG_ID),
        (_JUMP, 0, 0, 1),
        (_LOAD, 0, 0, SHORT_ID),
        (_MODULO, 0, 0, count),
        (_RETURN, 0, 0, 0),
    )
    if sys.platform != "linux":
        return False
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    try:
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", len(program), ctypes.addressof(code))
        )
    except OSError:
        # Then the kernel spreads them by address, and each process hands on what is not its own.
        return False
    return True
