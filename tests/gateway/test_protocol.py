"""The service without a socket: routes, limits, errors, streams, idempotency, draining."""

from __future__ import annotations

import ast
import dataclasses
import gc
import json
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from desk import ARROW, ATTACK, BOOM, JSON, NDJSON, SECRET, Desk, document, documents, feed, ipc, ndjson, taken
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aimds.errors import DataError
from aimds.gateway import headers as headers_module
from aimds.gateway.batching import BatchConfig, Batcher
from aimds.gateway.exchange import MAX_UNSENT
from aimds.gateway.headers import MAX_HEADER_BYTES
from aimds.gateway.idempotency import Answers, level
from aimds.gateway.identity import LOCAL, ROUTES, Identity, Peer, route_of
from aimds.gateway.ipc import END
from aimds.gateway.judging import judge
from aimds.gateway.limits import Rates
from aimds.gateway.pieces import Limits
from aimds.gateway.problem import Problem
from aimds.schema import VERDICTS


class As:
    """Access that always gives one identity."""

    def __init__(self, **changed: Any) -> None:
        self.identity = dataclasses.replace(Identity("ada", "acme", frozenset({"screen"}), "key"), **changed)

    def identify(self, *_: object) -> Identity:
        return self.identity


def body(text: str = "hello", **more: Any) -> bytes:
    return json.dumps({"text": text, **more}).encode()


def test_one_request_gives_its_verdict_with_all_fields_of_the_contract() -> None:
    desk = Desk()
    exchange = desk.ask("/v1/screen", body(ATTACK, request_id="r1", session_id="s", turn=3, tenant="t", channel="tool"))
    assert exchange.status == 200
    found = document(exchange)
    assert list(found) == VERDICTS.names
    assert (found["request_id"], found["session_id"], found["turn"], found["tenant"]) == ("r1", "s", 3, "t")
    assert (found["action"], found["threat_type"], found["status"]) == ("block", "direct_injection", "ok")
    assert found["evidence"][0]["start"] == 0


def test_brief_verdicts_are_short() -> None:
    found = document(Desk().ask("/v1/screen?verdict=brief", body()))
    assert found == {
        "request_id": "0",
        "session_id": None,
        "turn": None,
        "action": "allow",
        "session_action": "none",
        "threat_type": "none",
        "score": 0.0,
        "status": "ok",
        "error": None,
    }


@pytest.mark.parametrize(
    ("target", "content", "headers", "status", "said"),
    [
        ("/v1/screen", b"{", JSON, 400, "not JSON"),
        ("/v1/screen", b'{"text": "\xff"}', JSON, 400, "not UTF-8"),
        ("/v1/screen", b'{"text": "\\ud800"}', JSON, 400, "not JSON"),
        ("/v1/screen", b"", JSON, 400, "not JSON"),
        ("/v1/screen", b"[" * 100_000, JSON, 422, "the body"),
        ("/v1/screen", b"{}", JSON, 422, "text"),
        ("/v1/screen", b'{"text": 1}', JSON, 422, "Expected `str`"),
        ("/v1/screen", b'{"text": null}', JSON, 422, "Expected `str`"),
        ("/v1/screen", b'{"text": true}', JSON, 422, "Expected `str`, got `bool` - at `$.text`"),
        ("/v1/screen", b'{"text": ["a"]}', JSON, 422, "Expected `str`, got `array` - at `$.text`"),
        ("/v1/screen", b'{"text": {"a": 1}}', JSON, 422, "Expected `str`, got `object` - at `$.text`"),
        ("/v1/screen", b'{"text": "a", "txet": 1}', JSON, 422, "txet"),
        ("/v1/screen", b'{"text": "a", "channel": "root"}', JSON, 422, "channel"),
        ("/v1/screen", b'{"text": "a", "turn": 99999999999999999999}', JSON, 422, "turn"),
        ("/v1/screen", b'{"text": "a", "urgency": 8}', JSON, 422, "urgency"),
        ("/v1/screen", b'{"text": "a", "deadline_ms": -1}', JSON, 422, "deadline_ms"),
        ("/v1/screen", b'{"text": "a", "ts": "0001-01-01T00:00:00+14:00"}', JSON, 422, "ts"),
        ("/v1/screen", b'{"text": "a"}', NDJSON, 415, "takes application/json"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"content-encoding", b"gzip")], 415, "gzip"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"accept", b"text/html")], 406, "application/json"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"aimds-deadline-ms", b"soon")], 400, "soon"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"aimds-deadline-ms", b"nan")], 400, "nan"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"content-length", b"-1")], 400, "content-length"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"content-length", b"9999999999")], 413, "at most"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, *JSON], 400, "twice"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"x", b"\xff")], 400, "ASCII"),
        ("/v1/screen", b'{"text": "a"}', [*JSON, (b"x", b"y" * MAX_HEADER_BYTES)], 431, "bytes"),
        ("/v1/screen?verdict=long", b'{"text": "a"}', JSON, 400, "full or brief"),
        ("/v1/screen?a=1&a=2", b'{"text": "a"}', JSON, 400, "twice"),
        ("/v1/nothing", b"", JSON, 404, "/v1/nothing"),
        ("/v1/sessions//turns", b"", JSON, 404, "routes"),
        ("/v1/sessions/a/b/turns", b"", JSON, 404, "routes"),
        ("/healthz", b"", JSON, 405, "GET"),
        ("/v1/sessions/a/turns", b'{"turns": []}', JSON, 422, "empty"),
        ("/v1/sessions/a/turns", b'{"text": 1}', JSON, 422, "got `int` - at `$.text`"),
        ("/v1/sessions/a/turns", b'{"turns": [{"text": 1}]}', JSON, 422, "got `int` - at `$.turns[0].text`"),
        ("/v1/sessions/a/turns", b'{"text": "a", "session_id": "b"}', JSON, 422, "session of the path"),
        ("/v1/screen/batch", b"", JSON, 415, "arrow"),
        ("/v1/screen/batch", b'{"text"\n', NDJSON, 400, "line 1"),
        ("/v1/screen/batch", b"", ARROW, 400, "no schema"),
        ("/v1/screen/batch", b"not arrow at all", ARROW, 400, "not an Arrow"),
    ],
)
def test_what_is_wrong_is_named_in_a_problem_body(
    target: str, content: bytes, headers: list[tuple[bytes, bytes]], status: int, said: str
) -> None:
    desk = Desk()
    exchange = desk.ask(target, content, headers)
    found = document(exchange)
    assert exchange.status == status == found["status"]
    assert dict(exchange.headers)["content-type"] == "application/problem+json"
    assert said in found["detail"]
    assert found["type"].startswith("urn:aimds:problem:")
    assert desk.screener.batches == []
    assert desk.service.idle


def verdicts_of(exchange: Any, accept: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    return documents(exchange) if accept is NDJSON else pa.ipc.open_stream(taken(exchange)).read_all().to_pylist()


@pytest.mark.parametrize("accept", [NDJSON, ARROW])
def test_a_line_of_a_batch_that_is_no_request_has_a_verdict_with_status_error_and_the_others_are_screened(
    accept: list[tuple[bytes, bytes]],
) -> None:
    bad = [b'{"text": 5}', b'{"text": true}', b'{"text": ["a"]}', b'{"text": {"a": 1}}', b"[", b'{"text": "a", "x": 1}']
    content = b"\n".join([body("a"), *bad, body(ATTACK), bad[0], body("a"), b""])
    desk = Desk()
    exchange = desk.ask("/v1/screen/batch", content, [*NDJSON, (b"accept", accept[0][1])])
    assert exchange.status == 200
    found = verdicts_of(exchange, accept)
    assert [one["request_id"] for one in found] == [str(number) for number in range(10)]
    assert [one["status"] == "error" for one in found] == [False, *[True] * 6, False, True, False]
    assert [found[number]["action"] for number in (0, 7, 9)] == ["allow", "block", "allow"]
    for number, kind in enumerate(("int", "bool", "array", "object"), 1):
        assert f"line {number + 1}: Expected `str`, got `{kind}` - at `$.text`" in found[number]["error"]


def test_a_batch_of_lines_that_are_all_no_requests_is_answered_in_full() -> None:
    exchange = Desk().ask("/v1/screen/batch", b"{}\n" * 5000, NDJSON)
    assert exchange.status == 200
    found = verdicts_of(exchange, NDJSON)
    assert len(found) == 5000
    assert {one["status"] for one in found} == {"error"}


class Full:
    """A service whose queue is full once it holds ``room`` pieces more."""

    def __init__(self, desk: Desk, room: int) -> None:
        self.place, self.room = desk.service.place, room

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.room -= 1
        if self.room < 0:
            raise Problem("overloaded", "the queue is full")
        return self.place(*given, **named)


def test_a_batch_that_is_refused_after_a_line_that_is_no_request_has_a_verdict_for_each_row_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.service, "place", Full(desk, 0))
    exchange = desk.ask("/v1/screen/batch", b'{"text": 5}\n' + body(ATTACK) + b"\n", NDJSON)
    found = documents(exchange)
    assert [one["status"] for one in found] == ["error"] * 2
    assert "the queue is full" in found[1]["error"]
    assert exchange.ended


def limited() -> Desk:
    """Five rows at once, and one more each ten seconds."""
    return Desk(access=As(rate=0.1, burst=5.0))


def test_lines_of_a_batch_that_are_no_requests_count_against_the_rate_as_rows_do() -> None:
    desk = limited()
    found = documents(desk.ask("/v1/screen/batch", b"{}\n" * 3 + body() + b"\n", NDJSON))
    assert [one["status"] for one in found] == ["error"] * 3 + ["ok"]
    refused = desk.ask("/v1/screen/batch", b"{}\n" * 2, NDJSON)
    assert refused.status == 429
    assert document(refused)["type"].endswith("rate-limited")
    assert dict(refused.headers)["retry-after"] == "10"
    assert desk.ask("/v1/screen", body()).status == 200
    assert desk.ask("/v1/screen", body()).status == 429
    assert desk.service.metrics.registry.get_sample_value("aimds_shed_rows_total", {"reason": "rate-limited"}) == 3


def test_a_batch_that_was_let_in_with_a_line_that_is_no_request_is_not_cut_in_two_and_is_paid_off() -> None:
    desk = limited()
    found = documents(desk.ask("/v1/screen/batch", b"{}\n" * 4 + (body() + b"\n") * 3 + b"{}\n" * 3, NDJSON))
    assert [one["status"] for one in found] == ["error"] * 4 + ["ok"] * 3 + ["error"] * 3
    desk.now += 55.0
    assert desk.ask("/v1/screen", body()).status == 429
    desk.now += 10.0
    assert desk.ask("/v1/screen", body()).status == 200


def test_lines_of_a_stream_that_are_no_requests_count_against_the_rate_as_rows_do() -> None:
    desk = limited()
    long = b"x" * (desk.service.limits.max_body_bytes + 1)
    exchange = desk.open("/v1/screen/stream", NDJSON)
    for content in (b"{}\n{\n", body() + b"\n", long, b"\n", b"{}\n" * 3, body() + b"\n"):
        exchange.receive(content, desk.now)
        desk.run()
    exchange.end(desk.now)
    found = documents(exchange)
    kinds = [one["problem"]["type"].rpartition(":")[2] if "problem" in one else "ok" for one in found]
    assert kinds == ["unprocessable", "malformed", "ok", "too-large", "unprocessable", *["rate-limited"] * 3]


def test_thousands_of_pieces_that_are_refused_are_answered_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.service, "place", Full(desk, 1))
    exchange = desk.open("/v1/screen/batch", NDJSON)
    feed(desk, exchange, body() + b"\n" + (b"{}\n" + body() + b"\n") * 2000)
    desk.run()
    found = documents(exchange)
    while not exchange.ended:
        exchange.sent(desk.now)
        found += documents(exchange)
    assert [one["status"] for one in found] == ["ok", *["error"] * 4000]


@pytest.mark.parametrize(
    ("target", "headers", "content"),
    [
        ("/v1/screen", JSON, b" " * 70_000),
        ("/v1/sessions/s/turns", JSON, b" " * 70_000),
        ("/v1/screen/batch", NDJSON, b" " * 70_000),
        ("/v1/screen/batch", ARROW, ipc(pa.table({"text": ["x" * 72_000]}))[:70_000]),
        ("/v1/screen/stream", NDJSON, b" " * 70_000),
        ("/v1/screen/output", NDJSON, b" " * 70_000),
    ],
)
def test_bodies_that_are_not_whole_have_a_budget_and_half_of_it_is_left_to_others(
    target: str, headers: list[tuple[bytes, bytes]], content: bytes
) -> None:
    desk = Desk(limits=Limits(max_held_bytes=400_000), access=Names())
    own = [*headers, (b"x-name", b"one")]
    begun = [desk.open(target, own) for _ in range(5)]
    for exchange in begun:
        exchange.receive(content[:40_000], desk.now)
        exchange.receive(content[40_000:], desk.now)
    full = begun[3:]
    assert [exchange.ended for exchange in begun] == [False] * 3 + [True] * 2
    if "stream" not in target:
        assert [exchange.status for exchange in full] == [429] * 2
    told = taken(full[0]).decode()
    assert "overloaded" in told
    assert "of one" in told
    # What is small or whole is not held up, and others have their half.
    assert desk.ask("/v1/screen", body("a"), [*JSON, (b"x-name", b"one")]).status == 200
    for other in (b"two", b"three"):
        exchange = desk.open(target, [*headers, (b"x-name", other)])
        exchange.receive(content, desk.now)
        assert not exchange.ended
        exchange.abort(desk.now)
    begun[0].abort(desk.now)
    again = desk.open(target, own)
    again.receive(content, desk.now)
    assert not again.ended
    for exchange in (*begun, again):
        exchange.abort(desk.now)
    assert desk.service.bodies.held == 0


def test_a_batch_whose_answer_has_begun_has_room_for_messages_like_its_first() -> None:
    desk = Desk(limits=Limits(max_held_bytes=800_000))
    batch = pa.record_batch({"text": ["x" * 100_000]})
    one, content = len(ipc(batch)), ipc(pa.Table.from_batches([batch] * 3))
    message = (len(content) - one) // 2
    first = one - 8
    begun = [desk.open("/v1/screen/batch", ARROW) for _ in range(6)]
    for start, stop in ((0, 50_000), (50_000, first), (first, first + message - 100)):
        for exchange in begun:
            exchange.receive(content[start:stop], desk.now)
        desk.run()
    # Those for whom there is no room hear of it before anything of theirs was screened.
    assert [(exchange.status, exchange.broken) for exchange in begun] == [(200, False)] * 4 + [(429, False)] * 2
    for exchange in begun[:4]:
        exchange.receive(content[first + message - 100 :], desk.now)
        exchange.end(desk.now)
        desk.run()
        assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 3
    assert desk.service.bodies.held == 0


def swollen(messages: int, rows: int = 4, size: int = 100_000) -> bytes:
    """An Arrow stream of few bytes, each message of which becomes ``rows`` of ``size`` bytes."""
    return ipc(pa.Table.from_batches([pa.record_batch({"text": ["a" * size] * rows})] * messages), compression="zstd")


def test_of_messages_that_come_together_only_as_many_are_expanded_as_are_screened_next() -> None:
    content = swollen(40)
    assert len(content) < 40_000
    desk = Desk()
    exchange = desk.open("/v1/screen/batch", ARROW)
    before = pa.total_allocated_bytes()
    exchange.receive(content, desk.now)
    assert not exchange.wants_data
    assert pa.total_allocated_bytes() - before < 4_000_000
    assert 800_000 <= desk.service.bodies.held <= 4_000_000
    exchange.end(desk.now)
    desk.run()
    found = pa.ipc.open_stream(taken(exchange)).read_all()
    assert found.column("status").to_pylist() == ["ok"] * 160
    assert found.column("request_id").to_pylist() == [str(i) for i in range(160)]
    assert desk.service.bodies.held == 0


def test_tables_that_wait_to_be_judged_share_the_room_of_bodies() -> None:
    desk = Desk(limits=Limits(max_held_bytes=2_000_000), access=Names())
    own = [*ARROW, (b"x-name", b"one")]
    begun = [desk.open("/v1/screen/batch", own) for _ in range(4)]
    for exchange in begun:
        exchange.receive(swollen(1), desk.now)
    # Half of it is of one identity, and there is room for two tables in it.
    assert [exchange.status for exchange in begun] == [0, 0, 429, 429]
    assert "overloaded" in taken(begun[2]).decode()
    assert desk.ask("/v1/screen", body("a"), [*JSON, (b"x-name", b"one")]).status == 200
    assert desk.ask("/v1/screen/batch", swollen(1), [*ARROW, (b"x-name", b"two")]).status == 200
    for exchange in begun[:2]:
        exchange.end(desk.now)
    desk.run()
    for exchange in begun[:2]:
        assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 4
    assert desk.service.bodies.held == 0


@pytest.mark.parametrize("how", ["aborted", "refused", "answered"])
def test_tables_go_with_their_request_and_not_when_the_collector_comes_by(how: str) -> None:
    desk = Desk()
    gc.collect()
    gc.disable()
    try:
        before = pa.total_allocated_bytes()
        for _ in range(5):
            exchange = desk.open("/v1/screen/batch", ARROW)
            exchange.receive(swollen(2, rows=40), desk.now)
            assert pa.total_allocated_bytes() - before > 4_000_000
            if how == "aborted":
                exchange.abort(desk.now)
            elif how == "refused":
                exchange.refuse(Problem("malformed", "that is how it goes"))
                assert exchange.status == 400
            else:
                exchange.end(desk.now)
                desk.run()
                taken(exchange)
            del exchange
            desk.run()
            assert pa.total_allocated_bytes() - before < 4_000_000
    finally:
        gc.enable()


def test_a_table_for_which_there_is_no_room_waits_until_those_before_it_are_judged() -> None:
    desk = Desk(limits=Limits(max_held_bytes=1_000_000))
    exchange = desk.open("/v1/screen/batch", ARROW)
    exchange.receive(swollen(8), desk.now)
    # Pieces could wait for more than the one table that is read.
    assert desk.service.batcher.queued_rows == 4
    assert not exchange.wants_data
    exchange.end(desk.now)
    desk.run()
    assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 32
    assert desk.service.bodies.held == 0


def followed(size: int) -> tuple[bytes, int]:
    """An Arrow stream of a message of few bytes that becomes 400,000, and of one of about ``size`` bytes behind it;
    where that begins."""
    text = Random(3).randbytes(size // 2).hex()
    batches = [pa.record_batch({"text": ["a" * 100_000] * 4}), pa.record_batch({"text": [text]})]
    first = len(ipc(pa.Table.from_batches(batches[:1]), compression="zstd")) - 8
    return ipc(pa.Table.from_batches(batches), compression="zstd"), first


def test_a_message_that_is_coming_counts_beside_the_tables_that_wait_to_be_judged() -> None:
    content, first = followed(600_000)
    desk = Desk()
    exchange = desk.open("/v1/screen/batch", ARROW)
    exchange.receive(content[: first + 1000], desk.now)
    assert len(content) - first > 300_000
    assert desk.service.bodies.held > 400_000 + len(content) - first - 70_000
    desk.run()
    # The table was judged; as much as the larger of both stays its own.
    assert desk.service.bodies.held < 400_000
    exchange.receive(content[first + 1000 :], desk.now)
    exchange.end(desk.now)
    desk.run()
    assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 5
    assert desk.service.bodies.held == 0


def test_a_message_for_which_tables_leave_no_room_comes_once_they_are_judged() -> None:
    content, first = followed(500_000)
    desk = Desk(limits=Limits(max_held_bytes=1_000_000))
    exchange = desk.open("/v1/screen/batch", ARROW)
    exchange.receive(content[: first + 1000], desk.now)
    assert not exchange.wants_data
    assert desk.service.bodies.held <= 500_000
    desk.run()
    assert exchange.wants_data
    exchange.receive(content[first + 1000 :], desk.now)
    exchange.end(desk.now)
    desk.run()
    assert (exchange.ended, exchange.broken) == (True, False)
    assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 5
    assert desk.service.bodies.held == 0


@pytest.mark.parametrize("seed", range(160, 180))
def test_streams_of_any_messages_that_share_little_room_all_end_and_leave_nothing_held(seed: int) -> None:
    rng = Random(seed)
    most = rng.choice((300_000, 600_000, 2_000_000))
    desk = Desk(limits=Limits(max_held_bytes=most))
    streams: list[tuple[Any, bytearray, int, list[bytes]]] = []
    for _ in range(rng.randint(1, 3)):
        texts = [
            ["a" * rng.randint(10, most // 16)] * rng.randint(1, 4)
            if rng.random() < 0.5
            else [rng.randbytes(rng.randint(10, most // 8)).hex()]
            for _ in range(rng.randint(1, 6))
        ]
        table = pa.Table.from_batches([pa.record_batch({"text": some}) for some in texts])
        content = bytearray(ipc(table, compression=rng.choice((None, "zstd"))))
        streams.append((desk.open("/v1/screen/batch", ARROW), content, table.num_rows, []))
    for _ in range(2_000):
        for exchange, content, _, out in streams:
            if content and exchange.wants_data and not exchange.ended:
                size = rng.randint(1, 60_000)
                exchange.receive(bytes(content[:size]), desk.now)
                del content[:size]
                if not content:
                    exchange.end(desk.now)
            out.append(taken(exchange))
            exchange.sent(desk.now)
        if rng.random() < 0.3:
            desk.step()
    for exchange, _, rows, out in streams:
        assert exchange.ended
        assert (
            exchange.broken or exchange.status == 429 or pa.ipc.open_stream(b"".join(out)).read_all().num_rows == rows
        )
    assert desk.service.bodies.held == 0


def test_messages_that_come_together_have_the_room_of_their_first() -> None:
    desk = Desk(limits=Limits(max_held_bytes=400_000))
    batch = pa.record_batch({"text": ["x" * 30_000]})
    first, content = len(ipc(batch)) - 8, ipc(pa.Table.from_batches([batch] * 6))
    exchange = desk.open("/v1/screen/batch", ARROW)
    exchange.receive(content[:first], desk.now)
    desk.run()
    assert exchange.status == 200
    others = [desk.open("/v1/screen") for _ in range(40)]
    for other in others:
        other.receive(b" " * 30_000, desk.now)
    assert others[-1].status == 429
    exchange.receive(content[first:], desk.now)
    exchange.end(desk.now)
    desk.run()
    assert (exchange.ended, exchange.broken) == (True, False)
    assert pa.ipc.open_stream(taken(exchange)).read_all().column("status").to_pylist() == ["ok"] * 6


def test_nothing_is_expanded_for_who_is_refused_by_a_rate_or_a_deadline() -> None:
    desk = Desk(rates=Rates(1.0, 4.0))
    assert desk.ask("/v1/screen/batch", swollen(1), ARROW).status == 200
    late = Desk()
    for at in range(400):
        late.open("/v1/screen", JSON).receive(b"", late.now)
        one = late.open("/v1/screen", [*JSON, (b"aimds-deadline-ms", b"60000")])
        one.receive(body("a" * 1000 + str(at)), late.now)
        one.end(late.now)
    before = pa.total_allocated_bytes()
    for refusing, headers in ((desk, ARROW), (late, [*ARROW, (b"aimds-deadline-ms", b"1")])):
        exchange = refusing.open("/v1/screen/batch", headers)
        exchange.receive(swollen(1, 32, 1_000_000), refusing.now)
        assert exchange.status == 429
        assert pa.total_allocated_bytes() - before < 1_000_000
        assert refusing.service.bodies.held == 0


def test_a_text_in_arrow_may_be_as_long_as_one_in_a_line() -> None:
    desk = Desk(limits=Limits(max_text_bytes=1000))
    for texts, status in ((["a" * 1000, "é" * 500, None], 200), (["a", "é" * 501], 413)):
        table, lines = pa.table({"text": texts}), ndjson(*({"text": text} for text in texts if text))
        assert desk.ask("/v1/screen/batch", lines, NDJSON).status == status
        exchange = desk.ask("/v1/screen/batch", ipc(table), ARROW)
        assert exchange.status == status
    assert document(exchange)["row"] == 1
    assert (
        document(
            desk.ask(
                "/v1/screen/batch",
                ipc(pa.Table.from_batches([*pa.table({"text": ["a"] * 3}).to_batches(), *table.to_batches()])),
                ARROW,
            )
        )["row"]
        == 4
    )


def test_an_arrow_stream_that_goes_wrong_behind_its_first_table_gives_the_verdicts_before_and_lets_go() -> None:
    desk = Desk(limits=Limits(max_expanded_bytes=1_000_000))
    whole, bomb = swollen(2), swollen(1, 20)
    start = 8 + int.from_bytes(bomb[4:8], "little")
    exchange = desk.open("/v1/screen/batch", ARROW)
    exchange.receive(whole[:-8], desk.now)
    desk.run()
    assert exchange.status == 200
    exchange.receive(bomb[start:], desk.now)
    desk.run()
    assert (exchange.ended, exchange.broken) == (True, True)
    content = taken(exchange)
    assert pa.ipc.open_stream(content).read_all().num_rows == 8
    assert not content.endswith(END)
    assert desk.service.bodies.held == 0


def test_a_body_that_came_whole_is_held_no_more() -> None:
    desk = Desk(limits=Limits(max_held_bytes=400_000))
    text = json.dumps({"text": "x" * 150_000}).encode()
    for target in ("/v1/screen", "/v1/sessions/s/turns"):
        waiting = []
        for _ in range(4):
            exchange = desk.open(target)
            exchange.receive(text[:100_000], desk.now)
            exchange.receive(text[100_000:], desk.now)
            exchange.end(desk.now)
            waiting.append(exchange)
        assert desk.service.bodies.held == 0
        desk.run()
        assert [exchange.status for exchange in waiting] == [200] * 4


class Names:
    """Who comes says who it is."""

    def identify(self, head: Any, peer: Any, route: Any, now: float) -> Identity:
        return Identity(head.headers["x-name"], None, frozenset({"screen"}), "key")


def test_a_body_beyond_the_limit_is_refused_while_it_comes() -> None:
    desk = Desk(limits=Limits(max_body_bytes=1000))
    exchange = desk.open("/v1/screen")
    exchange.receive(b"x" * 1001, desk.now)
    assert exchange.ended
    assert document(exchange)["status"] == 413
    exchange.receive(b"x" * 10**6, desk.now)
    assert len(exchange._body) == 0  # type: ignore[attr-defined]


def test_a_text_beyond_the_limit_is_refused() -> None:
    assert Desk(limits=Limits(max_text_bytes=10)).ask("/v1/screen", body("x" * 11)).status == 413


def test_a_row_that_breaks_a_kernel_fails_alone() -> None:
    desk = Desk()
    found = documents(
        desk.ask("/v1/screen/batch", ndjson(*({"text": BOOM if i == 77 else f"text {i}"} for i in range(200))), NDJSON)
    )
    assert [one["status"] for one in found] == ["error" if i == 77 else "ok" for i in range(200)]
    assert "a kernel broke" in found[77]["error"]
    assert found[77]["action"] != "allow"
    assert [one["request_id"] for one in found] == [str(i) for i in range(200)]


def test_a_row_that_breaks_a_kernel_does_not_fail_requests_of_others_in_its_batch() -> None:
    desk = Desk()
    asked = [desk.open("/v1/screen") for _ in range(5)]
    for i, exchange in enumerate(asked):
        feed(desk, exchange, body(BOOM if i == 2 else "fine"))
    desk.run()
    assert desk.screener.batches[0] == 5
    assert [document(one)["status"] for one in asked] == ["ok", "ok", "error", "ok", "ok"]


def test_turns_of_a_session_have_its_id() -> None:
    desk = Desk()
    content = json.dumps({"turns": [{"text": "a", "turn": 0}, {"text": ATTACK, "turn": 1}]}).encode()
    found = document(desk.ask("/v1/sessions/room%201/turns", content))["verdicts"]
    assert [one["session_id"] for one in found] == ["room 1", "room 1"]
    assert [one["action"] for one in found] == ["allow", "block"]
    assert document(desk.ask("/v1/sessions/x/turns", body("a")))["verdicts"][0]["session_id"] == "x"


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("accept", [None, b"application/x-ndjson", b"application/vnd.apache.arrow.stream"])
@pytest.mark.parametrize("kind", ["arrow", "ndjson"])
def test_a_batch_comes_back_row_for_row_in_either_format(kind: str, accept: bytes | None, size: int) -> None:
    desk = Desk(limits=Limits(piece_rows=8))
    texts = [f"text {i} {ATTACK if i % 5 == 0 else ''}" for i in range(50)]
    content = ipc(pa.table({"text": texts})) if kind == "arrow" else ndjson(*({"text": text} for text in texts))
    exchange = desk.open(
        "/v1/screen/batch", [*(ARROW if kind == "arrow" else NDJSON), *([(b"accept", accept)] if accept else [])]
    )
    feed(desk, exchange, content, size)
    desk.run()
    assert exchange.status == 200
    kind_out = dict(exchange.headers)["content-type"]
    if kind_out.endswith("arrow.stream"):
        table = pa.ipc.open_stream(taken(exchange)).read_all()
        assert table.schema.equals(VERDICTS)
        found = table.to_pylist()
    else:
        found = documents(exchange)
    assert [one["request_id"] for one in found] == [str(i) for i in range(50)]
    assert [one["action"] for one in found] == ["block" if i % 5 == 0 else "allow" for i in range(50)]
    assert exchange.ended


def test_batch_verdicts_come_before_the_body_is_complete() -> None:
    desk = Desk(limits=Limits(piece_rows=4))
    exchange = desk.open("/v1/screen/batch", NDJSON)
    exchange.receive(ndjson(*({"text": f"{i}"} for i in range(4))), desk.now)
    desk.run()
    assert len(documents(exchange)) == 4
    assert not exchange.ended


def test_a_batch_reads_on_only_as_its_rows_are_screened() -> None:
    desk = Desk(limits=Limits(piece_rows=10, window_pieces=2))
    exchange = desk.open("/v1/screen/batch", NDJSON)
    line, received = ndjson({"text": "x" * 80}), 0
    while exchange.wants_data:
        exchange.receive(line * 10, desk.now)
        received += 10
    # Two pieces of ten rows are queued, and two wait behind them.
    assert received == 40
    assert desk.service.batcher.queued_rows == 20
    desk.run()
    assert exchange.wants_data


def test_a_slow_reader_stops_the_screening_of_its_batch() -> None:
    desk = Desk(limits=Limits(piece_rows=256))
    exchange = desk.open("/v1/screen/batch", NDJSON)
    line = ndjson({"text": "x"})
    for _ in range(50):
        if not exchange.wants_data:
            break
        exchange.receive(line * 256, desk.now)
        desk.run()
    assert not exchange.wants_data
    assert exchange.unsent < MAX_UNSENT + 600_000
    taken(exchange)
    desk.run()
    assert exchange.wants_data


def test_a_reset_gives_up_what_waits_and_nothing_else() -> None:
    desk = Desk(limits=Limits(piece_rows=10), batch=BatchConfig(max_rows=10))
    soon = [*NDJSON, (b"aimds-deadline-ms", b"500")]
    gone, other = desk.open("/v1/screen/batch", soon), desk.open("/v1/screen")
    feed(desk, gone, ndjson(*({"text": f"{i}"} for i in range(40))))
    feed(desk, other, body())
    desk.step()
    gone.abort(desk.now)
    assert desk.service.batcher.queued_rows == 1
    desk.run()
    assert document(other)["status"] == "ok"
    assert taken(gone) == b""
    assert desk.service.idle


def test_a_batch_that_comes_too_late_is_told_so_row_by_row() -> None:
    desk = Desk(limits=Limits(piece_rows=2, batch_deadline_ms=50, window_pieces=4))
    exchange = desk.open("/v1/screen/batch", NDJSON)
    feed(desk, exchange, ndjson(*({"text": f"{i}"} for i in range(4))))
    desk.now += 10
    desk.run()
    found = documents(exchange)
    assert [one["status"] for one in found] == ["error"] * 4
    assert all("deadline" in one["error"] for one in found)
    assert all(one["action"] != "allow" for one in found)


def test_a_stream_answers_each_line_as_it_is_ready_and_goes_on_after_a_bad_one() -> None:
    desk = Desk()
    exchange = desk.open("/v1/screen/stream", NDJSON)
    exchange.receive(ndjson({"text": "a", "request_id": "x"}) + b'{"text": 5}\n{"te', desk.now)
    assert exchange.status == 200
    (bad,) = documents(exchange)
    assert bad["request_id"] == "1"
    assert bad["problem"]["status"] == 422
    desk.run()
    assert [one["request_id"] for one in documents(exchange)] == ["x"]
    exchange.receive(b'xt": "%s"}' % ATTACK.encode(), desk.now)
    assert desk.step() == 0
    exchange.end(desk.now)
    desk.run()
    (last,) = documents(exchange)
    assert (last["request_id"], last["action"]) == ("2", "block")
    assert exchange.ended


def test_a_line_without_end_is_refused_once_and_skipped() -> None:
    desk = Desk(limits=Limits(max_body_bytes=100))
    exchange = desk.open("/v1/screen/stream", NDJSON)
    for _ in range(50):
        exchange.receive(b"x" * 90, desk.now)
    exchange.receive(b"\n" + ndjson({"text": "a"}), desk.now)
    desk.run()
    found = documents(exchange)
    assert [one.get("problem", {}).get("status") for one in found] == [413, None]
    assert len(exchange._held) == 0  # type: ignore[attr-defined]


def test_a_stream_holds_no_more_rows_than_its_window() -> None:
    desk = Desk(limits=Limits(window_rows=20, deadline_ms=60_000))
    exchange = desk.open("/v1/screen/stream", NDJSON)
    exchange.receive(ndjson(*({"text": f"{i}"} for i in range(100))), desk.now)
    assert desk.service.batcher.queued_rows == 20
    assert not exchange.wants_data
    exchange.end(desk.now)
    desk.run()
    found = documents(exchange)
    assert sorted(int(one["request_id"]) for one in found) == list(range(100))
    assert exchange.ended


def test_requests_read_together_are_screened_together() -> None:
    desk = Desk()
    for _ in range(30):
        feed(desk, desk.open("/v1/screen"), body())
    desk.run()
    assert desk.screener.batches == [30]


def test_overload_answers_429_with_retry_after() -> None:
    batcher = Batcher()
    for _ in range(20):
        batcher.time.observe(2000, 0.2)
    desk = Desk(batcher=batcher)
    first = desk.open("/v1/screen", [*JSON, (b"aimds-deadline-ms", b"50")])
    feed(desk, first, body())
    second = desk.open("/v1/screen", [*JSON, (b"aimds-deadline-ms", b"50")])
    feed(desk, second, body())
    assert second.status == 429
    assert int(dict(second.headers)["retry-after"]) >= 1
    assert document(second)["retry_after_s"] > 0
    desk.run()
    assert first.status == 200


def test_a_request_that_waited_too_long_is_504() -> None:
    desk = Desk()
    exchange = desk.open("/v1/screen", [*JSON, (b"aimds-deadline-ms", b"50")])
    feed(desk, exchange, body())
    desk.now += 1
    desk.run()
    assert exchange.status == 504
    assert desk.screener.batches == []


@pytest.mark.parametrize("route", ["", "/stream", "/batch"])
def test_what_a_request_waited_to_be_read_is_gone_of_its_deadline(route: str) -> None:
    def answer(waited_s: float) -> tuple[Any, list[int]]:
        desk = Desk()
        exchange = desk.open(f"/v1/screen{route}", [*(NDJSON if route else JSON), (b"aimds-deadline-ms", b"250")])
        exchange.waited_s = waited_s
        feed(desk, exchange, ndjson({"text": "hello"}))
        desk.run()
        return document(exchange), desk.screener.batches

    found, batches = answer(0.2)
    assert (found["status"], batches) == ("ok", [1])
    found, batches = answer(0.3)
    assert (found.get("problem", found)["type"], batches) == ("urn:aimds:problem:deadline-exceeded", [])


def test_of_what_was_read_late_that_is_refused_which_the_time_left_does_not_suffice_for() -> None:
    batcher = Batcher()
    for _ in range(20):
        batcher.time.observe(2000, 0.1)
    desk = Desk(batcher=batcher)
    deadline = (b"aimds-deadline-ms", b"600")
    for waited_s, status in ((0.0, 0), (0.0, 0), (0.5, 429)):
        exchange = desk.open("/v1/screen", [*JSON, deadline])
        exchange.waited_s = waited_s
        feed(desk, exchange, body())
        assert exchange.status == status


def test_what_waits_past_its_deadline_is_504_although_nothing_that_runs_ends() -> None:
    desk = Desk()
    first = desk.open("/v1/screen")
    feed(desk, first, body())
    assert desk.service.poll(desk.now) is not None
    one = desk.open("/v1/screen", [*JSON, (b"aimds-deadline-ms", b"500")])
    stream = desk.open("/v1/screen/stream", NDJSON)
    bulk = desk.open("/v1/screen/batch", NDJSON)
    feed(desk, one, body())
    feed(desk, stream, ndjson({"text": "a"}, {"text": "b"}))
    bulk.receive(ndjson({"text": "a"}), desk.now)
    desk.now += 2
    desk.service.expire(desk.now)
    assert (first.status, one.status) == (0, 504)
    assert [line["problem"]["status"] for line in documents(stream)] == [504] * 2
    assert not bulk.ended
    assert 'aimds_shed_rows_total{reason="deadline-exceeded"} 3.0' in desk.service.metrics.text().decode()


def test_the_same_key_is_screened_once_and_answered_each_time() -> None:
    desk = Desk()
    headers = [*JSON, (b"idempotency-key", b'"k1"')]
    first, second = desk.open("/v1/screen", headers), desk.open("/v1/screen", headers)
    feed(desk, first, body())
    feed(desk, second, body())
    desk.run()
    third = desk.ask("/v1/screen", body(), headers)
    answers = [taken(one) for one in (first, second, third)]
    assert answers[0] == answers[1] == answers[2] != b""
    assert sum(desk.screener.batches) == 1
    assert dict(third.headers)["idempotency-replayed"] == "true"
    assert desk.ask("/v1/screen", body("other"), headers).status == 409
    desk.now += 601
    assert desk.ask("/v1/screen", body("other"), headers).status == 200


def test_a_key_whose_first_request_left_still_answers_the_second() -> None:
    desk = Desk()
    headers = [*JSON, (b"idempotency-key", b"k1")]
    first, second = desk.open("/v1/screen", headers), desk.open("/v1/screen", headers)
    feed(desk, first, body())
    feed(desk, second, body())
    first.abort(desk.now)
    desk.run()
    assert document(second)["status"] == "ok"


def test_a_key_whose_first_request_failed_may_be_tried_again() -> None:
    desk = Desk()
    headers = [*JSON, (b"idempotency-key", b"k1"), (b"aimds-deadline-ms", b"10")]
    exchange = desk.open("/v1/screen", headers)
    feed(desk, exchange, body())
    desk.now += 1
    desk.run()
    assert exchange.status == 504
    assert desk.ask("/v1/screen", body(), headers).status == 200


@pytest.mark.parametrize("target", ["/v1/screen", "/v1/sessions/s/turns"])
def test_a_key_of_a_short_answer_is_no_key_of_a_full_one(target: str) -> None:
    desk, headers = Desk(), [*JSON, (b"idempotency-key", b"k1")]
    assert desk.ask(f"{target}?verdict=brief", body(), headers).status == 200
    assert desk.ask(target, body(), headers).status == 409
    again = desk.ask(f"{target}?verdict=brief", body(), headers)
    assert dict(again.headers)["idempotency-replayed"] == "true"


KEYED = [(b"idempotency-key", b"k1")]


def test_a_batch_with_the_same_key_is_screened_once_and_answered_each_time() -> None:
    desk = Desk()
    rows = b"".join(b'{"text": "row %d"}\n' % n for n in range(40))
    first, second = desk.open("/v1/screen/batch", [*NDJSON, *KEYED]), desk.open("/v1/screen/batch", [*NDJSON, *KEYED])
    first.receive(rows[:100], desk.now)
    feed(desk, second, rows)  # complete before the first is
    feed(desk, first, rows[100:])
    desk.run()
    third = desk.ask("/v1/screen/batch", rows, [*NDJSON, *KEYED])
    answers = [taken(one) for one in (first, second, third)]
    assert answers[0] == answers[1] == answers[2] != b""
    assert sum(desk.screener.batches) == 40
    assert dict(third.headers)["idempotency-replayed"] == "true"
    desk.now += 601
    desk.ask("/v1/screen/batch", rows, [*NDJSON, *KEYED])
    assert sum(desk.screener.batches) == 80


def test_an_arrow_batch_is_replayed_byte_for_byte() -> None:
    desk = Desk()
    table = ipc(pa.table({"text": ["a", ATTACK]}))
    first, again = (desk.ask("/v1/screen/batch", table, [*ARROW, *KEYED]) for _ in range(2))
    assert taken(first) == taken(again)
    assert sum(desk.screener.batches) == 2


@pytest.mark.parametrize(
    ("target", "rows", "headers"),
    [
        ("/v1/screen/batch", b'{"text": "b"}\n', NDJSON),
        ("/v1/screen/batch", b'{"text": "a"}\n', [*NDJSON, (b"accept", b"application/vnd.apache.arrow.stream")]),
        ("/v1/screen/batch?verdict=brief", b'{"text": "a"}\n', NDJSON),
        ("/v1/screen", b'{"text": "a"}', JSON),
    ],
)
def test_a_key_of_a_batch_is_refused_for_another_request(
    target: str, rows: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    desk = Desk()
    assert desk.ask("/v1/screen/batch", b'{"text": "a"}\n', [*NDJSON, *KEYED]).status == 200
    assert desk.ask(target, rows, [*headers, *KEYED]).status == 409


def test_another_body_that_waits_for_a_key_is_refused_once_the_first_is_known() -> None:
    desk = Desk()
    first, second = desk.open("/v1/screen/batch", [*NDJSON, *KEYED]), desk.open("/v1/screen/batch", [*NDJSON, *KEYED])
    first.receive(b'{"text": "a"}\n', desk.now)
    feed(desk, second, b'{"text": "b"}\n')
    assert second.status == 0
    first.end(desk.now)
    assert second.status == 409
    desk.run()
    assert first.status == 200


def test_a_batch_whose_first_sender_left_tells_the_second_to_come_again() -> None:
    desk = Desk()
    first, second = desk.open("/v1/screen/batch", [*NDJSON, *KEYED]), desk.open("/v1/screen/batch", [*NDJSON, *KEYED])
    first.receive(b'{"text": "a"}\n', desk.now)
    second.receive(b'{"text": "a"}\n', desk.now)
    first.abort(desk.now)
    second.end(desk.now)
    assert (second.status, document(second)["type"]) == (503, "urn:aimds:problem:given-up")
    assert desk.ask("/v1/screen/batch", b'{"text": "a"}\n', [*NDJSON, *KEYED]).status == 200
    assert "idempotency-replayed" not in dict(first.headers)


def test_a_batch_that_was_not_judged_in_full_or_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    for _ in range(2):
        desk.ask("/v1/screen/batch", b'{"text": ""}\n{"text": "' + BOOM.encode() + b'"}\n', [*NDJSON, *KEYED])
    monkeypatch.setattr("aimds.gateway.idempotency.MAX_ANSWER_BYTES", 10)
    headers = [*NDJSON, (b"idempotency-key", b"k2")]
    for _ in range(2):
        assert desk.ask("/v1/screen/batch", b'{"text": "a"}\n', headers).status == 200
    assert len(desk.service.answers) <= 1
    assert desk.screener.batches[-2:] == [1, 1]


def test_a_refused_batch_refuses_who_waits_and_frees_the_key() -> None:
    desk = Desk()
    first, second = desk.open("/v1/screen/batch", [*NDJSON, *KEYED]), desk.open("/v1/screen/batch", [*NDJSON, *KEYED])
    first.receive(b'{"text"\n', desk.now)
    assert first.status == 400
    feed(desk, second, b'{"text": "a"}\n')
    desk.run()
    assert second.status == 200


def test_keys_of_two_identities_do_not_meet() -> None:
    desk = Desk(access=As())
    headers = [*JSON, (b"idempotency-key", b"k1")]
    assert desk.ask("/v1/screen", body(), headers).status == 200
    desk.service.access = As(name="eve", tenant="eve")
    exchange = desk.ask("/v1/screen", body(), headers)
    assert document(exchange)["tenant"] == "eve"


def test_rows_belong_to_the_tenant_of_their_sender() -> None:
    desk = Desk(access=As())
    assert document(desk.ask("/v1/screen", body()))["tenant"] == "acme"
    assert desk.ask("/v1/screen", body(tenant="globex")).status == 403
    table = ipc(pa.table({"text": ["a"], "tenant": ["globex"]}))
    assert desk.ask("/v1/screen/batch", table, ARROW).status == 403
    table = ipc(pa.table({"text": ["a"]}))
    answer = pa.ipc.open_stream(taken(desk.ask("/v1/screen/batch", table, ARROW))).read_all()
    assert answer.column("tenant").to_pylist() == ["acme"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.role is not None])
def test_a_route_is_denied_without_its_role(route: Any) -> None:
    others = frozenset({"screen", "review", "admin", "metrics"}) - {route.role}
    desk = Desk(access=As(roles=others))
    exchange = desk.open(route.path.replace("{id}", "a"), method=route.method)
    assert exchange.status == 403
    assert desk.denied[0]["identity"] == "ada"
    assert desk.denied[0]["kind"] == "forbidden"


@pytest.mark.parametrize("greedy", [1, 3])
def test_who_has_many_answers_kept_costs_those_with_few_none_of_theirs(greedy: int) -> None:
    desk = Desk(access=As())
    desk.service.answers = Answers(max_bytes=64 << 10)
    access = desk.service.access
    assert isinstance(access, As)

    def ask(name: str, key: str) -> bool:
        """Whether the answer was one that was kept."""
        access.identity = dataclasses.replace(access.identity, name=name)
        exchange = desk.ask("/v1/screen", body(), [*JSON, (b"idempotency-key", key.encode())])
        assert exchange.status == 200
        return "idempotency-replayed" in dict(exchange.headers)

    for number in range(4):
        assert not ask("few", f"{number}")
    for number in range(300):
        for one in range(greedy):
            assert not ask(f"greedy {one}", f"{number}")
    kept = [[ask(f"greedy {one}", f"{number}") for number in range(300)] for one in range(greedy)]
    assert [ask("few", f"{number}") for number in range(4)] == [True] * 4
    # The latest of what was sent first are kept of each, and all together no more than there is room for.
    assert kept[0][0] is False
    assert 400 * len(desk.service.answers) < 64 << 10
    desk.now += 601
    assert not ask("few", "0")


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(1, 10_000))
def test_shares_fill_the_room_and_touch_nobody_who_keeps_less(used: list[int], room: int) -> None:
    most = level(used, room)
    kept = [min(one, most) for one in used]
    if sum(used) > room:
        assert sum(kept) <= room < sum(min(one, most + 1) for one in used) + len(used)
    else:
        assert kept == used


def foreign(*names: str | None) -> bytes:
    return ipc(pa.table({"text": ["a"] * len(names), "tenant": pa.array(names, pa.string())}))


ELSEWHERE = [
    ("/v1/screen", JSON, body(tenant="globex")),
    ("/v1/sessions/s/turns", JSON, body(tenant="globex")),
    ("/v1/sessions/s/turns", JSON, json.dumps({"turns": [{"text": "a"}, {"text": "b", "tenant": "globex"}]}).encode()),
    ("/v1/screen/batch", ARROW, foreign(None, "globex")),
    ("/v1/screen/batch", NDJSON, ndjson({"text": "a"}, {"text": "b", "tenant": "globex"})),
    ("/v1/screen/stream", NDJSON, ndjson({"text": "a"}, {"text": "b", "tenant": "globex"})),
    ("/v1/screen/output?tenant=globex", NDJSON, ndjson({"text": "a"})),
    ("/v1/admin/sessions/s/release?tenant=globex", JSON, b""),
]


@pytest.mark.parametrize(("target", "headers", "content"), ELSEWHERE)
def test_who_names_another_tenant_is_denied_and_recorded_once_on_every_route(
    target: str, headers: list[tuple[bytes, bytes]], content: bytes
) -> None:
    desk = Desk(access=As(roles=frozenset({"screen", "admin"})))
    exchange = desk.ask(target, content, headers, peer=Peer("192.0.2.7"))
    if "stream" in target:
        found = [one for one in documents(exchange) if "problem" in one]
        assert [(one["request_id"], one["problem"]["status"]) for one in found] == [("1", 403)]
    else:
        assert exchange.status == 403
    assert desk.denied == [
        {
            "method": "POST",
            "path": target.partition("?")[0],
            "peer": "192.0.2.7",
            "identity": "ada",
            "reason": "ada may not send for another tenant",
            "kind": "forbidden",
        }
    ]
    assert 'aimds_denied_total{reason="forbidden"} 1.0' in desk.service.metrics.text().decode()


def test_every_route_that_takes_a_tenant_is_among_those_tried() -> None:
    tried = {route_of("POST", target.partition("?")[0])[0].name for target, _, _ in ELSEWHERE}
    assert tried == {route.name for route in ROUTES if route.method == "POST"} - {"reload"}


@pytest.mark.parametrize("kind", [ARROW, NDJSON])
def test_a_row_of_another_tenant_in_a_batch_whose_answer_has_begun_is_recorded(kind: Any) -> None:
    desk = Desk(access=As(), limits=Limits(piece_rows=1))
    exchange = desk.open("/v1/screen/batch", kind)
    if kind == ARROW:
        # Behind the schema each message stands by itself.
        rows = [pa.record_batch({"text": ["a"], "tenant": [name]}) for name in ("acme", "globex")]
        whole, cut = ipc(pa.Table.from_batches(rows)), len(ipc(rows[0])) - len(END)
        parts = [whole[:cut], whole[cut:]]
    else:
        parts = [ndjson({"text": "a"}), ndjson({"text": "b", "tenant": "globex"})]
    exchange.receive(parts[0], desk.now)
    desk.run()
    assert exchange.status == 200
    exchange.receive(parts[1], desk.now)
    desk.run()
    assert exchange.broken
    assert [note["reason"] for note in desk.denied] == ["ada may not send for another tenant"]


def test_each_who_waits_for_a_denied_batch_with_the_same_key_is_recorded() -> None:
    desk = Desk(access=As())
    headers = [*NDJSON, (b"idempotency-key", b"k")]
    content = ndjson({"text": "b", "tenant": "globex"})
    first, second = desk.open("/v1/screen/batch", headers), desk.open("/v1/screen/batch", headers)
    first.receive(b"\n", desk.now)
    feed(desk, second, b"\n" + content)
    feed(desk, first, content)
    assert (first.status, second.status, len(desk.denied)) == (403, 403, 2)


def test_a_line_of_another_tenant_beyond_the_rate_is_refused_for_that_and_not_recorded() -> None:
    desk = Desk(access=As(), rates=Rates(1.0, 2.0))
    exchange = desk.ask("/v1/screen/stream", ndjson(*[{"text": "a", "tenant": "globex"}] * 50), NDJSON)
    told = [one["problem"]["status"] for one in documents(exchange)]
    assert told == [403] * 2 + [429] * 48
    assert len(desk.denied) == 2


def test_a_denial_of_a_row_that_cannot_be_recorded_says_so() -> None:
    desk = Desk(access=As())

    def broken(_: dict[str, Any]) -> None:
        raise DataError("log", "disk full")

    desk.service.hooks = dataclasses.replace(desk.service.hooks, denied=broken)
    exchange = desk.ask("/v1/screen", body(tenant="globex"))
    assert exchange.status == 403
    assert "not recorded: DataError" in document(exchange)["detail"]


@pytest.mark.parametrize(
    ("priority", "urgency"),
    [
        ("u=0", 0),
        ("u=7", 7),
        ("i, u=1", 1),
        ("u=2,i", 2),
        (None, 3),
        ("", 3),
        ("i", 3),
        ("u=8", 3),
        ("u=", 3),
        ("u=-1", 3),
        ("u=00", 3),
        ("urgent", 3),
    ],
)
def test_the_priority_of_a_request_moves_it_before_or_behind_others(priority: str | None, urgency: int) -> None:
    desk = Desk(batch=BatchConfig(max_rows=1))
    headers = [*JSON, *([] if priority is None else [(b"priority", priority.encode())])]
    asked = desk.open("/v1/screen", headers)
    feed(desk, asked, body())
    others = []
    for step in range(8):
        # A hair later than those before, so that what is as urgent stands behind.
        desk.now += 1e-6
        others.append(desk.open("/v1/screen", [*JSON, (b"priority", b"u=%d" % step)]))
        feed(desk, others[-1], body())
    before = 0
    while not asked.status:
        desk.step()
        before = sum(bool(one.status) for one in others)
    assert before == urgency


def test_early_data_may_only_read() -> None:
    desk = Desk()
    early = Peer("127.0.0.1", early=True)
    assert desk.open("/v1/screen", peer=early).status == 425
    assert desk.open("/healthz", method="GET", peer=early).status == 200


def test_draining_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    desk = Desk()
    one, stream = desk.open("/v1/screen"), desk.open("/v1/screen/stream", NDJSON)
    feed(desk, one, body())
    stream.receive(ndjson({"text": "a"}, {"text": "b"}), desk.now)
    desk.service.drain(desk.now)
    late = desk.open("/v1/screen")
    assert late.status == 503
    assert "retry-after" in dict(late.headers)
    assert desk.open("/readyz", method="GET").status == 503
    assert desk.open("/healthz", method="GET").status == 200
    assert not desk.service.idle
    desk.run()
    assert document(one)["status"] == "ok"
    assert len(documents(stream)) == 2
    assert stream.ended
    assert desk.service.idle


def test_draining_answers_a_stream_of_which_nothing_has_come() -> None:
    desk = Desk()
    stream = desk.open("/v1/screen/stream", NDJSON)
    desk.service.drain(desk.now)
    assert (stream.status, stream.ended) == (503, True)
    assert document(stream)["type"] == "urn:aimds:problem:draining"
    assert desk.service.idle


def test_metrics_count_what_went_through() -> None:
    desk = Desk()
    desk.ask("/v1/screen", body(ATTACK))
    desk.ask("/v1/screen", body(BOOM))
    desk.ask("/v1/screen", b"{")
    text = taken(desk.open("/metrics", method="GET")).decode()
    for line in (
        'aimds_requests_total{route="screen",status="200"} 2.0',
        'aimds_requests_total{route="screen",status="400"} 1.0',
        "aimds_threats_detected_total 2.0",
        'aimds_threats_by_type{threat_type="direct_injection"} 1.0',
        "aimds_rows_not_judged_total 1.0",
        'aimds_detection_latency_seconds_count{route="screen"} 2.0',
        "aimds_active_requests 0.0",
    ):
        assert line in text


def test_metrics_say_what_waits_and_how_large_and_how_long_batches_were() -> None:
    desk = Desk(batch=BatchConfig(max_rows=2))

    def said(name: str) -> float | None:
        taken(desk.open("/metrics", method="GET"))
        return desk.service.metrics.registry.get_sample_value(name)

    asked = [desk.open("/v1/screen") for _ in range(5)]
    for number, one in enumerate(asked):
        feed(desk, one, body("x" * 10 * number))
    assert (said("aimds_queue_rows"), said("aimds_queue_bytes")) == (5, 100)
    assert (said("aimds_batch_rows_count"), said("aimds_batch_seconds_count")) == (0, 0)
    desk.step()
    assert (said("aimds_queue_rows"), said("aimds_queue_bytes")) == (3, 90)
    assert (said("aimds_batch_rows_count"), said("aimds_batch_rows_sum")) == (1, 2)
    # A batch of the desk takes a millisecond.
    assert said("aimds_batch_seconds_sum") == pytest.approx(0.001)
    desk.run()
    assert (said("aimds_queue_rows"), said("aimds_queue_bytes")) == (0, 0)
    assert (said("aimds_batch_rows_count"), said("aimds_batch_rows_sum")) == (3, 5)
    assert said("aimds_batch_seconds_count") == 3
    assert said("aimds_batch_seconds_sum") == pytest.approx(0.003)


@pytest.mark.parametrize("withheld", ["recorded", "carried out"])
def test_rows_whose_verdicts_are_withheld_are_counted_as_shed_and_have_no_latency(withheld: str) -> None:
    def full(*_: object) -> Any:
        raise DataError("audit.log", "cannot be written: No space left on device")

    desk = Desk()
    one = desk.open("/v1/screen")
    stream = desk.open("/v1/screen/stream", NDJSON)
    bulk = desk.open("/v1/screen/batch", NDJSON)
    feed(desk, one, body())
    feed(desk, stream, ndjson({"text": "a"}, {"text": "b"}, {"text": "c"}))
    feed(desk, bulk, ndjson({"text": "a"}, {"text": "b"}))
    batch = desk.service.poll(desk.now)
    assert batch is not None
    pieces = [job.payload for job in batch.jobs]
    hooks = {"record": full} if withheld == "recorded" else {"respond": full}
    judged = judge(desk.screener.screen_batch, desk.screener.unjudged, pieces, **hooks)
    desk.service.complete(batch, judged, desk.now)
    assert one.status == 500
    assert [line["problem"]["status"] for line in documents(stream)] == [500] * 3
    assert [line["status"] for line in documents(bulk)] == ["error"] * 2
    text = desk.service.metrics.text().decode()
    assert 'aimds_shed_rows_total{reason="internal"} 6.0' in text
    assert "aimds_rows_total{" not in text
    assert "aimds_detection_latency_seconds_count{" not in text


def described() -> Any:
    return document(Desk().open("/openapi.json", method="GET"))


def operation(found: Any, name: str) -> Any:
    return next(one for methods in found["paths"].values() for one in methods.values() if one["operationId"] == name)


def test_the_openapi_document_names_every_route() -> None:
    found = described()
    assert {(path, method) for path, methods in found["paths"].items() for method in methods} == {
        (route.path, route.method.lower()) for route in ROUTES
    }
    schemas = found["components"]["schemas"]
    assert set(schemas["Verdict"]["properties"]) == {*VERDICTS.names, "route"}
    for route in ROUTES:
        one = operation(found, route.name)
        assert "Retry-After" in one["responses"]["default"]["headers"]
        assert ("security" in one) is (route.role is not None)
        for kind, content in one["responses"]["200"]["content"].items():
            assert ("schema" in content) is (kind != "application/vnd.apache.arrow.stream"), route.name
    kinds = {(one["type"], one.get("name")) for one in found["components"]["securitySchemes"].values()}
    assert kinds == {("http", None), ("apiKey", "X-API-Key"), ("mutualTLS", None)}
    assert {name for one in operation(found, "screen")["security"] for name in one} == set(
        found["components"]["securitySchemes"]
    )


def looked_up(part: str) -> set[str]:
    """What the gateway looks up in the ``part`` of a head, by its code."""
    names: set[str] = set()
    for path in Path(headers_module.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr=where)), args=[name, *_]):
                    if where == part:
                        said = name.value if isinstance(name, ast.Constant) else getattr(headers_module, name.id)
                        names.add(said.lower())
    return names


def test_all_that_the_gateway_looks_up_in_a_head_stands_in_the_openapi_document() -> None:
    found = described()
    said: dict[str, set[str]] = {"query": set(), "header": set(), "path": set()}
    for methods in found["paths"].values():
        for one in methods.values():
            for parameter in one.get("parameters", ()):
                said[parameter["in"]].add(parameter["name"].lower())
    assert said["query"] == looked_up("query")
    # Those of HTTP itself, and what shows who asks, stand elsewhere in a document.
    elsewhere = {"content-type", "content-length", "content-encoding", "accept", "authorization", "x-api-key"}
    assert said["header"] == looked_up("headers") - elsewhere
    assert {one["name"] for one in operation(found, "output")["parameters"] if one["in"] == "query"} == {
        "request_id",
        "session_id",
        "tenant",
    }


def test_what_every_route_answers_is_as_the_openapi_document_says() -> None:
    found = described()
    registry = {"$defs": found["components"]["schemas"]}
    text = json.dumps(found).replace("#/components/schemas/", "#/$defs/")
    found, registry = json.loads(text), json.loads(json.dumps(registry).replace("#/components/schemas/", "#/$defs/"))
    asked = {
        "screen": [("/v1/screen", JSON, body(ATTACK)), ("/v1/screen?verdict=brief", JSON, body())],
        "turns": [("/v1/sessions/s/turns", JSON, body()), ("/v1/sessions/s/turns?verdict=brief", JSON, body())],
        "batch": [("/v1/screen/batch", NDJSON, ndjson({"text": ATTACK}, {"text": 1}))],
        "stream": [("/v1/screen/stream", NDJSON, ndjson({"text": ATTACK}, {"text": 1}))],
        "output": [("/v1/screen/output", NDJSON, ndjson({"text": f"a {SECRET} b"}, {"text": ATTACK}))],
        "status": [("/v1/admin/status", JSON, b"")],
        "reload": [("/v1/admin/reload", JSON, b"")],
        "sessions": [("/v1/admin/sessions", JSON, b"")],
        "release": [("/v1/admin/sessions/s/release", JSON, b"")],
        "health": [("/healthz", JSON, b"")],
        "ready": [("/readyz", JSON, b"")],
        "openapi": [("/openapi.json", JSON, b"")],
    }
    assert {*asked, "metrics"} == {route.name for route in ROUTES}
    held = {"session_action": "quarantine", "tenant": None, "session_id": "s", "sender": "ada"}
    held |= {"since": "2026-01-01T00:00:00+00:00", "seconds_left": None, "request_id": "r"}
    for name, requests in asked.items():
        route = next(route for route in ROUTES if route.name == name)
        for target, headers, content in requests:
            desk = Desk()
            desk.service.hooks = dataclasses.replace(desk.service.hooks, release=lambda *_: True, held=lambda _: [held])
            exchange = desk.ask(target, content, headers, method=route.method)
            assert exchange.status == 200, name
            kind = dict(exchange.headers)["content-type"]
            schema = operation(found, name)["responses"]["200"]["content"][kind]["schema"]
            valid = Draft202012Validator({**schema, **registry})
            for one in taken(exchange).splitlines():
                valid.validate(json.loads(one))
    refused = Desk().ask("/v1/screen", b"{")
    Draft202012Validator({"$ref": "#/$defs/Problem", **registry}).validate(document(refused))


@settings(max_examples=150)
@given(
    st.sampled_from(
        ["/v1/screen", "/v1/screen/batch", "/v1/screen/stream", "/v1/sessions/a/turns", "/v1/screen/output"]
    ),
    st.sampled_from([JSON, NDJSON, ARROW, [(b"content-type", b"text/plain")]]),
    st.binary(max_size=300),
    st.integers(1, 50),
)
def test_no_body_breaks_the_service(target: str, headers: list[tuple[bytes, bytes]], content: bytes, size: int) -> None:
    desk = Desk()
    exchange = desk.open(target, headers)
    feed(desk, exchange, content, size)
    desk.run()
    assert exchange.ended
    assert exchange.status in (200, 400, 413, 415, 422)
    assert desk.service.idle


def test_everybody_is_local_without_access() -> None:
    assert Desk().service.access.identify(None, None, None, 0.0) is LOCAL  # type: ignore[arg-type]
