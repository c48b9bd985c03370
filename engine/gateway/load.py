"""An open load: requests go out at their times whether or not earlier ones were answered, and wait from those times on.

A generator that waits for an answer before it sends the next request leaves out just those that a stall would have
delayed (coordinated omission). Here a request's latency begins when it was due, not when it could be sent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from aimds.errors import ConfigError

QUANTILES = (0.5, 0.9, 0.99, 0.999)
_WORDS = (
    "please summarise this report about the harbour and tell me which ships came late why the price of grain rose "
    "how to write a loop that reads a file what a lighthouse is for a short poem on rain the next train to the coast"
)


class Source(Protocol):
    """What load needs of a client."""

    def stream(self, rows: AsyncIterator[dict[str, Any]], *, brief: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Verdicts of ``rows`` as each is ready."""

    async def screen(self, text: str, **fields: Any) -> dict[str, Any]:
        """The verdict on one text."""


@dataclass(slots=True)
class Result:
    """What one rate gave: latencies in seconds of the verdicts, in the order they came."""

    rate: float
    seconds: float
    sent: int = 0
    refused: int = 0
    failed: int = 0
    unjudged: int = 0
    took_s: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The latency that ``share`` of the verdicts had at most (nearest rank); NaN without verdicts."""
        if not self.latencies:
            return math.nan
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def document(self) -> dict[str, Any]:
        """All of it in JSON types, latencies in milliseconds."""
        names = {0.5: "p50_ms", 0.9: "p90_ms", 0.99: "p99_ms", 0.999: "p99_9_ms", 1.0: "max_ms"}
        found = {names[share]: round(self.quantile(share) * 1e3, 3) for share in (*QUANTILES, 1.0)}
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": self.sent,
            "verdicts": len(self.latencies),
            "refused": self.refused,
            "failed": self.failed,
            "unjudged": self.unjudged,
            "verdicts_per_s": round(len(self.latencies) / self.took_s, 1) if self.took_s else 0.0,
            **{name: None if math.isnan(value) else value for name, value in found.items()},
        }


def texts(random: Random, words: int = 40) -> Iterator[str]:
    """Harmless texts without end, no two alike, so that no cache helps."""
    for number in iter(int, 1):
        chosen = random.choices(_WORDS.split(), k=random.randint(words // 2, 3 * words // 2))
        yield f"{' '.join(chosen)} {random.getrandbits(48) + number:x}"


def due(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """Times of independent arrivals (Poisson) at ``rate`` a second, from 0 to ``seconds``."""
    at = random.expovariate(rate)
    while at < seconds:
        yield at
        at += random.expovariate(rate)


def check(rate: float, seconds: float) -> None:
    """Raise a ConfigError where ``rate`` (requests a second) or ``seconds`` cannot be."""
    if not 0 < rate < 1e7:
        raise ConfigError("--rate", rate, "requests a second, above 0 and below 10,000,000")
    if not 0 < seconds < 86_400:
        raise ConfigError("--seconds", seconds, "above 0, less than a day")


async def measure(
    client: Source,
    rate: float,
    seconds: float,
    random: Random,
    *,
    single: bool = False,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """Send at ``rate`` for ``seconds`` and wait for what is due: on one long stream, or with ``single`` a request each.

    Raises:
        ConfigError: a rate or time that cannot be.
        ServerError: the stream as a whole was refused.
    """
    check(rate, seconds)
    result = Result(rate, seconds)
    start = clock()
    schedule, content = due(rate, seconds, random), texts(random)
    if single:
        await _singly(client, result, schedule, content, start, clock, sleep)
    else:
        await _streamed(client, result, schedule, content, start, clock, sleep)
    result.took_s = clock() - start
    return result


async def _streamed(
    client: Source,
    result: Result,
    schedule: Iterator[float],
    content: Iterator[str],
    start: float,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    from aimds.gateway.client import ServerError

    waiting: dict[str, float] = {}

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number, at in enumerate(schedule):
            if (ahead := start + at - clock()) > 0:
                await sleep(ahead)
            waiting[str(number)] = start + at
            result.sent += 1
            yield {"text": next(content), "request_id": str(number)}

    try:
        async for found in client.stream(rows(), brief=True):
            began = waiting.pop(found["request_id"])
            if "problem" in found:
                result.refused += 1
                continue
            result.latencies.append(clock() - began)
            result.unjudged += found["status"] == "error"
    except ServerError as error:
        if error.status or not result.sent:
            raise
    result.failed += len(waiting)


async def _singly(
    client: Source,
    result: Result,
    schedule: Iterator[float],
    content: Iterator[str],
    start: float,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    from aimds.gateway.client import ServerError

    async def one(text: str, began: float) -> None:
        try:
            found = await client.screen(text)
        except ServerError as error:
            if error.status == 429:
                result.refused += 1
            else:
                result.failed += 1
            return
        result.latencies.append(clock() - began)
        result.unjudged += found["status"] == "error"

    tasks = set()
    for at in schedule:
        if (ahead := start + at - clock()) > 0:
            await sleep(ahead)
        result.sent += 1
        task = asyncio.create_task(one(next(content), start + at))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
