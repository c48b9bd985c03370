"""Lines of a stream that come together: queued as one job, judged, refused and counted each by itself."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from desk import ATTACK, BOOM, NDJSON, PEER, Desk, documents, feed, forwards, ndjson
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from aimds.gateway.batching import BatchConfig, Batcher
from aimds.gateway.frames import Setup
from aimds.gateway.hooks import Hooks
from aimds.gateway.identity import Identity
from aimds.gateway.judges import Judges
from aimds.gateway.limits import Rates
from aimds.gateway.protocol import Service
from aimds.gateway.settings import Screening
from aimds.gateway.worker import Worker
from aimds.metrics import observed


def asked(desk: Desk, *rows: dict[str, Any], headers: Any = ()) -> list[Any]:
    exchange = desk.open("/v1/screen/stream?verdict=brief", [*NDJSON, *headers])
    feed(desk, exchange, ndjson(*rows))
    desk.run()
    return documents(exchange)


def counted(desk: Desk, name: str) -> float:
    (line,) = [one for one in desk.service.metrics.text().decode().splitlines() if one.startswith(name + " ")]
    return float(line.rpartition(" ")[2])


def test_lines_that_come_together_are_one_job_and_no_more_than_an_eighth_of_a_batch() -> None:
    desk = Desk(batch=BatchConfig(max_rows=64))
    jobs: list[int] = []
    submit = desk.service.batcher.submit
    desk.service.batcher.submit = lambda job, now: (jobs.append(job.rows), submit(job, now))[1]  # type: ignore[method-assign, func-returns-value, assignment]
    found = asked(desk, *({"text": f"{i}"} for i in range(20)))
    assert jobs == [8, 8, 4]
    assert [one["request_id"] for one in found] == [f"{i}" for i in range(20)]


def test_lines_of_other_tenants_deadlines_and_urgencies_are_other_jobs() -> None:
    desk = Desk()
    likes = [{}, {"tenant": "a"}, {"deadline_ms": 500}, {"urgency": 0}]
    rows = [{"text": ATTACK if i % 3 else "a", **likes[i % 4]} for i in range(40)]
    exchange = desk.open("/v1/screen/stream", NDJSON)
    exchange.receive(ndjson(*rows), desk.now)
    assert desk.service.batcher.waiting_tenants == 2
    batch = desk.service.poll(desk.now)
    assert batch is not None
    told = {(job.tenant, round(job.deadline - desk.now, 3), job.urgency, job.rows) for job in batch.jobs}
    assert told == {("local", 1.0, 3, 10), ("a", 1.0, 3, 10), ("local", 0.5, 3, 10), ("local", 1.0, 0, 10)}


def test_a_line_that_breaks_a_kernel_or_cannot_be_read_is_alone_with_that() -> None:
    found = asked(Desk(), {"text": "a"}, {"text": BOOM}, {"no": "text"}, {"text": ATTACK}, {"text": "b", "urgency": 9})
    by = {one["request_id"]: one for one in found}
    assert {name: one["status"] for name, one in by.items()} == {
        "0": "ok",
        "1": "error",
        "2": "error",
        "3": "ok",
        "4": "error",
    }
    assert by["3"]["action"] == "block"
    assert by["2"]["problem"]["status"] == by["4"]["problem"]["status"] == 422
    assert "line 3" in by["2"]["error"]


def test_what_an_identity_may_still_send_of_its_rate_is_taken_and_the_rest_refused_each_once() -> None:
    desk = Desk(rates=Rates(10, 25))
    found = asked(desk, *({"text": f"{i}"} for i in range(60)))
    refused = [one for one in found if "problem" in one]
    assert sorted(int(one["request_id"]) for one in found) == list(range(60))
    assert len(refused) == 35
    assert {one["problem"]["type"] for one in refused} == {"urn:aimds:problem:rate-limited"}
    assert counted(desk, 'aimds_shed_rows_total{reason="rate-limited"}') == 35
    desk.now += 1
    assert sum("problem" in one for one in asked(desk, *({"text": "a"} for _ in range(12)))) == 2


def test_of_lines_that_cannot_all_be_in_time_those_are_taken_that_can() -> None:
    batcher = Batcher()
    for rows in (1, 64) * 60:
        batcher.time.observe(rows * 200, rows * 2e-3)
    desk = Desk(batcher=batcher)
    deadline = (b"aimds-deadline-ms", b"100")
    found = asked(desk, *({"text": "x" * (900 - 10 * i)} for i in range(80)), headers=[deadline])
    refused = [one for one in found if "problem" in one]
    assert sorted(int(one["request_id"]) for one in found) == list(range(80))
    assert 0 < len(refused) < 80
    assert {one["problem"]["status"] for one in refused} == {429}
    assert counted(desk, 'aimds_shed_rows_total{reason="overloaded"}') == len(refused)
    assert sum(desk.screener.batches) == 80 - len(refused)


def test_rows_given_back_are_there_for_the_next() -> None:
    rates, one = Rates(1, 10), Identity("a", None, frozenset(), "key")
    rates.take(one, 10, 0.0)
    rates.give_back(one, 10)
    rates.take(one, 10, 0.0)


def test_each_line_of_a_job_is_counted_with_its_latency() -> None:
    desk = Desk()
    asked(desk, *({"text": f"{i}"} for i in range(30)))
    assert counted(desk, 'aimds_detection_latency_seconds_count{route="stream"}') == 30


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1.0, 7.0])
def test_many_observations_at_once_are_as_many_one_by_one(value: float) -> None:
    told = []
    for times in (1, 5):
        registry = CollectorRegistry()
        histogram = Histogram("h", "h", buckets=(0.1, 0.5, 1.0), registry=registry)
        for _ in range(5 // times):
            observed(histogram, value, times)
        lines = generate_latest(registry).decode().splitlines()
        told.append([line for line in lines if not line.startswith(("#", "h_created"))])
    assert [line.split(" ")[0] for line in told[0]] == [line.split(" ")[0] for line in told[1]]
    numbers = [[float(line.split(" ")[1]) for line in lines] for lines in told]
    assert numbers[0] == pytest.approx(numbers[1])


def test_a_line_that_ends_a_process_takes_none_of_those_it_came_with() -> None:
    async def run() -> None:
        command = (sys.executable, str(Path(__file__).parent / "fake_judge.py"))
        judges = Judges(Setup(Screening(), ("warm",)), 1, command)
        await judges.start()
        desk = Desk()
        worker = Worker(desk.screener, judges=judges)
        service = Service(Batcher(), Hooks(worker.work, worker.unjudged, forwards))
        worker.attach(service)
        try:
            loop = asyncio.get_running_loop()
            stream = service.open("POST", "/v1/screen/stream?verdict=brief", NDJSON, PEER, loop.time())
            stream.receive(
                ndjson(*({"text": "DIE" if i == 4 else "a", "deadline_ms": 90_000} for i in range(9))), loop.time()
            )
            stream.end(loop.time())
            async with asyncio.timeout(60):
                while not stream.ended:
                    await asyncio.sleep(0.02)
            found = [json.loads(line) for line in stream.take().splitlines()]
            assert [one["request_id"] for one in found] == [str(i) for i in range(9)]
            assert [one["status"] for one in found] == ["ok"] * 4 + ["error"] + ["ok"] * 4
            assert "process" in found[4]["problem"]["detail"]
            told = service.metrics.text().decode()
            assert 'aimds_rows_total{action="allow"} 8.0' in told
            assert 'aimds_shed_rows_total{reason="internal"} 1.0' in told
            assert 'aimds_detection_latency_seconds_count{route="stream"} 8.0' in told
        finally:
            worker.close()
            await judges.close()

    asyncio.run(run())
