"""The gateway beside other servers with the same screener behind them, over loopback: `python -m benchmarks.gateway`.

Server and client share the machine, and what both cost is counted. All servers speak TLS 1.3 and ask nobody who they
are; the same client asks all that speak HTTP/3. With ``stub`` a word decides in the screener's place, so that only the
way there and back costs; with ``fast`` it is the screener of that profile, and the others screen each request alone.

Beside the line of every benchmark: microseconds of processor time of both sides and of the server a prompt, which
other work on the machine changes less than rates, and ``cpu_ratio``, the peer's by ours. Of a case without a peer the
``peer`` is the goal.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from aimds.gateway import certificates, keys
from aimds.gateway.load import due, texts
from benchmarks import callers
from benchmarks.gateway_servers import MARK
from benchmarks.harness import Result

AT_ONCE = 64
LARGEST = 1452
"""Bytes of a datagram beside aioquic, whose cryptography refuses packets beyond 1,500."""
LEAST, LARGE = 1200, 8900
"""Bytes of datagrams of our own, compared with each other; the larger ones fit jumbo frames."""
TICK = os.sysconf("SC_CLK_TCK")
LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Side:
    """A server that runs."""

    port: int
    folder: Path
    process: int

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@dataclass(frozen=True, slots=True)
class Took:
    """Best of all rounds: prompts a second, and microseconds of both sides and of the server a prompt."""

    rate: float
    both_us: float
    server_us: float

    def better(self, other: Took | None) -> Took:
        """The best of both in each."""
        if other is None:
            return self
        return Took(max(self.rate, other.rate), min(self.both_us, other.both_us), min(self.server_us, other.server_us))


@contextmanager
def identities() -> Iterator[Path]:
    """A folder with a CA, a server's certificate, and keys that nobody uses."""
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), datetime.now(UTC)
        ca = certificates.authority("bench", now)
        certificates.write(folder, "ca", ca)
        certificates.write(folder, "server", certificates.issue(ca, "server", ["127.0.0.1", "localhost"], now))
        keys.append(folder / "keys.toml", keys.new("bench", "bench", ("screen",))[1])
        yield folder


@contextmanager
def running(kind: str, folder: Path, screener: str = "stub", size: int = 0) -> Iterator[Side]:
    """A server of ``kind`` in a process of its own."""
    more = ["--screener", screener, "--datagram", str(size)]
    command = [sys.executable, "-m", "benchmarks.gateway_servers", kind, str(folder), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{kind} did not start")
        time.sleep(0.5)
        yield Side(int(line), folder, process.pid)
    finally:
        process.kill()
        process.wait()


def timed(side: Side, prompts: int, call: Callable[[], Any]) -> tuple[Any, Took]:
    """What ``call`` gave, and what ``prompts`` took; children that it waited for count as the client."""
    begun = time.perf_counter(), sum(os.times()[:4]), side.cpu()
    found = call()
    took = time.perf_counter() - begun[0], sum(os.times()[:4]) - begun[1], side.cpu() - begun[2]
    return found, Took(prompts / took[0], 1e6 * (took[1] + took[2]) / prompts, 1e6 * took[2] / prompts)


def ran(coroutine: Coroutine[Any, Any, Any], runner: asyncio.Runner | None = None) -> Any:
    """What comes of ``coroutine``. It is no task's result: asyncio spells that out when a run ends, megabytes of it."""
    found: list[Any] = []

    async def kept() -> None:
        found.append(await coroutine)

    asyncio.run(kept()) if runner is None else runner.run(kept())
    return found[0]


def bodies(rows: int, seed: int) -> list[bytes]:
    """Requests of about 40 words; a seventh has the word that the stub blocks."""
    source = texts(Random(seed))
    return [
        json.dumps({"text": next(source) + (f" {MARK}" if number % 7 == 0 else "")}).encode() for number in range(rows)
    ]


def actions(answers: Sequence[bytes]) -> list[str]:
    """What was decided on each."""
    return [json.loads(one)["action"] for one in answers]


def compared(
    name: str, ours: Side, peer: Side, who: str, prompts: int, call: Callable[[Side], Any], read: Any, rounds: int
) -> dict[str, Any]:
    """A line of ours beside a peer, in turn."""
    best: list[Took | None] = [None, None]
    found: list[Any] = [None, None]
    for _ in range(rounds):
        for at, side in enumerate((ours, peer)):
            answers, took = timed(side, prompts, functools.partial(call, side))
            best[at], found[at] = took.better(best[at]), read(answers)
    one, other = best
    assert one is not None
    assert other is not None
    result = Result(name, one.rate, other.rate, who, one.rate / other.rate, "prompt", found[0] == found[1])
    cpu = {
        "ours_us": one.both_us,
        "peer_us": other.both_us,
        "server_us": one.server_us,
        "peer_server_us": other.server_us,
    }
    return asdict(result) | {"cpu_ratio": other.both_us / one.both_us} | cpu


def asks(kind: str, screener: str, rows: int) -> tuple[Callable[[Side], Any], Any, int]:
    """How a server of ``kind`` is asked about single prompts."""
    sent = bodies(rows, 1)
    if kind == "uvicorn":
        return lambda side: ran(callers.over_tcp(side.port, side.folder, sent, AT_ONCE // 2)), actions, rows
    return lambda side: ran(callers.singly(side.port, side.folder, sent, AT_ONCE)), actions, rows


def single(folder: Path, smoke: bool, screener: str = "stub") -> Iterator[dict[str, Any]]:
    """A prompt a stream, 64 at once: beside aioquic, hypercorn and uvicorn (32 connections over TCP)."""
    rows = 300 if smoke else 2000 if screener == "stub" else 1000
    with running("ours", folder, screener) as ours:
        for kind in ("aioquic", "hypercorn", "uvicorn"):
            if kind == "hypercorn" and importlib.util.find_spec("hypercorn") is None:
                print("SKIPPED hypercorn: not installed; see benchmarks/peers/gateway.txt", file=sys.stderr)
                continue
            with running(kind, folder, screener) as peer:
                ask, read, count = asks(kind, screener, rows)
                first = asks("ours", screener, rows)[0]
                call = lambda side, ask=ask, first=first, peer=peer: (ask if side is peer else first)(side)  # noqa: E731
                name = f"single_{screener}_{kind}"
                yield compared(name, ours, peer, kind, count, call, read, 1 if smoke else 3)


def ngtcp2(folder: Path, smoke: bool) -> Iterator[dict[str, Any]]:
    """A prompt a stream as ngtcp2's client sends them: beside aioquic and hypercorn."""
    client = shutil.which("gtlsclient")
    if client is None:
        print("SKIPPED ngtcp2: no gtlsclient here (Debian: ngtcp2-client)", file=sys.stderr)
        return
    rows = 300 if smoke else 3000
    (folder / "body.json").write_bytes(bodies(1, 2)[0])

    def call(side: Side) -> bytes:
        more = ("--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close", "-n", str(rows), "-m", "POST")
        address = f"https://127.0.0.1:{side.port}/v1/screen?verdict=brief"
        done = subprocess.run(
            [client, *more, "-d", str(folder / "body.json"), "127.0.0.1", str(side.port), address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        return done.stdout

    def read(told: bytes) -> int:
        return told.count(b"[:status: 200]")

    with running("ours", folder) as ours:
        for kind in ("aioquic", "hypercorn"):
            if importlib.util.find_spec(kind) is not None:
                with running(kind, folder) as peer:
                    yield compared(f"ngtcp2_{kind}", ours, peer, kind, rows, call, read, 1 if smoke else 3)


def short(rows: int, parts: int) -> tuple[list[pa.RecordBatch], list[bytes]]:
    """Batches of 512 texts as of `bodies`, and the ``parts`` Arrow streams of ``rows`` rows that they make."""
    sent = [json.loads(one)["text"] for one in bodies(rows * parts, 3)]
    columns = [pa.record_batch({"text": pa.array(sent[at : at + 512])}) for at in range(0, len(sent), 512)]
    return columns, [streamed_as(columns[at : at + rows // 512]) for at in range(0, len(columns), rows // 512)]


def long(rows: int) -> tuple[list[pa.RecordBatch], bytes]:
    """Batches of eight texts of 101 KB, and the Arrow stream that they make."""
    text = "the harbour was quiet and the ships came late " * 2200
    columns = [pa.record_batch({"text": pa.array([f"{at + i} {text}" for i in range(8)])}) for at in range(0, rows, 8)]
    return columns, streamed_as(columns)


def streamed_as(columns: Sequence[pa.RecordBatch]) -> bytes:
    """An Arrow stream of ``columns``."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns[0].schema) as writer:
        for one in columns:
            writer.write_batch(one)
    return bytes(sink.getvalue())


def decided(found: Any) -> list[str]:
    """The actions in a table, or in Arrow streams."""
    if isinstance(found, pa.Table):
        return list(found.column("action").to_pylist())
    return [one for each in found for one in pa.ipc.open_stream(each).read_all().column("action").to_pylist()]


def table(folder: Path, smoke: bool, screener: str = "stub", size: int = LEAST) -> Iterator[dict[str, Any]]:
    """Arrow tables: beside aioquic with the same client, and Arrow Flight."""
    rows, parts = (512, 2) if smoke else (4096, 8 if screener == "stub" else 2)
    columns, streams = short(rows, parts)

    def over_http3(side: Side) -> Any:
        return ran(callers.tables(side.port, folder, streams, size))

    with running("ours", folder, screener, size) as ours:
        for kind in ("aioquic", "flight"):
            with running(kind, folder, screener, size) as peer:
                flown = functools.partial(callers.by_flight, peer.port, folder, columns)
                call = (
                    over_http3
                    if kind == "aioquic"
                    else lambda side, p=peer, f=flown: f() if side is p else over_http3(side)
                )
                name, rounds = f"table_{screener}_{size}_{kind}", 1 if smoke else 3
                yield compared(name, ours, peer, kind, rows * parts, call, decided, rounds)


def bulk(folder: Path, smoke: bool, size: int = LARGEST) -> Iterator[dict[str, Any]]:
    """Tables of long texts: MB a second of request bodies, beside aioquic and Arrow Flight."""
    columns, stream = long(16 if smoke else 400)

    def over_http3(side: Side) -> Any:
        return ran(callers.tables(side.port, folder, [stream], size))

    with running("ours", folder, "stub", size) as ours:
        for kind in ("aioquic", "flight"):
            with running(kind, folder, "stub", size) as peer:
                flown = functools.partial(callers.by_flight, peer.port, folder, columns)
                call = (
                    over_http3
                    if kind == "aioquic"
                    else lambda side, p=peer, f=flown: f() if side is p else over_http3(side)
                )
                name = f"bulk_{size}_{kind}"
                yield in_megabytes(compared(name, ours, peer, kind, 1, call, decided, 1 if smoke else 3), [stream])


def in_megabytes(found: dict[str, Any], sent: Sequence[bytes]) -> dict[str, Any]:
    """A line that is by calls, each of which sends ``sent``, by megabytes."""
    megabytes = sum(map(len, sent)) / 1e6
    return found | {
        **{key: found[key] * megabytes for key in ("ours", "peer")},
        **{key: found[key] / megabytes for key in found if key.endswith("_us")},
        "unit": "MB",
    }


def datagram(folder: Path, smoke: bool, size: int = LARGE) -> Iterator[dict[str, Any]]:
    """Arrow tables of short and of long texts in datagrams of ``size`` bytes both ways, beside 1,200, on connections
    that are there."""
    _, tables = short(*((512, 2) if smoke else (4096, 8)))
    _, one = long(16 if smoke else 400)
    with ExitStack() as stack:
        ours, peer = (stack.enter_context(running("ours", folder, "stub", each)) for each in (size, LEAST))
        runner, open_ = stack.enter_context(asyncio.Runner()), AsyncExitStack()
        stack.callback(lambda: runner.run(open_.aclose()))
        made: dict[int, callers.Caller] = {}
        for side, each in ((ours, size), (peer, LEAST)):
            made[side.port] = caller = ran(open_.enter_async_context(callers.http3(side.port, folder, each)), runner)
            ran(callers.asked(caller, [*tables, one]), runner)
            if caller.quic._probing.size != each:
                raise RuntimeError(f"the path carries no datagrams of {each} bytes")

        def call(sent: Sequence[bytes], side: Side) -> Any:
            return ran(callers.asked(made[side.port], sent), runner)

        for name, sent, rounds in (("table", tables, 12), ("bulk", [one], 6)):
            found = compared(
                f"datagram_{size}_{name}",
                ours,
                peer,
                f"{LEAST} bytes",
                1 if name == "bulk" else sum(pa.ipc.open_stream(part).read_all().num_rows for part in sent),
                functools.partial(call, sent),
                decided,
                1 if smoke else rounds,
            )
            yield in_megabytes(found, sent) if name == "bulk" else found


async def streamed(side: Side, rate: float, seconds: float, deadline_ms: float) -> tuple[list[float], int, int]:
    """Latencies of verdicts from when each was due, how many were refused, and how many were wrong."""
    source, latencies, refused, wrong = texts(Random(7)), [], 0, 0
    over = asyncio.get_running_loop().create_future()
    waiting: dict[int, tuple[float, bool]] = {}
    held = b""

    def found(content: bytes, ended: bool) -> None:
        nonlocal held, refused, wrong
        now = time.perf_counter()
        *lines, held = (held + content).split(b"\n")
        for line in lines:
            told = json.loads(line)
            began, marked = waiting.pop(int(told["request_id"]))
            if "problem" in told:
                refused += 1
                continue
            latencies.append(now - began)
            wrong += (told["action"] == "block") is not marked
        if ended:
            over.set_result(None)

    async with callers.http3(side.port, side.folder) as caller:
        deadline = ("aimds-deadline-ms", f"{deadline_ms:g}")
        stream = caller.post("/v1/screen/stream?verdict=brief", LINES, None, found, deadline)
        number, start, plan = 0, time.perf_counter(), due(rate, seconds, Random(8))
        at = next(plan, None)
        while at is not None:
            now = time.perf_counter() - start
            part = []
            while at is not None and at <= now:
                marked = number % 7 == 0
                text = next(source) + (f" {MARK}" if marked else "")
                part.append(json.dumps({"text": text, "request_id": str(number)}).encode())
                waiting[number] = start + at, marked
                number += 1
                at = next(plan, None)
            if part:
                caller.write(stream, b"\n".join(part) + b"\n")
            await asyncio.sleep(0.001)
        caller.write(stream, b"", end=True)
        await over
    return latencies, refused, wrong + len(waiting)


def quantile(found: Sequence[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(found)
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stream(folder: Path, smoke: bool) -> Iterator[dict[str, Any]]:
    """10,000 prompts a second on one stream, the screener stubbed: verdicts a second, and latencies from when due."""
    for rate in (1000,) if smoke else (2000, 5000, 10_000):
        with running("ours", folder) as ours:
            asyncio.run(streamed(ours, 200, 1.0, 10_000))
            seconds = 1.0 if smoke else 5.0
            begun = time.perf_counter()
            (latencies, refused, wrong), took = timed(
                ours,
                int(rate * seconds),
                lambda: asyncio.run(streamed(ours, rate, seconds, 60_000)),  # noqa: B023
            )
            got = len(latencies) / (time.perf_counter() - begun)
            result = Result(
                f"stream_stub_{rate}", got, rate, "the goal", got / rate, "prompt", not wrong and not refused
            )
            times = {"p50_ms": quantile(latencies, 0.5), "p99_ms": quantile(latencies, 0.99)}
            yield asdict(result) | times | {"ours_us": took.both_us, "server_us": took.server_us}


def overload(folder: Path, smoke: bool) -> Iterator[dict[str, Any]]:
    """Twice of what the gateway can, with the screener of profile fast: verdicts in time by the capacity."""
    seconds, deadline_ms = (1.0, 1000.0) if smoke else (5.0, 1000.0)
    with running("ours", folder, "fast") as ours:
        capacity = 0.0
        for _ in range(1 if smoke else 2):
            begun = time.perf_counter()
            latencies, _, _ = asyncio.run(streamed(ours, 20_000, 0.1 if smoke else 0.4, 60_000))
            capacity = max(capacity, len(latencies) / (time.perf_counter() - begun))
        begun = time.perf_counter()
        latencies, refused, _ = asyncio.run(streamed(ours, 2 * capacity, seconds, deadline_ms))
        took = time.perf_counter() - begun
    in_time = sum(1e3 * one <= deadline_ms for one in latencies) / took
    result = Result("overload_2x", in_time, capacity, "its capacity", in_time / capacity, "prompt", True)
    times = {"admitted_p50_ms": quantile(latencies, 0.5), "admitted_p99_ms": quantile(latencies, 0.99)}
    yield asdict(result) | times | {"deadline_ms": deadline_ms, "verdicts": len(latencies), "refused": refused}


CASES: dict[str, Callable[[Path, bool], Iterator[dict[str, Any]]]] = {
    "stream": stream,
    "single": single,
    "single_fast": functools.partial(single, screener="fast"),
    "ngtcp2": ngtcp2,
    "table": table,
    "table_large": functools.partial(table, size=LARGEST),
    "table_fast": functools.partial(table, screener="fast"),
    "bulk": bulk,
    "datagram": datagram,
    "overload": overload,
}
BRIEF = ("stream", "single", "ngtcp2", "table")
"""Those of ``--smoke``: each way to ask, with a stub as the screener."""


def main() -> int:
    """Command line; exit code 1 where verdicts differ."""
    parser = argparse.ArgumentParser(description="the gateway beside other servers")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"cases to run (default all): {', '.join(CASES)}")
    parser.add_argument("--smoke", action="store_true", help=f"small sizes, by default of {', '.join(BRIEF)}")
    parser.add_argument("--datagram", type=int, default=LARGE, help="bytes of a large datagram (default %(default)s)")
    options = parser.parse_args()
    cases = CASES | {"datagram": functools.partial(datagram, size=options.datagram)}
    if unknown := [name for name in options.names if name not in CASES]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    same = True
    with ExitStack() as stack:
        folder = stack.enter_context(identities())
        for name in options.names or (BRIEF if options.smoke else CASES):
            for line in cases[name](folder, options.smoke):
                rounded = {
                    key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in line.items()
                }
                print(json.dumps(rounded), flush=True)
                same &= bool(line["same"])
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
