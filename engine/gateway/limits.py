"""Token buckets for verified identities and source addresses: no header chooses the bucket that it is counted in."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from aimds.errors import ConfigError
from aimds.gateway.identity import Identity
from aimds.gateway.problem import Problem

MOST_BUCKETS = 100_000
FAILURES = 60
"""Requests without a valid identity that an address may send in a minute."""
_NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all of its network."""


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

    def take(self, identity: Identity, rows: int, now: float, *, admitted: bool = False, apart: bool = False) -> None:
        """Count ``rows``, each a request of its own where they stand ``apart``. Another request of more rows than the
        burst passes when the bucket is full, and is then paid off. Rows of a request that was ``admitted`` before pass
        too, so that it is not cut in two, and are paid off as well.

        Raises:
            Problem: ``rate-limited``, with the time to wait; nothing was counted.
        """
        rate = self._rate if identity.rate is None else identity.rate
        if not rate:
            return
        general = self._burst if identity.rate is None else None
        burst = identity.burst or general or max(1.0, 2 * rate)
        name = identity.key
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(burst, now)
            self._forget()
        self._buckets.move_to_end(name)
        bucket.tokens = min(burst, bucket.tokens + rate * max(0.0, now - bucket.at))
        bucket.at = now
        needed = float(rows) if apart else min(float(rows), burst)
        if bucket.tokens < needed and not admitted:
            wait = (needed - bucket.tokens) / rate
            raise Problem("rate-limited", f"{identity.name} may send {rate:g} rows a second", retry_after_s=wait)
        bucket.tokens -= rows

    def give_back(self, identity: Identity, rows: int) -> None:
        """What was taken for ``rows`` just now is not wanted."""
        bucket = self._buckets.get(identity.key)
        if bucket is not None and (self._rate if identity.rate is None else identity.rate):
            bucket.tokens += rows

    def _forget(self) -> None:
        while len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)


class Failures:
    """Failed logins by source address: ``per_minute`` of them at once and on average, 0 for no limit.

    Who has used them up is refused before anything is verified, whatever is sent, until the bucket fills again. The
    table holds ``most`` addresses; the one that failed longest ago leaves first.

    Raises:
        ConfigError: ``per_minute`` is below 0.
    """

    def __init__(self, per_minute: float = FAILURES, most: int = MOST_BUCKETS) -> None:
        if not 0 <= per_minute < float("inf"):
            raise ConfigError("auth.failures_per_minute", per_minute, "failed logins a minute, 0 for no limit")
        self._rate, self._burst, self._most = per_minute / 60, max(1.0, per_minute), most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, address: str, now: float) -> None:
        """Whether ``address`` may try.

        Raises:
            Problem: ``too-many-failures``, with the time to wait.
        """
        if not self._buckets or not self._rate:
            return
        bucket = self._buckets.get(source(address))
        if bucket is None:
            return
        tokens = min(self._burst, bucket.tokens + self._rate * max(0.0, now - bucket.at))
        if tokens < 1:
            wait = (1 - tokens) / self._rate
            raise Problem("too-many-failures", f"try again from {address[:60]} later", retry_after_s=wait)

    def count(self, address: str, now: float) -> None:
        """A login from ``address`` failed."""
        if not self._rate:
            return
        name = source(address)
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now))
        self._buckets.move_to_end(name)
        bucket.tokens = min(self._burst, bucket.tokens + self._rate * max(0.0, now - bucket.at)) - 1
        bucket.at = max(bucket.at, now)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)


def source(address: str) -> str:
    """What an address is counted as: an IPv6 one as its /64, one that maps IPv4 as that."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:60]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), _NETWORK_BITS), strict=False))
