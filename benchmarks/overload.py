"""A gateway beyond what it can, many connections sending: `python -m benchmarks.overload`; a JSON line a case.

`aimds serve` over QUIC on loopback, an API key for each of TENANTS tenants, and as many connections of each. Every
connection sends a half of its requests on streams of their own and a half as lines of one long stream. First all are
kept busy, each with two requests at a time and no deadline that matters: what is answered then is the capacity. Then
requests go out at their times, whether or not earlier ones were answered, at multiples of the capacity, and with a
deadline; a verdict is in time when it came within that from when its request was due. In ``unequal`` the first tenant
sends ten times what each other does, all together twice the capacity.

``paced`` stands for a stub in the screener's place that sleeps (`benchmarks.paced`), so that processor time is left on
both cores: the queue decides. With ``fast`` client, network and screener share the cores, and what the client takes
from the gateway grows with the rate. ``behind_ms`` (p99) is how much later than due requests went out: where it is more
than a few, or ``client_cores`` near 1, the client is what cannot more. ``own_us`` is what the gateway's own process
takes of ``gateway_us``, where others speak QUIC or judge for it.

Exit code 1 where a request had no answer, two, or one that is not its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from aioquic.h3.events import DataReceived, HeadersReceived

from aimds.gateway import certificates, keys
from aimds.gateway.client import Options
from aimds.gateway.garbage import settle
from aimds.gateway.load import due, texts
from benchmarks import callers
from benchmarks.served import Served

TENANTS = 4
DEADLINE_MS = 250.0
TIMES = (0.5, 1.0, 2.0, 5.0)
FLOODS = 10
"""How many times as much as each of the others the first tenant sends in ``unequal``."""
WARM_S = 1.0
PATIENCE_S = 40.0
NO_HURRY_MS = 100_000.0
SINGLE, STREAM = "/v1/screen?verdict=brief", "/v1/screen/stream?verdict=brief"
JSON, LINES = "application/json", "application/x-ndjson"
SETTINGS = """
[listen]
port = 0
processes = {processes}
[tls]
certificate = "server.pem"
key = "server.key"
[auth]
keys = "keys.toml"
[screening]
profile = "fast"
cache_bytes = 0
workers = 0
"""


@contextmanager
def serving(screener: str, row_ms: float, processes: int) -> Iterator[tuple[Served, Path, list[str]]]:
    """A gateway on a free port, the folder with its CA, and a key of each tenant."""
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), datetime.now(UTC)
        ca = certificates.authority("bench", now)
        certificates.write(folder, "ca", ca)
        certificates.write(folder, "server", certificates.issue(ca, "server", ["127.0.0.1", "localhost"], now))
        secrets = []
        for tenant in range(TENANTS):
            secret, entry = keys.new(f"k{tenant}", f"t{tenant}", ("screen",))
            keys.append(folder / "keys.toml", entry)
            secrets.append(secret)
        (folder / "aimds.toml").write_text(SETTINGS.format(processes=processes), "utf-8")
        program = ["benchmarks.paced", f"{row_ms:g}"] if screener == "paced" else ["aimds"]
        command = [sys.executable, "-m", *program, "serve", "-c", str(folder / "aimds.toml")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            address = next((line.split()[-1] for line in process.stderr if "listening on " in line), "")
            if not address:
                raise RuntimeError("the gateway did not start")
            yield Served(address, Options(ca=folder / "ca.pem"), process.pid), folder, secrets
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@dataclass(slots=True)
class Tally:
    """Of each request of a case its tenant, when it was due, when it was answered and how, and how often."""

    tenants: list[int] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    strange: int = 0
    """Answers to no request, or to another than the one of their stream."""
    left: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    then: Callable[[int], None] | None = None
    """Called with each request that was answered."""

    def begin(self, tenant: int, at: float, now: float) -> int:
        """The number of a request that goes out ``now``."""
        self.tenants.append(tenant)
        self.due.append(at)
        self.behind.append(now - at)
        self.came.append(math.nan)
        self.outcome.append("nothing")
        self.answers.append(0)
        self.left += 1
        self.over.clear()
        return len(self.due) - 1

    def answered(self, ident: Any, outcome: str, expected: int | None = None) -> None:
        """An answer names ``ident``."""
        number = int(ident) if isinstance(ident, str) and ident.isdecimal() else -1
        if not 0 <= number < len(self.due) or expected not in (None, number):
            self.strange += 1
            return
        self.answers[number] += 1
        if self.answers[number] == 1:
            self.came[number], self.outcome[number] = time.perf_counter(), outcome
            self.left -= 1
            if self.then is not None:
                self.then(number)
            if not self.left:
                self.over.set()


class Sender:
    """One connection of a tenant."""

    def __init__(self, caller: callers.Caller, tenant: int, key: str) -> None:
        self.caller, self.tenant, self._key = caller, tenant, key
        self.tally = Tally()
        self._stream, self._held = -1, b""
        self._ended = asyncio.Event()

    def begin(self, tally: Tally, deadline_ms: float) -> None:
        """Open the long stream for the requests of ``tally``."""
        self.tally, self._held = tally, b""
        self._more = ("x-api-key", self._key), ("aimds-deadline-ms", f"{deadline_ms:g}")
        self._ended.clear()

        def told(event: HeadersReceived | DataReceived | None) -> None:
            if isinstance(event, DataReceived):
                *lines, self._held = (self._held + event.data).split(b"\n")
                for line in lines:
                    found = json.loads(line)
                    tally.answered(found["request_id"], outcome(found))
            if event is None or event.stream_ended:
                self.caller.streams.pop(self._stream, None)
                self._ended.set()

        self._stream = self.caller.begin(head(STREAM, LINES), None, told, more=self._more)

    async def end(self) -> None:
        """End the long stream."""
        self.caller.write(self._stream, b"", end=True)
        await self._ended.wait()

    def line(self, number: int, text: str) -> None:
        """A request as a line of the long stream."""
        self.caller.write(self._stream, body(number, text) + b"\n")

    def single(self, number: int, text: str) -> None:
        """A request on a stream of its own."""
        tally, parts = self.tally, []

        def told(event: HeadersReceived | DataReceived | None) -> None:
            if isinstance(event, DataReceived):
                parts.append(event.data)
            if event is None or event.stream_ended:
                self.caller.streams.pop(stream, None)
                content = b"".join(parts)
                if event is None or not content:
                    tally.strange += 1
                    return
                found = json.loads(content)
                # A problem of a request as a whole names no row.
                tally.answered(found.get("request_id", str(number)), outcome(found), number)

        stream = self.caller.begin(head(SINGLE, JSON), body(number, text), told, more=self._more)


def head(path: str, kind: str) -> tuple[tuple[str, str], ...]:
    """What a request begins with."""
    first = (":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)
    return (*first, ("content-type", kind))


def body(number: int, text: str) -> bytes:
    """A request."""
    return json.dumps({"text": text, "request_id": str(number)}).encode()


def outcome(found: dict[str, Any]) -> str:
    """``verdict``, or the last part of the type of a problem."""
    problem = found.get("problem", found if "title" in found else None)
    if problem is not None:
        return str(problem["type"]).rpartition(":")[2]
    return "verdict" if found["status"] == "ok" else "unjudged"


async def busy(senders: Sequence[Sender], content: Sequence[str], seconds: float) -> tuple[float, Tally]:
    """Verdicts a second, after a first one, where each connection has a line and a single request under way all the
    time; and what became of all."""
    tally, source = Tally(), iter(content)
    sent: dict[int, tuple[Sender, bool]] = {}
    begun = time.perf_counter()
    end = begun + WARM_S + seconds

    def ask(sender: Sender, alone: bool) -> None:
        now = time.perf_counter()
        if now < end and (text := next(source, None)) is not None:
            number = tally.begin(sender.tenant, now, now)
            sent[number] = sender, alone
            (sender.single if alone else sender.line)(number, text)

    tally.then = lambda number: ask(*sent.pop(number))
    for sender in senders:
        sender.begin(tally, NO_HURRY_MS)
        ask(sender, True)
        ask(sender, False)
    async with asyncio.timeout(seconds + PATIENCE_S):
        await tally.over.wait()
    await asyncio.gather(*(sender.end() for sender in senders))
    counted = sum(
        begun + WARM_S <= came <= end and how == "verdict" for came, how in zip(tally.came, tally.outcome, strict=True)
    )
    return counted / (min(end, max(tally.came)) - begun - WARM_S), tally


async def offer(senders: Sequence[Sender], content: Sequence[str], rates: Sequence[float], seconds: float) -> Tally:
    """What became of requests that go out at ``rates`` a second of the tenants."""
    tally, random, source = Tally(), Random(7), iter(content)
    of: list[list[Sender]] = [[one for one in senders if one.tenant == tenant] for tenant in range(TENANTS)]
    plan = sorted((at, tenant) for tenant, rate in enumerate(rates) for at in due(rate, seconds, Random(tenant)))
    for sender in senders:
        sender.begin(tally, DEADLINE_MS)
    start, at = time.perf_counter() + 0.1, 0
    while at < len(plan):
        now = time.perf_counter()
        while at < len(plan) and start + plan[at][0] <= now:
            moment, tenant = plan[at]
            sender = random.choice(of[tenant])
            number = tally.begin(tenant, start + moment, time.perf_counter())
            (sender.single if at % 2 else sender.line)(number, next(source))
            at += 1
        await asyncio.sleep(0.001)
    # What is missing then is told by the tally. A second answer to a line would come before the end of its stream.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await tally.over.wait()
            await asyncio.gather(*(sender.end() for sender in senders))
    return tally


def quantile(found: Sequence[float], share: float) -> float | None:
    """In milliseconds, by nearest rank; None of nothing."""
    ordered = sorted(found)
    return 1e3 * ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def whole(tally: Tally) -> bool:
    """Whether each request had one answer, its own."""
    return not tally.strange and not tally.left and all(one == 1 for one in tally.answers)


def told(tally: Tally, seconds: float, capacity: float) -> dict[str, Any]:
    """A case as its line says it."""
    waits = [came - at for came, at in zip(tally.came, tally.due, strict=True)]
    verdicts = [wait for wait, how in zip(waits, tally.outcome, strict=True) if how == "verdict"]
    refused = [wait for wait, how in zip(waits, tally.outcome, strict=True) if how == "overloaded"]
    sent, good = Counter(tally.tenants), Counter[int]()
    for tenant, wait, how in zip(tally.tenants, waits, tally.outcome, strict=True):
        good[tenant] += how == "verdict" and 1e3 * wait <= DEADLINE_MS
    kinds = Counter(tally.outcome)
    return {
        "offered_per_s": len(waits) / seconds,
        "in_time_per_s": good.total() / seconds,
        "of_capacity": good.total() / seconds / capacity,
        "sent": len(waits),
        "verdicts": kinds.pop("verdict", 0),
        "behind_their_deadline": len(verdicts) - good.total(),
        "others": dict(kinds),
        "p50_ms": quantile(verdicts, 0.5),
        "p99_ms": quantile(verdicts, 0.99),
        "refused_p99_ms": quantile(refused, 0.99),
        "in_time_by_tenant": [good[tenant] / max(sent[tenant], 1) for tenant in range(TENANTS)],
        "behind_ms": quantile(tally.behind, 0.99),
    }


def cases(times: Sequence[float], capacity: float) -> Iterator[tuple[str, list[float]]]:
    """Names, and rates of the tenants."""
    for one in times:
        yield f"{one:g}x", [one * capacity / TENANTS] * TENANTS
    few = 2 * capacity / (FLOODS + TENANTS - 1)
    yield "unequal", [FLOODS * few, *[few] * (TENANTS - 1)]


async def measured(
    screener: str, where: Served, folder: Path, secrets: Sequence[str], options: argparse.Namespace
) -> bool:
    """Print all lines of a gateway; whether every request had its answer."""
    port, good = int(where.url.rpartition(":")[2]), True
    async with AsyncExitStack() as stack:
        senders = []
        for number in range(options.connections):
            caller = await stack.enter_async_context(callers.http3(port, folder))
            senders.append(Sender(caller, number % TENANTS, secrets[number % TENANTS]))
        source = texts(Random(5))
        settle()
        await busy(senders, list(islice(source, 200)), 0.1)

        def says(name: str, tally: Tally, line: dict[str, Any], used: tuple[float, ...]) -> None:
            wall, ours, theirs, own = used
            line |= {
                "client_cores": ours / wall,
                "gateway_cores": theirs / wall,
                "gateway_us": 1e6 * theirs / len(tally.due),
                "own_us": 1e6 * own / len(tally.due),
                "load": os.getloadavg()[0],
                "each_one_answer": whole(tally),
            }
            shown = {key: float(f"{one:.4g}") if isinstance(one, float) else one for key, one in line.items()}
            shown |= {key: [round(each, 3) for each in one] for key, one in line.items() if isinstance(one, list)}
            print(json.dumps({"screener": screener, "case": name, **shown}), flush=True)

        def clocks() -> tuple[float, ...]:
            return time.perf_counter(), time.process_time(), where.cpu_s(), where.own_cpu_s()

        content, before = list(islice(source, 60_000)), clocks()
        capacity, tally = await busy(senders, content, options.seconds)
        used = tuple(one - other for one, other in zip(clocks(), before, strict=True))
        says("capacity", tally, {"capacity_per_s": capacity, "connections": len(senders)}, used)
        good &= whole(tally)
        for name, rates in cases(options.times or TIMES, capacity):
            content = list(islice(source, int(1.2 * sum(rates) * options.seconds) + 200))
            await asyncio.sleep(1.0)
            before = clocks()
            tally = await offer(senders, content, rates, options.seconds)
            used = tuple(one - other for one, other in zip(clocks(), before, strict=True))
            says(name, tally, told(tally, options.seconds, capacity), used)
            good &= whole(tally)
    return good


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="many connections send more than the gateway can")
    parser.add_argument("screeners", nargs="*", metavar="SCREENER", help="paced, fast (default both)")
    parser.add_argument("--times", type=float, action="append", help="offered by capacity, repeatable")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each rate is kept up")
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--processes", type=int, default=0, help="of the gateway that speak QUIC (default %(default)s)")
    parser.add_argument("--row-ms", type=float, default=1.5, help="what a row takes, of paced (default %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="twice the capacity of a stub, 16 connections, a second")
    options = parser.parse_args()
    screeners = options.screeners or ["paced", "fast"]
    if options.smoke:
        options.times, options.seconds, options.connections, screeners = [2.0], 1.0, 16, ["paced"]
    if unknown := [one for one in screeners if one not in ("paced", "fast")]:
        parser.error(f"no screener {', '.join(unknown)}; there are paced, fast")
    good = True
    for screener in screeners:
        with serving(screener, options.row_ms, options.processes) as (where, folder, secrets):
            good &= asyncio.run(measured(screener, where, folder, secrets, options))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
