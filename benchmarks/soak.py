"""A gateway at a steady load for minutes: memory flat, nothing left open, no verdict lost: `python -m benchmarks.soak`.

Memory, streams, tasks, threads and open files are looked at all the time. A ninth of the requests are streams of their
own, the others share one long stream that is opened anew every 15 seconds. The rate is half of what a short run at full
speed gave, or ``--rate``. Prints one JSON document; exit code 1 where something did not hold. ``--svg`` draws memory
and what is held over time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from aimds.gateway.client import AsyncClient
from aimds.gateway.load import measure, texts
from aimds.gateway.packets.credit import STREAMS
from benchmarks.served import Served, served

SINGLE = 1 / 9
ROUND_S = 15.0
GROWTH = 1.1
"""Memory of the last third by that of the second: above, it grows."""
PROBE_ROWS = 4000


def memory_mib(process: int) -> float:
    """Resident memory of ``process`` and its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    pages = 0
    for one in (str(process), *children):
        pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


LETTER = 6.2
"""Width of a letter of the picture, about."""
HELD = ("streams", "answers", "tasks", "threads", "files")


STAYED = ("connections", "streams", "tasks", "threads", "files")
"""What is to be as before once the clients are gone."""


def lines(path: Path) -> list[dict[str, float]]:
    """What `benchmarks.watched` has noted so far."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]


def grown(notes: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of each thing held: the median of the second third of the time, of the last, and the most there ever was."""
    third = len(notes) // 3
    parts = notes[third : 2 * third] or notes, notes[2 * third :]
    return {
        name: [*(median(one[name] for one in part) for part in parts), max(one[name] for one in notes)] for name in HELD
    }


async def gauges(client: AsyncClient) -> dict[str, float]:
    """All that /metrics says, by name with labels."""
    lines = (await client.request("GET", "/metrics")).body.decode().splitlines()
    return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[:1] != "#")}


async def capacity(where: Served) -> float:
    """Verdicts a second at full speed, on one stream."""

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number, text in enumerate(islice(texts(Random(1)), PROBE_ROWS)):
            yield {"text": text, "request_id": str(number)}

    async with AsyncClient(where.url, where.options) as client:
        began = time.perf_counter()
        found = [one async for one in client.stream(rows(), brief=True)]
        return len(found) / (time.perf_counter() - began)


async def run(where: Served, seconds: float, rate: float) -> dict[str, Any]:
    """The load, watched."""
    samples: list[dict[str, float]] = []
    totals = {"sent": 0, "verdicts": 0, "refused": 0, "failed": 0, "unjudged": 0}
    latencies: list[float] = []
    began, number, before = time.perf_counter(), 0, where.cpu_s()
    async with AsyncClient(where.url, where.options) as client:
        while (left := seconds - (time.perf_counter() - began)) > 1:
            number += 1
            part = min(ROUND_S, left)
            found = await asyncio.gather(
                measure(client, rate * (1 - SINGLE), part, Random(number), clock=time.perf_counter),
                measure(client, rate * SINGLE, part, Random(-number), single=True, clock=time.perf_counter),
            )
            for one in found:
                for name in totals:
                    totals[name] += len(one.latencies) if name == "verdicts" else getattr(one, name)
                latencies += one.latencies
            verdicts = sum(len(one.latencies) / max(one.took_s, 1e-9) for one in found)
            at = time.perf_counter() - began
            memory = memory_mib(where.process)
            load = os.getloadavg()[0]
            samples.append({"at_s": at, "memory_mib": memory, "verdicts_per_s": verdicts, "load": load})
            print(json.dumps({key: round(value, 1) for key, value in samples[-1].items()}), file=sys.stderr, flush=True)
    took = where.cpu_s() - before
    await asyncio.sleep(1.0)
    async with AsyncClient(where.url, where.options) as client:
        metrics = await gauges(client)
    latencies.sort()
    third = max(1, len(samples) // 3)
    resident, loads = ([one[name] for one in samples] for name in ("memory_mib", "load"))
    quantiles = {f"p{q}_ms": round(1e3 * latencies[int(len(latencies) * q / 100)], 2) for q in (50, 90, 99)}
    rows = sum(value for name, value in metrics.items() if name.startswith("aimds_rows_total"))
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "rate": round(rate, 1),
        **totals,
        **quantiles,
        "server_us": round(1e6 * took / max(totals["verdicts"], 1), 1),
        "load": [min(loads), median(loads), max(loads)],
        "rows_screened": int(rows),
        "open_requests": int(metrics["aimds_active_requests"]),
        "memory_mib": [
            round(resident[0], 1),
            round(median(resident[third : 2 * third] or resident), 1),
            round(resident[-1], 1),
        ],
        "growth": round(median(resident[-third:]) / median(resident[third : 2 * third] or resident), 4),
        "samples": samples,
    }


def faults(found: dict[str, Any], probed: int) -> list[str]:
    """What did not hold."""
    wrong = []
    for name, (before, after, most) in found["held"].items():
        # Streams come and go with the load, up to what a client may have open; answers are kept for ten minutes.
        if most > STREAMS + 8 if name == "streams" else name != "answers" and after > before + 2:
            wrong.append(f"{name} grow")
    wrong += [f"{name} stayed" for name in STAYED if found["left"][name] > found["idle"][name] + 2]
    if found["verdicts"] != found["sent"] or found["refused"] or found["failed"] or found["unjudged"]:
        wrong.append("not every request has its verdict")
    if found["rows_screened"] != found["verdicts"] + probed:
        wrong.append("verdicts were lost or doubled")
    # The request that reads the metrics is not open any more when they are written.
    if found["open_requests"] > 0:
        wrong.append("requests stayed open")
    if found["growth"] > GROWTH:
        wrong.append("memory grows")
    return wrong


def drawing(samples: list[dict[str, float]], notes: list[dict[str, float]]) -> str:
    """Memory and verdicts a second, and below what is held, over time as SVG; each line by its largest value."""
    width, left, right, tall = 740, 20, 20, 150
    last = samples[-1]["at_s"]
    begun = notes[0]["at"]
    held = [{**one, "at_s": one["at"] - begun} for one in notes]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 400" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="400" fill="#ffffff"/>',
    ]
    rows = (
        (30, samples, (("memory_mib", "memory, MiB", "#1d4ed8"), ("verdicts_per_s", "verdicts/s", "#b45309"))),
        (210, held, tuple(zip(HELD, HELD, ("#047857", "#7c3aed", "#1d4ed8", "#b45309", "#6b7280"), strict=True))),
    )
    for top, points, kinds in rows:
        parts.append(f'<path d="M{left} {top}V{top + tall}H{width - right}" fill="none" stroke="#9ca3af"/>')
        at = left + 6.0
        for name, label, colour in kinds:
            most = max(one[name] for one in points) or 1.0
            line = " ".join(
                f"{left + (width - left - right) * min(one['at_s'] / last, 1.0):.1f},"
                f"{top + tall - (tall - 10) * one[name] / most:.1f}"
                for one in points
            )
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            said = f"{label}, at most {most:,.0f}"
            parts.append(f'<text x="{at:.0f}" y="{top - 6}" fill="{colour}">{said}</text>')
            at += LETTER * (len(said) + 3)
    parts.append(f'<text x="{left}" y="384" fill="#374151">0 s</text>')
    parts.append(f'<text x="{width - right}" y="384" text-anchor="end" fill="#374151">{last:,.0f} s</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="a gateway at a steady load for minutes")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, help="requests a second (default: half of the capacity)")
    parser.add_argument("--workers", type=int, default=1, help="processes that judge")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw memory and what is held over time")
    parser.add_argument("--smoke", action="store_true", help="a dozen seconds at 50 requests a second")
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.rate = 12.0, 50.0
    with tempfile.TemporaryDirectory() as name, served(options.workers, notes := Path(name) / "held") as where:
        time.sleep(2.0)
        rate, probed, full, idle = options.rate, 0, None, lines(notes)[-1]
        if rate is None:
            full = min(asyncio.run(capacity(where)) for _ in range(2))
            rate, probed = full / 2, 2 * PROBE_ROWS
        before = time.time()
        found = asyncio.run(run(where, options.seconds, rate))
        after = time.time()
        # Streams are kept until the client has acknowledged that it knows of their end, connections for a while longer.
        time.sleep(5.0)
        seen = lines(notes)
    during = [one for one in seen if before + 5 < one["at"] < after - 5]
    found["held"] = grown(during)
    found["idle"], found["left"] = ({name: one[name] for name in {*HELD, *STAYED}} for one in (idle, seen[-1]))
    wrong = faults(found, probed)
    samples = found.pop("samples")
    if options.svg is not None:
        options.svg.write_text(drawing(samples, during), "utf-8")
    print(json.dumps({"workers": options.workers, "capacity": full and round(full, 1), **found, "faults": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
