"""Answers that break off: all that was judged arrives, then why it is not whole, and nothing like the end of a whole one."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import select
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aioquic.h3.connection import ErrorCode
from desk import ARROW, ATTACK, Desk, documents, feed, forwards, ipc, ndjson, taken
from live import Live, Slow, live
from quic import Client, Running, a_client, body, running
from test_packets import only
from test_places import trusting, until, written
from test_unread import HEAD, LINES, connected, grants_nothing, many

from aimds.gateway.batching import BatchConfig
from aimds.gateway.closing import unsent
from aimds.gateway.hooks import Hooks
from aimds.gateway.pieces import Limits
from aimds.gateway.problem import Problem
from aimds.gateway.settings import Settings

SHORT = Limits(deadline_ms=20_000, max_body_bytes=4000)


def write(client: Client, stream: int, content: bytes, *, end: bool = False) -> None:
    assert client.http is not None
    client.http.send_data(stream, content, end)
    client.transmit()


async def broken_off(client: Client, stream: int) -> list[dict[str, Any]]:
    """The lines of an answer that breaks off."""
    answer = await client.until(lambda: client.answers[stream].get("broken") and client.answers[stream])
    assert not answer["over"]
    return [json.loads(line) for line in answer["body"].splitlines()]


def told(lines: list[dict[str, Any]], status: int) -> list[dict[str, Any]]:
    """The verdicts before the last line, which is the problem with this ``status``."""
    assert lines[-1]["status"] == "error"
    assert lines[-1]["problem"]["status"] == status
    assert "action" not in lines[-1]
    return lines[:-1]


async def goes_wrong(client: Client) -> int:
    """The stream of 60 rows, of whose answer the client reads no more than the beginning, with a line too long behind."""
    grants_nothing(client)
    stream = client.begin("/v1/screen/batch", many(60), end=False, kind=LINES)
    await client.until(lambda: client.answers.get(stream, {}).get("body"))
    write(client, stream, b"a" * 5000)
    return stream


def test_verdicts_that_wait_for_credit_reach_the_client_before_the_answer_breaks_off() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=2000) as client:
            grant = client._quic._write_stream_limits
            stream = await goes_wrong(client)
            server = only(one)
            async with asyncio.timeout(20):
                while server._requests:
                    await client.ping()
            assert not client.answers[stream].get("over")
            client._quic._write_stream_limits = grant  # type: ignore[method-assign]
            client._quic.send_ping(1)
            client.transmit()
            verdicts = told(await broken_off(client, stream), 413)
            assert [one["request_id"] for one in verdicts] == [str(i) for i in range(60)]
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert not server._breaking
        assert one.recorded == 61

    running(test, limits=SHORT)


def test_rows_that_are_judged_as_their_answer_breaks_off_have_their_verdicts() -> None:
    screener = Slow()
    screener.go.set()

    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client.begin("/v1/screen/batch", ndjson({"text": "a"}), end=False, kind=LINES)
            await client.until(lambda: client.answers.get(stream, {}).get("body"))
            screener.go.clear()
            screener.entered.clear()
            write(client, stream, ndjson({"text": ATTACK}, {"text": "b"}))
            assert await asyncio.to_thread(screener.entered.wait, 20)
            write(client, stream, ndjson({"text": "c"}, {"text": ATTACK}) + b"a" * 5000)
            request = only(one)._requests[stream]
            async with asyncio.timeout(20):
                while request.exchange.fault is None:  # type: ignore[attr-defined]
                    await client.ping()
            assert not client.answers[stream].get("broken")
            screener.go.set()
            verdicts = told(await broken_off(client, stream), 413)
            assert [one["action"] for one in verdicts] == ["allow", "block", "allow", "allow", "block"]
        assert one.recorded == 5

    running(test, screener=screener, limits=SHORT)


def test_the_verdicts_on_a_response_whose_deadline_passes_arrive_before_it_breaks_off() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=1200) as client:
            grant = client._quic._write_stream_limits
            grants_nothing(client)
            stream = client.begin("/v1/screen/output", b"a" * 400, end=False, kind="text/plain")
            for more in range(1, 6):
                async with asyncio.timeout(20):
                    while len(one.screener.batches) < more or one.service.batcher.running:
                        await client.ping()
                if more < 5:
                    write(client, stream, b"a" * 400)
            one.service.hooks = Hooks(lambda: None, one.worker.unjudged, forwards)
            write(client, stream, b"a" * 400)
            server = only(one)
            async with asyncio.timeout(20):
                while not one.service.batcher.queued_rows:
                    await client.ping()
            (job,) = server._requests[stream].exchange.jobs  # type: ignore[attr-defined]
            job.deadline = 0.0
            one.worker.work()
            async with asyncio.timeout(20):
                while server._requests:
                    await client.ping()
            client._quic._write_stream_limits = grant  # type: ignore[method-assign]
            client._quic.send_ping(1)
            client.transmit()
            verdicts = told(await broken_off(client, stream), 504)
            assert [one["judged"] for one in verdicts] == [400, 800, 1200, 1600, 2000]

    running(test)


def test_a_client_that_wants_no_more_of_an_answer_that_breaks_off_is_not_waited_for() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=2000) as client:
            stream = await goes_wrong(client)
            server = only(one)
            async with asyncio.timeout(20):
                while not server._breaking:
                    await client.ping()
            client._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            async with asyncio.timeout(20):
                while server._breaking or stream in server.quic._streams:
                    await client.ping()
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test, limits=SHORT)


def test_an_answer_in_arrow_that_breaks_off_has_its_verdicts_and_no_end() -> None:
    table = ipc(pa.table({"text": ["a", ATTACK, "b"]}))
    # Without its marker, and then what is no message.
    bad = table[:-8] + b"\xff\xff\xff\xff\x40\0\0\0" + b"\xee" * 64

    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client.begin("/v1/screen/batch", table[:-8], end=False, kind=ARROW[0][1].decode())
            await client.until(lambda: client.answers.get(stream, {}).get("body"))
            write(client, stream, bad[len(table) - 8 :], end=True)
            answer = await client.until(lambda: client.answers[stream].get("broken") and client.answers[stream])
            assert not answer["over"]
            with pa.ipc.open_stream(answer["body"]) as reader:
                assert reader.read_next_batch().column("action").to_pylist() == ["allow", "block", "allow"]
            assert not answer["body"].endswith(b"\xff\xff\xff\xff\0\0\0\0")

    running(test, limits=Limits(deadline_ms=20_000))


def test_lines_that_were_taken_are_answered_before_their_stream_breaks_off() -> None:
    desk = Desk(batch=BatchConfig(max_rows=1))
    exchange = desk.open("/v1/screen/stream", [(b"content-type", LINES.encode())])
    exchange.receive(many(3) + b'{"text": "half', desk.now)
    assert desk.step() == 1
    exchange.refuse(Problem("slow-request", "nothing came"))
    assert not exchange.ended
    assert not exchange.wants_data
    exchange.receive(b'"}\n', desk.now)
    desk.run()
    assert exchange.ended
    assert exchange.broken
    found = told(documents(exchange), 408)
    assert [one["request_id"] for one in found] == ["0", "1", "2"]
    assert desk.service.idle


def test_pieces_that_wait_behind_one_that_is_judged_are_judged_before_a_batch_breaks_off() -> None:
    desk = Desk(limits=Limits(piece_rows=2, window_pieces=2), batch=BatchConfig(max_rows=2))
    exchange = desk.open("/v1/screen/batch", [(b"content-type", LINES.encode())])
    exchange.receive(many(2), desk.now)
    assert desk.step() == 2
    exchange.receive(many(9), desk.now)
    exchange.refuse(Problem("slow-request", "nothing came"))
    desk.run()
    assert exchange.broken
    found = told(documents(exchange), 408)
    assert [one["request_id"] for one in found] == [str(i) for i in range(len(found))]
    assert len(found) >= 10
    assert desk.service.idle


def test_a_batch_that_goes_wrong_before_its_first_verdict_is_refused_as_a_whole() -> None:
    desk = Desk(limits=Limits(max_body_bytes=4000))
    exchange = desk.open("/v1/screen/batch", [(b"content-type", LINES.encode())])
    feed(desk, exchange, many(3) + b"a" * 5000)
    assert exchange.status == 413
    assert not exchange.broken
    assert json.loads(taken(exchange))["status"] == 413
    assert desk.service.batcher.queued_rows == 0


class Read:
    """What came over a connection, as ``http.client`` reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def send_on(sock: socket.socket) -> Read:
    """What comes while one goes on sending, until both have ended. One thread: an encrypted socket serves no two."""
    sock.setblocking(False)
    content, reads, sends = bytearray(), True, True
    until = time.monotonic() + 60.0
    again = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    while reads:
        assert time.monotonic() < until, "it goes on for 60 s"
        assert select.select([sock], [sock] if sends else [], [], 20)[0:2] != ([], []), "nothing moved for 20 s"
        try:
            sends = sends and bool(sock.send(b"a" * 16_384))
        except again:
            pass
        except OSError:
            sends = False
        try:
            while piece := sock.recv(65_536):
                content += piece
            reads = False
        except again:
            pass
    return Read(bytes(content))


@pytest.mark.parametrize("encrypted", [False, True])
def test_over_tcp_all_that_was_judged_arrives_although_the_client_goes_on_sending(
    tmp_path: Path, encrypted: bool
) -> None:
    settings, context = Settings(port=0, insecure=True, limits=SHORT), None
    if encrypted:
        settings, context = written(tmp_path, limits=SHORT), trusting()
    rows, count = many(64), 0
    with live(settings) as one, connected(one, context) as sock:
        sock.sendall(HEAD)
        one.call(until(lambda: one.gateway.service.open_requests))
        (exchange,) = one.gateway.service._open
        (connection,) = one.gateway.sockets.twin.server_state.connections
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        while not unsent(connection.transport):
            sock.sendall(rows)
            count += 64
            one.call(until(lambda: sum(one.gateway.worker.screener.batches) == count))  # noqa: B023
        if encrypted:
            # It is sealed, and waits below.
            assert connection.transport.get_write_buffer_size() == 0
        sock.sendall(b"a" * 5000)
        one.call(until(lambda: exchange.ended))
        # All the while: that the gateway closes with something unread must not take back what it has sent.
        answer = http.client.HTTPResponse(send_on(sock))  # type: ignore[arg-type]
        answer.begin()
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
        lines = [json.loads(line) for line in broken.value.partial.splitlines()]
        assert [one["request_id"] for one in told(lines, 413)] == [str(i) for i in range(count)]
        one.call(until(lambda: not one.gateway.sockets.twin.server_state.connections))
        assert one.screen("a", context=context)[0] == 200


def test_an_answer_that_is_complete_when_the_gateway_drains_arrives_before_its_connection_ends(tmp_path: Path) -> None:
    async def visit(one: Live) -> None:
        async with a_client(one.gateway.port, max_stream_data=2000) as client:
            grant = client._quic._write_stream_limits
            grants_nothing(client)
            stream = client.begin("/v1/screen/batch", many(60), kind=LINES)
            await client.until(lambda: client.answers.get(stream, {}).get("body"))
            async with asyncio.timeout(20):
                while one.gateway.service.open_requests:
                    await client.ping()
            stopping = asyncio.wrap_future(one.begin(one.gateway.stop()))
            async with asyncio.timeout(20):
                while one.gateway.sockets.twin.server_state.connections or not one.gateway.service.draining:
                    await client.ping()
                await client.ping()
            client._quic._write_stream_limits = grant  # type: ignore[method-assign]
            client._quic.send_ping(1)
            client.transmit()
            answer = await client.answer(stream)
            assert answer["over"]
            assert answer["body"].count(b"\n") == 60
            await stopping

    with live(written(tmp_path, limits=SHORT)) as one:
        asyncio.run(visit(one))
