"""Clients that leave, drip, fall silent, lie about sizes and break the rules: they end alone, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from aioquic.quic.connection import QuicConnection, QuicNetworkPath
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import ProtocolNegotiated
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import Epoch
from desk import ARROW, ATTACK, BOOM, JSON, NDJSON, Desk, documents, feed, forwards, ipc, ndjson
from live import Slow
from quic import Client, Running, body, running

from aimds.gateway.bulk import Bulk
from aimds.gateway.hooks import Hooks
from aimds.gateway.packets.credit import Quic
from aimds.gateway.packets.receiving import Arrived
from aimds.gateway.pieces import Limits
from aimds.gateway.server import connection
from aimds.gateway.single import One

TEXT = [(b"content-type", b"text/plain")]
ROOT = Path(__file__).parents[2]
STILL = "still served"
DAMAGED, LANES = 400, 16
"""Damaged requests, and connections that send them at once: each waits a while after it was closed."""


async def settled(one: Running) -> None:
    """Wait until nothing is under way and no connection is left."""
    async with asyncio.timeout(20):
        while not one.service.idle or one.server._known:
            await asyncio.sleep(0.01)


def silence(client: Client) -> None:
    """Nothing of ``client`` goes out any more, as if its cable were cut."""
    client._transport.sendto = lambda *_: None  # type: ignore[union-attr, method-assign, unused-ignore]


@pytest.mark.parametrize("how", ["stream", "connection"])
def test_a_client_that_leaves_while_its_batch_is_judged_costs_no_neighbour_a_verdict(how: str) -> None:
    screener = Slow()

    async def test(one: Running) -> None:
        one.service.hooks = Hooks(lambda: None, one.worker.unjudged, forwards)
        async with one.client() as stays:
            async with one.client() as leaves:
                rows = ndjson(*({"text": f"{i}"} for i in range(100)))
                stream = leaves.begin("/v1/screen/batch", rows, kind="application/x-ndjson")
                kept = stays.begin("/v1/screen", body(ATTACK))
                async with asyncio.timeout(20):
                    while one.service.batcher.queued_rows < 101:
                        await asyncio.sleep(0.002)
                one.service.hooks = Hooks(one.worker.work, one.worker.unjudged, forwards)
                one.worker.work()
                assert await asyncio.to_thread(screener.entered.wait, 20)
                if how == "stream":
                    leaves._quic.reset_stream(stream, 0x10C)
                    leaves._quic.stop_stream(stream, 0x10C)
                    leaves.transmit()
                    async with asyncio.timeout(20):
                        while len(one.service._open) > 1:
                            await asyncio.sleep(0.002)
                    screener.go.set()
            screener.go.set()
            found = await stays.answer(kept)
            assert json.loads(found["body"])["action"] == "block"
            assert found["body"].count(b"request_id") == 1
        # All rows were in one batch, and none was judged again for those that stayed.
        assert screener.batches == [101]
        await settled(one)

    running(test, screener=screener, limits=Limits(deadline_ms=20_000, piece_rows=256))


def test_who_waits_behind_a_batch_that_does_not_end_is_told_at_its_deadline() -> None:
    screener = Slow()

    async def test(one: Running) -> None:
        async with one.client() as client:
            hangs = client.begin("/v1/screen", body("hangs"))
            assert await asyncio.to_thread(screener.entered.wait, 20)
            waits = client.begin("/v1/screen", body("waits", deadline_ms=500))
            assert (await client.answer(waits))["status"] == 504
            assert (one.service.batcher.running, one.service.batcher.queued_rows) == (1, 0)
            screener.go.set()
            assert (await client.answer(hangs))["status"] == 200
        assert screener.batches == [1]

    running(test, screener=screener)


def test_a_slow_writer_holds_up_nobody_and_is_answered_in_the_end() -> None:
    async def test(one: Running) -> None:
        async with one.client() as slow, one.client() as other:
            streams = [slow.begin("/v1/screen", end=False) for _ in range(20)]
            content = body(ATTACK)
            for at in range(len(content)):
                for stream in streams:
                    slow.http.send_data(stream, content[at : at + 1], at == len(content) - 1)
                slow.transmit()
                if at % 8 == 0:
                    assert (await other.ask("/v1/screen", body("quick")))["status"] == 200
                assert one.service.batcher.queued_bytes == 0 or at == len(content) - 1
            answers = [await slow.answer(stream) for stream in streams]
            assert [json.loads(one["body"])["action"] for one in answers] == ["block"] * 20
        assert sum(one.screener.batches) == 20 + -(-len(content) // 8)

    running(test)


def test_a_client_that_falls_silent_in_the_middle_of_a_body_is_forgotten() -> None:
    async def test(one: Running) -> None:
        one.server._configuration.idle_timeout = 0.4
        async with one.client() as silent:
            silent.begin("/v1/screen", b'{"text": "half', end=False)
            silent.begin("/v1/screen/stream", b'{"text": "whole"}\n{"te', end=False)
            async with asyncio.timeout(20):
                while sum(one.screener.batches) < 1:
                    await asyncio.sleep(0.002)
            silence(silent)
            await settled(one)
            one.server._configuration.idle_timeout = 60.0
            async with one.client() as other:
                assert (await other.ask("/v1/screen", body(STILL)))["status"] == 200

    running(test)


def test_a_body_that_does_not_go_on_is_given_up_while_its_connection_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.05)
    monkeypatch.setattr(One, "idle_s", 0.3)

    async def test(one: Running) -> None:
        async with one.client() as client:
            slow = [client.begin(target, b'{"te', end=False) for target in ("/v1/screen", "/v1/sessions/s/turns")]
            stays = client.begin("/v1/screen/stream", b'{"text": "a"}\n', end=False)
            for stream in slow:
                await client.until(lambda stream=stream: client.answers.get(stream, {}).get("over"))
                answer = client.answers[stream]
                assert answer["status"] == 408
                assert json.loads(answer["body"])["type"] == "urn:aimds:problem:slow-request"
                assert answer["stopped"]
            # A stream may wait for ten minutes, and who is answered late was not slow.
            client.http.send_data(stays, b'{"text": "b"}\n', True)
            assert (await client.answer(stays))["body"].count(b"\n") == 2
            assert (await client.ask("/v1/screen", body(STILL)))["status"] == 200
        await settled(one)

    running(test)


@pytest.mark.parametrize("relayed", [False, True])
def test_who_waits_for_an_answer_is_not_given_up_however_long_it_takes(
    relayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    monkeypatch.setattr(Bulk, "idle_s", 0.1)
    screener = Slow()

    async def test(one: Running) -> None:
        async with one.client() as client:
            rows = ndjson(*({"text": f"{i}"} for i in range(3000)))
            stream = client.begin("/v1/screen/batch", rows, end=False, kind="application/x-ndjson")
            assert await asyncio.to_thread(screener.entered.wait, 20)
            await asyncio.sleep(0.5)
            assert client.answers == {}
            screener.go.set()
            await client.until(lambda: client.answers.get(stream, {}).get("broken"))
            assert client.answers[stream]["body"].count(b'"action"') == 3000
            assert b"slow-request" in client.answers[stream]["body"].splitlines()[-1]
        await settled(one)

    running(test, screener=screener, limits=Limits(deadline_ms=20_000), relayed=relayed)


def test_who_has_no_credit_left_for_the_rest_of_a_body_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    screener = Slow()

    async def test(one: Running) -> None:
        async with one.client() as client:
            begun = client.begin("/v1/screen", b'{"te', end=False)
            rows = ndjson(*({"text": "a" * 10_000} for _ in range(30)))
            for _ in range(24):
                client.begin("/v1/screen/batch", rows, kind="application/x-ndjson")
            quic = client._quic
            async with asyncio.timeout(20):
                while quic._remote_max_data_used < quic._remote_max_data or not screener.entered.is_set():
                    await asyncio.sleep(0.01)
            client.http.send_data(begun, b'xt": "a"}', True)
            client.transmit()
            monkeypatch.setattr(One, "idle_s", 0.1)
            await asyncio.sleep(0.5)
            assert client.answers.get(begun) is None
            screener.go.set()
            assert (await client.answer(begun))["status"] == 200
        await settled(one)

    running(test, screener=screener, limits=Limits(deadline_ms=20_000, piece_rows=1))


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_decompression_bomb_is_refused_and_others_are_served(codec: str) -> None:
    async def test(one: Running) -> None:
        bomb = ipc(pa.table({"text": ["a" * (4 << 20)]}), compression=codec)
        assert len(bomb) < 100_000
        async with one.client() as bad, one.client() as good:
            asked = [bad.begin("/v1/screen/batch", bomb, kind="application/vnd.apache.arrow.stream") for _ in range(5)]
            assert (await good.ask("/v1/screen", body(STILL)))["status"] == 200
            assert {(await bad.answer(stream))["status"] for stream in asked} == {413}
        assert one.screener.batches == [1]

    running(test, limits=Limits(max_expanded_bytes=1 << 20))


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/v1/screen", JSON),
        ("/v1/sessions/s/turns", JSON),
        ("/v1/screen/batch", NDJSON),
        ("/v1/screen/output", TEXT),
        ("/v1/screen/output", NDJSON),
    ],
)
@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_invalid_utf8_is_refused_on_every_route(target: str, headers: list[tuple[bytes, bytes]], bad: bytes) -> None:
    desk = Desk()
    exchange = desk.open(target, headers)
    feed(desk, exchange, bad if headers is TEXT else b'{"text": "a' + bad + b'"}\n')
    desk.run()
    assert exchange.ended
    assert exchange.status == 400
    assert desk.screener.batches == []


def test_a_line_of_invalid_utf8_has_a_problem_and_the_stream_goes_on() -> None:
    desk = Desk()
    exchange = desk.open("/v1/screen/stream", NDJSON)
    feed(desk, exchange, b'{"text": "\xff"}\n' + ndjson({"text": ATTACK}))
    desk.run()
    bad, good = documents(exchange)
    assert (bad["status"], bad["problem"]["status"], good["action"]) == ("error", 400, "block")


def test_rows_that_break_a_kernel_fail_alone_on_a_stream_and_in_an_arrow_table() -> None:
    async def test(one: Running) -> None:
        texts = [BOOM if i % 50 == 7 else ATTACK if i % 3 == 0 else f"text {i}" for i in range(120)]
        expected = ["error" if text == BOOM else "ok" for text in texts]
        async with one.client() as client:
            found = await client.ask("/v1/screen/batch", ipc(pa.table({"text": texts})), kind=ARROW[0][1].decode())
            table = pa.ipc.open_stream(found["body"]).read_all()
            assert table.column("status").to_pylist() == expected
            lines = ndjson(*({"text": text, "request_id": str(i)} for i, text in enumerate(texts)))
            found = await client.ask("/v1/screen/stream", lines, kind="application/x-ndjson")
            verdicts = {int(one["request_id"]): one for one in map(json.loads, found["body"].splitlines())}
            assert [verdicts[i]["status"] for i in range(120)] == expected
            actions = [*table.column("action").to_pylist(), *(verdicts[i]["action"] for i in range(120))]
            assert all(action != "allow" for action, text in zip(actions, texts * 2, strict=True) if text == BOOM)

    running(test)


def frames(random: Random) -> bytes:
    """A request of two HTTP/3 frames, damaged (RFC 9114, section 7; headers without the dynamic table)."""
    headers = b"\x00\x00\xd4\xd7\x50\x01a\x51\x0a/v1/screen"
    made = bytearray(b"\x01" + bytes([len(headers)]) + headers + b"\x00\x0d" + b'{"text": "a"}')
    for _ in range(random.randint(1, 4)):
        match random.randrange(4):
            case 0:
                made[random.randrange(len(made))] = random.randrange(256)
            case 1:
                made.insert(random.randrange(len(made) + 1), random.randrange(256))
            case 2:
                del made[random.randrange(len(made)) :]
                made += b"\0"
            case _:
                # A length or a type that promises more than there is.
                made[:0] = random.choice([b"\x00\xff" + b"\xff" * 7, b"\x01\xbf\xff\xff\xff", b"\x04\x00", b"\x21\x40"])
    return bytes(made)


def test_damaged_requests_end_their_connections_alone() -> None:
    random, sent = Random(11), 0

    async def lane(one: Running) -> None:
        nonlocal sent
        while sent < DAMAGED:
            async with one.client() as bad:
                while bad.ended is None and sent < DAMAGED:
                    for _ in range(10):
                        stream = bad._quic.get_next_available_stream_id()
                        bad._quic.send_stream_data(stream, frames(random), random.random() < 0.8)
                        sent += 1
                    bad.transmit()
                    with contextlib.suppress(ConnectionError):
                        await bad.ping()

    async def test(one: Running) -> None:
        async with one.client() as good:
            lanes = [asyncio.create_task(lane(one)) for _ in range(LANES)]
            while not all(each.done() for each in lanes):
                assert (await good.ask("/v1/screen", body(STILL)))["status"] == 200
                await asyncio.sleep(0.05)
            await asyncio.gather(*lanes)
            assert (await good.ask("/v1/screen", body(STILL)))["status"] == 200
        await settled(one)
        assert sent >= DAMAGED
        assert one.counted("aimds_denied_total", reason="datagram") == 0

    running(test)


def test_ten_thousand_damaged_requests_raise_nothing_but_what_ends_their_connections() -> None:
    random, outcomes = Random(17), {"ended": 0, "answered": 0}

    def server(one: Running) -> connection.Connection:
        """The server's half of a connection, without a client and a network."""
        quic = Quic(configuration=one.server._configuration, original_destination_connection_id=bytes(8))
        quic._version = QuicProtocolVersion.VERSION_1
        quic._initialize(bytes(8))
        quic._network_paths.append(QuicNetworkPath(("127.0.0.1", 9), is_validated=True))
        made = connection.Connection(quic, one.service, ("127.0.0.1", 9), lambda: None, lambda: None, 0.0)
        made.transmit = lambda: None  # type: ignore[method-assign]
        made.quic_event_received(ProtocolNegotiated("h3"))
        return made

    async def test(one: Running) -> None:
        async with one.client() as good:
            bad, stream = server(one), 0
            for number in range(10_000):
                assert bad._http is not None
                if bad._http._is_done or stream == 80:
                    outcomes["ended"] += bad._http._is_done
                    outcomes["answered"] += len(bad._requests)
                    bad._abandon()
                    bad, stream = server(one), 0
                content, over = frames(random), random.random() < 0.8
                bad.quic._get_or_create_stream(0x08, stream)
                cut = random.randrange(len(content) + 1)
                for part, last in ((content[:cut], False), (content[cut:], over)):
                    if part or last:
                        bad.quic._events.append(Arrived(stream, part, last))
                        bad._process_events()
                stream += 4
                if number % 1000 == 0:
                    assert (await good.ask("/v1/screen", body(STILL)))["status"] == 200
            bad._abandon()
        await settled(one)
        assert min(outcomes.values()) > 100, outcomes

    running(test)


def test_packets_damaged_before_they_are_sealed_end_their_connections_alone() -> None:
    random, damaged = Random(13), 0

    class Damaging:
        """Keys of a client that break some of the frames of a packet: the server can open it, and finds nonsense."""

        def __init__(self, real: CryptoPair) -> None:
            self._real = real

        def encrypt_packet(self, header: bytes, payload: bytes, number: int) -> bytes:
            nonlocal damaged
            changed = bytearray(payload)
            for _ in range(random.randint(1, 6)):
                changed[random.randrange(min(len(changed), 60))] = random.randrange(256)
            damaged += 1
            return self._real.encrypt_packet(header, bytes(changed), number)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    async def lane(one: Running) -> None:
        for _ in range(2):
            async with one.client() as bad:
                quic: QuicConnection = bad._quic
                real = quic._cryptos[Epoch.ONE_RTT]
                quic._cryptos[Epoch.ONE_RTT] = Damaging(real)  # type: ignore[assignment]
                for number in range(8):
                    bad.begin("/v1/screen", body(f"{number}"))
                    await asyncio.sleep(0)
                quic._cryptos[Epoch.ONE_RTT] = real

    async def test(one: Running) -> None:
        async with one.client() as good:
            # Those that fall silent are forgotten soon.
            one.server.use(dataclasses.replace(one.server._configuration, idle_timeout=1.0))
            await asyncio.gather(*(lane(one) for _ in range(LANES)))
            assert (await good.ask("/v1/screen", body(STILL)))["status"] == 200
        await settled(one)
        assert damaged >= 30
        assert one.server.handshakes == 0
        assert one.counted("aimds_denied_total", reason="datagram") == 0

    running(test)


def test_every_fault_of_the_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "gateway.md").read_text("utf-8")
    named = re.findall(r"`((?:\.\./app/)?test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"\ndef {name}(" not in (Path(__file__).parent / file).read_text("utf-8")
    ]
    assert missing == []
