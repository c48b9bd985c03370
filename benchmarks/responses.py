"""How soon a model's response is judged while it streams: `python -m benchmarks.responses`; a JSON line a case.

`aimds serve` over QUIC on loopback, profile ``fast``, no cache. So many responses at once, each of CHUNK bytes every
EVERY_S, which is faster than people read; a wait counts from when a chunk was due until a line says that all of it is
judged. All responses are over HTTP/3 connections of up to 64 streams each. Exit code 1 where a response was not judged
to its end, or more of one was released than was judged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

from aioquic.h3.events import DataReceived, HeadersReceived

from aimds.gateway.load import texts
from benchmarks import callers
from benchmarks.overload import head, quantile, serving
from benchmarks.served import Served

AT_ONCE = (1, 16, 64)
CHUNK, EVERY_S = 256, 0.25
STREAMS = 64
PATH, TEXT = "/v1/screen/output", "text/plain"


class Response:
    """One of them: what was sent of it and when, and what was said of it."""

    def __init__(self, caller: callers.Caller, key: str) -> None:
        self.waits: list[float] = []
        self.good, self.over = True, asyncio.Event()
        self._caller, self._held = caller, b""
        self._sent: list[tuple[int, float]] = []
        """Bytes up to the end of a chunk, and when it was due; those that are not judged."""
        self._size = 0
        self._stream = caller.begin(head(PATH, TEXT), None, self._told, more=(("x-api-key", key),))

    def send(self, chunk: bytes, due: float, *, end: bool) -> None:
        """A chunk of it."""
        self._size += len(chunk)
        self._sent.append((self._size, due))
        self._caller.write(self._stream, chunk, end=end)

    def _told(self, event: HeadersReceived | DataReceived | None) -> None:
        now = time.perf_counter()
        if isinstance(event, DataReceived):
            *lines, self._held = (self._held + event.data).split(b"\n")
            for line in lines:
                said: dict[str, Any] = json.loads(line)
                self.good &= "problem" not in said and said.get("released", 0) <= said.get("judged", 0)
                while self._sent and self._sent[0][0] <= said.get("judged", 0):
                    self.waits.append(now - self._sent.pop(0)[1])
        if event is None or event.stream_ended:
            self.good &= not self._sent
            self._caller.streams.pop(self._stream, None)
            self.over.set()


async def measured(where: Served, folder: Path, key: str, count: int, chunks: int) -> bool:
    """Print the line of ``count`` responses of ``chunks`` each; whether all went well."""
    source = texts(Random(11))
    async with AsyncExitStack() as stack:
        port = int(where.url.rpartition(":")[2])
        shared = [
            await stack.enter_async_context(callers.http3(port, folder))
            for _ in range((count + STREAMS - 1) // STREAMS)
        ]
        responses = [Response(shared[number // STREAMS], key) for number in range(count)]
        start, random = time.perf_counter() + 0.2, Random(12)
        # They do not beat in time.
        plan = sorted(
            (start + (chunk + random.random()) * EVERY_S, number) for number in range(count) for chunk in range(chunks)
        )
        begun, used, sent = time.perf_counter(), where.cpu_s(), [0] * count
        for due, number in plan:
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            content = b""
            while len(content) < CHUNK:
                content += next(source).encode() + b" "
            sent[number] += 1
            responses[number].send(content[:CHUNK], due, end=sent[number] == chunks)
        async with asyncio.timeout(30):
            await asyncio.gather(*(one.over.wait() for one in responses))
        wall, used = time.perf_counter() - begun, where.cpu_s() - used
    waits = [wait for one in responses for wait in one.waits]
    good = all(one.good for one in responses) and len(waits) == count * chunks
    line = {
        "responses": count,
        "chunks_per_s": count / EVERY_S,
        "judged": len(waits),
        "p50_ms": quantile(waits, 0.5),
        "p99_ms": quantile(waits, 0.99),
        "gateway_cores": used / wall,
        "load": os.getloadavg()[0],
        "all_judged": good,
    }
    print(json.dumps({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in line.items()}), flush=True)
    return good


async def every(where: Served, folder: Path, key: str, counts: Sequence[int], seconds: float) -> bool:
    """All cases."""
    await measured(where, folder, key, 1, 4)
    return all([await measured(where, folder, key, count, max(2, round(seconds / EVERY_S))) for count in counts])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="how soon a response is judged while it streams")
    parser.add_argument("--at-once", type=int, action="append", help="responses at once, repeatable")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each")
    parser.add_argument("--smoke", action="store_true", help="four responses at once of half a second, a stub judges")
    options = parser.parse_args()
    if options.smoke:
        options.at_once, options.seconds = [4], 0.5
    with serving("paced" if options.smoke else "fast", 0.02, 0) as (where, folder, secrets):
        good = asyncio.run(every(where, folder, secrets[0], options.at_once or AT_ONCE, options.seconds))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
