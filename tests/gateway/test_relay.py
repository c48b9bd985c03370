"""Several processes behind one UDP port: whose a datagram is, requests that are carried, and a process that ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from aioquic.quic.connection import QuicConnection
from desk import ATTACK, ndjson
from hypothesis import given
from hypothesis import strategies as st
from live import Live, Slow, live
from quic import NOW, Running, a_client, body, ca, first_datagrams, running, server_certificate
from test_network import network
from test_places import trusting, written
from waiting import until

from aimds import AsyncClient
from aimds.errors import ConfigError
from aimds.gateway import certificates, datagrams, lanes
from aimds.gateway.batching import Batcher
from aimds.gateway.exchange import Exchange
from aimds.gateway.hooks import Hooks
from aimds.gateway.identity import LOCAL, Peer
from aimds.gateway.lanes import MOST_LANES, Lane
from aimds.gateway.pieces import Limits
from aimds.gateway.places import Places
from aimds.gateway.protocol import Service
from aimds.gateway.relay import far, processes
from aimds.gateway.relay.link import WINDOW, Certified, Kind, Setup, encoded
from aimds.gateway.relay.processes import Processes, RelayError
from aimds.gateway.server.answering import PORTION
from aimds.gateway.settings import Settings
from aimds.gateway.single import One

COUNT = 2
LEFT = "aimds_active_connections"


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(ca().certificate)
    return tmp_path / "ca.pem"


def several(folder: Path, **more: Any) -> Settings:
    return written(folder, processes=COUNT, **more)


def client(one: Live, trusted: Path, **more: Any) -> AsyncClient:
    return AsyncClient(f"https://127.0.0.1:{one.gateway.port}", ca=trusted, **{"timeout_s": 20.0, **more})


def of(one: Live) -> Processes:
    found = one.gateway.sockets.relay
    assert found is not None
    return found


def counted(one: Live, name: str, **labels: str) -> float:
    return one.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


def lane_of(quic: QuicConnection) -> int:
    """The process that the ids say a client's connection is at."""
    found = {cid.cid[0] % COUNT for cid in [quic._peer_cid, *quic._peer_cid_available]}
    assert len(found) == 1
    return found.pop()


@given(st.binary(min_size=8, max_size=20), st.integers(1, MOST_LANES), st.data())
def test_an_id_leads_to_its_process_whatever_the_header(cid: bytes, count: int, data: st.DataObject) -> None:
    lane = Lane(data.draw(st.integers(0, count - 1)), count)
    steered = lane.steered(cid)
    assert (len(steered), steered[1:]) == (len(cid), cid[1:])
    short = bytes((0x40,)) + steered
    long = bytes((0xC0, 0, 0, 0, 1, len(cid))) + steered
    assert (lane.of(short), lane.of(long)) == (lane.number, lane.number)
    assert Lane(0, count).of(short) == lane.number


@pytest.mark.parametrize("size", range(1, 7))
def test_a_datagram_that_is_too_short_to_have_an_id_is_anybodys(size: int) -> None:
    assert Lane(1, 3).of(bytes((0xC0,)) * size) == 1


def test_the_kernel_gives_each_process_what_is_its_own() -> None:
    socks, steered = lanes.bound("127.0.0.1", 0, COUNT)
    assert steered
    try:
        here = socks[0].getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sent = [bytes((0x40, first)) + b"short" for first in range(256)]
            sent += [bytes((0xC3, 0, 0, 0, 1, 8, first)) + b"long " for first in range(256)]
            for content in sent:
                sender.sendto(content, here)
            for number, sock in enumerate(socks):
                found = {sock.recv(100) for _ in range(len([one for one in sent if Lane(0, COUNT).of(one) == number]))}
                assert found == {one for one in sent if Lane(0, COUNT).of(one) == number}
    finally:
        for sock in socks:
            sock.close()


def test_requests_over_several_processes_are_answered_as_over_one(tmp_path: Path, trusted: Path) -> None:
    async def rows() -> AsyncIterator[dict[str, str]]:
        for i in range(500):
            yield {"text": ATTACK if i % 5 == 0 else "a", "request_id": f"r{i}"}

    async def test(one: Live) -> None:
        seen = set()
        texts = pa.table({"text": [f"{ATTACK if i % 7 == 0 else 'harmless'} {i} " + "x" * 300 for i in range(3000)]})
        for _ in range(20):
            async with client(one, trusted) as ours:
                assert (await ours.screen(ATTACK))["action"] == "block"
                assert ours._quic is not None
                seen.add(lane_of(ours._quic.quic))
                if len(seen) == COUNT:
                    break
        assert seen == set(range(COUNT))
        async with client(one, trusted) as ours:
            found = await ours.screen_table(texts)
            assert found.column("request_id").to_pylist() == [str(i) for i in range(3000)]
            assert [a == "block" for a in found.column("action").to_pylist()] == [i % 7 == 0 for i in range(3000)]
            verdicts = {v["request_id"]: v["action"] async for v in ours.stream(rows())}
            assert verdicts == {f"r{i}": "block" if i % 5 == 0 else "allow" for i in range(500)}
        async with a_client(one.gateway.port) as plain:
            assert (await plain.ask("/nothing"))["status"] == 404
            assert (await plain.ask("/v1/screen", b"{"))["status"] == 400
            head = await plain.ask("/healthz", method="HEAD")
            assert (head["status"], head["body"]) == (200, b"")
            big = await plain.ask("/v1/screen", body("a" * (9 << 20)))
            assert big["status"] == 413

    with live(several(tmp_path)) as one:
        asyncio.run(test(one))
        assert counted(one, "aimds_requests_total", route="screen", status="413") == 1
        assert json.loads(one.ask("GET", "/v1/admin/status", context=trusting())[2])["quic_processes"] == {
            "ready": COUNT,
            "restarts": 0,
        }
        one.call(until(lambda: counted(one, LEFT, transport="quic") == 0))
        assert one.gateway.service.idle


def test_a_client_that_moves_stays_at_its_process(tmp_path: Path) -> None:
    screener = Slow()

    async def test(one: Live) -> None:
        async with network(one.gateway) as between, a_client(between.port) as plain:  # type: ignore[arg-type]
            lane = lane_of(plain._quic)
            asked = plain.begin("/v1/screen", body(ATTACK))
            assert await asyncio.to_thread(screener.entered.wait, 20)
            for _ in range(2 * COUNT):
                # The kernel alone would spread these by their ports.
                await between.rebind()
                await plain.ping()
            screener.go.set()
            assert json.loads((await plain.answer(asked))["body"])["action"] == "block"
            assert lane_of(plain._quic) == lane

    with live(several(tmp_path), screener) as one:
        asyncio.run(test(one))
        assert (of(one).restarts, counted(one, "aimds_denied_total", reason="datagram")) == (0, 0)


def test_where_the_kernel_does_not_look_processes_hand_on_what_is_not_theirs(
    tmp_path: Path, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_steer", lambda sock, count: False)
    texts = pa.table({"text": [f"{i} " + "x" * 300 for i in range(1000)]})

    async def test(one: Live) -> None:
        for _ in range(6):
            async with client(one, trusted) as ours:
                found = await ours.screen_table(texts)
                assert found.column("request_id").to_pylist() == [str(i) for i in range(1000)]

    with live(several(tmp_path)) as one:
        asyncio.run(test(one))


def test_a_process_that_ends_loses_its_connections_alone_and_another_takes_its_place(
    tmp_path: Path, trusted: Path
) -> None:
    screener, said = Slow(), []

    async def test(one: Live) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients: dict[int, Any] = {}
            while len(clients) < COUNT:
                plain = await stack.enter_async_context(a_client(one.gateway.port, idle_timeout=30.0))
                clients.setdefault(lane_of(plain._quic), plain)
            asked = {lane: plain.begin("/v1/screen", body(ATTACK)) for lane, plain in clients.items()}
            assert await asyncio.to_thread(screener.entered.wait, 20)
            await asyncio.to_thread(one.call, until(lambda: one.gateway.service.open_requests == COUNT))
            os.kill(of(one).pids()[1], signal.SIGKILL)
            await asyncio.to_thread(one.call, until(lambda: one.gateway.service.open_requests == COUNT - 1))
            screener.go.set()
            assert json.loads((await clients[0].answer(asked[0]))["body"])["action"] == "block"
            await asyncio.to_thread(one.call, until(lambda: of(one).ready == COUNT))
            # Among so many, some are at the new one.
            seen = set()
            while seen != set(range(COUNT)):
                async with a_client(one.gateway.port) as plain:
                    assert (await plain.ask("/v1/screen", body("a")))["status"] == 200
                    seen.add(lane_of(plain._quic))
            for plain in clients.values():
                plain.close()

    with live(several(tmp_path), screener, say=said.append) as one:
        asyncio.run(test(one))
        assert of(one).restarts == 1
        assert any("process 1 that speaks QUIC has ended" in line for line in said)
        one.call(until(lambda: len(one.gateway.sockets._places) == 0))
        assert one.gateway.service.idle


def test_a_process_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BEAT_S", 0.5)
    with live(several(tmp_path)) as one:
        pid = of(one).pids()[0]
        os.kill(pid, signal.SIGSTOP)
        one.call(until(lambda: of(one).restarts >= 1 and of(one).ready == COUNT))
        assert pid not in of(one).pids()


def test_an_address_has_its_places_over_all_processes_and_tcp_together(tmp_path: Path) -> None:
    async def test(one: Live) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                plain = await stack.enter_async_context(a_client(one.gateway.port))
                assert (await plain.ask("/healthz", method="GET"))["status"] == 200
            for _ in range(2 * COUNT):
                with pytest.raises(ConnectionError):
                    async with a_client(one.gateway.port):
                        pass
            status, _, _ = await asyncio.to_thread(one.ask, "GET", "/healthz", None, trusting())
            assert status == 429
        await asyncio.to_thread(one.call, until(lambda: len(one.gateway.sockets._places) == 0))
        async with a_client(one.gateway.port) as plain:
            assert (await plain.ask("/healthz", method="GET"))["status"] == 200

    with live(several(tmp_path, connections_per_address=4)) as one:
        asyncio.run(test(one))
        one.call(
            until(
                lambda: (
                    counted(one, "aimds_connections_closed_total", transport="quic", reason="too-many-connections")
                    >= 2 * COUNT
                )
            )
        )


def test_many_handshakes_with_a_token_come_back_to_the_process_that_gave_it() -> None:
    async def test(one: Running) -> None:
        one.server._lane = Lane(1, 3)
        one.server.handshakes = 10_000
        lost: list[int] = []
        one.server._stray = lambda number, data, address, came: lost.append(number)
        sent = first_datagrams(asyncio.get_running_loop().time())
        answers: list[bytes] = []
        one.server.datagrams.sendto = lambda data, addr=None: answers.append(data)  # type: ignore[method-assign]
        mine = sent[0][:6] + Lane(1, 3).steered(sent[0][6:14]) + sent[0][14:]
        one.server._arrived([(mine, ("127.0.0.1", 9))])
        (answer,) = answers
        source = answer[7 + answer[5] : 7 + answer[5] + 8]
        assert (lost, source[0] % 3) == ([], 1)

    running(test)


def test_a_certificate_is_taken_up_by_all_and_connections_stay(tmp_path: Path) -> None:
    settings = several(tmp_path)
    other = certificates.authority("other", NOW)
    issued = certificates.issue(other, "server", ["127.0.0.1", "localhost"], NOW)

    async def test(one: Live) -> None:
        async with a_client(one.gateway.port) as stays:
            (tmp_path / "server.pem").write_bytes(issued.certificate)
            (tmp_path / "server.key").write_bytes(issued.key)
            await asyncio.to_thread(one.call, one.gateway.reload())
            assert "error" not in one.gateway.reloads.last or one.gateway.reloads.last["error"] is None
            assert (await stays.ask("/v1/screen", body("a")))["status"] == 200
            for _ in range(4 * COUNT):
                with pytest.raises(ConnectionError):
                    async with a_client(one.gateway.port):
                        pass

    with live(settings, reread=lambda: settings) as one:
        asyncio.run(test(one))


def test_what_is_under_way_is_answered_when_the_gateway_ends(tmp_path: Path) -> None:
    screener = Slow()

    async def test(one: Live) -> None:
        async with a_client(one.gateway.port) as plain:
            rows = ndjson(*({"text": f"{i}"} for i in range(2000)))
            asked = plain.begin("/v1/screen/batch", rows, kind="application/x-ndjson")
            assert await asyncio.to_thread(screener.entered.wait, 20)
            ending = one.begin(one.gateway.stop())
            await asyncio.sleep(0.2)
            screener.go.set()
            found = await plain.answer(asked)
            assert found["body"].count(b'"action"') == 2000
            await asyncio.to_thread(ending.result, 20)

    with live(several(tmp_path), screener) as one:
        pids = of(one).pids()
        asyncio.run(test(one))
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_processes_end_when_their_gateway_is_gone() -> None:
    async def whole() -> None:
        socks, _ = lanes.bound("127.0.0.1", 0, 1)
        issued = server_certificate()
        service = Service(Batcher(), Hooks(lambda: None, lambda *_: None, lambda action: True))  # type: ignore[arg-type]
        setup = Setup(Certified(issued.certificate, issued.key), 0, 1, False, 0.0, 1200, {})
        made = Processes(service, socks, setup, Places(), lambda line: None)
        await made.start()
        (one,) = made._all.values()
        process = one._process
        assert process is not None
        one.kill = lambda: None  # type: ignore[method-assign]
        made._closing = True
        assert one.near.link is not None
        one.near.link.close()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        await made.close(0.0)

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("command", "said"), [(("/nonexistent/program",), "No such file"), ((sys.executable, "-c", ""), "ended before")]
)
def test_processes_that_cannot_be_started_are_said(command: tuple[str, ...], said: str) -> None:
    async def whole() -> None:
        socks, _ = lanes.bound("127.0.0.1", 0, 2)
        service = Service(Batcher(), Hooks(lambda: None, lambda *_: None, lambda action: True))  # type: ignore[arg-type]
        setup = Setup(Certified(b"", b""), 0, 2, False, 0.0, 1200, {})
        made = Processes(service, socks, setup, Places(), lambda line: None, command)
        with pytest.raises(RelayError, match=said):
            await made.start()
        await made.close(0.0)

    asyncio.run(whole())


def test_a_reader_that_takes_nothing_stops_what_is_carried_to_it() -> None:
    async def test(one: Running) -> None:
        async with one.client() as slow:
            slow.acknowledge_nothing()
            rows = ndjson({"text": "x" * 200}) * 4000
            slow.begin("/v1/screen/batch?verdict=full", rows, kind="application/x-ndjson")
            await until(lambda: any(r.window <= 0 and r.exchange.unsent for r in one.near._requests.values()))
            await asyncio.sleep(0.2)
            (request,) = one.near._requests.values()
            (server,) = set(one.server._known.values())
            (here,) = server._requests.values()
            # Verdicts come by whole pieces, of which one may be more than there is room for.
            piece = 16 * 1500
            assert WINDOW - piece <= here.exchange.unsent <= WINDOW + piece
            assert request.exchange.unsent < 2 << 20

    running(test, relayed=True, limits=Limits(deadline_ms=20_000, piece_rows=16))


def test_a_body_is_read_no_faster_than_it_is_screened() -> None:
    async def test(one: Running) -> None:
        go_on = one.halt()
        async with one.client() as plain:
            content = ndjson({"text": "x" * 1000}) * 2000
            stream = plain.begin("/v1/screen/batch", content, kind="application/x-ndjson")
            for _ in range(200):
                await asyncio.sleep(0.002)
            (request,) = one.near._requests.values()
            assert sum(map(len, request.held)) <= WINDOW + (64 << 10)
            go_on()
            found = await plain.answer(stream)
            assert found["body"].count(b"\n") == 2000

    running(test, relayed=True, limits=Limits(piece_rows=64, batch_deadline_ms=60_000))


def test_a_client_that_leaves_takes_its_rows_out_of_the_queue() -> None:
    async def test(one: Running) -> None:
        one.service.hooks = Hooks(lambda: None, one.worker.unjudged, lambda action: True)
        async with one.client() as plain:
            rows = ndjson(*({"text": f"{i}"} for i in range(2000)))
            stream = plain.begin("/v1/screen/batch", rows, kind="application/x-ndjson")
            await until(lambda: one.service.batcher.queued_rows)
            plain._quic.reset_stream(stream, 0x10C)
            plain._quic.stop_stream(stream, 0x10C)
            plain.transmit()
            await until(lambda: not one.service.batcher.queued_rows)
        assert one.near._requests == {}

    running(test, relayed=True)


def test_what_the_processes_count_is_the_gateways() -> None:
    async def test(one: Running) -> None:
        async with one.client() as plain:
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200
            await until(lambda: one.counted(LEFT, transport="quic") == 1)
        await until(lambda: one.counted(LEFT, transport="quic") == 0)
        assert one.counted("aimds_requests_total", route="screen", status="200") == 1

    running(test, relayed=True)


def test_of_many_clients_each_is_still_known_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "MOST_PEERS", 2)
    seen: list[str] = []

    class Asked:
        def identify(self, head: Any, peer: Any, route: Any, now: float) -> Any:
            seen.append(f"{len(peer.certificates)}")
            return LOCAL

    async def test(one: Running) -> None:
        shown = certificates.issue(ca(), "c", ["c.example"], NOW, client=True)
        for issued in (None, shown, None, shown, None):
            async with one.client(issued) as plain:
                assert (await plain.ask("/v1/screen", body("a")))["status"] == 200

    running(test, relayed=True, access=Asked())
    assert seen == ["0", "1", "0", "1", "0"]


def test_processes_need_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"listen\.processes"):
        replace(several(tmp_path), certificate=None, key=None).check()


def test_a_frame_of_a_request_that_is_over_is_of_no_use() -> None:
    async def test(one: Running) -> None:
        for kind in (Kind.DATA, Kind.END, Kind.ABORT, Kind.REFUSE, Kind.CREDIT):
            one.near.receive(kind, 99, bytes(8))
        async with one.client() as plain:
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200

    running(test, relayed=True)


def test_what_nobody_foresaw_ends_one_request_and_not_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *_: Any) -> bytes:
        raise RuntimeError("a bug")

    async def test(one: Running) -> None:
        opened = one.service.open
        async with one.client() as plain:
            with monkeypatch.context() as patched:
                patched.setattr(one.service, "open", broken)
                found = await plain.ask("/v1/screen", body("a"))
                assert (found["status"], json.loads(found["body"])["type"]) == (500, "urn:aimds:problem:internal")
            assert one.service.open == opened
            with monkeypatch.context() as patched:
                patched.setattr(One, "take", broken)
                asked = plain.begin("/v1/screen", body("a"))
                await plain.until(lambda: plain.answers.get(asked, {}).get("broken"))
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200
        assert one.near._requests == {}
        assert one.counted("aimds_denied_total", reason="datagram") == 2

    running(test, relayed=True)


def test_a_gateway_that_stood_still_ends_no_process_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BEAT_S", 0.1)

    async def stand_still() -> None:
        for _ in range(4):
            time.sleep(0.6)
            await asyncio.sleep(0.12)

    with live(several(tmp_path)) as one:
        pids = of(one).pids()
        one.call(stand_still())
        assert (of(one).pids(), of(one).restarts) == (pids, 0)


def test_an_answer_that_is_complete_here_reaches_its_client_though_the_gateway_ends(tmp_path: Path) -> None:
    pieces = 30

    class Long(Exchange):
        def __init__(self) -> None:
            super().__init__()
            self.begin(200, [("content-type", "text/plain")])
            for _ in range(pieces):
                self.send(b"a" * PORTION)
            self.finish()

    async def work() -> None:
        # What else the gateway does, so that its link has to wait.
        while True:
            time.sleep(0.02)
            await asyncio.sleep(0)

    async def test(one: Live) -> None:
        async with a_client(one.gateway.port) as plain:
            opened = one.gateway.service.open

            def big(*arguments: Any) -> Any:
                opened(*arguments)
                return Long()

            one.gateway.service.open = big  # type: ignore[method-assign]
            working = one.begin(work())
            asked = plain.begin("/healthz", method="GET")
            await plain.until(lambda: plain.answers.get(asked, {}).get("body"))
            ending = one.begin(one.gateway.stop())
            found = await plain.answer(asked)
            assert (len(found["body"]), found.get("over")) == (pieces * PORTION, True)
            await asyncio.to_thread(ending.result, 20)
            working.cancel()

    with live(several(tmp_path)) as one:
        asyncio.run(test(one))


def test_a_process_that_is_being_started_is_told_of_what_changes() -> None:
    sent: list[tuple[Kind, int, bytes]] = []

    class Starting:
        def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
            sent.append((kind, number, payload))

    async def whole() -> None:
        places = Places(2)
        service = Service(Batcher(), Hooks(lambda: None, lambda *_: None, lambda action: True))  # type: ignore[arg-type]
        made = Processes(service, [], Setup(Certified(b"", b""), 0, 1, False, 0.0, 1200, {}), places, lambda line: None)
        made.told.add(Starting())  # type: ignore[arg-type]
        made.use(Certified(b"c", b"k"))
        places.take("10.0.0.1")
        assert [kind for kind, _, _ in sent] == [Kind.USE, Kind.STANDING]

    asyncio.run(whole())


def test_a_certificate_that_cannot_be_used_leaves_a_process_as_it_was() -> None:
    async def test(one: Running) -> None:
        assert one.near.link is not None
        one.near.link.send(Kind.USE, 0, encoded(Certified(b"junk", b"junk")))
        async with one.client() as plain:
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200

    running(test, relayed=True)


def test_certificates_that_clients_show_are_kept_up_to_a_bound() -> None:
    async def whole() -> None:
        said: list[tuple[Kind, int]] = []
        made = far.Far()
        made.use(SimpleNamespace(send=lambda kind, number, payload=b"": said.append((kind, number))))  # type: ignore[arg-type]
        for number in range(40):
            shown = Peer("10.0.0.1", (bytes([number]) * 100_000,))
            exchange = made.open("GET", "/healthz", [], shown, 0.0)
            exchange.abort(0.0)
            assert sum(len(one.certificates[0]) for one in made._peers) <= far.MOST_SHOWN
        assert (made._requests, made._together) == ({}, {})
        assert said.count((Kind.PEER, 0)) >= 3

    asyncio.run(whole())


def test_of_all_bodies_of_a_connection_so_much_is_carried_and_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "MOST_AHEAD", 300_000)

    async def test(one: Running) -> None:
        go_on = one.halt()
        async with one.client() as plain:
            rows = ndjson({"text": "x" * 1000}) * 1000
            asked = [plain.begin("/v1/screen/batch", rows, kind="application/x-ndjson") for _ in range(6)]
            for _ in range(200):
                await asyncio.sleep(0.002)
            held = sum(len(part) for request in one.near._requests.values() for part in request.held)
            assert 0 < held <= 300_000 + WINDOW
            go_on()
            for stream in asked:
                assert (await plain.answer(stream))["body"].count(b"\n") == 1000

    running(test, relayed=True, limits=Limits(piece_rows=64, batch_deadline_ms=60_000))


def test_a_clock_that_is_set_forward_makes_nothing_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(one: Running) -> None:
        async with one.client() as plain:
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200
            real = time.time
            monkeypatch.setattr(datagrams.time, "time", lambda: real() + 3600)
            assert (await plain.ask("/v1/screen", body("a")))["status"] == 200

    running(test)
