"""How many workers there should be: between bounds, by how much waits and how many are at work."""

from __future__ import annotations

from dataclasses import dataclass

from aimds.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Bounds:
    """``least`` and ``most`` workers. More are started once ``deep`` batches a worker have waited for ``up_s``; one is
    let go once at most ``low`` of them were busy for ``down_s``."""

    least: int = 1
    most: int = 1
    deep: float = 1.0
    up_s: float = 2.0
    low: float = 0.5
    down_s: float = 60.0

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ConfigError("least", self.least, "at least 1")
        if self.most < self.least:
            raise ConfigError("most", self.most, f"at least {self.least}, the least number of workers")
        for name in ("deep", "up_s", "low", "down_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(name, getattr(self, name), "not below 0")


class Scaling:
    """Looks at the queue now and then; `wanted` is the number of workers there should be."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.wanted = bounds.least
        self._deep_since: float | None = None
        self._low_since: float | None = None

    def look(self, waiting: float, busy: int, ready: int, now: float) -> int:
        """How many there should be.

        Args:
            waiting: batches that wait for a worker, parts of one included.
            busy, ready: workers at a batch, and workers that could be.
            now: monotonic seconds.
        """
        bounds = self.bounds
        # While those that were asked for are starting, their effect cannot be seen.
        deep = ready >= self.wanted and waiting > bounds.deep * ready
        self._deep_since = (now if self._deep_since is None else self._deep_since) if deep else None
        low = waiting <= bounds.low and busy <= bounds.low * ready
        self._low_since = (now if self._low_since is None else self._low_since) if low else None
        if self._deep_since is not None and now - self._deep_since >= bounds.up_s:
            # As many as would have the queue empty within the time of one batch, at most twice as many.
            self.wanted = min(bounds.most, self.wanted + max(1, min(int(waiting) - ready, self.wanted)))
            self._deep_since = None
        elif self._low_since is not None and now - self._low_since >= bounds.down_s:
            self.wanted = max(bounds.least, self.wanted - 1)
            self._low_since = now
        return self.wanted
