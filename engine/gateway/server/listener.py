"""The server: datagrams to their connections, and new connections where there is room for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.h3.connection import H3_ALPN, ErrorCode
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from aimds.gateway.datagrams import Address, Datagrams, in_one_piece
from aimds.gateway.lanes import Lane
from aimds.gateway.packets.credit import CONNECTION_WINDOW, STREAM_WINDOW, Quic
from aimds.gateway.packets.probing import LEAST
from aimds.gateway.packets.refusing import refusal
from aimds.gateway.places import Places
from aimds.gateway.problem import Problem
from aimds.gateway.server.connection import Connection, Opens

MOST_CONNECTIONS = 20_000
IDLE_S = 60.0
READS = 256
TURN, PORTION, LITTLE = 8, 256, 16
"""Connections that are served before the loop gets its turn, and datagrams of each: few where more connections wait."""
SLICE_S = 4e-3
"""Of processor time, after which the loop rests as long where somebody judges in this process and others wait."""
MOST_WAITING = 8 << 20
"""Bytes of datagrams that wait for their turn; beyond, they wait in the socket."""
RETRY_AFTER = 256
"""Handshakes under way from which on a new client has to show that its address is its own (RFC 9000, section 8.1)."""


class Server:
    """Serves ``service`` over HTTP/3 on ``sock``.

    Args:
        configuration: see `configuration`; `use` puts another in its place.
        ask_certificate: whether clients are asked for a certificate; it is verified where identity is.
        places: of source addresses; by default each may have as many connections as it likes.
        unread_s: how long an answer may wait without any of it being taken, 0 for ever.
        datagram_bytes: of datagrams, where a path carries them; see `Sending`.
        offload: False does without GSO and GRO.
        lane: which of the processes on this port it is in; None: the only one.
        stray: given the number of another process, and a datagram for it that came here, from where and when.
    """

    def __init__(
        self,
        service: Opens,
        sock: socket.socket,
        configuration: QuicConfiguration,
        *,
        ask_certificate: bool = False,
        places: Places | None = None,
        unread_s: float = 0.0,
        datagram_bytes: int = LEAST,
        offload: bool = True,
        lane: Lane | None = None,
        stray: Callable[[int, bytes, Address, float], None] = lambda number, data, address, came: None,
    ) -> None:
        self._service, self._configuration, self._ask = service, configuration, ask_certificate
        self._places, self._unread_s = Places() if places is None else places, unread_s
        self._datagram_bytes = datagram_bytes if datagram_bytes > LEAST and in_one_piece(sock) else LEAST
        self._lane, self._stray = lane, stray
        self._loop = asyncio.get_running_loop()
        self._known: dict[bytes, Connection] = {}
        """Connections by each of their ids."""
        self._retry = QuicRetryTokenHandler()
        self._open = 0
        """Connections, each once: one has up to nine ids."""
        self.handshakes = 0
        """Connections whose handshake is not complete."""
        self._waiting: dict[Connection, deque[tuple[float, bytes, Address]]] = {}
        """What came for each, and when, and is still to be taken in. Where more comes than can be, all of a connection
        is taken in together, which costs less, and one that sends much does not keep the others waiting."""
        self._bytes = 0
        self._turn: asyncio.Handle | None = None
        self._began = time.thread_time()
        """Since when the loop has not rested."""
        self.datagrams = Datagrams(sock, self._arrived, offload=offload, reads=READS)

    def use(self, configuration: QuicConfiguration) -> None:
        """New connections see ``configuration``."""
        self._configuration = configuration

    async def end(self, seconds: float) -> None:
        """Wait, ``seconds`` at most, until what was answered has arrived where a client is still there, and `close`."""
        until = self._loop.time() + seconds
        # An answer is complete before all of it has been sent.
        while self._loop.time() < until and any(connection.owes() for connection in set(self._known.values())):
            await asyncio.sleep(0.01)
        self.close()

    def close(self) -> None:
        """Tell all clients that it is over, and close the socket."""
        for connection in set(self._known.values()):
            with contextlib.suppress(Exception):
                connection.close(ErrorCode.H3_NO_ERROR)
        self._known.clear()
        self._waiting.clear()
        self.datagrams.close()

    def handed(self, data: bytes, address: Address, came: float) -> None:
        """A datagram for this process came to another one."""
        self._taken([(data, address)], came)

    def _arrived(self, datagrams: list[tuple[bytes, Address]]) -> None:
        self._taken(datagrams, self._loop.time() - self.datagrams.waited_s)

    def _taken(self, datagrams: list[tuple[bytes, Address]], came: float) -> None:
        size, lane = self._configuration.connection_id_length, self._lane
        for data, address in datagrams:
            if not data:
                continue
            if lane is not None and (number := lane.of(data)) != lane.number:
                self._stray(number, data, address, came)
                continue
            try:
                connection = self._found(data, address) if data[0] & 0x80 else self._known.get(data[1 : 1 + size])
            except Exception:  # a datagram made to break us is dropped
                self._service.metrics.denied.labels("datagram").inc()
                continue
            if connection is not None:
                waiting = self._waiting.get(connection)
                if waiting is None:
                    waiting = self._waiting[connection] = deque()
                waiting.append((came, data, address))
                self._bytes += len(data)
        if self._turn is None:
            self._serve()

    def _serve(self) -> None:
        """Take in what waits of some connections, those first that have waited longest."""
        self._turn, now = None, self._loop.time()
        most = PORTION if len(self._waiting) <= TURN else LITTLE
        for connection in list(islice(self._waiting, TURN)):
            waiting = self._waiting.pop(connection)
            connection.came = waiting[0][0]
            for _ in range(min(most, len(waiting))):
                _, data, address = waiting.popleft()
                self._bytes -= len(data)
                try:
                    connection.quic.receive_datagram(data, address, now=now)
                except Exception:  # a datagram made to break us is dropped; its connection runs into its own timeout
                    self._service.metrics.denied.labels("datagram").inc()
            if waiting:
                self._waiting[connection] = waiting
            try:
                connection.more()
            except Exception:  # what is made of it ends one connection; the others go on
                self._service.metrics.denied.labels("datagram").inc()
                # Closing sends too, and may fail at the same thing.
                with contextlib.suppress(Exception):
                    connection.close(ErrorCode.H3_INTERNAL_ERROR)
        self.datagrams.flush()
        self.datagrams.reads = READS if self._bytes < MOST_WAITING else 0
        used_s = time.thread_time() - self._began
        if self._waiting and used_s < SLICE_S:
            self._turn = self._loop.call_soon(self._serve)
        elif (rest_s := self._service.rest()) > 0:
            # Who judges in this process has as much of it as has gone into reading.
            self.datagrams.pause()
            self._turn = self._loop.call_later(max(rest_s, min(used_s, SLICE_S)), self._go_on)
        else:
            self._began += used_s
            if self._waiting:
                self._turn = self._loop.call_soon(self._serve)

    def _go_on(self) -> None:
        self._turn, self._began = None, time.thread_time()
        self.datagrams.go_on()
        if self._waiting:
            self._serve()

    def _found(self, data: bytes, address: Address) -> Connection | None:
        """The connection of a datagram with a long header, a new one where it begins one."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._configuration.connection_id_length)
        except ValueError:
            return None
        if header.version is not None and header.version not in self._configuration.supported_versions:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=self._configuration.supported_versions,
            )
            self.datagrams.sendto(answer, address)
            return None
        known = self._known.get(header.destination_cid)
        begins = header.packet_type == QuicPacketType.INITIAL and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE
        if known is not None or not begins:
            return known
        original, source = header.destination_cid, None
        if header.token:
            try:
                original, source = self._retry.validate_token(address, header.token)
            except ValueError:
                return None
        elif self.handshakes >= RETRY_AFTER or self._places.is_crowded(address[0]):
            # Many that begin and do not go on may have false addresses: have them shown to be true first.
            source = os.urandom(8)
            if self._lane is not None:
                source = self._lane.steered(source)
            token = self._retry.create_token(address, header.destination_cid, source)
            answer = encode_quic_retry(
                version=header.version or 0,
                source_cid=source,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            )
            self.datagrams.sendto(answer, address)
            return None
        if self._open >= MOST_CONNECTIONS:
            self._service.metrics.closed.labels("quic", "full").inc()
            self.datagrams.sendto(refusal(header, f"{self._open} connections are open already"), address)
            return None
        try:
            place = self._places.take(address[0])
        except Problem as problem:
            self._service.metrics.closed.labels("quic", problem.kind).inc()
            self.datagrams.sendto(refusal(header, str(problem)), address)
            return None
        quic = Quic(
            ask_certificate=self._ask,
            datagram_bytes=self._datagram_bytes,
            steered=None if self._lane is None else self._lane.steered,
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=source,
        )
        return self._register(quic, header.destination_cid, address, place)

    def _register(self, quic: Quic, first: bytes, address: Address, place: str) -> Connection:
        def ended() -> None:
            self._open -= 1
            self._places.leave(place)

        connection = Connection(quic, self._service, address, self._completed, ended, self._unread_s)
        connection.connection_made(self.datagrams)  # type: ignore[arg-type]
        ids = {first, quic.host_cid}

        def issued(cid: bytes) -> None:
            ids.add(cid)
            self._known[cid] = connection

        def retired(cid: bytes) -> None:
            ids.discard(cid)
            self._known.pop(cid, None)

        def terminated() -> None:
            for cid in ids:
                self._known.pop(cid, None)

        connection._connection_id_issued_handler = issued
        connection._connection_id_retired_handler = retired
        connection._connection_terminated_handler = terminated
        self._known |= dict.fromkeys(ids, connection)
        self._open += 1
        self.handshakes += 1
        return connection

    def _completed(self) -> None:
        self.handshakes -= 1


def configuration(certificate: bytes, key: bytes) -> QuicConfiguration:
    """What `Server` needs of aioquic's settings; ``certificate`` and ``key`` in PEM.

    Raises:
        ValueError: they cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain = x509.load_pem_x509_certificates(certificate)
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        certificate=chain[0],
        certificate_chain=chain[1:],
        private_key=load_pem_private_key(key, None),
        idle_timeout=IDLE_S,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
    )
