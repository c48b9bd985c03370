"""Datagrams that are larger than the least of QUIC: where a path carries them, and where it does not."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from aioquic.quic.crypto import CryptoContext, CryptoError, CryptoPair
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite
from desk import ATTACK, ndjson
from hypothesis import given
from hypothesis import strategies as st
from quic import Running, ca, running
from test_client_packets import client, connection
from test_network import network
from test_packets import only

from aimds import AsyncClient
from aimds.errors import ConfigError
from aimds.gateway import datagrams
from aimds.gateway.client import quic as client_quic
from aimds.gateway.datagrams import Datagrams, in_one_piece
from aimds.gateway.packets import carrying
from aimds.gateway.packets.pacing import Pacer
from aimds.gateway.packets.probing import AGAIN_S, HOLES, LEAST, MOST, TRIES, Probing
from aimds.gateway.packets.sealing import LIBRARY_BYTES, TAG, Keys, Large

SUITES = [CipherSuite.AES_128_GCM_SHA256, CipherSuite.AES_256_GCM_SHA384, CipherSuite.CHACHA20_POLY1305_SHA256]
VERSIONS = [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]
ROWS = 1500


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(ca().certificate)
    return tmp_path / "ca.pem"


def table(rows: int = ROWS) -> pa.Table:
    return pa.table({"text": [f"{ATTACK if i % 7 == 0 else 'harmless'} {i} " + "x" * 300 for i in range(rows)]})


async def right(ours: AsyncClient, rows: int = ROWS) -> pa.Table:
    """Verdicts on a table, each as it has to be."""
    found = await ours.screen_table(table(rows))
    assert found.column("request_id").to_pylist() == [str(i) for i in range(rows)]
    assert [one == "block" for one in found.column("action").to_pylist()] == [i % 7 == 0 for i in range(rows)]
    return found


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def seen(one: Running) -> list[int]:
    """Sizes of the datagrams that come to the gateway, from now on."""
    sizes: list[int] = []
    original = one.server.datagrams._received

    def watch(found: list[tuple[bytes, Any]]) -> None:
        sizes.extend(len(data) for data, _ in found)
        original(found)

    one.server.datagrams._received = watch
    return sizes


def answered(trusted: Path, size: int) -> tuple[pa.Table, int, int]:
    """Verdicts over datagrams of ``size`` bytes, and the largest that either side sent."""
    kept: list[Any] = []

    async def test(one: Running) -> None:
        sizes = seen(one)
        async with client(one.port, trusted, datagram_bytes=size) as ours:
            found = await right(ours)
            # Long enough for the congestion window to have room for a probe of any size.
            await right(ours)
            kept.extend((found, max(sizes), only(one).quic._probing.size))

    running(test, datagram_bytes=size)
    found, up, down = kept
    return found, up, down


def test_answers_over_large_datagrams_are_those_over_small_ones(trusted: Path) -> None:
    small, up, down = answered(trusted, LEAST)
    assert (up, down) == (LEAST, LEAST)
    for size in (1_452, 8_900, MOST):
        large, up, down = answered(trusted, size)
        assert (up, down) == (size, size)
        assert large.equals(small)


@pytest.mark.parametrize("suite", SUITES)
def test_keys_that_change_on_both_sides_under_way_cost_no_verdict(
    trusted: Path, suite: CipherSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client_quic.configuration
    monkeypatch.setattr(
        client_quic, "configuration", lambda name: dataclasses.replace(made(name), cipher_suites=[suite])
    )

    async def test(one: Running) -> None:
        sizes = seen(one)
        async with client(one.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            pair = connection(ours).quic._cryptos[carrying.ONE_RTT]
            assert pair.send.cipher_suite == suite
            for end in (connection(ours), only(one), connection(ours)):
                phase = pair.key_phase
                end.quic.request_key_update()
                sizes.clear()
                await right(ours)
                assert pair.key_phase != phase
                assert max(sizes) > LIBRARY_BYTES

    running(test, datagram_bytes=8_900)


def test_keys_are_changed_before_they_have_sealed_too_much(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "MOST_SEALED", 300)

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as ours:
            secrets = set()
            # Keys are not changed again before the last change is over, so how often goes by the clock.
            async with asyncio.timeout(60):
                while len(secrets) <= 4:
                    await right(ours)
                    for end in (connection(ours), only(one)):
                        secrets.add(end.quic._cryptos[carrying.ONE_RTT].send.secret)
            assert connection(ours).quic._packet_number > 300

    running(test)


@pytest.mark.parametrize("size", [8_900, MOST])
def test_a_path_that_carries_no_large_datagrams_is_found_out_and_costs_no_verdict(trusted: Path, size: int) -> None:
    async def test(one: Running) -> None:
        async with network(one) as between, client(between.port, trusted, datagram_bytes=size) as ours:
            between.most = 1_500
            for _ in range(4):
                await right(ours)
            ends = connection(ours).quic, only(one).quic
            assert between.largest == LEAST
            assert [end._probing.size for end in ends] == [LEAST, LEAST]
            # Each side has tried, and has not gone on trying.
            assert 2 <= between.too_large <= 2 * TRIES

    running(test, datagram_bytes=size)


def test_a_path_that_carries_large_datagrams_no_more_is_found_out_and_costs_no_verdict(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with network(one) as between, client(between.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            ends = connection(ours).quic, only(one).quic
            assert [end._probing.size for end in ends] == [8_900, 8_900]
            between.most = 1_500
            await right(ours)
            await until(lambda: all(end._probing.size == LEAST for end in ends))
            await right(ours)
            assert between.too_large > 2 * HOLES

    running(test, datagram_bytes=8_900)


def test_a_bad_network_costs_no_verdict_over_large_datagrams(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with (
            network(one, 0.1, 0.2) as between,
            client(between.port, trusted, datagram_bytes=8_900, timeout_s=60.0) as ours,
        ):
            await right(ours, 3000)
            assert between.largest == 8_900
            assert between.lost > 10

    running(test, datagram_bytes=8_900)


def test_a_client_whose_port_changes_is_sent_large_datagrams_there_once_one_has_arrived(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with network(one) as between, client(between.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            quic = only(one).quic
            before = quic._probing
            await between.rebind()
            # What comes from there is large at once: the client does not know that it moved.
            await right(ours)
            await until(lambda: quic._network_paths[0].is_validated)
            await right(ours)
            assert quic._network_paths[0].addr == between.far.transport.get_extra_info("sockname")
            assert quic._probing is not before
            assert quic._probing.size == 8_900
            assert len(set(one.server._known.values())) == 1

    running(test, datagram_bytes=8_900)


def test_each_side_sends_as_it_was_told_and_takes_what_comes(trusted: Path) -> None:
    for ours_most, theirs_most in ((LEAST, 8_900), (8_900, LEAST)):

        async def test(one: Running, size: int = ours_most, other: int = theirs_most) -> None:
            sizes = seen(one)
            async with client(one.port, trusted, datagram_bytes=size) as ours:
                await right(ours)
                assert max(sizes) == size
                assert only(one).quic._probing.size == other

        running(test, datagram_bytes=theirs_most)


def test_no_datagram_is_larger_than_the_other_side_takes(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "MOST", 2_000)

    async def test(one: Running) -> None:
        sizes = seen(one)
        async with client(one.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            assert max(sizes) == 2_000
            assert only(one).quic._probing.size == 2_000

    running(test, datagram_bytes=8_900)


def test_a_client_that_can_open_no_large_packets_is_served_with_small_ones() -> None:
    async def test(one: Running) -> None:
        # Aioquic's own, which refuses what does not fit its buffers.
        async with one.client() as theirs:
            for _ in range(3):
                rows = ndjson(*({"text": ATTACK if i % 7 == 0 else "a"} for i in range(500)))
                found = await theirs.ask("/v1/screen/batch?verdict=brief", rows, kind="application/x-ndjson")
                assert found["body"].count(b'"block"') == 72
            assert only(one).quic._probing.size == LEAST

    running(test, datagram_bytes=8_900)


def test_large_packets_that_are_damaged_or_made_up_harm_nobody(trusted: Path) -> None:
    async def test(one: Running) -> None:
        random, kept = Random(5), []
        original = one.server._arrived

        def watch(found: list[tuple[bytes, Any]]) -> None:
            kept.extend(found)
            original(found)

        one.server.datagrams._received = watch
        async with client(one.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            large = [(data, address) for data, address in kept if len(data) > LIBRARY_BYTES]
            assert len(large) > 20
            before = only(one).quic._ordinary()[0].largest_received_packet
            for number in range(3_000):
                content, address = random.choice(large)
                data = bytearray(content)
                # The connection id stays, or most would not even be looked at.
                for _ in range(random.randint(1, 8)):
                    at = random.randrange(len(data) - 9)
                    data[at + 9 if at else 0] = random.randrange(256) if at else data[0] ^ random.choice([4, 16, 32])
                if number % 3 == 0:
                    del data[random.choice([random.randrange(9, 40), random.randrange(1_490, len(data))]) :]
                elif number % 3 == 1:
                    data += os.urandom(random.choice([1, 16, MOST - len(data), 20_000, 56_000]))
                if bytes(data) != content:
                    original([(bytes(data), random.choice([address, ("127.0.0.1", 9)]))])
            assert only(one).quic._ordinary()[0].largest_received_packet == before
            await right(ours)
            assert not connection(ours).over

    running(test, datagram_bytes=8_900)


def keys(suite: CipherSuite, version: int, secret: bytes) -> CryptoContext:
    made = CryptoContext()
    made.setup(cipher_suite=suite, secret=secret, version=version)
    return made


@given(
    st.sampled_from(SUITES),
    st.sampled_from(VERSIONS),
    st.integers(4, 1_600) | st.integers(1_470, 1_490) | st.sampled_from([8_900, MOST]),
    st.integers(0, (1 << 16) - 1),
    st.booleans(),
)
def test_packets_are_sealed_and_opened_as_by_aioquic(
    suite: CipherSuite, version: int, size: int, number: int, changed: bool
) -> None:
    secret, content = os.urandom(48 if suite == CipherSuite.AES_256_GCM_SHA384 else 32), os.urandom(size)
    theirs = CryptoPair()
    theirs.send, theirs.recv = keys(suite, version, secret), keys(suite, version, secret)
    ours = CryptoPair()
    ours.send, ours.recv = Keys(keys(suite, version, secret)), Keys(keys(suite, version, secret))
    if changed:
        theirs._update_key("local_update")
        ours._update_key("local_update")
    header = bytes([0x41 | ours.key_phase << 2]) + bytes(8) + number.to_bytes(2, "big")
    packet = ours.send.encrypt_packet(header, content, number)
    assert len(packet) == len(header) + size + TAG
    whole = header, content, number, False
    assert ours.recv.decrypt_packet(packet, 9, number) == whole
    if len(packet) <= LIBRARY_BYTES:
        assert Large(ours.send).sealed(header, content, number) == theirs.send.aead.encrypt(content, header, number)
        assert packet == theirs.send.encrypt_packet(header, content, number)
        assert theirs.recv.decrypt_packet(packet, 9, number) == whole
    # The keys before open it as well, and say that they changed.
    if changed:
        assert Keys(keys(suite, version, secret)).decrypt_packet(packet, 9, number) == (header, content, number, True)
    for at in (0, 9, len(header), len(packet) - 1):
        damaged = packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :]
        with pytest.raises(CryptoError):
            ours.recv.decrypt_packet(damaged, 9, number)
    for stop in (9, 28):
        with pytest.raises(CryptoError):
            ours.recv.decrypt_packet(packet[:stop], 9, number)


def test_a_size_is_tried_three_times_and_again_after_ten_minutes() -> None:
    one = Probing(8_900)
    for now in range(TRIES):
        assert one.is_due(float(now))
        one.sent()
        assert not one.is_due(float(now))
        one.lost(float(now))
    last = TRIES - 1.0
    assert not one.is_due(last)
    assert not one.is_due(last + AGAIN_S - 1)
    assert one.is_due(last + AGAIN_S)
    one.sent()
    one.arrived()
    assert one.size == 8_900
    assert not one.is_due(last + 2 * AGAIN_S)


def test_large_datagrams_that_are_lost_again_and_again_are_given_up_and_tried_anew() -> None:
    one = Probing(8_900)
    one.sent()
    one.arrived()
    for _ in range(2 * HOLES):
        one.large_lost()
        one.large_arrived()
    assert one.size == 8_900
    for _ in range(HOLES):
        assert not one.is_due(0.0)
        one.large_lost()
    assert one.size == LEAST
    assert one.is_due(0.0)


def test_who_asks_for_no_more_than_the_least_sends_no_probes() -> None:
    assert not Probing(LEAST).is_due(0.0)


def test_a_burst_is_counted_in_bytes_and_not_in_packets() -> None:
    pacer = Pacer(max_datagram_size=8_900)
    pacer.update_rate(890_000, 0.1)
    pacer.update_bucket(now=10.0)
    full = pacer.bucket_time
    pacer.spend(8_900)
    one = full - pacer.bucket_time
    pacer.spend(890)
    assert full - pacer.bucket_time == pytest.approx(1.1 * one)
    assert one == pytest.approx(0.1 / 100)


def test_a_large_datagram_that_a_network_refuses_leaves_the_others_together() -> None:
    async def test() -> None:
        sent: list[int] = []

        class Narrow:
            """As a socket on a network of 1,500 bytes."""

            def __init__(self, real: socket.socket) -> None:
                self._real = real

            def sendto(self, data: bytes, address: Any) -> int:
                if len(data) > 1_472:
                    raise OSError(90, "Message too long")
                sent.append(len(data))
                return self._real.sendto(data, address)

            def sendmsg(self, parts: list[bytes], *more: Any) -> int:
                if len(parts[0]) > 1_472:
                    raise OSError(22, "Invalid argument")
                sent.append(sum(map(len, parts)))
                return sum(map(len, parts))

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

        sock = datagrams.bound("127.0.0.1", 0)
        address = sock.getsockname()
        one = Datagrams(sock, lambda _: None)
        if not one.segments:
            pytest.skip("no GSO here")
        one._socket = Narrow(sock)  # type: ignore[assignment]
        for size in (8_900, 8_900, 1_200, 1_200, 1_200, 1_200):
            one.sendto(bytes(size), address)
        one.flush()
        one.sendto(bytes(1_200), address)
        one.sendto(bytes(1_200), address)
        one.flush()
        # The first of the small ones ended the large ones, as it may.
        assert sent == [1_200, 3_600, 2_400]
        assert one.dropped == 2
        assert one.segments
        one.close()

    asyncio.run(test())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_large_datagrams_are_not_taken_apart(host: str) -> None:
    try:
        sock = datagrams.bound(host, 0)
    except OSError:
        pytest.skip(f"no {host} here")
    with sock:
        if not in_one_piece(sock):
            pytest.skip("not Linux")
        level = socket.IPPROTO_IP if host == "127.0.0.1" else socket.IPPROTO_IPV6
        assert sock.getsockopt(level, datagrams.MTU_DISCOVER[level]) == datagrams.PROBE


def test_where_datagrams_may_be_taken_apart_none_is_large(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams.sys, "platform", "darwin")

    async def test(one: Running) -> None:
        sizes = seen(one)
        async with client(one.port, trusted, datagram_bytes=8_900) as ours:
            await right(ours)
            assert max(sizes) == LEAST
            assert only(one).quic._probing.size == LEAST

    running(test, datagram_bytes=8_900)


@pytest.mark.parametrize("size", [0, LEAST - 1, MOST + 1])
def test_a_size_that_cannot_be_is_refused_by_the_client(size: int) -> None:
    with pytest.raises(ConfigError, match="datagram_bytes"):
        AsyncClient("https://127.0.0.1:1", datagram_bytes=size)


def test_large_datagrams_cost_one_that_asks_for_little_nothing_but_a_probe(trusted: Path) -> None:
    async def test(one: Running) -> None:
        sizes = seen(one)
        async with client(one.port, trusted, datagram_bytes=8_900) as ours:
            assert (await ours.screen(ATTACK))["action"] == "block"
            await until(lambda: 8_900 in sizes)
            assert (await ours.screen("a"))["action"] == "allow"
        assert sizes.count(8_900) == 1

    running(test, datagram_bytes=8_900)


def test_while_it_pauses_what_comes_lies_in_the_socket_and_then_it_is_read() -> None:
    async def test() -> None:
        sock = datagrams.bound("127.0.0.1", 0)
        address = sock.getsockname()
        found: list[bytes] = []
        one = Datagrams(sock, lambda some: found.extend(data for data, _ in some))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"first", address)
            await until(lambda: found)
            one.pause()
            other.sendto(b"second", address)
            await asyncio.sleep(0.1)
            assert found == [b"first"]
            one.go_on()
            await until(lambda: len(found) == 2)
            assert one.waited_s > 0.05
            one.pause()
            one.close()
            one.go_on()
            one.pause()

    asyncio.run(test())


@pytest.mark.parametrize("sizes", [(1, 1200, 1200, 1200, 7), (65_507,), (3000, 3000, 1)])
def test_each_datagram_is_given_as_it_came(sizes: tuple[int, ...]) -> None:
    async def test() -> None:
        sock = datagrams.bound("127.0.0.1", 0)
        found: list[bytes] = []
        one = Datagrams(sock, lambda some: found.extend(data for data, _ in some))
        source = Random(3)
        sent = [source.randbytes(size) for size in sizes]
        other = Datagrams(datagrams.bound("127.0.0.1", 0), lambda _: None)
        for data in sent:
            other.sendto(data, sock.getsockname())
        other.flush()
        await until(lambda: len(found) == len(sent))
        # What was read into is used again: none of these may change with it.
        other.sendto(bytes(1000), sock.getsockname())
        other.flush()
        await until(lambda: len(found) == len(sent) + 1)
        assert found == [*sent, bytes(1000)]
        one.close()
        other.close()

    asyncio.run(test())
