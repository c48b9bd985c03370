"""The shell around the service, apart from what carries requests."""

from __future__ import annotations

import asyncio
from typing import Any

from desk import JSON, PEER, forwards
from live import Slow
from quic import body

from aimds.gateway.batching import BatchConfig, Batcher
from aimds.gateway.exchange import Exchange
from aimds.gateway.hooks import Hooks
from aimds.gateway.pieces import Limits
from aimds.gateway.protocol import Service
from aimds.gateway.worker import Worker


def test_what_is_queued_as_the_worker_closes_is_left_alone() -> None:
    screener, told = Slow(), list[dict[str, Any]]()

    async def test() -> tuple[Exchange, Exchange]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        worker = Worker(screener)
        limits = Limits(deadline_ms=20_000)
        service = Service(
            Batcher(BatchConfig(max_rows=1)), Hooks(worker.work, worker.unjudged, forwards), limits=limits
        )
        worker.attach(service)
        runs, waits = (service.open("POST", "/v1/screen", JSON, PEER, loop.time()) for _ in range(2))
        for one in (runs, waits):
            one.receive(body("a"), loop.time())
            one.end(loop.time())
        assert await asyncio.to_thread(screener.entered.wait, 20)
        # The loop hears of the batch only when this is over.
        screener.go.set()
        worker.close()
        async with asyncio.timeout(20):
            while not runs.ended:
                await asyncio.sleep(0)
        assert worker._look_at is None or worker._look_at.cancelled()
        return runs, waits

    runs, waits = asyncio.run(test())
    assert (told, screener.batches) == ([], [1])
    assert (runs.status, waits.ended) == (200, False)


def test_where_others_are_refused_a_batch_waits_for_what_makes_it_full_and_not_for_ever() -> None:
    screener = Slow()
    screener.go.set()

    async def test() -> None:
        loop = asyncio.get_running_loop()
        worker = Worker(screener)
        batcher = Batcher(BatchConfig(max_rows=4, max_batch_ms=60_000))
        hooks = Hooks(worker.work, worker.unjudged, forwards)
        service = Service(batcher, hooks, limits=Limits(deadline_ms=300_000, max_deadline_ms=300_000))
        worker.attach(service)

        def asked() -> Exchange:
            one = service.open("POST", "/v1/screen", JSON, PEER, loop.time())
            one.receive(body("a"), loop.time())
            one.end(loop.time())
            return one

        async def answered(*some: Exchange) -> None:
            async with asyncio.timeout(20):
                while not all(one.ended for one in some):
                    await asyncio.sleep(0.001)

        await answered(asked())
        batcher.refused(loop.time() + 100)
        waiting = [asked() for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(one.ended for one in waiting)
        await answered(asked(), *waiting)
        assert screener.batches == [1, 4]
        batcher.config = BatchConfig(max_rows=4, max_batch_ms=100)
        await answered(asked())
        left = asked()
        batcher.config = BatchConfig(max_rows=4, max_batch_ms=60_000)
        worker.work()
        await asyncio.sleep(0.01)
        worker.close()
        assert not left.ended

    asyncio.run(test())
    assert screener.batches == [1, 4, 1]


def test_who_waits_for_a_fuller_batch_beyond_its_deadline_is_told_in_time() -> None:
    screener = Slow()
    screener.go.set()

    async def test() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        worker = Worker(screener)
        batcher = Batcher(BatchConfig(max_rows=4, max_batch_ms=60_000))
        service = Service(
            batcher, Hooks(worker.work, worker.unjudged, forwards), limits=Limits(deadline_ms=400, max_deadline_ms=400)
        )
        worker.attach(service)
        found = []
        async with asyncio.timeout(20):
            for _ in range(2):
                one = service.open("POST", "/v1/screen", JSON, PEER, loop.time())
                one.receive(body("a"), loop.time())
                one.end(loop.time())
                while not one.ended:
                    await asyncio.sleep(0.001)
                found.append(one.status)
                batcher.refused(loop.time() + 100)
        worker.close()
        return found[0], found[1]

    assert asyncio.run(test()) == (200, 504)
    assert screener.batches == [1]
