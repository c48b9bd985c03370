"""The gateway over HTTP/3 on loopback beside the bare screener: `python -m benchmarks.wire`.

Profile ``fast``, no cache, every text different, our own client; what server and client cost is counted. The peer is
the same `Screener` called in this process with batches of 512 rows. ``thread`` judges in the gateway's process.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pyarrow as pa

from aimds.gateway.client import AsyncClient
from benchmarks.harness import Case, Maker, main
from benchmarks.screen import batch, prompts, screener
from benchmarks.served import Served, served

PEER = "the bare screener"
ROWS = 512
SLACK = 0.05
"""Smoke floor: a fault trips it, a busy machine does not."""


@functools.cache
def gateway(workers: int) -> Served:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(served(workers))


def bare(asked: pa.RecordBatch) -> list[str]:
    actions: list[str] = []
    for start in range(0, asked.num_rows, ROWS):
        actions += screener().screen_batch(asked.slice(start, ROWS)).column("action").to_pylist()
    return actions


async def _streamed(where: Served, texts: list[str]) -> list[str]:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number, text in enumerate(texts):
            yield {"text": text, "request_id": str(number)}

    found: dict[int, str] = {}
    async with AsyncClient(where.url, where.options) as client:
        async for one in client.stream(rows(), brief=True):
            found[int(one["request_id"])] = one["action"]
    return [found[number] for number in range(len(texts))]


async def _singly(where: Served, texts: list[str]) -> list[str]:
    async with AsyncClient(where.url, where.options) as client:
        found = await asyncio.gather(*(client.screen(text) for text in texts))
    return [one["action"] for one in found]


async def _table(where: Served, texts: list[str]) -> list[str]:
    async with AsyncClient(where.url, where.options) as client:
        found = await client.screen_table(pa.table({"text": pa.array(texts)}))
    return list(found.column("action").to_pylist())


def of(name: str, ask: Callable[[Served, list[str]], Any], workers: int, rows: int) -> Maker:
    def make(smoke: bool) -> Iterator[Case]:
        if smoke and workers:
            # A gateway more to start; `benchmarks.soak` has one whose processes judge.
            return
        texts = prompts(256 if smoke else rows, seed=5)
        asked, where = batch(texts), gateway(workers)
        yield Case(
            name,
            "prompt",
            len(texts),
            lambda: asyncio.run(ask(where, texts)),
            lambda: bare(asked),
            PEER,
            lambda ours, theirs: bool(ours == theirs),
            SLACK / 5,
        )

    return make


CASES: dict[str, Maker] = {
    "wire_stream": of("wire_stream", _streamed, 1, 8192),
    "wire_stream_thread": of("wire_stream_thread", _streamed, 0, 8192),
    "wire_table": of("wire_table", _table, 1, 8192),
    "wire_table_thread": of("wire_table_thread", _table, 0, 8192),
    "wire_single": of("wire_single", _singly, 1, 2048),
    "wire_single_thread": of("wire_single_thread", _singly, 0, 2048),
}

if __name__ == "__main__":
    sys.exit(main(CASES))
