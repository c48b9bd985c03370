"""Networks that lose, reorder and rebind, and very many clients: no verdict is lost, none comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType
from desk import ATTACK, ndjson
from quic import NOW, Client, Running, body, ca, running
from waiting import until

from aimds.gateway import certificates
from aimds.gateway.auth import Auth, Credentials
from aimds.gateway.certificates import Chains, Issued
from aimds.gateway.identity import Identity
from aimds.gateway.packets.credit import STREAMS

CONNECTIONS, AT_ONCE = 1000, 32
"""All of them are open together; so many handshakes are under way, or each would wait for all others."""
PATIENCE_S = 300.0


class Path(asyncio.DatagramProtocol):
    """One direction of a path. Each datagram may be lost, or held back for a moment so that others overtake it."""

    def __init__(self, path: Network, answers: bool) -> None:
        self.path, self.answers = path, answers
        self.unheard = 0
        """Datagrams that are lost, the next ones."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self.unheard:
            self.unheard -= 1
        else:
            self.path.pass_on(data, address, self.answers)


class Network:
    """A relay between a client and a server, seeded; `rebind` gives the client another port, or address, towards the server."""

    def __init__(self, port: int, loss: float, late: float, seed: int) -> None:
        self._server, self._loss, self._late, self._random = ("127.0.0.1", port), loss, late, Random(seed)
        self._client: Any = None
        self.lost = self.delayed = 0
        self.most = 65_535
        """Bytes of a datagram that is carried."""
        self.largest, self.too_large = 0, 0
        """Bytes of the largest that was carried, and how many were lost since they are larger than that."""
        self.port = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        _, near = await loop.create_datagram_endpoint(lambda: Path(self, False), local_addr=("127.0.0.1", 0))
        self._near = near
        self.port = near.transport.get_extra_info("sockname")[1]
        self._far: list[Path] = []
        await self.rebind()

    async def rebind(self, address: str = "127.0.0.1") -> None:
        loop = asyncio.get_running_loop()
        _, far = await loop.create_datagram_endpoint(lambda: Path(self, True), local_addr=(address, 0))
        for one in self._far:
            # What goes to where the client was is lost.
            one.unheard = 1 << 30
        self._far.append(far)

    @property
    def far(self) -> Path:
        """From the server, at the port that it has to send to."""
        return self._far[-1]

    def pass_on(self, data: bytes, address: Any, answers: bool) -> None:
        if not answers:
            self._client = address
        if len(data) > self.most:
            self.too_large += 1
            return
        self.largest = max(self.largest, len(data))
        if self._random.random() < self._loss:
            self.lost += 1
        elif self._random.random() < self._late:
            self.delayed += 1
            asyncio.get_running_loop().call_later(0.005 * self._random.random(), self._send, data, answers)
        else:
            self._send(data, answers)

    def _send(self, data: bytes, answers: bool) -> None:
        with contextlib.suppress(OSError):
            if answers:
                self._near.transport.sendto(data, self._client)
            else:
                self._far[-1].transport.sendto(data, self._server)

    def close(self) -> None:
        for one in (self._near, *self._far):
            one.transport.close()


@asynccontextmanager
async def network(one: Running, loss: float = 0.0, late: float = 0.0, seed: int = 1) -> AsyncIterator[Network]:
    made = Network(one.port, loss, late, seed)
    await made.open()
    try:
        yield made
    finally:
        made.close()


def test_a_tenth_of_the_datagrams_lost_and_a_fifth_late_costs_no_verdict() -> None:
    async def test(one: Running) -> None:
        async with network(one, 0.1, 0.2) as between, one.client(port=between.port) as client:
            rows = [{"text": f"{ATTACK if i % 7 == 0 else 'harmless'} {i} " + "x" * 40} for i in range(2000)]
            found = await client.ask("/v1/screen/batch?verdict=brief", ndjson(*rows), kind="application/x-ndjson")
            verdicts = [json.loads(line) for line in found["body"].splitlines()]
            assert [one["request_id"] for one in verdicts] == [str(i) for i in range(2000)]
            assert all((one["action"] == "block") is (i % 7 == 0) for i, one in enumerate(verdicts))
            answers = await asyncio.gather(*(client.ask("/v1/screen", body(f"{i}")) for i in range(60)))
            assert all(answer["status"] == 200 for answer in answers)
            assert between.lost > 20
            assert between.delayed > 40
        assert sum(one.screener.batches) == 2060

    running(test)


def test_a_client_whose_port_changes_goes_on_where_it_was() -> None:
    async def test(one: Running) -> None:
        async with network(one) as between, one.client(port=between.port) as client:
            stream = client.begin("/v1/screen/stream", b"", end=False, kind="application/x-ndjson")
            assert client.http is not None
            for number in range(4):
                client.http.send_data(stream, body(f"{number}") + b"\n", number == 3)
                client.transmit()
                await client.until(lambda: client.answers.get(stream, {"body": b""})["body"].count(b"\n") > number)  # noqa: B023
                await between.rebind()
            found = await client.answer(stream)
            assert [json.loads(line)["request_id"] for line in found["body"].splitlines()] == ["0", "1", "2", "3"]
            assert (await client.ask("/v1/screen", body("after")))["status"] == 200
            assert len(set(one.server._known.values())) == 1
        assert sum(one.screener.batches) == 5

    running(test)


def admins() -> tuple[Auth, Issued]:
    """Access for an admin from 127.0.0.1 alone, and the certificate that shows one."""
    ada = Identity("ada", "acme", frozenset({"screen", "admin"}), "certificate")
    credentials = Credentials(Chains(ca().certificate), {"ada.example": ada})
    access = Auth(credentials, ["127.0.0.1/32"], wall=lambda: NOW.timestamp())
    return access, certificates.issue(ca(), "ada", ["ada.example"], NOW, client=True)


@pytest.mark.parametrize("before", ["127.0.0.1", "127.0.0.2"])
def test_admin_routes_are_open_to_where_a_connection_is_and_not_to_where_it_was_opened(before: str) -> None:
    access, issued = admins()
    after = {"127.0.0.1": "127.0.0.2", "127.0.0.2": "127.0.0.1"}[before]

    async def test(one: Running) -> None:
        async with network(one) as between:
            await between.rebind(before)
            async with one.client(issued, port=between.port) as client:

                async def status() -> int:
                    return int((await client.ask("/v1/admin/status", method="GET"))["status"])

                allowed = {"127.0.0.1": 200, "127.0.0.2": 403}
                assert await status() == allowed[before]
                quic = next(iter(one.server._known.values())).quic
                await between.rebind(after)
                if after == "127.0.0.2":
                    assert await status() == 403
                async with asyncio.timeout(20):
                    while not (quic._network_paths[0].is_validated and quic._network_paths[0].addr[0] == after):
                        await client.ping()
                assert await status() == allowed[after]
                assert one.denied[-1]["peer"] == "127.0.0.2"
                # Another port of the same address is no other address.
                await between.rebind(after)
                assert await status() == allowed[after]
                assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test, access=access)


@pytest.mark.parametrize(("before", "after"), [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")])
def test_an_address_on_a_packet_grants_nothing_until_what_is_sent_there_has_come_back(before: str, after: str) -> None:
    access, issued = admins()

    async def test(one: Running) -> None:
        async with network(one) as between:
            await between.rebind(before)
            async with one.client(issued, port=between.port) as client:
                assert (await client.ask("/healthz", method="GET"))["status"] == 200
                await between.rebind(after)
                # As of packets that somebody else writes this address on.
                between.far.unheard = 1 << 30
                for _ in range(3):
                    client.begin("/v1/admin/status", method="GET")
                    seen = len(one.denied)
                    await until(lambda seen=seen: len(one.denied) > seen)
                assert {(note["peer"], note["kind"]) for note in one.denied} == {(before, "forbidden")}
                assert one.counted("aimds_requests_total", route="status", status="200") == 0

    running(test, access=access)


@pytest.mark.parametrize("unheard", [0, 1, 4])
def test_all_that_was_under_way_when_a_port_changed_reaches_the_client(unheard: int) -> None:
    async def test(one: Running) -> None:
        async with network(one) as between, one.client(port=between.port) as client:
            assert (await client.ask("/healthz", method="GET"))["status"] == 200
            quic = next(iter(one.server._known.values())).quic
            # Answers, acknowledgements and credit for more streams go where the client no longer is; then the first
            # that go where it is are lost too, and the question whether it is there with them.
            between.far.unheard = 1 << 30
            asked = [client.begin("/v1/screen?verdict=brief", body(f"{i}")) for i in range(160)]
            async with asyncio.timeout(20):
                while quic._local_max_streams_bidi.sent <= STREAMS:
                    await asyncio.sleep(0.01)
            await between.rebind()
            between.far.unheard = unheard
            answers = await asyncio.gather(*(client.answer(stream) for stream in asked))
            assert [answer.get("status") for answer in answers] == [200] * 160
            async with asyncio.timeout(20):
                while not quic._network_paths[0].is_validated:
                    await client.ping()
            assert quic._network_paths[0].addr == between.far.transport.get_extra_info("sockname")
        assert sum(one.screener.batches) == 160

    running(test)


def test_many_clients_at_once_are_all_served_and_all_forgotten() -> None:
    async def test(one: Running) -> None:
        # None is to go because others take their time to come.
        one.server.use(dataclasses.replace(one.server._configuration, idle_timeout=PATIENCE_S))
        room, answers = asyncio.Semaphore(AT_ONCE), []
        async with contextlib.AsyncExitStack() as stack:

            async def enter(number: int) -> Client:
                async with room:
                    client = await stack.enter_async_context(one.client(idle_timeout=PATIENCE_S))
                    answers.append(await client.ask("/v1/screen", body(f"{number}")))
                    return client

            everyone = await asyncio.gather(*(enter(number) for number in range(CONNECTIONS)))
            assert len(set(one.server._known.values())) == CONNECTIONS

            async def again(client: Client) -> None:
                async with room:
                    answers.append(await client.ask("/v1/screen", body("again")))

            await asyncio.gather(*(again(client) for client in everyone))
            assert [json.loads(answer["body"])["status"] for answer in answers] == ["ok"] * (2 * CONNECTIONS)
            for client in everyone:
                client.close()
        async with asyncio.timeout(PATIENCE_S):
            while one.server._known:
                await asyncio.sleep(0.01)
        assert one.service.idle
        assert (one.server.handshakes, one.server._open) == (0, 0)

    running(test)


def test_data_before_the_handshake_is_not_offered_and_not_read() -> None:
    async def test(one: Running) -> None:
        tickets: list[Any] = []
        async with one.client() as client:
            client._quic._session_ticket_handler = tickets.append
            await client.ask("/healthz", method="GET")
        # The server hands out no ticket, so a client has nothing to send early data with, or to replay.
        assert tickets == []
        quic = QuicConnection(configuration=one.server._configuration, original_destination_connection_id=bytes(8))
        assert quic._session_ticket_fetcher is None
        assert quic._session_ticket_handler is None
        assert one.server._found(zero_rtt(), ("127.0.0.1", 9)) is None

    running(test)


def zero_rtt() -> bytes:
    """A datagram that begins with a 0-RTT packet of version 1 (RFC 9000, section 17.2.3)."""
    first = 0xC0 | QuicPacketType.ZERO_RTT.value << 4
    return bytes([first]) + b"\0\0\0\1" + b"\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x44\x80" + bytes(1200)
