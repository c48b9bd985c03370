"""A process that speaks QUIC for a gateway: `python -m aimds.gateway.relay.process UDP LINK`, two open sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

import msgspec

from aimds.gateway.datagrams import Address
from aimds.gateway.garbage import settle
from aimds.gateway.lanes import Lane
from aimds.gateway.relay.far import Far, FarPlaces
from aimds.gateway.relay.link import Certified, Kind, Link, Setup, Stray, encoded
from aimds.gateway.server import Server, configuration

TELL_S: Final = 0.25
"""So often what was counted is told."""


class Process:
    """It, until the gateway says that it is over, or is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._far = sock, Far()
        self._server: Server | None = None
        self._places: FarPlaces | None = None
        self._over: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """How long it may still wait for clients to take what is theirs."""

    async def run(self, link_sock: socket.socket) -> None:
        """Serve."""
        link = await Link.over(link_sock, self._receive, lambda: self._end(0.0))
        self._far.use(link)
        telling = asyncio.ensure_future(self._tell())
        seconds = await self._over
        if self._server is not None:
            await self._server.end(seconds)
        telling.cancel()
        self._far.tell()
        link.close()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            self._far.tell()

    def _end(self, seconds: float) -> None:
        if not self._over.done():
            self._over.set_result(seconds)

    def _receive(self, kind: int, number: int, payload: bytes) -> None:
        try:
            self._take(kind, number, payload)
        except Exception as error:  # one frame is of no use; the connections go on
            print(f"aimds: a process that speaks QUIC: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        server = self._server
        match kind:
            case Kind.THERE:
                self._far.link.send(Kind.HERE, 0)
            case Kind.STANDING if self._places is not None:
                self._places.stands(payload.decode(), number)
            case Kind.HANDED if server is not None:
                stray = msgspec.msgpack.decode(payload, type=Stray)
                server.handed(stray.data, stray.address, stray.came)
            case Kind.USE if server is not None:
                new = msgspec.msgpack.decode(payload, type=Certified)
                server.use(configuration(new.certificate, new.key))
            case Kind.CLOSE:
                self._end(msgspec.msgpack.decode(payload, type=float))
            case Kind.SETUP:
                self._begin(msgspec.msgpack.decode(payload, type=Setup))
            case _:
                self._far.receive(kind, number, payload)

    def _strays(self, number: int, data: bytes, address: Address, came: float) -> None:
        # It may be lost, as on any network.
        if not self._far.link.is_full:
            self._far.link.send(Kind.STRAY, number, encoded(Stray(data, tuple(address), came)))

    def _begin(self, setup: Setup) -> None:
        far = self._far
        self._places = FarPlaces(far, setup.standings)
        try:
            self._server = Server(
                far,
                self._sock,
                configuration(setup.certified.certificate, setup.certified.key),
                ask_certificate=setup.ask_certificate,
                places=self._places,
                unread_s=setup.unread_s,
                datagram_bytes=setup.datagram_bytes,
                lane=Lane(setup.number, setup.count),
                stray=self._strays,
            )
        except (ValueError, OSError) as error:
            far.link.send(Kind.READY, 0, str(error).encode())
            return
        settle()
        far.link.send(Kind.READY, 0)


def main() -> None:
    """Serve on the sockets that are named on the command line."""
    sock, link = (socket.socket(fileno=int(one)) for one in sys.argv[1:3])

    async def run() -> None:
        await Process(sock).run(link)

    asyncio.run(run())


if __name__ == "__main__":
    main()
