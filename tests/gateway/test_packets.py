"""Packets, heads and request streams that the gateway reads and writes itself, beside what aioquic makes of them."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
import weakref
from typing import Any

import pylsqpack
import pytest
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import (
    ErrorCode,
    FrameType,
    H3Connection,
    H3Stream,
    ProtocolError,
    encode_frame,
    validate_request_headers,
)
from aioquic.quic.congestion.base import QuicRttMonitor
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.quic.stream import QuicStreamSender
from desk import ATTACK, ndjson
from hypothesis import given
from hypothesis import strategies as st
from quic import Client, Running, body, running

from aimds.gateway.headers import Head
from aimds.gateway.packets import heads, receiving
from aimds.gateway.packets.answer import Answer
from aimds.gateway.packets.credit import STREAMS
from aimds.gateway.packets.pacing import LONGEST_PAUSE_S, MOST_PACKETS, Pacer
from aimds.gateway.packets.receiving import LONE_S, MOST_RANGES
from aimds.gateway.packets.wire import acknowledgement, pulled, varint
from aimds.gateway.problem import Problem
from aimds.gateway.server.connection import Connection
from aimds.gateway.server.requests import Requests

HEADERS = st.lists(
    st.tuples(
        st.sampled_from([*heads.NAMES, *(name for name, _ in heads.PAIRS), "x-own", "a" * 300]),
        st.one_of(st.sampled_from([value for _, value in heads.PAIRS]), st.text("abc /;=1", max_size=400)),
    ),
    max_size=8,
)


class Secret(str):
    """A text of which it can be seen whether anybody still has it."""


REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/v1/screen?verdict=brief"),
    (b"content-type", b"application/json"),
]


@given(st.integers(0, (1 << 62) - 1), st.binary(max_size=4))
def test_numbers_are_those_of_aioquic(value: int, rest: bytes) -> None:
    content = varint(value)
    assert content == encode_uint_var(value)
    assert pulled(content + rest, 0) == (value, len(content))
    for size in range(len(content)):
        with pytest.raises(IndexError):
            pulled(content[:size], 0)


@given(st.sampled_from([*heads.STATUSES, 201, 413, 429, 504, 599]), HEADERS)
def test_a_head_is_read_by_another_implementation_as_it_was_meant(status: int, headers: list[tuple[str, str]]) -> None:
    frame = Buffer(data=heads.head(status, tuple(headers)))
    assert frame.pull_uint_var() == FrameType.HEADERS
    block = frame.pull_bytes(frame.pull_uint_var())
    assert frame.eof()
    control, found = pylsqpack.Decoder(0, 0).feed_header(0, block)
    assert found == [(b":status", b"%d" % status), *((name.encode(), value.encode()) for name, value in headers)]
    assert not control


@given(HEADERS, HEADERS)
def test_the_head_of_a_request_is_read_as_it_was_meant(
    headers: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "a:1"), (":path", "/v1/screen?verdict=brief")]
    headers = [*pseudo, ("authorization", "Bearer \u00e4\u4e2d"), *headers]
    frame = Buffer(data=heads.Heads().request(headers, more))
    assert frame.pull_uint_var() == FrameType.HEADERS
    block = frame.pull_bytes(frame.pull_uint_var())
    assert frame.eof()
    control, found = pylsqpack.Decoder(0, 0).feed_header(0, block)
    assert found == [(name.encode(), value.encode()) for name, value in [*headers, *more]]
    assert not control


@pytest.mark.parametrize(
    "key", [b"a", b'"q"', b"", b"x" * 255, b"x" * 256, b"\xc3\xa4", b"a b", b" a", b"a\t", b"a\0", b"a\r\nb: c"]
)
@pytest.mark.parametrize("more", [[], [(b"idempotency-key", b"other")], [(b"x", b"y" * 32_300)]])
def test_a_head_with_a_key_is_read_as_by_itself(key: bytes, more: list[tuple[bytes, bytes]]) -> None:
    def read(*keys: bytes) -> tuple[str, Any]:
        requests: Any = Requests(None)  # type: ignore[arg-type]
        for one in keys:
            headers = [*REQUEST, *more, (b"idempotency-key", one)]
            try:
                opening = requests._read(headers)
                # What stands nowhere is read by the service, which says what is wrong.
                head = opening.read or Head.read(opening.method, opening.target, opening.headers)
                found = "read", (opening.headers, opening.size, head.method, head.path, head.query, head.headers)
            except (ProtocolError, Problem) as error:
                found = type(error).__name__, str(error)
        return found

    headers = [*REQUEST, *more, (b"idempotency-key", key)]
    try:
        validate_request_headers(headers, H3Stream(0))
        head = Head.read("POST", "/v1/screen?verdict=brief", headers)
        expected = "read", (headers, None, "POST", "/v1/screen", {"verdict": "brief"}, head.headers)
    except (ProtocolError, Problem) as error:
        expected = type(error).__name__, str(error)  # type: ignore[assignment]
    assert read(key) == read(b"before", key) == expected


def of_the_server(number: int, requests: Requests) -> None:
    requests._read([*REQUEST, (b"x-own", b"%d" % number * 30_000)])


def of_the_client(number: int, kept: heads.Heads) -> None:
    kept.request([(":path", "/v1/screen"), ("x-own", str(number) * 30_000)])


@pytest.mark.parametrize(("read", "made"), [(of_the_server, lambda: Requests(None)), (of_the_client, heads.Heads)])
def test_heads_of_a_connection_are_kept_up_to_a_bound_in_bytes_however_long_they_are(read: Any, made: Any) -> None:
    kept = made()
    tracemalloc.start()
    try:
        for number in range(10, 74):
            read(number, kept)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 256 << 10


def test_a_head_that_comes_again_is_kept_and_one_that_is_too_long_costs_the_others_nothing() -> None:
    requests: Any = Requests(None)  # type: ignore[arg-type]
    first = requests._read(REQUEST)
    requests._read([*REQUEST, (b"x-own", b"y" * 200_000)])
    assert requests._read(list(REQUEST)) is first


def test_the_head_of_an_answer_with_a_cookie_is_not_kept() -> None:
    cookie = weakref.ref(secret := Secret("aimds-review=secret"))
    assert b"aimds-review=secret" in heads.head(200, (("set-cookie", secret),))
    del secret
    assert cookie() is None


def test_nothing_of_the_heads_that_came_on_a_connection_outlives_it() -> None:
    async def test(one: Running) -> None:
        gc.disable()
        try:
            async with one.client() as client:
                assert (await client.ask("/v1/screen", body("a")))["status"] == 200
                heads_read = weakref.ref(only(one)._reader)
                assert heads_read() is not None
            async with asyncio.timeout(20):
                while one.server._known:
                    await asyncio.sleep(0.01)
            assert heads_read() is None
        finally:
            gc.enable()

    running(test)


def head_of(client: Client, *more: tuple[bytes, bytes]) -> bytes:
    assert isinstance(client.http, H3Connection)
    stream = int(client._quic.get_next_available_stream_id())
    return encode_frame(FrameType.HEADERS, client.http._encode_headers(stream, [*REQUEST, *more]))


async def sent(client: Client, *parts: bytes, apart: bool = True) -> dict[str, Any]:
    """The answer to a stream with the bytes of ``parts``, each in a packet of its own where ``apart``."""
    stream = int(client._quic.get_next_available_stream_id())
    client.answers[stream] = {"body": b""}
    for number, part in enumerate(parts):
        client._quic.send_stream_data(stream, part, number == len(parts) - 1)
        if apart:
            client.transmit()
            await asyncio.sleep(0.01)
    client.transmit()
    return await client.answer(stream)


def only(one: Running) -> Connection:
    (connection,) = set(one.server._known.values())
    return connection


def data(content: bytes) -> bytes:
    return encode_frame(FrameType.DATA, content)


def test_a_request_is_the_same_however_it_is_cut() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            content = body(ATTACK)
            for apart in (True, False):
                for size in (1, 7, 60, 500):
                    whole = head_of(client) + data(content[:4]) + data(b"") + data(content[4:])
                    parts = [whole[at : at + size] for at in range(0, len(whole), size)][:12]
                    found = await sent(client, *parts, whole[12 * size :], apart=apart)
                    assert (found["status"], json.loads(found["body"])["action"]) == (200, "block")

    running(test)


def test_frames_that_are_not_data_are_skipped_and_trailers_taken() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            content, grease = body(ATTACK), encode_frame(0x21 + 0x1F * 5, b"what this is nobody knows")
            for before, between, within in ((grease, b"", b""), (b"", grease, b""), (b"", b"", grease)):
                parts = before, head_of(client), between, data(content[:5]), within, data(content[5:])
                found = await sent(client, b"".join(parts))
                assert (found["status"], json.loads(found["body"])["action"]) == (200, "block")
            stream = int(client._quic.get_next_available_stream_id())
            assert client.http is not None
            head, trailer = head_of(client), client.http._encode_headers(stream, [(b"x-sum", b"1")])
            found = await sent(client, head + data(content) + encode_frame(FrameType.HEADERS, trailer))
            assert (found["status"], json.loads(found["body"])["action"]) == (200, "block")

    running(test)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (lambda client: [head_of(client, (b"content-length", b"7")), data(b"{}")], ErrorCode.H3_MESSAGE_ERROR),
        (lambda client: [head_of(client) + data(b"x" * 40)[:-5], b""], ErrorCode.H3_FRAME_ERROR),
        (lambda client: [head_of(client) + b"\0", b""], ErrorCode.H3_FRAME_ERROR),
        (lambda client: [head_of(client, (b"Upper", b"1")), b""], ErrorCode.H3_MESSAGE_ERROR),
        (lambda client: [encode_frame(FrameType.HEADERS, b"\xff\xff"), b""], ErrorCode.QPACK_DECOMPRESSION_FAILED),
        (lambda client: [head_of(client) + encode_frame(FrameType.SETTINGS, b""), b""], ErrorCode.H3_FRAME_UNEXPECTED),
    ],
)
def test_a_request_that_breaks_the_protocol_ends_its_connection_alone(parts: Any, code: int) -> None:
    async def test(one: Running) -> None:
        async with one.client() as other:
            async with one.client() as client:
                await sent(client, *parts(client))
                assert client.ended is not None
                assert client.ended.error_code == code
            assert (await other.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


def test_data_behind_an_early_answer_is_no_request() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client.begin("/nothing", b"", end=False)
            # This client does not listen when it is told to stop.
            client._quic._streams[stream].sender.reset = lambda error_code: None  # type: ignore[method-assign]
            assert (await client.answer(stream))["status"] == 404
            client._quic.send_stream_data(stream, data(body("a")), True)
            client.transmit()
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert not client.ended
            assert sum(one.screener.batches) == 1
            assert not only(one)._requests

    running(test)


def test_of_requests_that_are_over_nothing_is_left() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            for _ in range(3):
                await asyncio.gather(*(client.ask("/v1/screen", body("a")) for _ in range(60)))
            await client.ask(
                "/v1/screen/batch", ndjson(*({"text": "a"} for _ in range(900))), kind="application/x-ndjson"
            )
            connection = only(one)
            quic = connection.quic
            async with asyncio.timeout(10):
                while any(not stream & 3 for stream in quic._streams):
                    await client.ping()
            for left in (quic._active, quic._owed, quic._leaving, quic._latest, quic.held):
                assert not [stream for stream in left if not stream & 3]
            left = connection._requests, connection._came, connection._full
            assert not any(left)
            assert len(quic._streams) == 6
            assert quic._held == 0

    running(test)


def test_a_stream_that_its_client_resets_is_forgotten() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client.begin("/v1/screen/stream", ndjson({"text": "a"}), end=False, kind="application/x-ndjson")
            await client.until(lambda: client.answers.get(stream, {}).get("body"))
            client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            async with asyncio.timeout(10):
                while stream in only(one).quic._streams:
                    await client.ping()
            assert not only(one)._requests
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


def test_streams_that_their_client_resets_before_their_head_has_come_are_forgotten() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            for _ in range(2 * STREAMS // 32):
                for _ in range(32):
                    stream = int(client._quic.get_next_available_stream_id())
                    client._quic.send_stream_data(stream, b"\x01\x40", False)
                    client.transmit()
                    client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
                    client._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
                async with asyncio.timeout(10):
                    while any(not stream & 3 for stream in (*only(one).quic._streams, *client._quic._streams)):
                        await client.ping()
            assert not [stream for stream in only(one)._http._stream if not stream & 3]  # type: ignore[union-attr]
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


def test_a_request_that_comes_behind_its_own_reset_is_not_begun() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert client.http is not None
            stream, held = int(client._quic.get_next_available_stream_id()), list[bytes]()
            send = client._quic.send_stream_data
            client._quic.send_stream_data = lambda _, content, end=False: held.append(content)  # type: ignore[method-assign]
            client.http.send_headers(stream, REQUEST)
            client.http.send_data(stream, body("a"), True)
            client._quic.send_stream_data = send  # type: ignore[method-assign]
            whole = b"".join(held)
            sender = client._quic._get_or_create_stream_for_send(stream).sender
            sender.highest_offset = len(whole)
            client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            await client.ping()
            sender._reset_error_code = None
            client._quic.send_stream_data(stream, whole, True)
            client.transmit()
            assert (await client.ask("/v1/screen", body("b")))["status"] == 200
            assert not client.ended
            assert sum(one.screener.batches) == 1

    running(test)


def test_keys_that_change_under_way_cost_no_answer() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            for _ in range(3):
                client.request_key_update()
                found = await asyncio.gather(*(client.ask("/v1/screen", body(ATTACK)) for _ in range(20)))
                assert all(answer["status"] == 200 for answer in found)

    running(test)


def test_a_packet_alone_is_acknowledged_late_and_the_second_or_one_behind_a_gap_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert LONE_S < 0.025
    monkeypatch.setattr(receiving, "LONE_S", 30.0)

    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            space = only(one).quic._ordinary()[0]

            async def acknowledged() -> None:
                async with asyncio.timeout(10):
                    while space.ack_at is not None:
                        await asyncio.sleep(0.001)

            async def sent(number: int) -> None:
                before = space.largest_received_packet
                client._quic.send_ping(number)
                client.transmit()
                async with asyncio.timeout(10):
                    while space.largest_received_packet == before:
                        await asyncio.sleep(0)

            # What is to be said of the first answer has been.
            await sent(0)
            await sent(1)
            await acknowledged()
            await sent(2)
            assert space.ack_at > asyncio.get_running_loop().time() + 20
            # What goes the other way takes it along.
            stream = client.begin("/v1/screen", body("b"))
            assert (await client.answer(stream))["status"] == 200
            await acknowledged()
            await sent(3)
            await sent(4)
            await acknowledged()
            client._quic._packet_number += 1
            await sent(5)
            await acknowledged()

    running(test)


def test_what_the_other_end_waited_before_it_acknowledged_does_not_end_the_slow_start() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            loss = only(one).quic._loss
            measured: list[float] = []
            loss._cc._rtt_monitor.is_rtt_increasing = lambda *, now, rtt: measured.append(rtt)
            loss._cc.ssthresh = None
            only(one).quic._waited_s = 0.02
            loss._cc.on_rtt_measurement(now=1.0, rtt=0.021)
            loss._cc.on_rtt_measurement(now=1.0, rtt=0.001)
            assert measured == pytest.approx([0.001, 0.001])

    running(test)


def test_another_end_that_says_it_waited_all_the_time_does_not_end_the_slow_start() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            quic = only(one).quic
            control = quic._loss._cc
            quic._waited_s, control.ssthresh, control._rtt_monitor = 0.02, None, QuicRttMonitor()
            for number in range(40):
                control.on_rtt_measurement(now=1e6 + number, rtt=0.02)
            assert control.ssthresh is None

    running(test)


def test_packets_with_gaps_that_nobody_fills_are_acknowledged_in_one_packet_for_ever() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            # This client counts in twos and acknowledges nothing.
            client.acknowledge_nothing()
            quic, failed = only(one).quic, []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
            for number in range(800):
                client._quic._packet_number += 1
                client._quic.send_ping(number)
                client._quic._loss._cc.congestion_window, client._quic._loss._pacer.packet_time = 1 << 30, None
                client.transmit()
                if not number % 20:
                    await asyncio.sleep(0.001)
            async with asyncio.timeout(20):
                while quic._ordinary()[0].largest_received_packet < client._quic._packet_number - 1 or (
                    quic._ordinary()[0].ack_at is not None
                ):
                    await asyncio.sleep(0.01)
            assert len(quic._ordinary()[0].ack_queue) == MOST_RANGES
            assert len(acknowledgement([range(at << 55, (at << 55) + 1) for at in range(MOST_RANGES)], 1 << 40)) < 1150
            assert not failed
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


def test_a_connection_whose_timer_fails_is_over_when_its_time_is() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            server = only(one)
            asyncio.get_running_loop().set_exception_handler(lambda _, __: None)

            def fails(now: float) -> Any:
                raise RuntimeError

            server.quic.datagrams_to_send = fails  # type: ignore[method-assign]
            if server._timer is not None:
                server._timer.cancel()
            server.quic._loss_at = None
            server._timer_at = server.quic.get_timer()
            with pytest.raises(RuntimeError):
                server._handle_timer()
            assert server._timer is not None
            assert server._timer_at is not None
            assert server._timer_at >= server.quic._close_at

    running(test)


@given(st.integers(2_400, 1 << 24), st.floats(1e-4, 2.0))
def test_a_burst_is_what_goes_in_a_millisecond_within_a_quarter_of_the_window(window: int, rtt: float) -> None:
    ours, theirs = Pacer(max_datagram_size=1200), QuicPacketPacer(max_datagram_size=1200)
    for one in (ours, theirs):
        one.update_rate(window, rtt)
    every = ours.packet_time
    assert every is not None
    assert every == theirs.packet_time
    packets = ours.bucket_max / every
    most = min(MOST_PACKETS, window // 4 // 1200, LONGEST_PAUSE_S / every)
    assert packets == pytest.approx(max(most, theirs.bucket_max / every))


def test_a_connection_sends_in_the_bursts_of_its_pacer() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            quic = only(one).quic
            quic._loss._cc.congestion_window = 1 << 20
            quic._loss._pacer.update_rate(1 << 20, 1e-3)
            quic._loss._pacer.update_bucket(now=quic._loss._pacer.evaluation_time + 1.0)
            quic._remote_max_data = 1 << 30
            stream = quic.get_next_available_stream_id(is_unidirectional=True)
            quic.send_stream_data(stream, b"\x21" + b"a" * 200_000)
            burst = quic.datagrams_to_send(asyncio.get_running_loop().time())
            assert 32 < len(burst) <= MOST_PACKETS + 1

    running(test)


@given(
    st.binary(min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 70), st.sampled_from("aalw")), max_size=40),
)
def test_an_answer_is_sent_as_by_aioquic_whatever_is_lost(whole: bytes, steps: list[tuple[int, int, str]]) -> None:
    ours, theirs = Answer(4), QuicStreamSender(4, True)
    for one in (ours, theirs):
        one.write(whole, True)
    under_way: list[tuple[int, int, bool]] = []
    for size, most, what in steps:
        assert ours.next_offset == theirs.next_offset
        found = [one.get_frame(size, most) for one in (ours, theirs)]
        assert found[0] == found[1]
        assert ours.buffer_is_empty == theirs.buffer_is_empty
        assert ours.is_waiting == bool(len(theirs._pending) or theirs._pending_eof)
        if found[0] is not None:
            under_way.append((found[0].offset, found[0].offset + len(found[0].data), found[0].fin))
        if under_way and what != "w":
            part = under_way.pop(size % len(under_way))
            state = QuicDeliveryState.ACKED if what == "a" else QuicDeliveryState.LOST
            for one in (ours, theirs):
                one.on_data_delivery(state, *part)
        assert ours.is_finished == theirs.is_finished
        assert ours.highest_offset == theirs.highest_offset
