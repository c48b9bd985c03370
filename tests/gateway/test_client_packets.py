"""Our client over packets of its own: on a bad network, against a server that errs, and when it is closed."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.stream import QuicStream
from desk import ATTACK
from live import Slow
from quic import Running, body, ca, running
from test_network import network
from test_packets import Secret, only
from waiting import until

from aimds import AsyncClient
from aimds.gateway.client import ServerError
from aimds.gateway.client.quic import Quic
from aimds.gateway.headers import DEADLINE, JSON
from aimds.gateway.packets.credit import STREAMS
from aimds.gateway.pieces import Limits


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(ca().certificate)
    return tmp_path / "ca.pem"


def client(port: int, trusted: Path, **more: Any) -> AsyncClient:
    return AsyncClient(f"https://127.0.0.1:{port}", ca=trusted, **{"timeout_s": 20.0, **more})


async def rows(count: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        yield {"text": ATTACK if number % 7 == 0 else f"hello {number}", "request_id": str(number)}


def connection(one: AsyncClient) -> Quic:
    assert one._quic is not None
    return one._quic


def test_a_bad_network_costs_our_client_no_verdict_and_doubles_none(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with network(one, 0.1, 0.2) as between, client(between.port, trusted) as ours:
            texts = [f"{ATTACK if number % 7 == 0 else 'harmless'} {number} " + "x" * 300 for number in range(3000)]
            found = await ours.screen_table(pa.table({"text": texts}))
            assert found.column("request_id").to_pylist() == [str(number) for number in range(3000)]
            caught = [action == "block" for action in found.column("action").to_pylist()]
            assert caught == [number % 7 == 0 for number in range(3000)]
            streamed = [verdict async for verdict in ours.stream(rows(1000), brief=True)]
            assert sorted(int(verdict["request_id"]) for verdict in streamed) == list(range(1000))
            assert all((one["action"] == "block") is (int(one["request_id"]) % 7 == 0) for one in streamed)
            single = await asyncio.gather(*(ours.screen(ATTACK if number % 2 else "a") for number in range(60)))
            assert [verdict["action"] for verdict in single] == ["allow", "block"] * 30
            assert between.lost > 50
            async with asyncio.timeout(20):
                # The last of them may not be acknowledged yet.
                while not connection(ours)._quic._streams.keys() <= {2, 3, 6, 7, 10, 11}:
                    await asyncio.sleep(0.01)

    running(test)


class Recording(Slow):
    """A judge that waits until it is let go, and keeps the texts in the order in which it had them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def screen_batch(self, batch: Any) -> Any:
        found = super().screen_batch(batch)
        self.texts += batch.column("text").to_pylist()
        return found


async def two() -> AsyncIterator[dict[str, Any]]:
    for name in ("x", "y"):
        yield {"text": "a", "request_id": name}


@pytest.mark.parametrize("how", ["screen", "table", "stream"])
def test_a_verdict_that_is_not_there_by_the_deadline_that_our_client_states_is_not_waited_for(
    trusted: Path, how: str
) -> None:
    # The gateway's own deadline is never reached here, so only the header can bring this about.
    judge = Recording()

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as patient, client(one.port, trusted, deadline_ms=300.0) as hasty:
            first = asyncio.create_task(patient.screen("first"))
            await until(judge.entered.is_set)
            if how == "stream":
                found = [verdict async for verdict in hasty.stream(two())]
                assert [(line["request_id"], line["problem"]["status"]) for line in found] == [("x", 504), ("y", 504)]
            elif how == "table":
                table = (await hasty.screen_table(pa.table({"text": ["b"]}))).to_pylist()
                assert [one["status"] for one in table] == ["error"]
                assert "deadline" in table[0]["error"]
            else:
                with pytest.raises(ServerError, match="deadline") as caught:
                    await hasty.screen("b")
                assert caught.value.status == 504
            assert not first.done()
            judge.go.set()
            assert (await first)["action"] == "allow"
            assert judge.texts == ["first"]

    try:
        running(test, screener=judge, limits=Limits(deadline_ms=60_000, batch_deadline_ms=60_000))
    finally:
        judge.go.set()


@pytest.mark.parametrize("target", ["/v1/screen", "/v1/screen/batch", "/v1/screen/stream", "/v1/sessions/s/turns"])
def test_of_requests_that_wait_the_one_of_the_more_urgent_priority_is_judged_first(trusted: Path, target: str) -> None:
    judge = Recording()

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as ours:
            first = asyncio.create_task(ours.screen("first"))
            await until(judge.entered.is_set)

            async def ask(text: str, priority: str) -> None:
                kind = "application/x-ndjson" if target in ("/v1/screen/batch", "/v1/screen/stream") else JSON
                headers = {"content-type": kind, "priority": priority, DEADLINE: "60000"}
                await ours.request("POST", target, body(text), headers)

            # Begun in one turn of the loop, they come together.
            others = [asyncio.create_task(ask("lazy", "u=7, i")), asyncio.create_task(ask("urgent", "i, u=0"))]
            await until(lambda: one.service.batcher.queued_rows == 2)
            judge.go.set()
            await asyncio.gather(first, *others)
            assert judge.texts == ["first", "urgent", "lazy"]

    try:
        running(test, screener=judge)
    finally:
        judge.go.set()


def test_a_client_that_is_closed_has_closed_its_socket_and_told_the_server(trusted: Path) -> None:
    async def test(one: Running) -> None:
        ours = client(one.port, trusted)
        await ours.screen("a")
        below = connection(ours)
        await ours.close()
        assert below._transport is not None
        assert below._transport.is_closing()
        assert below.over
        assert below._timer is None or below._timer.cancelled()
        async with asyncio.timeout(20):
            while one.server._known:
                await asyncio.sleep(0.01)

    running(test)


def test_what_waits_when_a_client_is_closed_is_told_so(trusted: Path) -> None:
    async def test(one: Running) -> None:
        one.service.hooks = dataclasses.replace(one.service.hooks, work=lambda: None)
        ours = client(one.port, trusted, attempts=1)
        waiting = asyncio.ensure_future(ours.screen("a"))
        async with asyncio.timeout(20):
            while not one.service.batcher.queued_rows:
                await asyncio.sleep(0.01)
        await ours.close()
        with pytest.raises(ServerError, match="broke off"):
            await waiting

    running(test)


async def until_queued(one: Running, count: int) -> None:
    async with asyncio.timeout(20):
        while one.service.batcher.queued_rows != count:
            await asyncio.sleep(0.01)


def test_a_request_that_times_out_is_taken_back_alone_and_its_neighbours_are_answered(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, timeout_s=0.5, attempts=1) as ours:
            goes_on = asyncio.Event()

            async def paused() -> AsyncIterator[dict[str, Any]]:
                async for row in rows(40):
                    if row["request_id"] == "1":
                        await goes_on.wait()
                    yield row

            stream = ours.stream(paused(), brief=True)
            found = [await anext(stream)]
            below, works = connection(ours), one.service.hooks
            one.service.hooks = dataclasses.replace(works, work=lambda: None)
            late = asyncio.ensure_future(ours.request("POST", "/v1/screen", b'{"text": "late"}'))
            await until_queued(one, 1)
            with pytest.raises(ServerError, match="TimeoutError"):
                await late
            async with asyncio.timeout(20):
                while len(only(one)._requests) > 1:
                    await asyncio.sleep(0.01)
            await until_queued(one, 0)
            one.service.hooks = works
            goes_on.set()
            found += [verdict async for verdict in stream]
            assert sorted(int(verdict["request_id"]) for verdict in found) == list(range(40))
            assert (await ours.screen(ATTACK))["action"] == "block"
            assert connection(ours) is below
            assert not below.streams

    running(test)


def test_a_request_whose_caller_leaves_is_taken_back(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            await ours.screen("a")
            below, works = connection(ours), one.service.hooks
            one.service.hooks = dataclasses.replace(works, work=lambda: None)
            left = asyncio.ensure_future(ours.request("POST", "/v1/screen", b'{"text": "left"}'))
            await until_queued(one, 1)
            left.cancel()
            await until_queued(one, 0)
            one.service.hooks = works
            assert (await ours.screen(ATTACK))["action"] == "block"
            assert connection(ours) is below

    running(test)


def test_an_answer_that_comes_after_its_request_was_given_up_is_dropped(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            await ours.screen("a")
            below, works = connection(ours), one.service.hooks
            one.service.hooks = dataclasses.replace(works, work=lambda: None)
            tell, told = below.quic.cancel, list[int]()
            # The gateway is not told, as when the packet that says so is late.
            below.quic.cancel = lambda stream, code: told.append(stream)  # type: ignore[method-assign]
            late = asyncio.ensure_future(ours.screen("late"))
            await until_queued(one, 1)
            late.cancel()
            await asyncio.sleep(0)
            below.quic.cancel = tell  # type: ignore[method-assign]
            one.service.hooks = works
            assert [(await ours.screen(text))["action"] for text in ("a", ATTACK)] == ["allow", "block"]
            assert len(told) == 1
            assert connection(ours) is below
            assert not below.streams

    running(test)


@pytest.mark.parametrize("by_aioquic", [False, True])
def test_a_request_that_may_not_begin_yet_is_taken_back_without_harm(trusted: Path, by_aioquic: bool) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            await ours.screen("a")
            below, works = connection(ours), one.service.hooks
            one.service.hooks = dataclasses.replace(works, work=lambda: None)
            head = ours._head("POST", "/v1/screen", {"content-type": "application/json"})
            begun = [below.begin(head, b'{"text": "a"}', lambda event: None) for _ in range(STREAMS + 40)]
            blocked = [stream for stream in begun if below.quic._streams[stream].is_blocked]
            assert blocked
            await until_queued(one, len(begun) - len(blocked))
            for stream in reversed(begun):
                below.cancel(stream)
            if by_aioquic:
                # What is rare is written by it, and whatever else there is goes with that.
                below.quic.send_ping(1)
            await until_queued(one, 0)
            one.service.hooks = works
            for _ in range(STREAMS + 40):
                assert (await ours.screen("a"))["action"] == "allow"
            assert connection(ours) is below

    running(test)


def test_a_connection_on_which_no_packet_comes_is_given_up_with_the_request_that_waited(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with network(one, 0, 0) as between, client(between.port, trusted, timeout_s=2.0, attempts=2) as ours:
            await ours.screen("a")
            first = connection(ours)
            between.far.unheard = 1 << 30
            waiting = asyncio.ensure_future(ours.screen(ATTACK))
            async with asyncio.timeout(20):
                while not first.over:
                    await asyncio.sleep(0.01)
            between.far.unheard = 0
            assert (await waiting)["action"] == "block"
            assert connection(ours) is not first

    running(test)


def test_a_token_is_let_go_of_with_the_connection_it_was_sent_on(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            token = Secret("Bearer secret")
            held, headers = weakref.ref(token), {"authorization": token}
            for _ in range(2):
                await ours.request("POST", "/v1/screen", b'{"text": "a"}', headers)
            del token, headers
            await ours.close()
            gc.collect()
            assert held() is None
            assert (await ours.screen("a"))["action"] == "allow"

    running(test)


@pytest.mark.parametrize("strange", [b"", b"\x40", b"\xc0", b"\xc0" + bytes(30), b"\x41" + bytes(1600)])
def test_what_a_stranger_sends_to_our_client_is_dropped_and_what_came_with_it_read(
    trusted: Path, strange: bytes
) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            await ours.screen("a")
            below, address = connection(ours), connection(ours).quic._network_paths[0].addr
            read = below.received
            below._transport._received = lambda found: read([(strange, address), *found])  # type: ignore[union-attr]
            below.received([(strange, address)])
            assert (await ours.screen(ATTACK))["action"] == "block"

    running(test)


def test_data_on_a_request_that_was_never_made_ends_the_connection(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, attempts=1) as ours:
            await ours.screen("a")
            server, below = only(one), connection(ours)
            server.quic._streams[400] = QuicStream(400, 1000, 1000)
            server.quic.send_stream_data(400, b"verdict", True)
            server.transmit()
            async with asyncio.timeout(20):
                while server.quic._close_event is None:
                    await asyncio.sleep(0.01)
            assert server.quic._close_event.error_code == QuicErrorCode.STREAM_STATE_ERROR
            assert below._quic._close_event is not None

    running(test)
