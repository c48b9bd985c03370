"""Keys that change while packets are under way, lost and out of order: two connections in memory and in simulated time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import Epoch
from quic import ca, server_certificate

from aimds.gateway.client.quic import configuration as of_client
from aimds.gateway.packets import carrying
from aimds.gateway.packets.credit import Quic
from aimds.gateway.packets.receiving import Arrived
from aimds.gateway.server import configuration as of_server

WAY_S = 0.01
"""From one end to the other."""
TICK_S = 1e-6
NAMES = ("client", "server")


@cache
def settings(name: str) -> QuicConfiguration:
    if name == "server":
        issued = server_certificate()
        return of_server(issued.certificate, issued.key)
    found = of_client("localhost")
    found.load_verify_locations(cadata=ca().certificate)
    return found


class End:
    """One end of a connection: what it sends lies in ``out`` until the wire takes it, what it read of each stream in ``read``."""

    def __init__(self, name: str, **options: Any) -> None:
        self.quic = Quic(configuration=settings(name), **options)
        self.quic.arrived = self._arrived
        self.read: dict[int, bytes] = {}
        self.opened = set[int]()
        """Numbers of the packets that it acknowledges, since the handshake."""

    def watch(self) -> None:
        queue = self.quic._spaces[Epoch.ONE_RTT].ack_queue
        add = queue.add

        def added(number: int) -> None:
            self.opened.add(number)
            add(number)

        queue.add = added  # type: ignore[method-assign,assignment]

    def _arrived(self, event: Arrived) -> None:
        self.read[event.stream_id] = self.read.get(event.stream_id, b"") + b"".join(event.parts)

    @property
    def secret(self) -> bytes | None:
        """Of the keys that it seals with."""
        return self.quic._cryptos[Epoch.ONE_RTT].send.secret

    @property
    def is_over(self) -> bool:
        return self.quic._close_event is not None

    @property
    def unanswered(self) -> int:
        """Bytes of the request that are not acknowledged."""
        return self.quic.unsent(0)


class Two:
    """A client and a server, and what is under way between them. ``fate`` says how long a datagram of an end takes, or
    None where it is lost."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fate: Callable[[str, bytes], float | None] = lambda name, data: WAY_S
        self._under_way: list[tuple[float, int, str, bytes]] = []
        self._count = itertools.count()
        client = End("client")
        self.ends = {"client": client}
        client.quic.connect(("server", 1), self.now)
        self.ends["server"] = End(
            "server", original_destination_connection_id=client.quic.original_destination_connection_id
        )
        self.run(1.0)
        client.quic.send_stream_data(0, b"?")
        self.run(1.0)
        assert self.ends["server"].read == {0: b"?"}
        for end in self.ends.values():
            assert end.quic._handshake_confirmed
            end.watch()

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        until = self.now + seconds
        while True:
            for name, end in self.ends.items():
                for data, _ in end.quic.datagrams_to_send(self.now) if end.quic._network_paths else []:
                    took = self.fate(name, data)
                    if took is not None:
                        heapq.heappush(self._under_way, (self.now + took, next(self._count), name, data))
            timers = [at for end in self.ends.values() if (at := end.quic.get_timer()) is not None]
            at = min([*timers, *(one[0] for one in self._under_way[:1])], default=until)
            # A pacer may wait for less than the clock can tell.
            self.now = min(max(at, self.now + TICK_S), until)
            if self.now == until:
                return
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, sender, data = heapq.heappop(self._under_way)
                name = NAMES[sender == "client"]
                self.ends[name].quic.receive_datagram(data, (sender, 1), self.now)
            for end in self.ends.values():
                timer = end.quic.get_timer()
                if timer is not None and timer <= self.now:
                    end.quic.handle_timer(self.now)
                while end.quic.next_event() is not None:
                    pass

    def of(self, name: str) -> tuple[End, End]:
        """The end called ``name``, and the other."""
        return self.ends[name], self.ends[NAMES[name == "client"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_one_packet_that_tells_of_new_keys_may_be_lost(name: str) -> None:
    two = Two()
    began, other = two.of(name)
    began.quic.request_key_update()
    lost = list[bytes]()

    def first_is_lost(sender: str, data: bytes) -> float | None:
        if two.ends[sender] is began and not lost:
            lost.append(data)
            return None
        return WAY_S

    two.fate = first_is_lost
    before = began.secret, other.secret
    # All that the one that began has to say is that this came.
    other.quic.send_stream_data(0, b"more")
    two.run(5.0)
    assert len(lost) == 1
    assert began.read[0].endswith(b"more")
    assert other.unanswered == 0
    assert began.secret != before[0]
    assert other.secret != before[1]


@pytest.mark.parametrize("name", NAMES)
def test_packets_under_the_old_keys_that_come_late_are_read(name: str) -> None:
    two = Two()
    began, other = two.of(name)
    quic = began.quic
    two.fate = lambda sender, data: 2 * WAY_S
    first = quic._packet_number
    quic.send_stream_data(0, b"a" * 3_000)
    two.run(0.001)
    quic.request_key_update()
    two.fate = lambda sender, data: WAY_S
    quic.send_stream_data(0, b"b" * 3_000)
    two.run(0.015)
    assert min(other.opened) > first + 2
    two.run(0.01)
    assert other.opened >= {first, first + 1, first + 2}
    assert other.read[0].endswith(b"a" * 3_000 + b"b" * 3_000)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_other_end_sent_before_it_heard_of_new_keys_is_read(name: str) -> None:
    two = Two()
    began, other = two.of(name)
    first = other.quic._packet_number
    other.quic.send_stream_data(0, b"a" * 3_000)
    two.run(0.001)
    began.quic.request_key_update()
    began.quic.send_stream_data(0, b"b")
    two.run(0.011)
    assert began.opened >= {first, first + 1, first + 2}
    assert began.read[0].endswith(b"a" * 3_000)


@pytest.mark.parametrize("name", NAMES)
def test_old_keys_are_kept_for_three_probe_timeouts(name: str) -> None:
    two = Two()
    began, other = two.of(name)
    wait = 3 * other.quic._loss.get_probe_timeout()
    late = [5 * wait, wait / 2]
    two.fate = lambda sender, data: late.pop() if late and two.ends[sender] is began else WAY_S
    first = began.quic._packet_number
    for content in (b"a", b"b"):
        began.quic.send_stream_data(0, content)
        two.run(0.0001)
    began.quic.request_key_update()
    began.quic.send_stream_data(0, b"c")
    two.run(wait)
    assert first in other.opened
    two.run(8 * wait)
    assert first + 1 not in other.opened
    assert other.read[0].endswith(b"abc")


def test_both_ends_may_begin_at_once() -> None:
    two = Two()
    for end in two.ends.values():
        end.quic.request_key_update()
        end.quic.send_stream_data(0, b"x" * 20_000)
    lost = set[str]()

    def first_is_lost(sender: str, data: bytes) -> float | None:
        if sender not in lost:
            lost.add(sender)
            return None
        return WAY_S

    two.fate = first_is_lost
    before = [end.secret for end in two.ends.values()]
    two.run(5.0)
    client, server = two.ends.values()
    assert client.read == {0: b"x" * 20_000}
    assert server.read == {0: b"?" + b"x" * 20_000}
    assert client.secret not in before
    pairs = [end.quic._cryptos[Epoch.ONE_RTT] for end in (client, server)]
    assert (pairs[0].send.secret, pairs[0].recv.secret) == (pairs[1].recv.secret, pairs[1].send.secret)


@pytest.mark.parametrize("seed", range(20))
def test_keys_that_change_again_and_again_on_a_bad_network_cost_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MOST_SEALED", 4)
    random, two = Random(seed), Two()

    def bad(sender: str, data: bytes) -> float | None:
        return None if random.random() < 0.2 else WAY_S * random.choice((1, 1, 1, 2, 5))

    two.fate = bad
    expected = {"client": b"", "server": b"?"}
    secrets = set[bytes | None]()
    for _ in range(40):
        for name in random.choice((NAMES, NAMES[:1], NAMES[1:])):
            content = random.randbytes(random.choice((1, 100, 3_000)))
            two.ends[name].quic.send_stream_data(0, content)
            expected[NAMES[name == "client"]] += content
        two.run(random.choice((0.001, 0.02, 0.5)))
        secrets.update(end.secret for end in two.ends.values())
    two.run(20.0)
    assert {name: end.read[0] for name, end in two.ends.items()} == expected
    assert not any(end.is_over or end.unanswered for end in two.ends.values())
    assert len(secrets) > 8


@pytest.mark.parametrize("name", NAMES)
def test_packets_that_are_made_up_change_no_keys(name: str) -> None:
    random, two = Random(3), Two()
    began, other = two.of(name)
    kept = list[bytes]()

    def keep(sender: str, data: bytes) -> float:
        if two.ends[sender] is began:
            kept.append(data)
        return WAY_S

    def make_up() -> None:
        before = set(other.opened), other.secret, other.quic._cryptos[Epoch.ONE_RTT].recv.secret
        for _ in range(300):
            data = bytearray(random.choice(kept))
            data[0] ^= random.choice((0, 4))
            data[random.randrange(9, len(data))] ^= random.randrange(1, 256)
            other.quic.receive_datagram(bytes(data), (name, 1), two.now)
        assert (other.opened, other.secret, other.quic._cryptos[Epoch.ONE_RTT].recv.secret) == before

    two.fate = keep
    for content in (b"a", b"b", b"c"):
        began.quic.send_stream_data(0, content * 2_000)
        two.run(0.02)
        make_up()
        began.quic.request_key_update()
    assert other.read[0].endswith(b"a" * 2_000 + b"b" * 2_000 + b"c" * 2_000)
    assert not other.is_over


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_the_other_end_changed_are_as_new_as_ones_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "MOST_SEALED", 100)
    two = Two()
    began, other = two.of(name)
    secrets = [began.secret]

    def packets(count: int) -> None:
        until = began.quic._packet_number + count
        while began.quic._packet_number < until:
            began.quic.send_stream_data(0, b"x")
            two.run(0.1)
            if began.secret != secrets[-1]:
                secrets.append(began.secret)

    packets(60)
    assert len(secrets) == 1
    other.quic.request_key_update()
    other.quic.send_stream_data(0, b"x")
    packets(80)
    # Of the other end, and not another at a hundred packets.
    assert len(secrets) == 2
    packets(60)
    assert len(secrets) == 3
