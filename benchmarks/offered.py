"""Latency against offered load: `python -m benchmarks.offered --svg FILE`; a JSON line a rate, as of `aimds load`.

`aimds serve` without a cache, and the generator of `aimds load` on the same machine: requests go out at
their times whether or not earlier ones were answered, and wait from those times on (no coordinated omission). Beside
them stands processor time of gateway and judge a verdict, which other work on the machine changes less than latencies.
First on one stream with a stub in the screener's place, so that only the way there and back is measured, then with the
screener, on one stream and with a stream for each request. Rates go beyond what is answered: what then is refused or
late has no verdict, and its share stands below.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from aimds.gateway.client import AsyncClient, Options
from aimds.gateway.load import measure
from aimds.schema import PROFILES
from benchmarks.gateway import identities, running
from benchmarks.served import Served, served

RATES = (100.0, 400.0, 1000.0, 2000.0, 4000.0, 6000.0, 8000.0, 10_000.0, 14_000.0, 20_000.0)
MOST_SINGLE = 4000.0
"""Highest rate with a stream for each request."""
SHARES = (("p50_ms", "p50", "#1d4ed8"), ("p90_ms", "p90", "#047857"), ("p99_ms", "p99", "#b45309"))
ANSWERED = "#6b7280"
CLOSEST = 16.0
"""Rates nearer to each other than this on the page share one label."""


async def sweep(
    where: Served, mode: str, rates: Sequence[float], seconds: float, *, single: bool = False
) -> list[dict[str, Any]]:
    """What each rate gave, from the lowest on; ``mode`` is what the lines call it."""
    found = []
    for number, rate in enumerate(sorted(rates)):
        async with AsyncClient(where.url, where.options, deadline_ms=1000.0, attempts=1) as client:
            await client.screen("warm up")
            begun = where.cpu_s()
            one = await measure(client, rate, seconds, Random(number), single=single, clock=time.perf_counter)
            took = 1e6 * (where.cpu_s() - begun) / max(len(one.latencies), 1)
        # The load of the machine counts the benchmark itself.
        found.append({**one.document(), "server_us": round(took, 1), "load": os.getloadavg()[0]})
        print(json.dumps({"mode": mode, **found[-1]}), flush=True)
        await asyncio.sleep(1.0)
    return found


def drawn(panels: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> str:
    """For each mode a panel: quantiles over the offered rate, both logarithmic, and the share that had a verdict."""
    width, height, left, top = 396, 330, 74, 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * len(panels)} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{width * len(panels)}" height="{height}" fill="#ffffff"/>',
    ]
    every = [one for _, found in panels for one in found if one["p50_ms"] is not None]
    low = math.floor(math.log10(min(one["p50_ms"] for one in every)))
    high = math.ceil(math.log10(max(one["p99_ms"] for one in every)))
    first, last = (math.log10(edge(one["rate"] for one in every)) for edge in (min, max))
    for number, (title, found) in enumerate(panels):
        start = left + width * number

        def x(rate: float, start: float = start) -> float:
            return start + (math.log10(rate) - first) / (last - first) * (width - left - 20)

        def y(value: float) -> float:
            return height - 52 - (math.log10(value) - low) / (high - low) * (height - 52 - top)

        parts.append(f'<text x="{start}" y="16" fill="#111827">{title}</text>')
        for power in range(low, high + 1):
            at = y(10.0**power)
            parts.append(f'<path d="M{start} {at:.1f}H{width * (number + 1) - 20}" stroke="#e5e7eb"/>')
            said = f"{10**power:,} ms" if power >= 0 else f"{10.0**power:g} ms"
            parts.append(f'<text x="{start - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#374151">{said}</text>')
        for at, (name, label, colour) in enumerate(SHARES):
            points = [(x(one["rate"]), y(one[name])) for one in found if one[name] is not None]
            line = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5" fill="{colour}"/>' for across, down in points]
            parts.append(f'<text x="{start + 40 * at}" y="34" fill="{colour}">{label}</text>')
        parts.append(f'<text x="{start + 130}" y="34" fill="{ANSWERED}">below: share with a verdict</text>')
        written = 0.0
        for one in found:
            across, share = x(one["rate"]), one["verdicts"] / max(one["sent"], 1)
            if across - written >= CLOSEST:
                written = across
                turned = f'transform="rotate(-45 {across:.1f} {height - 36})"'
                parts.append(
                    f'<text x="{across:.1f}" y="{height - 36}" text-anchor="end" font-size="10" fill="#374151"'
                    f" {turned}>{one['rate']:,.0f}</text>"
                )
            if share < 0.995:
                parts.append(
                    f'<text x="{across:.1f}" y="{height - 56}" text-anchor="middle" font-size="10"'
                    f' fill="{ANSWERED}">{100 * share:.0f}%</text>'
                )
        middle = start + (width - left) / 2 - 10
        parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle" fill="#374151">offered a second</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Command line; exit code 1 where a request failed."""
    parser = argparse.ArgumentParser(description="latency against offered load")
    parser.add_argument("--rate", type=float, action="append", help="requests a second, repeatable")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each rate is kept up")
    parser.add_argument("--workers", type=int, default=1, help="processes that judge")
    parser.add_argument("--profile", choices=PROFILES, default="fast")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    parser.add_argument("--smoke", action="store_true", help="one low rate for a second, a stub alone as the screener")
    options = parser.parse_args()
    rates = options.rate or RATES
    if options.smoke:
        rates, options.seconds = (100.0,), 1.0
    with identities() as folder, running("ours", folder) as stub:
        where = Served(f"https://127.0.0.1:{stub.port}", Options(ca=folder / "ca.pem"), stub.process)
        empty = asyncio.run(sweep(where, "stub, stream", rates, options.seconds))
    if options.smoke:
        return 1 if any(one["failed"] or not one["verdicts"] for one in empty) else 0
    with served(options.workers, profile=options.profile) as where:
        streamed = asyncio.run(sweep(where, "stream", rates, options.seconds))
        few = [one for one in rates if one <= MOST_SINGLE]
        alone = asyncio.run(sweep(where, "single", few, options.seconds, single=True))
    if options.svg:
        panels = (
            ("a stub as the screener, one stream", empty),
            (f"{options.profile}, one stream for all requests", streamed),
            (f"{options.profile}, each request a stream of its own", alone),
        )
        options.svg.write_text(drawn(panels), "utf-8")
    return 1 if any(one["failed"] for one in (*empty, *streamed, *alone)) else 0


if __name__ == "__main__":
    sys.exit(main())
