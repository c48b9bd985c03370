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
