"""Very many connections at once, each with a stream that stays open: `python -m benchmarks.connections`.

The screener is a stub. Each connection asks twice on its stream, the second time when all are open, and once on a
stream of its own. Prints one JSON document: verdicts, memory of the gateway before, with all open, and after, and
seconds; exit code 1 where a verdict is missing, doubled or wrong, or a connection stays. With ``--times`` all come
again when all have gone, to the same gateway, which shows whether its memory grows: a document each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import ssl
import sys
import time
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from aimds.gateway.server.listener import IDLE_S
from benchmarks import callers
from benchmarks.gateway import Side, identities, running
from benchmarks.gateway_servers import MARK
from benchmarks.soak import memory_mib

AT_ONCE = 32
"""Handshakes under way."""
WAKE_S = IDLE_S / 6
"""Opening all may take longer than a connection may be silent."""
LINES, LINE = "application/x-ndjson", "/v1/screen/stream?verdict=brief"
PATIENCE_S = 300.0


def open_connections(side: Side) -> int:
    """How many the gateway says there are."""
    context = ssl.create_default_context(cafile=str(side.folder / "ca.pem"))
    with urllib.request.urlopen(f"https://127.0.0.1:{side.port}/metrics", context=context) as answer:
        lines = answer.read().decode().splitlines()
    name = 'aimds_active_connections{transport="quic"} '
    return int(float(next(line.removeprefix(name) for line in lines if line.startswith(name))))


class Visitor:
    """One connection: what it got on its long stream."""

    def __init__(self, number: int) -> None:
        self.number, self.held, self.over = number, b"", asyncio.Event()
        self.came = asyncio.Event()

    def found(self, content: bytes, ended: bool) -> None:
        """Take in a piece."""
        self.held += content
        self.came.set()
        if ended:
            self.over.set()

    def line(self, turn: str) -> bytes:
        """A request; those of even numbers are blocked."""
        text = f"{turn} {self.number}" + ("" if self.number % 2 else f" {MARK}")
        return json.dumps({"text": text, "request_id": turn}).encode() + b"\n"


async def visit(side: Side, count: int) -> tuple[Counter[tuple[int, str, str]], dict[str, Any]]:
    """All verdicts by visitor, id and action, and what was measured meanwhile."""
    verdicts: Counter[tuple[int, str, str]] = Counter()
    room, begun = asyncio.Semaphore(AT_ONCE), time.perf_counter()
    measured: dict[str, Any] = {"memory_before_mib": memory_mib(side.process)}
    async with AsyncExitStack() as stack:

        async def wake() -> None:
            while True:
                await asyncio.sleep(WAKE_S)
                for caller in entered:
                    caller.wake()

        async def enter(number: int) -> tuple[Visitor, callers.Caller, int]:
            async with room:
                caller = await stack.enter_async_context(callers.http3(side.port, side.folder))
                one = Visitor(number)
                stream = caller.post(LINE, LINES, None, one.found)
                caller.write(stream, one.line("first"))
                await one.came.wait()
                entered.append(caller)
                return one, caller, stream

        entered: list[callers.Caller] = []
        waking = asyncio.create_task(wake())
        everyone = await asyncio.gather(*(enter(number) for number in range(count)))
        measured |= {"opened_s": time.perf_counter() - begun, "memory_open_mib": memory_mib(side.process)}
        measured["open"] = await asyncio.to_thread(open_connections, side)
        for one, caller, stream in everyone:
            caller.write(stream, one.line("second"), end=True)
        found = await asyncio.gather(
            *(
                caller.ask("/v1/screen?verdict=brief", "application/json", one.line("own"))
                for one, caller, _ in everyone
            )
        )
        await asyncio.gather(*(one.over.wait() for one, _, _ in everyone))
        waking.cancel()
        measured["answered_s"] = time.perf_counter() - begun - measured["opened_s"]
        for (one, _, _), alone in zip(everyone, found, strict=True):
            for line in [*one.held.splitlines(), *alone.splitlines()]:
                told = json.loads(line)
                verdicts[one.number, told["request_id"], told["action"]] += 1
    return verdicts, measured


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="very many connections at once")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--times", type=int, default=1, help="how often all come and go")
    parser.add_argument("--smoke", action="store_true", help="40 connections")
    options = parser.parse_args()
    if options.smoke:
        options.connections = 40
    count, every = options.connections, True
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with identities() as folder, running("ours", folder) as side:

        async def whole() -> tuple[Counter[tuple[int, str, str]], dict[str, Any]]:
            async with asyncio.timeout(PATIENCE_S):
                return await visit(side, count)

        expected = Counter(
            (number, turn, "allow" if number % 2 else "block")
            for number in range(count)
            for turn in ("first", "second", "own")
        )
        for _ in range(options.times):
            verdicts, measured = asyncio.run(whole())
            closed = time.monotonic()
            # Where a datagram that closes is lost, its connection goes once it was silent for long.
            while (left := open_connections(side)) and time.monotonic() < closed + IDLE_S + 20:
                time.sleep(0.2)
            measured |= {"left": left, "gone_s": time.monotonic() - closed, "load": os.getloadavg()[0]}
            measured["memory_after_mib"] = memory_mib(side.process)
            rounded = {key: round(value, 1) for key, value in measured.items()}
            good = verdicts == expected and not left and measured["open"] == count
            print(json.dumps({"connections": count, "verdicts": verdicts.total(), **rounded, "same": good}), flush=True)
            every &= good
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
