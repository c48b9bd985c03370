"""Clients that have the gateway keep, decode or wait for more than they need: bounded, and the others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any

import pylsqpack
import pytest
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import ErrorCode
from aioquic.quic.packet import QuicErrorCode, pull_quic_header
from aioquic.quic.rangeset import RangeSet
from aioquic.tls import Epoch
from desk import ATTACK, forwards, ndjson
from hypothesis import given
from hypothesis import strategies as st
from live import live
from quic import Client, Running, body, first_datagrams, running
from test_packets import REQUEST, data, head_of, only

from aimds.gateway import under_way
from aimds.gateway.exchange import LITTLE_UNSENT, Exchange
from aimds.gateway.headers import Head
from aimds.gateway.hooks import Hooks
from aimds.gateway.identity import Identity
from aimds.gateway.lines import PORTION
from aimds.gateway.packets import heads
from aimds.gateway.packets.bounded import MOST_FRAME_BYTES, MOST_LINES, Excess, more_lines, prefixed
from aimds.gateway.packets.credit import CONNECTION_WINDOW, STREAM_WINDOW, STREAMS
from aimds.gateway.packets.receiving import MOST_PATHS
from aimds.gateway.packets.sending import MOST_ACKED, MOST_LIGHT
from aimds.gateway.packets.streams import MOST_GAPS
from aimds.gateway.packets.wire import MOST
from aimds.gateway.pieces import Limits
from aimds.gateway.problem import Problem
from aimds.gateway.server import answering, connection
from aimds.gateway.settings import Settings

HUGE = encode_uint_var(1 << 30)
CAPACITY = b"\x3f\xe1\x1f"
"""Sets the table of QPACK to 4,096 bytes (RFC 9204, section 4.3.1)."""
LINES = st.lists(
    st.tuples(st.sampled_from([b"x-a", b"accept", b"a" * 40]), st.sampled_from([b"1", b"*/*", b"v" * 300, b"w" * 20])),
    min_size=1,
    max_size=30,
)


def inserted(name: bytes, value: bytes) -> bytes:
    """The instruction that puts a line into the table (RFC 9204, section 4.3.3)."""
    return heads._prefixed(0x40, 5, len(name)) + name + heads._prefixed(0, 7, len(value)) + value


def referring(*lines: bytes, prefix: bytes = b"\x02\x00") -> bytes:
    """A HEADERS frame of a request that refers to the first entry of the table in ``lines``."""
    plain = heads._fields([(name.decode(), value.decode()) for name, value in REQUEST], "utf-8")
    block = prefix + plain + b"".join(lines)
    return b"\x01" + encode_uint_var(len(block)) + block


ENTRY = b"\x80"
"""The first entry of the table."""
HEAD = referring(prefix=b"\x00\x00")
"""That of a request, without the table."""


async def served(one: Running) -> None:
    async with one.client() as other:
        assert (await other.ask("/v1/screen", body("a")))["status"] == 200


class Deaf:
    """An encoder that uses no table, and does not wonder at what it is told of the one that a test fills."""

    def __init__(self) -> None:
        self.encode = pylsqpack.Encoder().encode

    def feed_decoder(self, content: bytes) -> None:
        """Nothing is kept."""


def encoder_stream(client: Client) -> int:
    assert client.http is not None
    client.http._encoder = Deaf()  # type: ignore[assignment]
    assert client.http._local_encoder_stream_id is not None
    return client.http._local_encoder_stream_id


def control_stream(client: Client) -> int:
    assert client.http is not None
    assert client.http._local_control_stream_id is not None
    return client.http._local_control_stream_id


@pytest.mark.parametrize("where", ["head", "behind a head", "control"])
def test_a_frame_that_states_a_huge_size_is_not_collected(where: str) -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = control_stream(client) if where == "control" else client._quic.get_next_available_stream_id()
            begun = {"head": b"\x01", "behind a head": head_of(client) + b"\x21", "control": b"\x21"}[where] + HUGE
            for part in (begun, *[b"a" * 4096] * (2 * MOST_FRAME_BYTES // 4096)):
                client._quic.send_stream_data(stream, part)
                client.transmit()
            ended: Any = await client.until(lambda: client.ended)
            assert ended.error_code == ErrorCode.H3_EXCESSIVE_LOAD
        await served(one)

    running(test)


@pytest.mark.parametrize("count", [1, MOST_LINES - len(REQUEST), MOST_LINES, 30_000])
def test_a_head_that_repeats_an_entry_of_the_table_is_given_out_only_so_often(count: int) -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            client._quic.send_stream_data(encoder_stream(client), CAPACITY + inserted(b"x-a", b"v" * 3500))
            client.transmit()
            await client.ping()
            stream = client._quic.get_next_available_stream_id()
            client.answers[stream] = {"body": b""}
            client._quic.send_stream_data(stream, referring(ENTRY * count) + data(body(ATTACK)), True)
            client.transmit()
            found = await client.answer(stream)
            if count + len(REQUEST) > MOST_LINES:
                assert client.ended is not None
                assert client.ended.error_code == ErrorCode.H3_EXCESSIVE_LOAD
            else:
                assert found["status"] == (200 if count == 1 else 400)
        await served(one)

    running(test)


@pytest.mark.parametrize(("size", "status"), [(40_000, 431), (2 * MOST_FRAME_BYTES, None)])
def test_a_head_that_is_too_large_is_told_so_and_one_without_measure_ends_its_connection(
    size: int, status: int | None
) -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            lines = [(name.decode(), value.decode()) for name, value in REQUEST]
            frame = heads.Heads().request([*lines, *((f"x-{at}", "a" * 2000) for at in range(0, size, 2000))])
            stream = client._quic.get_next_available_stream_id()
            server = only(one)._http
            assert server is not None
            if status is None:
                # However it is cut: here it comes in many packets.
                with pytest.raises(Excess):
                    server._decode_headers(stream + 4, frame)
            client.answers[stream] = {"body": b""}
            client._quic.send_stream_data(stream, frame + data(body("a")), True)
            client.transmit()
            found = await client.answer(stream)
            assert found.get("status") == status
            assert (client.ended is None) is (status is not None)
        await served(one)

    running(test)


@given(LINES, LINES)
def test_lines_of_a_head_are_counted_as_they_are_decoded(first: Any, second: Any) -> None:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(4096, 16)
    for stream, lines in enumerate((first, second, [*first, *second], first)):
        _, block = encoder.encode(4 * stream, lines)
        assert more_lines(block, len(lines) - 1)
        assert not more_lines(block, len(lines))
        for stop in range(len(block)):
            assert not more_lines(block[:stop], len(lines))


@pytest.mark.parametrize("bits", [3, 4, 6, 7, 8])
def test_a_number_of_a_head_is_read_up_to_62_bits_and_no_further(bits: int) -> None:
    longest = heads._prefixed(0, bits, MOST)
    assert prefixed(longest, 0, bits) == (MOST, len(longest))
    endless = bytes([(1 << bits) - 1]) + b"\xff" * 9
    for rest in (b"", b"\0", b"\xff" * 100 + b"\0"):
        with pytest.raises(IndexError):
            prefixed(endless + rest, 0, bits)


def test_what_waits_behind_a_head_for_the_table_has_no_credit_and_is_read_in_the_end() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client._quic.get_next_available_stream_id()
            client.answers[stream] = {"body": b""}
            content = body("a" * 600_000)
            client._quic.send_stream_data(stream, referring(ENTRY) + data(content), True)
            client.transmit()
            (server,) = set(one.server._known.values())
            async with asyncio.timeout(20):
                while stream not in (came := server.quic._streams) or (
                    came[stream].receiver.highest_offset < STREAM_WINDOW
                ):
                    await client.ping()
            for _ in range(10):
                await client.ping()
            assert server._http is not None
            assert len(server._http._stream[stream].buffer) <= STREAM_WINDOW
            assert server.quic._held <= STREAM_WINDOW
            client._quic.send_stream_data(encoder_stream(client), CAPACITY + inserted(b"x-a", b"1"))
            client.transmit()
            assert (await client.answer(stream))["status"] == 200
            assert not server.quic._held
            assert not server._unread

    running(test, limits=Limits(deadline_ms=20_000))


def test_what_waited_behind_a_head_that_is_taken_back_is_let_go() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client._quic.get_next_available_stream_id()
            client._quic.send_stream_data(stream, referring(ENTRY) + data(b"a" * 50_000))
            client.transmit()
            server = only(one)
            async with asyncio.timeout(20):
                while server.quic._held < 50_000:
                    await client.ping()
            client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            async with asyncio.timeout(20):
                while server.quic._held:
                    await client.ping()
            assert server._http is not None
            assert not server._http._stream[stream].buffer
            client._quic.send_stream_data(encoder_stream(client), CAPACITY + inserted(b"x-a", b"1"))
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert not server._unread

    running(test)


@pytest.mark.parametrize(
    ("begun", "offset", "over"),
    [
        (HEAD[:1], 0, False),
        (HEAD[:-1], 0, False),
        (b"\x21\x00", 0, False),
        (referring(ENTRY) + data(b"a" * 50_000), 0, False),
        (HEAD, 1, False),
        (b"", 0, True),
    ],
    ids=["a byte", "all but a byte", "another frame", "waits for the table", "its first byte is missing", "nothing"],
)
def test_a_head_that_never_ends_is_given_up_and_others_on_its_connection_are_served(
    begun: bytes, offset: int, over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    monkeypatch.setattr(connection, "HEAD_S", 0.3)

    async def test(one: Running) -> None:
        async with one.client() as client:
            # What the client puts into the table would be what some of these heads wait for.
            await client.until(lambda: client.http and client.http.received_settings)
            encoder_stream(client)
            # A stream of requests stays open, and its body may take longer than a head.
            stays = client.begin("/v1/screen/stream", ndjson({"text": "a"}), end=False)
            streams = []
            for _ in range(3):
                stream = client._quic.get_next_available_stream_id()
                client._quic.send_stream_data(stream, begun, over)
                if offset:
                    sender = client._quic._streams[stream].sender
                    sender._pending = RangeSet([range(offset, len(begun))])
                streams.append(stream)
            client.transmit()
            for stream in streams:
                found = await client.until(lambda stream=stream: client.answers.get(stream))
                assert found["broken"]
                assert "status" not in found
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert client.http is not None
            client.http.send_data(stays, ndjson({"text": "b"}), True)
            client.transmit()
            assert (await client.answer(stays))["body"].count(b'"action"') == 2
            server = only(one)
            assert not server.quic._held
            assert not server._unread
            # What is over stands with the others again, so that as many requests may be open as ever.
            assert server.quic.done == len(streams) + 2
        assert sum(one.screener.batches) == 3

    running(test)


def test_a_head_that_comes_in_pieces_in_time_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.01)

    async def test(one: Running) -> None:
        async with one.client() as client:
            stream = client._quic.get_next_available_stream_id()
            whole = HEAD + data(body(ATTACK))
            for at in range(len(whole)):
                client._quic.send_stream_data(stream, whole[at : at + 1], at == len(whole) - 1)
                await client.ping()
            assert (await client.answer(stream))["status"] == 200

    running(test)


def test_streams_that_lead_only_to_the_gateway_are_few_however_long_a_connection_lasts() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            for number in range(3 * STREAMS):
                stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
                client._quic.send_stream_data(stream, b"\x21")
                if number % 32 == 0:
                    # An id that is used up has the gateway write what is rare, and limits with it.
                    client._quic.change_connection_id()
                    await client.ping()
            await client.ping()
            assert sum(stream & 3 == 2 for stream in only(one).quic._streams) <= STREAMS
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


def test_addresses_that_a_client_was_seen_at_are_forgotten_but_the_latest() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            loop = asyncio.get_running_loop()
            for number in range(4 * MOST_PATHS):
                client._quic.send_ping(number)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved:
                    for content, _ in client._quic.datagrams_to_send(loop.time()):
                        moved.sendto(content, ("127.0.0.1", one.port))
                await asyncio.sleep(0.001)
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            assert len(only(one).quic._network_paths) <= MOST_PATHS

    running(test)


@pytest.mark.parametrize("how", ["takes no answers", "ends no requests"])
def test_streams_of_requests_that_are_answered_but_not_over_are_few(how: str) -> None:
    async def test(one: Running) -> None:
        options = {"max_stream_data": 1} if how == "takes no answers" else {}
        async with one.client(**options) as client:
            client._quic._write_stream_limits = lambda *_, **__: None  # type: ignore[method-assign]
            client._quic._write_reset_stream_frame = lambda **_: None  # type: ignore[method-assign]
            for number in range(5 * STREAMS):
                client.begin("/nowhere", method="GET", end=how == "takes no answers")
                if number % 32 == 0:
                    await client.ping()
            for _ in range(20):
                await client.ping()
            server = only(one)
            assert server.quic.done > STREAMS
            assert sum(not stream & 3 for stream in server.quic._streams) <= 2 * STREAMS
        await served(one)

    running(test)


def test_a_client_that_acknowledges_nothing_leaves_few_acknowledgements_to_remember() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            client.acknowledge_nothing()
            quic = only(one).quic
            first = quic._packet_number
            async with asyncio.timeout(30):
                while quic._packet_number < first + 4 * MOST_LIGHT:
                    client._quic.send_ping(1)
                    client.transmit()
                    await asyncio.sleep(0.002)
            kept = quic._ordinary()[0].sent_packets.values()
            assert sum(not packet.in_flight for packet in kept) <= MOST_LIGHT
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)


@pytest.mark.parametrize("where", ["request", "request, read by aioquic", "control", "handshake"])
def test_a_stream_that_comes_in_very_many_pieces_ends_its_connection(where: str) -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            quic = client._quic
            if where == "handshake":
                sender = quic._crypto_streams[Epoch.ONE_RTT].sender
                sender.write(bytes(4 * MOST_GAPS))
            else:
                stream = control_stream(client) if where == "control" else quic.get_next_available_stream_id()
                quic.send_stream_data(stream, bytes(4 * MOST_GAPS))
                sender = quic._streams[stream].sender
            start = sender._buffer_start
            sender._pending = RangeSet(range(start + at, start + at + 1) for at in range(1, 4 * MOST_GAPS, 2))
            if where == "request, read by aioquic":
                only(one).quic.arrived = None
            async with asyncio.timeout(30):
                while client.ended is None:
                    with contextlib.suppress(ConnectionError):
                        await client.ping()
            code = QuicErrorCode.CRYPTO_BUFFER_EXCEEDED if where == "handshake" else QuicErrorCode.INTERNAL_ERROR
            assert client.ended.error_code == code
        await served(one)

    running(test)


def test_what_comes_behind_a_gap_has_no_credit_and_is_read_once_the_gap_is_filled() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            server, quic, content = only(one), client._quic, HEAD + data(body("a" * 200_000))
            streams = []
            for _ in range(40):
                streams.append(stream := quic.get_next_available_stream_id())
                quic.send_stream_data(stream, content, True)
                quic._streams[stream].sender._pending.subtract(0, 1)
                client.transmit()
            last = -1
            while (size := quic._remote_max_data_used) != last:
                last = size
                for _ in range(20):
                    await client.ping()
            kept = sum(len(found.receiver._buffer) for found in server.quic._streams.values())
            assert CONNECTION_WINDOW // 2 < kept <= CONNECTION_WINDOW
            await served(one)
            for stream in streams:
                quic._streams[stream].sender._pending.add(0, 1)
            client.transmit()
            assert [(await client.answer(stream))["status"] for stream in streams] == [200] * 40

    running(test)


def test_of_an_acknowledgement_of_very_many_ranges_the_latest_are_read() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200
            quic = only(one).quic
            ranges = RangeSet(range(at, at + 1) for at in range(0, 6 * MOST_ACKED, 3))
            latest = ranges[-1]
            quic._loss.on_ack_received(ack_rangeset=ranges, ack_delay=0.0, now=1.0, space=quic._ordinary()[0])
            assert len(ranges) == MOST_ACKED
            assert ranges[-1] == latest

    running(test)


def test_answers_that_nobody_reads_share_the_room_of_their_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    most, count = 300_000, 40
    monkeypatch.setattr(connection, "MOST_UNSENT", most)

    async def test(one: Running) -> None:
        async with one.client(max_stream_data=1000) as client:
            client._quic._write_stream_limits = lambda *_, **__: None  # type: ignore[method-assign]
            rows = ndjson(*({"text": "a"} for _ in range(400)))
            one.service.hooks = Hooks(lambda: None, one.worker.unjudged, forwards)
            for _ in range(count):
                client.begin("/v1/screen/batch", rows, kind="application/x-ndjson")
            async with asyncio.timeout(20):
                while len(only(one)._requests) < count:
                    await client.ping()
            one.service.hooks = Hooks(one.worker.work, one.worker.unjudged, forwards)
            one.worker.work()
            screened, last = one.screener.batches, -1
            while (size := sum(screened)) != last or not size:
                last = size
                await asyncio.sleep(0.3)
            server = only(one)
            unsent = [request.exchange.unsent for request in server._requests.values()]
            # An answer goes on by whole pieces of its batch, and one was under way for each.
            piece = 16 * 1200
            assert max(unsent) >= LITTLE_UNSENT
            assert sum(unsent) <= most + count * (LITTLE_UNSENT + piece)
            sent = [server.quic.unsent(stream) for stream in server._requests]
            assert max(sent) <= answering.LITTLE_SEND_BUFFER + answering.PORTION
            assert (await client.ask("/v1/screen", body("a"), method="GET"))["status"] == 405
        await served(one)

    running(test, limits=Limits(deadline_ms=20_000, piece_rows=16))


@pytest.mark.parametrize(("route", "at_once"), [("batch", 64), ("stream", PORTION)])
def test_rows_under_way_count_as_answers_that_wait(monkeypatch: pytest.MonkeyPatch, route: str, at_once: int) -> None:
    monkeypatch.setattr(connection, "MOST_UNSENT", 300_000)
    count = 20

    async def test(one: Running) -> None:
        async with one.client() as client:
            one.service.hooks = Hooks(lambda: None, one.worker.unjudged, forwards)
            rows = ndjson(*({"text": "a"} for _ in range(400)))
            for _ in range(count):
                client.begin(f"/v1/screen/{route}", rows, kind="application/x-ndjson")
            async with asyncio.timeout(20):
                while len(only(one)._requests) < count:
                    await client.ping()
            for _ in range(10):
                await client.ping()
            assert all(request.over for request in only(one)._requests.values())
            assert one.service.batcher.queued_rows <= count * at_once + 300_000 // 1024 + at_once

    running(test, limits=Limits(deadline_ms=20_000, piece_rows=64))


class ByQuery:
    """Access that takes each for who it says it is."""

    def identify(self, head: Head, *_: object) -> Identity:
        return Identity(head.query["who"], "acme", frozenset({"screen"}), "key")


def test_who_opens_very_many_requests_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "MOST_OF_ONE", 5)

    async def test(one: Running) -> None:
        async with one.client() as client:

            def begin(who: str) -> int:
                rows = ndjson({"text": "a"})
                return client.begin(f"/v1/screen/stream?who={who}", rows, end=False, kind="application/x-ndjson")

            streams = [begin("many") for _ in range(6)]
            found = await client.answer(streams[5])
            assert found["status"] == 429
            assert "5 requests of many are open" in json.loads(found["body"])["detail"]
            for stream in (*streams[:5], begin("other")):
                await client.until(lambda stream=stream: client.answers.get(stream, {}).get("body"))
                assert client.answers[stream]["status"] == 200
            client._quic.reset_stream(streams[0], ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            await client.until(lambda: client.answers[streams[0]].get("broken"))
            assert (await client.ask("/v1/screen?who=many", body("a")))["status"] == 200

    running(test, access=ByQuery())


def test_who_has_the_name_of_another_and_shows_something_else_for_it_takes_none_of_its_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_way, "MOST_OF_ONE", 1)
    opened = under_way.UnderWay()
    by_token, by_key = (Identity("a", "acme", frozenset({"screen"}), kind) for kind in ("jwt", "key"))
    opened.add(Exchange(), by_token)
    opened.check(by_key)
    with pytest.raises(Problem, match="1 requests of a are open"):
        opened.check(by_token)


def test_an_answer_that_breaks_off_does_not_end_like_a_whole_one() -> None:
    async def test(one: Running) -> None:
        async with one.client() as client:
            rows = ndjson({"text": "a"}, {"text": ATTACK})
            stream = client.begin("/v1/screen/batch", rows, end=False, kind="application/x-ndjson")
            await client.until(lambda: client.answers.get(stream, {}).get("body", b"").count(b"\n") == 2)
            assert client.http is not None
            client.http.send_data(stream, b"a" * 5000, False)
            client.transmit()
            found = await client.until(lambda: client.answers[stream].get("broken") and client.answers[stream])
            assert not found["over"]
            *verdicts, last = (json.loads(line) for line in found["body"].splitlines())
            assert [one["action"] for one in verdicts] == ["allow", "block"]
            assert last["problem"]["status"] == 413
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test, limits=Limits(deadline_ms=20_000, max_body_bytes=4000))


def test_an_answer_over_tcp_that_breaks_off_ends_its_connection_before_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(port=0, insecure=True, limits=Limits(deadline_ms=20_000, max_body_bytes=4000))
    head = (
        "POST /v1/screen/batch HTTP/1.1",
        "host: a",
        "content-type: application/x-ndjson",
        "transfer-encoding: chunked",
    )

    def chunk(content: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(content), content)

    with live(settings) as one, socket.create_connection(("127.0.0.1", one.gateway.port), 20) as client:
        client.sendall("\r\n".join((*head, "", "")).encode() + chunk(ndjson({"text": ATTACK})))
        told = b""
        while b'"request_id"' not in told:
            told += client.recv(65_536)
        client.sendall(chunk(b"a" * 5000))
        try:
            while more := client.recv(65_536):
                told += more
        except ConnectionResetError:
            pass
        assert not told.endswith(b"0\r\n\r\n")
        assert one.screen("a")[0] == 200


def test_a_packet_with_a_token_beyond_all_measure_is_dropped_and_the_gateway_goes_on() -> None:
    async def test(one: Running) -> None:
        for size in (1_400, 1_490, 3_000, 20_000, 60_000):
            for _ in range(8):
                (first, *_) = first_datagrams(asyncio.get_running_loop().time())
                header = pull_quic_header(Buffer(data=first), 8)
                ids = b"".join(bytes([len(one)]) + one for one in (header.destination_cid, header.source_cid))
                # Behind the packet that begins a connection, so that there are keys for it.
                second = b"\xc3\0\0\0\1" + ids + encode_uint_var(size) + b"\xaa" * size + b"\x40\x14" + bytes(20)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(first[: header.packet_length] + second, ("127.0.0.1", one.port))
        async with one.client() as client:
            assert (await client.ask("/v1/screen", body("a")))["status"] == 200

    running(test)
