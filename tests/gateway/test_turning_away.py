"""Texts that are refused by what is known already, where the gateway is beyond what it can."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from aioquic.h3.connection import ErrorCode
from desk import JSON, NDJSON, PEER, Desk, document, documents, feed, ndjson
from quic import Running, body, running

from aimds.gateway.admission import BatchTime, Overloaded
from aimds.gateway.batching import BatchConfig, Batcher, Job
from aimds.gateway.headers import Head
from aimds.gateway.identity import Identity, Peer
from aimds.gateway.limits import Rates
from aimds.gateway.server import listener
from aimds.gateway.turning_away import ALIKE_S, RECENT_S, Refusal, TurningAway

ADA = Identity("ada", "acme", frozenset({"screen"}), "key")
SLACK_S = 0.25


def full(waiting: int = 200) -> Batcher:
    """A queue in which nothing more can be done in time: a batch takes a second."""
    batcher = Batcher(BatchConfig(max_rows=8, max_batch_ms=10), time=BatchTime(1.0, 0.0))
    for _ in range(waiting):
        batcher.submit(Job("acme", 1, 1, 1e6), 0.0)
    return batcher


def head(*more: tuple[bytes, bytes]) -> Head:
    return Head.read("POST", "/v1/screen", [*JSON, *more])


def told(batcher: Batcher, now: float = 100.0, rates: Rates | None = None, **changed: Any) -> tuple[TurningAway, Head]:
    """With a refusal, and a sender that was seen."""
    away, begun = TurningAway(batcher, rates or Rates()), head()
    away.refused(now)
    away.seen(begun, PEER, dataclasses.replace(ADA, **changed), SLACK_S, now)
    return away, begun


def test_a_text_is_turned_away_for_what_it_would_be_refused_for() -> None:
    batcher = full()
    away, begun = told(batcher)
    refusal = away.by_head(begun, PEER, 0.0, 100.0)
    assert refusal is not None
    with pytest.raises(Overloaded) as refused:
        batcher.check(Job("acme", 1, 0, 100.0 + SLACK_S), 100.0)
    assert str(refusal.problem) == str(refused.value)
    assert refusal.problem.document() == refused.value.document()


def test_what_is_worked_out_for_one_holds_for_those_that_come_with_it_and_not_for_long() -> None:
    away, begun = told(full())
    first = away.by_head(begun, PEER, 0.0, 100.0)
    assert away.by_head(begun, PEER, 0.1, 100.0 + 0.9 * ALIKE_S) is first
    assert away.by_head(begun, PEER, 0.0, 100.0 + 1.1 * ALIKE_S) is not first
    made: list[str] = []
    assert first is not None
    for _ in range(2):
        assert first.once("a", lambda problem: made.append(problem.kind) or b"it") == b"it"  # type: ignore[func-returns-value]
    assert made == ["overloaded"]


def test_one_that_has_more_time_than_those_before_is_looked_at_by_itself() -> None:
    away, begun = told(full(8))
    assert away.by_head(begun, PEER, 0.0, 100.0) is not None
    later = head()
    away.seen(later, PEER, ADA, 60.0, 100.0)
    assert away.by_head(later, PEER, 0.0, 100.0) is None


def test_who_has_another_deadline_is_told_when_to_come_again_with_that() -> None:
    away, _ = told(full())
    for slack_s in (0.01, 40.0):
        refusal = away.refusal(ADA, "acme", 1, slack_s, 100.0)
        assert refusal is not None
        assert f"the deadline is in {slack_s * 1e3:.0f} ms" in refusal.problem.detail
        assert refusal.problem.retry_after_s == pytest.approx(refusal.needed_s - slack_s)


def test_one_that_is_late_already_is_told_so() -> None:
    away, begun = told(Batcher())
    refusal = away.by_head(begun, PEER, SLACK_S, 100.0)
    assert refusal is not None
    assert refusal.problem.kind == "deadline-exceeded"


def test_who_can_be_served_is_let_in() -> None:
    away, begun = told(Batcher())
    assert away.by_head(begun, PEER, 0.0, 100.0) is None


def test_nobody_is_turned_away_who_was_not_seen_just_now_with_this_head_on_this_connection() -> None:
    batcher = full()
    away, begun = told(batcher)
    assert away.by_head(begun, PEER, 0.0, 100.0) is not None
    # Another connection with the same address, another head, later, or with nothing refused lately.
    assert away.by_head(begun, Peer("127.0.0.1"), 0.0, 100.0) is None
    assert away.by_head(head(), PEER, 0.0, 100.0) is None
    away.refused(100.0 + RECENT_S)
    assert away.by_head(begun, PEER, 0.0, 100.0 + RECENT_S) is None
    calm, quiet = TurningAway(batcher, Rates()), head()
    calm.seen(quiet, PEER, ADA, SLACK_S, 100.0)
    assert calm.by_head(quiet, PEER, 0.0, 100.0) is None


def test_what_may_have_an_answer_or_another_tenant_is_not_turned_away_by_its_head() -> None:
    away, begun = told(full())
    # Both share what was read of the rest.
    assert away.by_head(begun.keyed("again"), PEER, 0.0, 100.0) is None
    away, begun = told(full(), tenant=None)
    assert away.by_head(begun, PEER, 0.0, 100.0) is None


def test_who_is_turned_away_pays_with_the_rate_and_who_has_none_left_is_told_so() -> None:
    away, begun = told(full(), rates=Rates(1.0, 2.0))
    found = [away.by_head(begun, PEER, 0.0, 100.0) for _ in range(3)]
    assert [one is None for one in found] == [False, False, True]


def test_lines_are_turned_away_each_with_its_name() -> None:
    desk = Desk(batcher=full())
    stream = desk.open("/v1/screen/stream", NDJSON)
    feed(desk, stream, ndjson(*({"text": "a", "request_id": f"r{i}", "tenant": "acme"} for i in range(3))))
    # With the first refusal it is known that there is too much.
    feed(desk, stream, b"")
    other = desk.open("/v1/screen/stream", NDJSON)
    before = desk.service.metrics.registry.get_sample_value("aimds_shed_rows_total", {"reason": "overloaded"})
    feed(desk, other, ndjson(*({"text": "a", "request_id": f's"{i}', "tenant": "acme"} for i in range(4))))
    found = documents(other)
    assert [one["request_id"] for one in found] == [f's"{i}' for i in range(4)]
    assert {one["problem"]["type"] for one in found} == {"urn:aimds:problem:overloaded"}
    assert {one["status"] for one in found} == {"error"}
    assert before is not None
    after = desk.service.metrics.registry.get_sample_value("aimds_shed_rows_total", {"reason": "overloaded"})
    assert after == before + 4


class As:
    def identify(self, *_: object) -> Identity:
        return ADA


def test_over_quic_each_that_is_turned_away_has_one_whole_answer_and_the_next_are_served() -> None:
    async def test(one: Running) -> None:
        go_on, service = one.halt(), one.service
        service.batcher.time = BatchTime(30.0, 0.0)
        asked: list[Refusal | None] = []
        refusal = service.refusal

        def seen(*about: Any) -> Refusal | None:
            asked.append(refusal(*about))
            return asked[-1]

        service.refusal = seen  # type: ignore[method-assign]
        async with one.client() as client:
            waiting = client.begin("/v1/screen", body("waits"))
            async with asyncio.timeout(20):
                while not service.batcher.queued_rows:
                    await asyncio.sleep(0.01)
            answers = [await client.ask("/v1/screen", body("more")) for _ in range(5)]
            assert [answer["status"] for answer in answers] == [429] * 5
            assert {json.loads(answer["body"])["type"] for answer in answers} == {"urn:aimds:problem:overloaded"}
            assert all(answer["over"] for answer in answers)
            # The first was opened, and the second to see who sends.
            assert [found is not None for found in asked] == [False, False, False, True, True, True]
            assert one.counted("aimds_requests_total", route="screen", status="429") == 5
            assert one.counted("aimds_shed_rows_total", reason="overloaded") == 5
            assert service.open_requests == 1
            service.batcher.time = BatchTime()
            go_on()
            assert (await client.answer(waiting))["status"] == 200
            assert (await client.ask("/v1/screen", body("after")))["status"] == 200
            (connection,) = set(one.server._known.values())
            assert not connection._requests
            assert not connection._came
            assert not connection.quic.held
            async with asyncio.timeout(5):
                while any(not name & 3 for name in connection.quic._streams):
                    await asyncio.sleep(0.01)

    running(test, access=As())


def test_over_quic_one_that_is_broken_off_as_it_comes_ends_no_other() -> None:
    async def test(one: Running) -> None:
        go_on, service = one.halt(), one.service
        service.batcher.time = BatchTime(30.0, 0.0)
        async with one.client() as client:
            waiting = client.begin("/v1/screen", body("waits"))
            async with asyncio.timeout(20):
                while not service.batcher.queued_rows:
                    await asyncio.sleep(0.01)
            assert [(await client.ask("/v1/screen", body("more")))["status"] for _ in range(3)] == [429] * 3
            # Both are there when the server looks.
            client._quic.stop_stream(client.begin("/v1/screen", body("more")), ErrorCode.H3_REQUEST_CANCELLED)
            client.transmit()
            assert (await client.ask("/v1/screen", body("more")))["status"] == 429
            service.batcher.time = BatchTime()
            go_on()
            assert (await client.answer(waiting))["status"] == 200
            assert service.open_requests == 0

    running(test, access=As())


def test_over_quic_nothing_is_turned_away_once_it_drains() -> None:
    desk = Desk(batcher=full(), access=As())
    begun = head()
    for _ in range(2):
        desk.service.open("POST", "/v1/screen", JSON, PEER, desk.now, begun).end(desk.now)
        feed(desk, exchange := desk.service.open("POST", "/v1/screen", JSON, PEER, desk.now, begun), body("a"))
        assert exchange.status == 429
        assert document(exchange)["type"] == "urn:aimds:problem:overloaded"
    assert desk.service.refusal(begun, PEER, 0.0, desk.now) is not None
    desk.service.drain(desk.now)
    assert desk.service.refusal(begun, PEER, 0.0, desk.now) is None


def test_the_loop_rests_while_a_thread_judges_and_others_wait_and_answers_all_of_them() -> None:
    async def test(one: Running) -> None:
        rests: list[float] = []
        paused: list[float] = []
        pause = one.server.datagrams.pause
        one.server.datagrams.pause = lambda: paused.append(0.0) or pause()  # type: ignore[func-returns-value, method-assign]
        one.service.hooks = dataclasses.replace(one.service.hooks, rest=lambda: rests.pop() if rests else 0.0)
        async with one.client() as client:
            for number in range(3):
                before = len(paused)
                began = asyncio.get_running_loop().time()
                rests.append(0.2)
                streams = [client.begin("/v1/screen", body(f"{number} {i}")) for i in range(20)]
                assert [(await client.answer(stream))["status"] for stream in streams] == [200] * 20
                assert len(paused) == before + 1
                assert asyncio.get_running_loop().time() - began < 5
            # Closed while it rests, it stays so.
            rests.append(0.05)
            client.begin("/v1/screen", body("last"))
            async with asyncio.timeout(10):
                while len(paused) < 4:
                    await asyncio.sleep(0.001)
            one.server.close()
            await asyncio.sleep(0.1)
            assert one.server.datagrams.is_closing()

    running(test)


def test_a_loop_that_has_much_to_read_rests_as_long_as_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(one: Running) -> None:
        clock = [0.0]
        later: list[float] = []
        loop = asyncio.get_running_loop()
        server = one.server

        class Clock:
            thread_time = staticmethod(lambda: clock[0])

        monkeypatch.setattr(listener, "time", Clock)
        monkeypatch.setattr(loop, "call_later", lambda wait_s, *_: later.append(wait_s))
        one.service.hooks = dataclasses.replace(one.service.hooks, rest=lambda: 0.001)
        server._began, server._turn = 0.0, None
        for used_s, rest_s in ((0.0005, 0.001), (0.003, 0.003), (0.5, listener.SLICE_S)):
            clock[0] = server._began + used_s
            server._serve()
            assert later.pop() == pytest.approx(rest_s)
            assert not later
            clock[0] += 0.1
            server._go_on()
            assert server._turn is None
            assert server._began == clock[0]
        monkeypatch.undo()

    running(test)
