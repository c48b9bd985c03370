"""A process's end of the link to its gateway: what a connection takes for the service, and requests that are there."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, Final

import msgspec

from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head as RequestHead
from aimds.gateway.identity import Peer
from aimds.gateway.limits import source
from aimds.gateway.places import CROWDED, FULL, ROOM, Places
from aimds.gateway.problem import Problem
from aimds.gateway.relay.link import CONNECTION, COUNT, WHEN, WINDOW, Begun, Counted, Head, Kind, Link, Refusal, encoded
from aimds.gateway.turning_away import Refusal as TurnedAway
from aimds.metrics import Metrics

MOST_PEERS, MOST_SHOWN = 4096, 1 << 20
"""Clients that the gateway is told of once, and not with each of their requests, and bytes of their certificates, which
nobody has verified yet."""
MOST_AHEAD: Final = 1 << 20
"""Bytes of all bodies of a connection that may be on their way to the gateway and in its hands."""
LEAST_CREDIT: Final = WINDOW // 4


class Together:
    """The open requests of a connection, and how many bytes of their bodies the gateway has not taken yet."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        """The object of this connection alone, which keeps its identity as long as this is."""
        self.requests: set[Elsewhere] = set()
        self.ahead = 0

    def add(self, size: int) -> None:
        """So many more; below 0, so many were taken, and others may go on."""
        full = self.ahead >= MOST_AHEAD
        self.ahead += size
        if full and self.ahead < MOST_AHEAD:
            for one in list(self.requests):
                one.wake()


class Elsewhere(Exchange):
    """A request that the gateway has: what comes is sent there, what comes from there is the answer."""

    route = "elsewhere"

    def __init__(self, link: Link, number: int, together: Together) -> None:
        super().__init__()
        self._link, self._number, self._together = link, number, together
        self._ahead = self._taken = 0
        together.requests.add(self)

    @property
    def wants_data(self) -> bool:
        """Whether the transport should read on."""
        return not self.ended and self._ahead < WINDOW and self._together.ahead < MOST_AHEAD

    def receive(self, content: bytes, now: float) -> None:
        """A piece of the body came."""
        self._ahead += len(content)
        self._together.add(len(content))
        self._link.send(Kind.DATA, self._number, WHEN.pack(now - self.waited_s) + content)

    def end(self, now: float) -> None:
        """The body is complete."""
        self._link.send(Kind.END, self._number, WHEN.pack(now - self.waited_s))

    def abort(self, now: float) -> None:
        """The client is gone."""
        if not self.ended:
            self._link.send(Kind.ABORT, self._number)
        super().abort(now)

    def take(self, most: int = 1 << 20) -> bytes:
        """Up to about ``most`` bytes of the answer's body."""
        found = super().take(most)
        self._taken += len(found)
        return found

    def sent(self, now: float) -> None:
        """There is room for more."""
        if not self.ended and self._taken >= LEAST_CREDIT:
            self._link.send(Kind.CREDIT, self._number, COUNT.pack(self._taken))
            self._taken = 0

    def refuse(self, problem: Problem) -> None:
        """Have the gateway answer with ``problem``, if it is one there too."""
        if not self.ended:
            self._link.send(Kind.REFUSE, self._number, encoded(Refusal(problem.kind, problem.detail)))

    def consumed(self, size: int) -> None:
        """So much of the body was taken."""
        self._ahead -= size
        self._together.add(-size)
        self.wake()

    def leave(self) -> bool:
        """It is over; whether it was the last of its connection."""
        together, ahead, self._ahead = self._together, self._ahead, 0
        together.requests.discard(self)
        together.add(-ahead)
        return not together.requests

    def headers_came(self, head: Head) -> None:
        """The answer begins."""
        self.begin(head.status, head.headers)
        self.wake()

    def finished(self, *, broken: bool) -> None:
        """The answer is complete, or breaks off."""
        self.broken = broken
        self.finish()


class Far:
    """What `Connection` takes for the service."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._link: Link | None = None
        self._requests: dict[int, Elsewhere] = {}
        self._numbers = count(1)
        self._peers: dict[Peer, int] = {}
        self._shown = 0
        self._together: dict[int, Together] = {}
        self._told: dict[tuple[str, tuple[str, ...]], float] = {}

    def use(self, link: Link) -> None:
        """Talk to the gateway over ``link``."""
        self._link = link

    @property
    def link(self) -> Link:
        """To the gateway."""
        assert self._link is not None
        return self._link

    def open(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        peer: Peer,
        now: float,
        head: RequestHead | None = None,
    ) -> Exchange:
        """The exchange of a request; the gateway reads its head."""
        known = self._peers.get(peer)
        if known is None:
            size = sum(map(len, peer.certificates))
            if len(self._peers) >= MOST_PEERS or self._shown + size > MOST_SHOWN:
                self._peers.clear()
                self._shown = 0
            self._shown += size
            # With the first one the gateway forgets all that there were.
            known = self._peers[peer] = len(self._peers)
            self.link.send(Kind.PEER, known, encoded(peer))
        number, connection = next(self._numbers), id(peer)
        together = self._together.get(connection)
        if together is None:
            together = self._together[connection] = Together(peer)
        made = self._requests[number] = Elsewhere(self.link, number, together)
        made.on_close = lambda _: self._over(number, connection)
        begun = encoded(Begun(known, method, target, headers))
        self.link.send(Kind.OPEN, number, CONNECTION.pack(connection) + begun)
        return made

    def refusal(self, head: RequestHead, peer: Peer, waited_s: float, now: float) -> TurnedAway | None:
        """What is refused is known to the gateway alone."""
        return None

    def rest(self) -> float:
        """Nothing is judged in this process."""
        return 0.0

    def _over(self, number: int, connection: int) -> None:
        if self._requests.pop(number).leave():
            self._together.pop(connection, None)

    def receive(self, kind: int, number: int, payload: bytes) -> None:
        """A frame of a request came."""
        request = self._requests.get(number)
        if request is None:
            return
        match kind:
            case Kind.BODY:
                request.send(payload)
            case Kind.HEADERS:
                request.headers_came(msgspec.msgpack.decode(payload, type=Head))
            case Kind.FINISH:
                request.finished(broken=bool(payload))
            case Kind.CONSUMED:
                request.consumed(COUNT.unpack(payload)[0])
            case Kind.IDLE:
                request.idle_s = msgspec.msgpack.decode(payload, type=float)

    def tell(self) -> None:
        """Send what has been counted since the last time."""
        now = {(name, labels): value for name, labels, value in self._values()}
        if now != self._told:
            self._told = now
            values = [(name, labels, value) for (name, labels), value in now.items()]
            self.link.send(Kind.COUNTS, 0, encoded(Counted(values)))

    def _values(self) -> Iterable[tuple[str, tuple[str, ...], float]]:
        for name in ("connections", "closed", "unread", "denied"):
            metric: Any = getattr(self.metrics, name)
            for sample in metric.collect()[0].samples:
                if not sample.name.endswith("_created"):
                    yield name, tuple(sample.labels[one] for one in metric._labelnames), sample.value


class FarPlaces(Places):
    """Places that the gateway counts, over all its processes: how addresses stand is known here a moment later."""

    def __init__(self, far: Far, standings: dict[str, int]) -> None:
        super().__init__()
        self._far, self._stand = far, dict(standings)

    def stands(self, name: str, standing: int) -> None:
        """How an address stands now."""
        if standing == ROOM:
            self._stand.pop(name, None)
        else:
            self._stand[name] = standing

    def take(self, address: str) -> str:
        """See `Places.take`."""
        name = source(address)
        if self._stand.get(name) == FULL:
            raise Problem("too-many-connections", "as many as it may have are open already", retry_after_s=1.0)
        self._far.link.send(Kind.TAKE, 0, address.encode())
        return name

    def leave(self, name: str) -> None:
        """See `Places.leave`."""
        self._far.link.send(Kind.LEAVE, 0, name.encode())

    def is_crowded(self, address: str) -> bool:
        """See `Places.is_crowded`."""
        return self._stand.get(source(address), ROOM) >= CROWDED
