"""UDP with few system calls: datagrams of one size leave together (GSO) and arrive together (GRO) where the kernel can.

Linux: udp(7), UDP_SEGMENT and UDP_GRO. Where they are missing each datagram is sent and read by itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aimds.gateway.packets.probing import LEAST

Address = Any
UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17
TIMESTAMP = 35
"""Linux: socket(7), SO_TIMESTAMPNS, and the type of what it adds: when a datagram came, as a timespec since 1970."""
MTU_DISCOVER = {socket.IPPROTO_IP: 10, socket.IPPROTO_IPV6: 23}
PROBE = 3
"""Linux: ip(7) and ipv6(7), IP_MTU_DISCOVER and IPV6_MTU_DISCOVER with IP_PMTUDISC_PROBE."""
TIMESPEC = struct.Struct("ll")
BUFFER_BYTES = 4 << 20
MOST_SEGMENTS = 64
MOST_BYTES = 65_000
ROOM_BYTES = 65_536
"""Of a read, which no datagram, nor what came together, is beyond."""
READS = 16
MOST_QUEUED = 4096
"""Sends that wait for a full socket; beyond, datagrams are dropped as on a full network, and QUIC sends them again."""


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A UDP socket with large buffers; ``port`` 0 takes a free one, which with ``shared`` others may have too. Raises
    OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    try:
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def in_one_piece(sock: socket.socket) -> bool:
    """Have no datagram of ``sock`` taken apart on its way (RFC 9000, section 14): what is too large for the path is
    lost. False where the kernel cannot."""
    levels = [socket.IPPROTO_IP] if sock.family == socket.AF_INET else [socket.IPPROTO_IPV6, socket.IPPROTO_IP]
    if sys.platform != "linux":
        return False
    try:
        for level in levels:
            sock.setsockopt(level, MTU_DISCOVER[level], PROBE)
    except OSError:
        return False
    return True


class Datagrams:
    """A transport for aioquic: `sendto` collects, `flush` sends. ``received`` gets the datagrams of one wake-up.

    Args:
        sock: bound, not blocking; closed by `close`.
        received: called with (datagram, address) pairs.
        offload: False does without GSO and GRO.
        reads: in a row before other work gets its turn; 0 leaves what comes in the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[list[tuple[bytes, Address]]], None],
        *,
        offload: bool = True,
        reads: int = READS,
    ) -> None:
        self.reads = reads
        self._socket, self._received = sock, received
        self._loop = asyncio.get_running_loop()
        self._out: list[tuple[bytes, Address]] = []
        self._waiting: deque[tuple[list[bytes], Address]] = deque()
        self.segments = offload
        """Whether datagrams are sent together; turned off when the kernel refuses."""
        if offload:
            try:
                sock.setsockopt(SOL_UDP, UDP_GRO, 1)
            except OSError:
                self.segments = False
        self.dropped = 0
        self._room = memoryview(bytearray(ROOM_BYTES))
        """What is read into: memory that is new each time costs five times as much as what is read."""
        self._empty_at = self._loop.time()
        """Since when at the latest there was nothing in the socket, the last time that there was nothing."""
        self.waited_s = 0.0
        """How long the first datagram of this wake-up lay in the socket; 0 where the kernel does not say."""
        if sys.platform == "linux":
            sock.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
        self._loop.add_reader(sock.fileno(), self._read)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket, for those that ask."""
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Send what is collected, as far as it goes, and close."""
        if self.is_closing():
            return
        self.flush()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def sendto(self, data: bytes, addr: Address = None) -> None:
        """Collect a datagram."""
        self._out.append((data, addr))

    def flush(self) -> None:
        """Send what was collected, in order; equal sizes to one address go together, a smaller one may end them."""
        out, self._out = self._out, []
        start = 0
        while start < len(out):
            first, address = out[start]
            stop, total = start + 1, len(first)
            while (
                self.segments
                and stop < len(out)
                and stop - start < MOST_SEGMENTS
                and len(out[stop - 1][0]) == len(first)
            ):
                data, other = out[stop]
                if other != address or len(data) > len(first) or total + len(data) > MOST_BYTES:
                    break
                total += len(data)
                stop += 1
            self._send([data for data, _ in out[start:stop]], address)
            start = stop

    def _send(self, parts: list[bytes], address: Address) -> None:
        if self.is_closing():
            return
        if self._waiting:
            self._wait(parts, address)
            return
        try:
            if len(parts) == 1:
                self._socket.sendto(parts[0], address)
            else:
                size = struct.pack("H", len(parts[0]))
                self._socket.sendmsg(parts, [(SOL_UDP, UDP_SEGMENT, size)], 0, address)
        except BlockingIOError:
            self._wait(parts, address)
        except OSError:
            if len(parts) == 1:
                # Unreachable or too large: lost, as on any network.
                self.dropped += 1
                return
            if len(parts[0]) <= LEAST:
                # Larger ones may be too large for their path alone.
                self.segments = False
            for part in parts:
                self._send([part], address)

    def _wait(self, parts: list[bytes], address: Address) -> None:
        if len(self._waiting) >= MOST_QUEUED:
            self.dropped += len(parts)
            return
        if not self._waiting:
            self._loop.add_writer(self._socket.fileno(), self._write)
        self._waiting.append((parts, address))

    def _write(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        waiting, self._waiting = self._waiting, deque()
        for parts, address in waiting:
            self._send(parts, address)

    def _read(self) -> None:
        found: list[tuple[bytes, Address]] = []
        room = self._room
        stamp, empty_at, now = 0.0, self._empty_at, self._loop.time()
        for _ in range(self.reads):
            try:
                length, notes, _, address = self._socket.recvmsg_into([room], 64)
            except BlockingIOError:
                self._empty_at = now
                break
            except OSError:
                # An earlier datagram could not be delivered; there may be more to read.
                continue
            size = length
            for level, kind, value in notes:
                if level == SOL_UDP and kind == UDP_GRO and len(value) >= 4:
                    size = struct.unpack_from("i", value)[0]
                elif not stamp and level == socket.SOL_SOCKET and kind == TIMESTAMP and len(value) >= TIMESPEC.size:
                    seconds, nanoseconds = TIMESPEC.unpack_from(value)
                    stamp = seconds + nanoseconds / 1e9
            if 0 < size < length:
                found += [(bytes(room[at : min(at + size, length)]), address) for at in range(0, length, size)]
            else:
                found.append((bytes(room[:length]), address))
        if found:
            # The clock may be set meanwhile, and nothing lay there when there was nothing.
            self.waited_s = min(max(0.0, time.time() - stamp), now - empty_at) if stamp else 0.0
            self._received(found)

    def pause(self) -> None:
        """Leave what comes in the socket, until `go_on`."""
        if not self.is_closing():
            self._loop.remove_reader(self._socket.fileno())

    def go_on(self) -> None:
        """Read again."""
        if not self.is_closing():
            self._loop.add_reader(self._socket.fileno(), self._read)
