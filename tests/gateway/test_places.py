"""How many connections an address may hold open, over QUIC and TCP together: refused with a reason, counted, let go."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import aioquic.tls
import pytest
from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicErrorCode
from hypothesis import given
from hypothesis import strategies as st
from live import live
from quic import Client, Running, body, ca, first_datagrams, running, server_certificate
from test_network import network
from waiting import until

from aimds.errors import ConfigError
from aimds.gateway import accepting
from aimds.gateway.places import Places
from aimds.gateway.problem import Problem
from aimds.gateway.settings import Settings

REFUSED = "aimds_connections_closed_total"
KIND = "too-many-connections"


def held(places: Places) -> int:
    return sum(places._counts.values())


async def refused(port: int) -> Any:
    """How a connection to ``port`` ends that is not taken."""
    made: list[Client] = []

    def client(*arguments: Any, **options: Any) -> Client:
        made.append(Client(*arguments, **options))
        return made[0]

    settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", cadata=ca().certificate)
    with pytest.raises(ConnectionError):
        async with connect("127.0.0.1", port, configuration=settings, create_protocol=client):
            raise AssertionError("it was taken")
    return made[0].ended


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]), st.booleans())))
def test_an_address_has_as_many_places_as_it_left_and_leaves_nothing_behind(steps: list[tuple[str, bool]]) -> None:
    places, taken = Places(2), []
    for address, leaves in steps:
        if leaves and taken:
            places.leave(taken.pop())
            continue
        # The two addresses of version 6 are of one network.
        own = [name for name in taken if (":" in name) == (":" in address) and (":" in name or name == address)]
        if len(own) < 2:
            taken.append(places.take(address))
        else:
            with pytest.raises(Problem, match="2 are open already"):
                places.take(address)
        assert held(places) == len(taken)
    for name in taken:
        places.leave(name)
    assert len(places) == 0


def test_a_limit_below_nothing_is_refused_and_none_is_no_limit() -> None:
    with pytest.raises(ConfigError, match=r"listen\.connections_per_address"):
        Places(-1)
    free = Places(0)
    assert {free.take("192.0.2.1") for _ in range(50)} == {"192.0.2.1"}
    assert not free.is_crowded("192.0.2.1")


def test_one_address_may_have_the_thousand_connections_that_the_page_promises() -> None:
    places = Places(Settings().connections_per_address)
    for _ in range(1000):
        places.take("127.0.0.1")


def test_a_connection_more_than_an_address_may_have_is_refused_with_a_reason_and_others_go_on() -> None:
    places = Places(2)

    async def test(one: Running) -> None:
        async with one.client() as first, one.client() as second:
            ended = await refused(one.port)
            assert ended.error_code == QuicErrorCode.CONNECTION_REFUSED
            assert ended.reason_phrase == "Too many connections of this address: 2 are open already"
            assert one.counted(REFUSED, transport="quic", reason=KIND) >= 1
            for client in (first, second):
                assert (await client.ask("/v1/screen", body("a")))["status"] == 200
        async with asyncio.timeout(20):
            while len(places):
                await asyncio.sleep(0.01)
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test, places=places)


def test_a_connection_counts_for_the_address_that_opened_it_wherever_it_moves() -> None:
    places = Places(1)

    async def test(one: Running) -> None:
        async with network(one) as between, one.client(port=between.port) as client:
            assert list(places._counts) == ["127.0.0.1"]
            for address in ("127.0.0.2", "127.0.0.1", "127.0.0.3"):
                await between.rebind(address)
                assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert places._counts == {"127.0.0.1": 1}
            assert (await refused(one.port)).error_code == QuicErrorCode.CONNECTION_REFUSED
        async with asyncio.timeout(20):
            while len(places):
                await asyncio.sleep(0.01)

    running(test, places=places)


def test_connections_begun_in_the_name_of_an_address_leave_it_half_of_its_places() -> None:
    places = Places(6)

    async def test(one: Running) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(20):
                # Who sends these never hears what they are answered with.
                for content in first_datagrams(loop.time()):
                    sock.sendto(content, ("127.0.0.1", one.port))
            async with one.client() as client:
                assert (await client.ask("/v1/screen", body("a")))["status"] == 200
        assert one.counted(REFUSED, transport="quic", reason=KIND) == 0

    running(test, places=places)


def test_a_connection_whose_first_datagram_breaks_the_library_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(5)

    async def test(one: Running) -> None:
        one.server._configuration.idle_timeout = 0.4
        with monkeypatch.context() as patched:
            # A share of which no secret can be made (RFC 7748, section 6.1).
            patched.setattr(aioquic.tls, "encode_public_key", lambda _: (aioquic.tls.Group.X25519, bytes(32)))
            sent = [first_datagrams(asyncio.get_running_loop().time()) for _ in range(3)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for content in (part for parts in sent for part in parts):
                sock.sendto(content, ("127.0.0.1", one.port))
        async with asyncio.timeout(20):
            while not one.counted("aimds_denied_total", reason="datagram") >= 3:
                await asyncio.sleep(0.01)
            while one.server._known or len(places):
                await asyncio.sleep(0.01)
        assert one.server.handshakes == 0

    running(test, places=places)


def written(folder: Path, **more: Any) -> Settings:
    issued = server_certificate()
    (folder / "server.pem").write_bytes(issued.certificate)
    (folder / "server.key").write_bytes(issued.key)
    return Settings(port=0, insecure=True, certificate=folder / "server.pem", key=folder / "server.key", **more)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca().certificate.decode())


@pytest.mark.parametrize("encrypted", [False, True])
def test_over_tcp_one_more_is_told_so_whatever_it_asks_and_let_in_when_another_has_left(
    tmp_path: Path, encrypted: bool
) -> None:
    plain = Settings(port=0, insecure=True, connections_per_address=2)
    settings = written(tmp_path, connections_per_address=2) if encrypted else plain
    context = trusting() if encrypted else None
    with live(settings) as one:
        places = one.gateway.sockets._places
        first, second = one.connect(context), one.connect(context)
        for client in (first, second):
            client.request("GET", "/healthz")
            assert client.getresponse().read()
        for _ in range(3):
            status, headers, content = one.ask("POST", "/v1/screen", json.dumps({"text": "a" * 300_000}), context)
            assert (status, headers["retry-after"], headers["connection"]) == (429, "1", "close")
            told = json.loads(content)
            assert told["type"] == f"urn:aimds:problem:{KIND}"
            assert told["detail"] == "2 are open already"
        for client in (first, second):
            client.request("GET", "/healthz")
            assert client.getresponse().read()
        counted = one.gateway.metrics.registry.get_sample_value(REFUSED, {"transport": "tcp", "reason": KIND})
        assert counted == 3
        first.close()
        one.call(until(lambda: held(places) == 1))
        assert one.screen("a", context=context)[0] == 200
        second.close()
        one.call(until(lambda: len(places) == 0))


def test_over_tcp_and_quic_an_address_has_its_places_together(tmp_path: Path) -> None:
    with live(written(tmp_path, connections_per_address=1)) as one:
        client = one.connect(trusting())
        client.request("GET", "/healthz")
        assert client.getresponse().read()
        assert asyncio.run(refused(one.gateway.port)).error_code == QuicErrorCode.CONNECTION_REFUSED
        client.close()
        one.call(until(lambda: len(one.gateway.sockets._places) == 0))


def test_handshakes_over_tcp_that_fail_leave_their_places(tmp_path: Path) -> None:
    with live(written(tmp_path, connections_per_address=3)) as one:
        for content in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + bytes(20)) * 4:
            with socket.create_connection(("127.0.0.1", one.gateway.port), 20) as sock:
                sock.sendall(content)
            one.call(until(lambda: len(one.gateway.sockets._places) == 0))
        assert one.screen("a", context=trusting())[0] == 200


def test_of_very_many_that_are_turned_away_few_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "MOST_TURNED", 2)
    with live(Settings(port=0, insecure=True, connections_per_address=1)) as one:
        stays = one.connect()
        stays.request("GET", "/healthz")
        assert stays.getresponse().read()
        waiting = [socket.create_connection(("127.0.0.1", one.gateway.port), 20) for _ in range(5)]
        told = [sock.recv(65_536) for sock in waiting]
        assert [content[:12] for content in told] == [b"HTTP/1.1 429"] * 2 + [b""] * 3
        for sock in waiting:
            sock.close()
        stays.request("GET", "/healthz")
        assert stays.getresponse().status == http.client.OK
        stays.close()
