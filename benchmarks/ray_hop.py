"""What Ray costs, on a Ray of this machine (aimds[ray]): `python -m benchmarks.ray_hop`; made-up prompts, ``fast``.

``ray_hop*``: a batch to an actor and its verdicts back, median, against the 1.5 ms that are allowed · ``ray_workers``:
a scan by two actors against one · ``ray_scan*``: a scan by one actor against one process, start-up left out and with
it · ``ray_data*``: a scan by actors against the same screener in Ray Data's map_batches, warm and with start-up.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Maker, Result, available, main
from benchmarks.scan_traffic import write_log

ALLOWED_S = 1.5e-3
SETTINGS: dict[str, Any] = {"profile": "fast", "backend": "cpu"}


class Echo:
    """Gives a table back; runs in an actor."""

    def about(self) -> int:
        return os.getpid()

    def pulse(self) -> None:
        return None

    def back(self, body: Any) -> pa.Buffer:
        return pa.py_buffer(body)


@contextmanager
def ray_here() -> Iterator[None]:
    from aimds.actors.cluster import connect

    connection = connect(None, cpus=max(2, os.cpu_count() or 2))
    try:
        yield
    finally:
        connection.close()


def of_hop(name: str, size: int) -> Maker:
    """A buffer of ``size`` bytes there and back, as `Hands` sends it."""

    def make(smoke: bool) -> Iterator[Result]:
        import asyncio

        from aimds.actors.hands import Hands
        from aimds.actors.topology import Share

        async def run() -> tuple[float, float, bool]:
            import ray

            hands = Hands("echo", "benchmarks.ray_hop:Echo", Share(1.0, 0.0))
            await hands.start(1, {})
            body, taken, same = pa.py_buffer(os.urandom(size)), [], True
            for _ in range(50 if smoke else 500):
                began = time.perf_counter()
                found = await hands.call("back", body)
                taken.append(time.perf_counter() - began)
                same &= found.equals(body)
            await hands.close()
            nothing = ray.remote(num_cpus=1)(Echo).remote()
            bare = [timed(lambda: ray.get(nothing.about.remote()))[0] for _ in taken]
            return statistics.median(taken), statistics.median(bare), same

        if available("ray") is None:
            return
        with ray_here():
            seconds, bare, same = asyncio.run(run())
        yield Result(name, 1 / seconds, 1 / ALLOWED_S, "1.5 ms", ALLOWED_S / seconds, "hop", same)
        yield Result(f"{name}_bare", 1 / seconds, 1 / bare, "an empty call", bare / seconds, "hop", same)

    return make


@functools.cache
def logs(rows: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aimds-ray-"))
    write_log(folder / "logs", rows, 4)
    return folder


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def scan(rows: int, name: str, *more: str) -> tuple[float, float, str]:
    """`aimds scan` in a process of its own: seconds in all, seconds of the work alone, and what the output is."""
    output = Path(tempfile.mkdtemp(prefix="out-", dir=logs(rows)))
    command = [sys.executable, "-m", "aimds", "scan", str(logs(rows) / "logs"), "-o", str(output), "--json", "-q"]
    command += ["--profile", "fast", "--backend", "cpu", *more]
    seconds, done = timed(lambda: subprocess.run(command, stdout=subprocess.PIPE, check=True))
    summary = json.loads(done.stdout)
    return seconds, summary["seconds"] - summary["startup_seconds"], fingerprint(output)


def result(name: str, rows: int, ours: float, peer: float, peer_name: str, same: bool) -> Result:
    return Result(name, rows / ours, rows / peer, peer_name, peer / ours, "row", same)


def make_scans(smoke: bool) -> Iterator[Result]:
    if available("ray") is None:
        return
    rows = 8_000 if smoke else 120_000
    alone = scan(rows, "alone", "--workers", "1")
    one = scan(rows, "one", "--ray", "--workers", "1")
    two = scan(rows, "two", "--ray", "--workers", "2")
    same = alone[2] == one[2] == two[2]
    yield result("ray_workers", rows, two[1], one[1], "one actor", same)
    yield result("ray_scan", rows, one[1], alone[1], "one process", same)
    yield result("ray_scan_started", rows, one[0], alone[0], "one process", same)


def make_data(smoke: bool) -> Iterator[Result]:
    """Both in this process, on one Ray, each starting its actors. Warm is what more rows take: start-up falls out."""
    if available("ray") is None or available("ray.data") is None:
        return
    few, many = (2_000, 8_000) if smoke else (20_000, 80_000)
    with ray_here():
        _ours(logs(2_000))
        ours = [_ours(logs(rows)) for rows in (few, many)]
        theirs = [_data(logs(rows)) for rows in (few, many)]
    same = all(one[1] == other[1] for one, other in zip(ours, theirs, strict=True))
    yield result("ray_data_started", few, ours[0][0], theirs[0][0], "Ray Data map_batches", same)
    more = (ours[1][0] - ours[0][0], theirs[1][0] - theirs[0][0])
    yield result("ray_data", many - few, *(max(one, 1e-3) for one in more), "Ray Data map_batches", same)


def _ours(folder: Path) -> tuple[float, list[str]]:
    from aimds.actors.topology import Share
    from aimds.jobs.scan import Factory, Scan, ScanConfig
    from aimds.jobs.scan.cluster import Actors

    output = Path(tempfile.mkdtemp(prefix="ours-", dir=folder))
    config = ScanConfig(inputs=(str(folder / "logs"),), output=output, workers=2)
    factory = Factory("aimds.jobs.scan.shipped:screener", SETTINGS)
    pool = functools.partial(Actors, output=output, workers=2, share=Share(1.0, 0.0))
    seconds, _ = timed(lambda: Scan(config, factory, pool=pool).run())
    return seconds, _actions(output)


def _data(folder: Path) -> tuple[float, list[str]]:
    import ray

    from aimds.jobs.ray_data import Screened

    ray.data.DataContext.get_current().enable_progress_bars = False
    output = Path(tempfile.mkdtemp(prefix="theirs-", dir=folder))

    def run() -> None:
        made = ray.data.read_parquet(str(folder / "logs")).map_batches(
            Screened,
            batch_format="pyarrow",
            batch_size=2048,
            concurrency=2,
            num_cpus=0.5,
            fn_constructor_kwargs={"columns": {"text": "prompt"} if _prompts(folder) else {}, **SETTINGS},
        )
        for block in made.iter_batches(batch_format="pyarrow", batch_size=None):
            pq.write_table(block.select(["action"]), output / f"{len(list(output.iterdir())):05d}.parquet")

    seconds, _ = timed(run)
    return seconds, _actions(output)


def _prompts(folder: Path) -> bool:
    first = next(iter(sorted((folder / "logs").glob("*.parquet"))))
    return "prompt" in pq.read_schema(first).names


def _actions(output: Path) -> list[str]:
    found = [str(action) for path in sorted(output.glob("*.parquet")) for action in _column(path)]
    return sorted(found)


def _column(path: Path) -> list[str]:
    return pq.read_table(path, columns=["action"])["action"].to_pylist()  # type: ignore[no-any-return]


CASES: dict[str, Maker] = {
    "ray_hop": of_hop("ray_hop", 64 << 10),
    "ray_hop_large": of_hop("ray_hop_large", 512 << 10),
    "ray_scan": make_scans,
    "ray_data": make_data,
}

if __name__ == "__main__":
    sys.exit(main(CASES))
