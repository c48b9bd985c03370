"""The load generator in simulated time, and once against a gateway."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from live import live
from typer.testing import CliRunner

from aimds.cli import build
from aimds.errors import ConfigError
from aimds.gateway.client import ServerError
from aimds.gateway.load import Result, due, measure, texts
from aimds.gateway.load_page import page


class Simulated:
    """A server that takes a millisecond a row and stalls once, for a second; its clock is a number."""

    def __init__(self, stall_at: int = -1, refuse: frozenset[int] = frozenset()) -> None:
        self.now, self.stall_at, self.refuse, self.count = 50.0, stall_at, refuse, 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _work(self) -> None:
        self.now += 1.0 if self.count == self.stall_at else 0.001
        self.count += 1

    async def stream(
        self, rows: AsyncIterator[dict[str, Any]], *, brief: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        async for row in rows:
            number = self.count
            self._work()
            found = {"request_id": row["request_id"], "status": "ok"}
            yield {**found, "problem": {}} if number in self.refuse else found

    async def screen(self, text: str, **fields: Any) -> dict[str, Any]:
        number = self.count
        self._work()
        if number in self.refuse:
            raise ServerError(429, {})
        return {"status": "ok"}


def measured(server: Simulated, **options: Any) -> Result:
    return asyncio.run(measure(server, 200, 5, Random(1), clock=server.clock, sleep=server.sleep, **options))


def test_a_stall_counts_for_every_request_it_delayed() -> None:
    calm, stalled = measured(Simulated()), measured(Simulated(stall_at=300))
    assert calm.quantile(0.99) < 0.01
    late = [one for one in stalled.latencies if one > 0.1]
    assert len(late) == pytest.approx(200 * 0.9 * 1.25, rel=0.3)
    assert stalled.quantile(0.9) > 0.5


def test_what_is_refused_is_counted_apart() -> None:
    for single in (False, True):
        found = measured(Simulated(refuse=frozenset({3, 5})), single=single)
        assert found.refused == 2
        assert found.sent == len(found.latencies) + 2
        assert found.failed == 0


def test_times_are_independent_and_at_the_rate() -> None:
    times = list(due(1000, 20, Random(2)))
    assert len(times) == pytest.approx(20_000, rel=0.05)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert sum(gap > 0.001 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.02)


def test_no_two_texts_are_alike() -> None:
    found = list(itertools.islice(texts(Random(3)), 5000))
    assert len(set(found)) == 5000


def test_quantiles_are_nearest_ranks() -> None:
    found = Result(1, 1, latencies=[i / 1000 for i in range(1, 1001)])
    assert [found.quantile(share) for share in (0.5, 0.99, 0.999, 1.0)] == [0.5, 0.99, 0.999, 1.0]
    assert Result(1, 1).document()["p50_ms"] is None


def test_the_page_is_whole_and_escapes_its_title() -> None:
    found = page([Result(100, 1, latencies=[0.001, 0.2], took_s=1), Result(200, 1, latencies=[0.01], took_s=1)], "<b>")
    assert "&lt;b&gt;" in found
    assert "<b>" not in found
    assert found.count("<polyline") == 4
    assert "<th>verdicts a second</th>" in found
    assert "prefers-color-scheme:dark" in found
    without = page([Result(1, 1)], "x")
    assert "No verdicts" in without
    assert "<td>–</td>" in without
    assert "None" not in without


def test_figures_of_the_page_are_rounded_and_grouped() -> None:
    found = page([Result(100, 1, sent=1200, latencies=[4.317718] * 1200, took_s=1)], "x")
    assert "<td>1,200</td>" in found
    assert "<td>4,317.7</td>" in found
    assert ">10 s</text>" in found


def test_labels_of_near_rates_do_not_lie_on_each_other() -> None:
    found = page([Result(rate, 1, latencies=[0.01], took_s=1) for rate in (10, 11, 1000)], "x")
    assert found.count('text-anchor="middle">') == 3
    assert ">11</text>" not in found


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0), (1e12, 1)])
def test_a_rate_or_time_that_cannot_be_is_named(rate: float, seconds: float) -> None:
    server = Simulated()
    expected = "above 0 and below 10,000,000" if seconds else "less than a day"
    with pytest.raises(ConfigError, match=expected):
        asyncio.run(measure(server, rate, seconds, Random(1), clock=server.clock, sleep=server.sleep))


@pytest.mark.parametrize("more", [["--rate", "50", "--rate", "0"], ["--rate", "50", "--seconds", "0"]])
def test_a_rate_or_time_that_cannot_be_is_said_before_anybody_is_asked(more: list[str]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = CliRunner().invoke(build(), ["load", f"http://127.0.0.1:{nobody.getsockname()[1]}", *more])
    assert isinstance(done.exception, ConfigError)
    assert f"{more[-2]} = 0.0: expected" in str(done.exception)


def test_a_gateway_is_measured_from_the_command_line(tmp_path: Path) -> None:
    with live() as server:
        address, out = f"http://127.0.0.1:{server.gateway.port}", tmp_path / "load.html"
        done = CliRunner().invoke(
            build(), ["load", address, "--rate", "50", "--seconds", "0.5", "--json", "--html", str(out)]
        )
        assert done.exit_code == 0
        (found,) = json.loads(done.stdout)
        assert found["verdicts"] == found["sent"] > 5
        assert "<svg" in out.read_text()
        assert "p99.9 ms" in CliRunner().invoke(build(), ["load", address, "--rate", "50", "--seconds", "0.2"]).stdout
