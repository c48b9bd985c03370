"""Readers who never read: after a while their connection ends with a reason, what was kept for them goes, others go on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aioquic.h3.connection import ErrorCode
from aioquic.quic.packet_builder import QuicDeliveryState
from desk import ndjson
from hypothesis import given
from hypothesis import strategies as st
from live import Live, live
from quic import Client, Running, body, running
from test_packets import only
from test_places import trusting, until, written

from aimds.gateway.packets.answer import Answer
from aimds.gateway.pieces import Limits
from aimds.gateway.settings import Settings
from aimds.gateway.unread import LOOKS, Unread

UNREAD_S = 0.6
CLOSED, BROKEN = "aimds_connections_closed_total", "aimds_answers_unread_total"
LINES = "application/x-ndjson"


def many(count: int) -> bytes:
    return ndjson(*({"text": "a"} for _ in range(count)))


def grants_nothing(client: Client) -> None:
    """As far as its credit goes, and no further."""
    client._quic._write_stream_limits = lambda *_, **__: None  # type: ignore[method-assign]
    client._quic._write_connection_limits = lambda *_, **__: None  # type: ignore[method-assign]


def test_an_answer_of_which_nothing_is_taken_is_stale_and_one_that_moves_is_not() -> None:
    watched, now = Unread(10.0), 0.0
    for step in range(20):
        now = float(step)
        found = watched.look([(0, 5), (4, step)], 0, now)
        assert found.waits
        assert found.stale == ((0,) if step >= 10 else ())
        assert not found.all
    assert watched.look([(0, 5), (4, 19)], 0, now + 9).all is False
    assert watched.look([(0, 5), (4, 19)], 0, now + 10).all is True
    assert not watched.look([], 0, now + 11).waits


def test_a_connection_on_which_requests_end_is_not_given_up_for_one_answer() -> None:
    watched = Unread(10.0)
    for step in range(40):
        found = watched.look([(0, 5)], step, float(step))
        assert found.stale == ((0,) if step >= 10 else ())
        assert not found.all


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.booleans()), max_size=40))
def test_an_answer_is_stale_where_nothing_of_it_was_taken_for_as_long_as_it_may_wait(
    steps: list[tuple[float, bool]],
) -> None:
    watched, now, taken, since = Unread(10.0), 0.0, 0, 0.0
    watched.look([(0, 0)], 0, 0.0)
    for passed, moves in steps:
        now += passed
        if moves:
            taken, since = taken + 1, now
        found = watched.look([(0, taken)], 0, now)
        assert (found.stale == (0,)) is found.all is (since <= now - 10.0)


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_is_given_up_keeps_nothing_whatever_its_client_says_later(whole: bool) -> None:
    answer = Answer(0)
    answer.write(b"a" * 1000, whole)
    frames = [answer.get_frame(100) for _ in range(3)]
    assert answer.unacknowledged == 1000
    answer.reset(ErrorCode.H3_EXCESSIVE_LOAD)
    for frame, said in zip(frames, (QuicDeliveryState.ACKED, QuicDeliveryState.LOST), strict=False):
        assert frame is not None
        answer.on_data_delivery(said, frame.offset, frame.offset + len(frame.data), frame.fin)
    assert answer.unacknowledged == 0


@pytest.mark.parametrize("how", ["gives no credit", "acknowledges nothing"])
@pytest.mark.parametrize("route", ["batch", "stream"])
def test_who_never_reads_is_closed_with_a_reason_and_others_go_on(how: str, route: str) -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=64 << 10, max_data=64 << 10) as deaf, one.client() as other:
            grants_nothing(deaf)
            stream = deaf.begin(f"/v1/screen/{route}", many(20_000), end=False, kind=LINES)
            await deaf.until(lambda: deaf.answers.get(stream, {}).get("body"))
            if how == "acknowledges nothing":
                deaf.acknowledge_nothing()
            server = next(each for each in set(one.server._known.values()) if each._requests)
            async with asyncio.timeout(30):
                while deaf.ended is None:
                    # It is there and speaks, and is no less to be ended for it.
                    deaf._quic.send_ping(1)
                    deaf.transmit()
                    assert (await other.ask("/v1/screen", body("a")))["status"] == 200
            assert deaf.ended.error_code == ErrorCode.H3_EXCESSIVE_LOAD
            assert deaf.ended.reason_phrase == f"answers were not read for {UNREAD_S:g} s"
            assert one.counted(CLOSED, transport="quic", reason="unread") == 1
            assert not server._requests
            async with asyncio.timeout(20):
                while len(set(one.server._known.values())) > 1 or one.service.open_requests:
                    await asyncio.sleep(0.01)
            # It may itself wait for the collector; what it held does not.
            assert not server.quic._streams
            assert (await other.ask("/v1/screen", body("a")))["status"] == 200
        # Nothing that was judged is missing in the record.
        assert one.recorded == sum(one.screener.batches)

    running(test, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))


def test_an_answer_that_nobody_reads_ends_alone_where_others_of_its_connection_are_read() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=64 << 10) as client:
            unread = client.begin("/v1/screen/batch", many(2000), end=False, kind=LINES)
            grant = client._quic._write_stream_limits

            def write(*arguments: Any, stream: Any, **options: Any) -> None:
                if stream.stream_id != unread:
                    grant(*arguments, stream=stream, **options)

            client._quic._write_stream_limits = write  # type: ignore[method-assign]
            async with asyncio.timeout(30):
                while not client.answers.get(unread, {}).get("broken"):
                    assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert client.ended is None
            assert not client.answers[unread]["over"]
            assert one.counted(BROKEN, transport="quic") == 1
            assert one.counted(CLOSED, transport="quic", reason="unread") == 0
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            await client.ping()
            assert unread not in only(one).quic._streams
            assert one.service.open_requests == 0

    running(test, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))


def test_who_reads_slowly_gets_all_of_an_answer() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=4096) as client:
            rows = many(300)
            grant = client._quic._write_stream_limits
            grants_nothing(client)
            stream = client.begin("/v1/screen/batch", rows, kind=LINES)
            found: dict[str, Any] = {}
            async with asyncio.timeout(60):
                while not found.get("over"):
                    await asyncio.sleep(UNREAD_S / LOOKS)
                    client._quic._write_stream_limits = grant  # type: ignore[method-assign]
                    client._quic.send_ping(1)
                    client.transmit()
                    grants_nothing(client)
                    found = client.answers.get(stream, {})
            assert found["body"].count(b"\n") == 300
            assert client.ended is None

    running(test, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))


def test_without_a_limit_an_answer_waits_for_its_reader() -> None:
    async def test(one: Running) -> None:
        async with one.client(max_stream_data=4096) as client:
            grant = client._quic._write_stream_limits
            grants_nothing(client)
            stream = client.begin("/v1/screen/batch", many(20), kind=LINES)
            await client.until(lambda: client.answers.get(stream, {}).get("body"))
            await client.ping()
            assert only(one)._look_at is None
            client._quic._write_stream_limits = grant  # type: ignore[method-assign]
            client.transmit()
            assert (await client.answer(stream))["body"].count(b"\n") == 20

    running(test, unread_s=0.0, limits=Limits(deadline_ms=20_000))


HEAD = "\r\n".join(
    (
        "POST /v1/screen/batch HTTP/1.1",
        "host: a",
        f"content-type: {LINES}",
        "content-length: 100000000",
        "",
        "",
    )
).encode()


def connected(one: Live, context: ssl.SSLContext | None) -> socket.socket:
    """A connection whose end takes little before it is read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", one.gateway.port))
    return sock if context is None else context.wrap_socket(sock, server_hostname="localhost")


def fill(one: Live, sock: socket.socket, waiting: int) -> None:
    """Send rows until ``waiting`` bytes of their verdicts wait in the gateway, or it has had enough."""
    rows = many(256)
    exchange = None
    with contextlib.suppress(ConnectionError):
        while exchange is None or exchange.unsent < waiting:
            sock.sendall(rows)
            exchange = exchange or next(iter(one.gateway.service._open), None)


def read_to_its_end(sock: socket.socket) -> None:
    """Read what is there; the connection has an end."""
    try:
        while sock.recv(65_536):
            pass
    except TimeoutError:
        raise
    except OSError:
        # However it ends.
        pass


@pytest.mark.parametrize("encrypted", [False, True])
def test_over_tcp_who_never_reads_is_closed_and_others_go_on(tmp_path: Path, encrypted: bool) -> None:
    settings = Settings(port=0, insecure=True, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))
    context = trusting() if encrypted else None
    if encrypted:
        settings = written(tmp_path, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))
    with live(settings) as one, connected(one, context) as sock:
        sock.sendall(HEAD)
        fill(one, sock, 100_000)
        assert one.screen("a", context=context)[0] == 200
        one.call(until(lambda: one.gateway.service.open_requests == 0))
        counted = one.gateway.metrics.registry.get_sample_value(CLOSED, {"transport": "tcp", "reason": "unread"})
        assert counted == 1
        assert one.screen("a", context=context)[0] == 200
        read_to_its_end(sock)


def test_over_tcp_who_reads_slowly_gets_all_of_an_answer() -> None:
    rows = many(3000)
    with (
        live(Settings(port=0, insecure=True, unread_s=UNREAD_S, limits=Limits(deadline_ms=20_000))) as one,
        connected(one, None) as sock,
    ):
        sock.sendall(HEAD.replace(b"100000000", str(len(rows)).encode()))
        sock.sendall(rows)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        told = b""
        while more := answer.read(16_384):
            told += more
            one.call(asyncio.sleep(0.01))
        assert [json.loads(line)["request_id"] for line in told.splitlines()] == [str(i) for i in range(3000)]
