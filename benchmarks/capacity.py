"""How far a cluster goes, simulated: `python -m benchmarks.capacity [--svg FILE]`; a JSON line a size and layout.

Prompts pass gateway, dispatch (the Ray call of a batch), judging and sessions. A stage is some servers with a cost
a prompt; in ticks of 10 ms prompts come (Poisson, seeded), and what a stage cannot do waits before it. Carried is the
highest load at which at most 100 ms of work wait anywhere at the end of 2 s. ``one``: one gateway for all, each prompt
on a stream of its own; ``many``: the same with a gateway for each 4 workers; ``lines``: many gateways, prompts share
streams; ``tables``: many gateways, prompts come as Arrow tables. Some costs are of a busy machine (docs/benchmarks.md),
those named so are assumed: the figures say where it gets narrow, not how much a cluster carries.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BATCH = 512
TICK_S, TICKS, PATIENCE_S = 0.01, 200, 0.1
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MOST = 1e7
COLOURS = {"one": "#b45309", "many": "#1d4ed8", "lines": "#7c3aed", "tables": "#047857"}
NAMES = {"one": "one gateway", "many": "many gateways", "lines": "many, lines", "tables": "many, tables"}


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one server. Measured: of the gateway ``alone`` a prompt with its own stream, ``line`` one of many on a
    stream, ``table`` one in an Arrow table; ``batch`` a Ray call as the caller sees it. Assumed: ``judge`` a prompt on
    a GPU, ``session`` a turn."""

    alone: float = 110e-6
    line: float = 22e-6
    table: float = 15e-6
    batch: float = 4e-3
    judge: float = 10e-6
    session: float = 10e-6

    def gateway(self, layout: str) -> float:
        """A prompt in ``layout``."""
        return {"lines": self.line, "tables": self.table}.get(layout, self.alone)


@dataclass(frozen=True, slots=True)
class Stage:
    """``servers`` that each take ``seconds`` a prompt."""

    name: str
    servers: int
    seconds: float

    @property
    def rate(self) -> float:
        """Prompts a second of all servers."""
        return self.servers / self.seconds


def stages(workers: int, layout: str, costs: Costs) -> list[Stage]:
    """The way of a prompt with so many GPU workers."""
    gateways = 1 if layout == "one" else -(-workers // 4)
    return [
        Stage("gateway", gateways, costs.gateway(layout)),
        # A batch is under way from each gateway to each of its workers; the call itself is the gateway's core's.
        Stage("dispatch", gateways, costs.batch / BATCH),
        Stage("judging", workers, costs.judge + 1e-3 / BATCH),
        Stage("sessions", max(1, workers // 16), costs.session),
    ]


def waiting(load: float, way: Sequence[Stage], rng: np.random.Generator) -> dict[str, float]:
    """Seconds of work that wait before each stage in the end."""
    backlog = dict.fromkeys((stage.name for stage in way), 0.0)
    for came in rng.poisson(load * TICK_S, TICKS).astype(float):
        passing = float(came)
        for stage in way:
            ready = backlog[stage.name] + passing
            passing = min(ready, stage.rate * TICK_S)
            backlog[stage.name] = ready - passing
    return {stage.name: backlog[stage.name] / stage.rate for stage in way}


def carried(way: Sequence[Stage], seed: int) -> tuple[float, str]:
    """The highest load that is carried, at most `MOST`, and the stage that gives way just above it."""
    low, high = 1.0, MOST
    for _ in range(30):
        middle = math.sqrt(low * high)
        if max(waiting(middle, way, np.random.default_rng(seed)).values()) <= PATIENCE_S:
            low = middle
        else:
            high = middle
    left = waiting(high * 1.2, way, np.random.default_rng(seed))
    return low, max(left, key=lambda name: left[name])


def drawn(found: dict[str, list[tuple[int, float, str]]]) -> str:
    """An SVG of load over workers, both logarithmic, with the stage that gives way at each point."""
    width, height, left, top = 740, 440, 78, 30

    def x(workers: float) -> float:
        return left + math.log10(workers) / 3 * (width - left - 104)

    def y(load: float) -> float:
        return height - 50 - (math.log10(load) - 3) / 4.2 * (height - 50 - top)

    box = f'viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for power in range(3, 8):
        at = y(10**power)
        parts.append(f'<path d="M{left} {at:.1f}H{width - 104}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#374151">{10**power:,}</text>')
    for power in range(4):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} {top}V{height - 50}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - 32}" text-anchor="middle" fill="#374151">{10**power:,}</text>')
    parts.append(f'<text x="{width / 2 - 20}" y="{height - 10}" text-anchor="middle" fill="#374151">GPU workers</text>')
    parts.append(f'<text x="{left}" y="18" fill="#374151">prompts/s carried, and the stage that gives way</text>')
    ends: list[float] = []
    for layout, points in found.items():
        colour, dashes = COLOURS[layout], "6 6" if layout == "tables" else "none"
        line = " ".join(f"{x(workers):.1f},{y(load):.1f}" for workers, load, _ in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        said = ""
        for workers, load, stage in points:
            parts.append(f'<circle cx="{x(workers):.1f}" cy="{y(load):.1f}" r="3" fill="{colour}"/>')
            if stage != said:
                down = 18 if layout in {"one", "lines"} else -10
                parts.append(f'<text x="{x(workers):.1f}" y="{y(load) + down:.1f}" fill="{colour}">{stage}</text>')
            said = stage
        beside = y(points[-1][1]) + 4 - 16 * sum(abs(one - points[-1][1]) < 0.1 * one for one in ends)
        ends.append(points[-1][1])
        parts.append(f'<text x="{width - 98}" y="{beside:.1f}" fill="{colour}">{NAMES[layout]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--judge-us", type=float, default=10.0, help="µs a prompt on a GPU: assumed, not measured")
    parser.add_argument(
        "--gateway-us", type=float, default=110.0, help="µs of the gateway a prompt alone on its stream"
    )
    parser.add_argument("--line-us", type=float, default=22.0, help="µs of the gateway a prompt of many on a stream")
    parser.add_argument("--table-us", type=float, default=15.0, help="µs of the gateway a prompt in a table")
    options = parser.parse_args()
    costs = Costs(
        alone=options.gateway_us * 1e-6,
        line=options.line_us * 1e-6,
        table=options.table_us * 1e-6,
        judge=options.judge_us * 1e-6,
    )
    found: dict[str, list[tuple[int, float, str]]] = {}
    for layout in COLOURS:
        found[layout] = []
        for workers in SIZES:
            load, narrow = carried(stages(workers, layout, costs), options.seed)
            found[layout].append((workers, load, narrow))
            print(json.dumps({"layout": layout, "gpus": workers, "prompts_per_s": round(load), "narrow": narrow}))
    if options.svg:
        options.svg.write_text(drawn(found), "utf-8")


if __name__ == "__main__":
    main()
