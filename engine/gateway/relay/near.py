"""The gateway's end of the link to a process that speaks QUIC for it: its requests are opened here, as if they had come
here."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Counts
from collections.abc import Callable
from typing import Any, Final

import msgspec
from prometheus_client import Counter, Gauge

from aimds.gateway.exchange import Exchange
from aimds.gateway.feeding import PORTION, Feeding
from aimds.gateway.headers import Head as RequestHead
from aimds.gateway.identity import Peer
from aimds.gateway.limits import source
from aimds.gateway.packets.kept import Kept
from aimds.gateway.places import Places
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.relay.link import (
    CONNECTION,
    COUNT,
    WHEN,
    WINDOW,
    Begun,
    Counted,
    Head,
    Kind,
    Link,
    Refusal,
    encoded,
    peer_of,
)

MOST_UNSENT: Final = 8 << 20
"""Bytes of all answers on a connection that may wait here, beside a little of each."""
MOST_HEAD_BYTES: Final = 1 << 20
"""Of the heads that are kept as they were read."""

OF_REQUESTS: Final = frozenset({Kind.OPEN, Kind.DATA, Kind.END, Kind.ABORT, Kind.REFUSE, Kind.CREDIT})
"""Frames whose number is that of a request."""


class _Request(Feeding):
    """One of them, and how much of its answer the other side takes."""

    def __init__(self, exchange: Exchange, connection: int) -> None:
        super().__init__(exchange)
        self.connection = connection
        self.window = WINDOW
        self.moved_at = 0.0
        """When something became of it last."""


class Near:
    """What one process says, brought to ``service``.

    Args:
        places: of source addresses, over all processes and TCP.
        stray: given the number of a process, and a datagram for it.
    """

    def __init__(self, service: Service, places: Places, stray: Callable[[int, bytes], None]) -> None:
        self._service, self._places, self._stray = service, places, stray
        self._loop = asyncio.get_running_loop()
        self._requests: dict[int, _Request] = {}
        self._together: dict[int, set[_Request]] = {}
        """By connection."""
        self._peers: dict[int, Peer] = {}
        self._heads = Kept[bytes, tuple[Begun, RequestHead | None]](MOST_HEAD_BYTES)
        self._due: set[int] = set()
        self._taken: Counts[str] = Counts()
        self._beyond: Counts[str] = Counts()
        """Connections of addresses that had all of theirs when these were opened, in the same moment as others."""
        self._counted: dict[tuple[str, tuple[str, ...]], float] = {}
        self.link: Link | None = None
        self.unanswered = 0
        """How often it was asked whether it is there since it said so."""
        self.ready: asyncio.Future[str] = self._loop.create_future()
        """Why it cannot listen; empty when it does."""
        self._handlers: dict[int, Callable[[int, bytes], None]] = {
            Kind.READY: self._is_ready,
            Kind.PEER: self._peer,
            Kind.OPEN: self._open,
            Kind.DATA: self._data,
            Kind.END: self._end,
            Kind.ABORT: self._abort,
            Kind.REFUSE: self._refuse,
            Kind.CREDIT: self._credit,
            Kind.TAKE: self._take,
            Kind.LEAVE: self._leave,
            Kind.COUNTS: self._count,
            Kind.STRAY: self._stray,
            Kind.HERE: self._here,
        }

    def receive(self, kind: int, number: int, payload: bytes) -> None:
        """A frame came."""
        try:
            self._handlers[kind](number, payload)
        except Exception as error:  # what nobody foresaw ends one request; the others of the process go on
            self._failed(number if kind in OF_REQUESTS else -1, error)

    def _failed(self, number: int, error: Exception) -> None:
        self._service.metrics.denied.labels("datagram").inc()
        if number < 0:
            return
        request = self._forget(number)
        if request is not None:
            with contextlib.suppress(Exception):
                request.exchange.abort(self._loop.time())
        if request is None or not request.begun:
            problem = Problem("internal", f"{type(error).__name__}: {error}")
            self._send(Kind.HEADERS, number, encoded(Head(problem.status, problem.headers())))
            self._send(Kind.BODY, number, problem.body())
            self._send(Kind.FINISH, number)
        else:
            self._send(Kind.FINISH, number, b"!")

    def lost(self) -> None:
        """The process is gone, and with it all connections and requests that it had."""
        if not self.ready.done():
            self.ready.set_result("it ended before it was ready")
        now = self._loop.time()
        requests, self._requests = self._requests, {}
        self._together.clear()
        for request in requests.values():
            with contextlib.suppress(Exception):
                request.exchange.abort(now)
        for name, count in self._taken.items():
            for _ in range(count):
                self._places.leave(name)
        self._taken.clear()
        self._beyond.clear()
        for (metric, labels), value in self._counted.items():
            if metric == "connections":
                self._metric(metric, labels).inc(-value)
        self._counted.clear()

    def _is_ready(self, number: int, payload: bytes) -> None:
        if not self.ready.done():
            self.ready.set_result(payload.decode())

    @property
    def owes(self) -> bool:
        """Whether some of an answer that is complete is not on its way yet."""
        return any(request.exchange.ended for request in self._requests.values())

    def _here(self, number: int, payload: bytes) -> None:
        self.unanswered = 0

    def _peer(self, number: int, payload: bytes) -> None:
        if not number:
            self._peers.clear()
            # What was read of a head may be true of its sender alone.
            self._heads.clear()
        self._peers[number] = peer_of(payload)

    def _open(self, number: int, payload: bytes) -> None:
        (connection,), (begun, head) = CONNECTION.unpack_from(payload), self._read(payload[CONNECTION.size :])
        peer, now = self._peers[begun.peer], self._loop.time()
        exchange = self._service.open(begun.method, begun.target, begun.headers, peer, now, head)
        request = self._requests[number] = _Request(exchange, connection)
        together = self._together.setdefault(connection, set())
        together.add(request)
        exchange.wake = lambda: self._wake(number)
        exchange.has_share = lambda: sum(one.exchange.unsent + one.exchange.expected for one in together) < MOST_UNSENT
        if exchange.idle_s != Exchange.idle_s:
            self._send(Kind.IDLE, number, encoded(exchange.idle_s))
        if exchange.status or exchange.ended:
            self._answer(number, request)

    def _read(self, payload: bytes) -> tuple[Begun, RequestHead | None]:
        """Many heads are alike, and are read once."""
        found = self._heads.get(payload)
        if found is None:
            begun = msgspec.msgpack.decode(payload, type=Begun)
            try:
                head = RequestHead.read(begun.method, begun.target, begun.headers)
            except Problem:
                # The service says what is wrong with it.
                head = None
            found = begun, head
            self._heads.put(payload, found, 8 * len(payload))
        return found

    def _forget(self, number: int) -> _Request | None:
        request = self._requests.pop(number, None)
        if request is not None:
            together = self._together[request.connection]
            together.discard(request)
            if not together:
                del self._together[request.connection]
        return request

    def _data(self, number: int, payload: bytes) -> None:
        request = self._requests.get(number)
        if request is not None:
            request.held.append(payload[WHEN.size :])
            self._feed(number, request, WHEN.unpack_from(payload)[0])

    def _end(self, number: int, payload: bytes) -> None:
        request = self._requests.get(number)
        if request is not None:
            request.over = True
            self._feed(number, request, WHEN.unpack(payload)[0])

    def _feed(self, number: int, request: _Request, came: float | None = None) -> None:
        request.moved_at = now = self._loop.time()
        taken = request.feed(now, 0.0 if came is None else max(0.0, now - came))
        if taken and not request.over:
            self._send(Kind.CONSUMED, number, COUNT.pack(taken))

    def _abort(self, number: int, payload: bytes) -> None:
        request = self._forget(number)
        if request is not None:
            request.exchange.abort(self._loop.time())

    def _refuse(self, number: int, payload: bytes) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        exchange, said = request.exchange, msgspec.msgpack.decode(payload, type=Refusal)
        if said.kind == "slow-request":
            # There nothing is known of what is wanted here, and since when.
            moving = self._loop.time() - request.moved_at < exchange.idle_s
            if moving or request.held or not exchange.wants_data:
                return
        exchange.refuse(Problem(said.kind, said.detail))

    def _credit(self, number: int, payload: bytes) -> None:
        request = self._requests.get(number)
        if request is not None:
            request.window += COUNT.unpack(payload)[0]
            self._answer(number, request)

    def _wake(self, number: int) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due.add(number)

    def _flush(self) -> None:
        due, self._due = self._due, set()
        for number in due:
            request = self._requests.get(number)
            try:
                if request is not None:
                    self._answer(number, request)
            except Exception as error:
                self._failed(number, error)
        if self.link is not None:
            self.link.flush()

    def _answer(self, number: int, request: _Request) -> None:
        exchange = request.exchange
        if exchange.status and not request.begun:
            request.begun = True
            self._send(Kind.HEADERS, number, encoded(Head(exchange.status, exchange.headers)))
        while exchange.unsent and request.window > 0:
            content = exchange.take(min(PORTION, request.window))
            request.window -= len(content)
            self._send(Kind.BODY, number, content)
            if not exchange.ended or exchange.unsent:
                exchange.sent(self._loop.time())
        if exchange.ended and not exchange.unsent:
            self._forget(number)
            self._send(Kind.FINISH, number, b"!" if exchange.broken else b"")
            return
        self._feed(number, request)

    def _take(self, number: int, payload: bytes) -> None:
        address = payload.decode()
        try:
            self._taken[self._places.take(address)] += 1
        except Problem:
            self._beyond[source(address)] += 1

    def _leave(self, number: int, payload: bytes) -> None:
        name = payload.decode()
        if self._beyond[name]:
            self._beyond[name] -= 1
            return
        self._taken[name] -= 1
        self._places.leave(name)
        if not self._taken[name]:
            del self._taken[name]

    def _count(self, number: int, payload: bytes) -> None:
        for metric, labels, value in msgspec.msgpack.decode(payload, type=Counted).values:
            before = self._counted.get((metric, labels), 0.0)
            self._counted[metric, labels] = value
            if value != before:
                self._metric(metric, labels).inc(value - before)

    def _metric(self, name: str, labels: tuple[str, ...]) -> Counter | Gauge:
        metric: Any = getattr(self._service.metrics, name)
        found: Counter | Gauge = metric.labels(*labels)
        return found

    def _send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        if self.link is not None:
            self.link.send(kind, number, payload)
