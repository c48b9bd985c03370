"""The sockets of a gateway: HTTP over TCP, and over QUIC on the same port where there is a certificate."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from aimds.app import tls
from aimds.errors import AimdsError, ConfigError
from aimds.gateway import lanes, server
from aimds.gateway.http import App
from aimds.gateway.identity import Peer
from aimds.gateway.places import Places
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.relay.link import Certified, Setup
from aimds.gateway.relay.processes import Processes
from aimds.gateway.settings import Settings
from aimds.gateway.twin import Twin, listener

Front = Callable[[App], Any]


class Sockets:
    """What listens for ``service``.

    Args:
        settings: say where, and with which certificate.
        clock: monotonic seconds.
        failed: counts a login that failed from an address at a time; a Problem where there were too many.
        say: told what a person should know.

    Raises:
        DataError: the certificate cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        service: Service,
        clock: Callable[[], float],
        failed: Callable[[str, float], None] = lambda address, now: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings, self._service, self._clock, self._failed, self._say = settings, service, clock, failed, say
        self._context = tls.context(settings)
        self._serving: asyncio.Task[None] | None = None
        self.twin: Twin | None = None
        self.quic: server.Server | None = None
        """Where this process speaks QUIC; ``relay``: where others do."""
        self.relay: Processes | None = None
        self._places = Places(settings.connections_per_address)
        self.port = 0
        """TCP port, once open."""

    def open(self, front: Front | None, counted: Callable[[int], None]) -> None:
        """Listen, with what ``front`` makes of the application before it; ``counted``: told as connections come and go.

        Nobody is answered before the loop goes on.

        Raises:
            ConfigError: the address cannot be used.
        """
        settings = self._settings
        listening = _listening(settings.host, settings.port)
        self.port = listening.getsockname()[1]
        try:
            # What stands before speaks HTTP/1.1, so nobody is to be led to HTTP/3.
            alt_svc = self._open_quic() if front is None else None
        except AimdsError:
            listening.close()
            raise
        app = App(self._service, self._clock, alt_svc=alt_svc)
        self.twin = Twin(
            app if front is None else front(app),
            context=self._context,
            counted=counted,
            refused=self._refused,
            places=self._places,
            unread_s=settings.unread_s,
            closed=self._closed,
            grace_s=settings.drain_s,
        )
        # What stands before may pass on answers that have a date of their own.
        self.twin.config.date_header = front is None
        self._serving = asyncio.create_task(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        assert self.twin is not None
        if self.relay is not None:
            try:
                await self.relay.start()
            except BaseException:
                listening.close()
                raise
        await self.twin.serve([listening])

    def _closed(self, reason: str) -> None:
        self._service.metrics.closed.labels("tcp", reason).inc()

    def _refused(self, address: str, reason: str) -> None:
        try:
            self._failed(address, self._clock())
        except Problem:
            # Or whoever has no certificate could fill the log.
            return
        # Of a client that TLS turns away nothing is known but where it is.
        self._service.deny(Problem("unauthenticated", reason), "", "", Peer(address))

    async def opened(self) -> None:
        """Wait until what listens over TCP is ready.

        Raises:
            ConfigError: it ended instead.
            RelayError: a process that speaks QUIC cannot be started.
        """
        assert self.twin is not None
        assert self._serving is not None
        while not self.twin.started:
            await asyncio.sleep(0.005)
            if self._serving.done():
                if isinstance(error := self._serving.exception(), AimdsError):
                    raise error
                address = f"{self._settings.host}:{self._settings.port}"
                raise ConfigError("listen", address, "an address to listen on")

    def _open_quic(self) -> str | None:
        """Listen for HTTP/3 on the same port; gives what Alt-Svc says of it, None where there is no certificate."""
        settings = self._settings
        if settings.certificate is None or settings.key is None:
            return None
        try:
            socks, steered = lanes.bound(settings.host, self.port, max(1, settings.processes))
        except OSError as error:
            raise ConfigError("listen", f"{settings.host}:{self.port}", f"free for UDP ({error.strerror})") from error
        asked, found = settings.certificates is not None, tls.certified(settings)
        made = tls.quic(settings, found)
        if settings.processes:
            if not steered:
                self._say("this system does not look at connection ids: processes hand on what is not theirs")
            setup = Setup(found, 0, len(socks), asked, settings.unread_s, settings.datagram_bytes, {})
            self.relay = Processes(self._service, socks, setup, self._places, self._say)
        else:
            self.quic = server.Server(
                self._service,
                socks[0],
                made,
                ask_certificate=asked,
                places=self._places,
                unread_s=settings.unread_s,
                datagram_bytes=settings.datagram_bytes,
            )
        return f'h3=":{self.port}"; ma=3600'

    @property
    def ready(self) -> bool:
        """Whether what speaks QUIC is there, where something is to."""
        return self.relay is None or self.relay.ready > 0

    def read(self, settings: Settings) -> server.QuicConfiguration | Certified | None:
        """What `use` wants of ``settings``; raises DataError where they cannot be used."""
        if self._context is not None:
            # Whatever TLS may have against them is found out on a context that nobody uses.
            tls.context(settings)
        if self.quic is None and self.relay is None:
            return None
        found = tls.certified(settings)
        made = tls.quic(settings, found)
        return made if self.relay is None else found

    def use(self, settings: Settings, read: server.QuicConfiguration | Certified | None) -> None:
        """Take up the certificates of ``settings`` for new connections; ``read``: what `read` gave for them.

        Raises:
            DataError: they cannot be used.
        """
        if self._context is not None:
            tls.load(self._context, settings)
        if self.quic is not None and isinstance(read, server.QuicConfiguration):
            self.quic.use(read)
        if self.relay is not None and isinstance(read, Certified):
            self.relay.use(read)

    async def close(self, until: float) -> None:
        """Take no more connections, and wait for those that are open, until ``until`` on the clock at most."""
        if self.quic is not None:
            await self.quic.end(until - self._clock())
        if self.relay is not None:
            await self.relay.close(until - self._clock())
        if self.twin is None or self._serving is None:
            return
        self.twin.should_exit = True
        while self.twin.started and not self._serving.done() and self._clock() <= until:
            await asyncio.sleep(0.01)
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return listener(host, port)
    except OSError as error:
        raise ConfigError("listen", f"{host}:{port}", f"a free address of this machine ({error.strerror})") from error
