"""Token buckets, one for each verified identity: a header cannot choose the bucket it is counted in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from aimds.errors import ConfigError
from aimds.gateway.identity import Identity
from aimds.gateway.problem import Problem

MOST_BUCKETS = 100_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """What identities may send: ``rate`` rows a second on average, ``burst`` at once; their own where they have them.

    Args:
        rate: 0 for no limit.
        burst: at least 1; twice the rate by default.
    """

    def __init__(self, rate: float = 0.0, burst: float | None = None) -> None:
        if not 0 <= rate < float("inf"):
            raise ConfigError("rate", rate, "rows a second, 0 for no limit")
        if burst is not None and not 1 <= burst < float("inf"):
            raise ConfigError("burst", burst, "at least 1")
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, identity: Identity, rows: int, now: float, *, admitted: bool = False) -> None:
        """Count ``rows``. A request of more rows than the burst passes when the bucket is full, and is then paid off.
        Rows of a request that was ``admitted`` before pass too, so that it is not cut in two, and are paid off as well.

        Raises:
            Problem: ``rate-limited``, with the time to wait; nothing was counted.
        """
        rate = self._rate if identity.rate is None else identity.rate
        if not rate:
            return
        general = self._burst if identity.rate is None else None
        burst = identity.burst or general or max(1.0, 2 * rate)
        name = f"{identity.kind}:{identity.name}"
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(burst, now)
            self._forget()
        self._buckets.move_to_end(name)
        bucket.tokens = min(burst, bucket.tokens + rate * max(0.0, now - bucket.at))
        bucket.at = now
        needed = min(float(rows), burst)
        if bucket.tokens < needed and not admitted:
            wait = (needed - bucket.tokens) / rate
            raise Problem("rate-limited", f"{identity.name} may send {rate:g} rows a second", retry_after_s=wait)
        bucket.tokens -= rows

    def _forget(self) -> None:
        while len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
