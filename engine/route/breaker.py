"""A circuit breaker: a provider that keeps failing is left alone for a while, then asked once whether it is back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """``failures`` in a row open it; after ``open_s`` one call is let through."""

    failures: int = 5
    open_s: float = 30.0


@dataclass(slots=True)
class Breaker:
    """Closed while all is well, open after too many failures, half open while one call tries. ``now`` is monotonic."""

    config: BreakerConfig = BreakerConfig()
    _failed: int = 0
    _until: float | None = None
    _trying: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self, now: float) -> str:
        """closed, open or half_open."""
        with self._lock:
            if self._until is None:
                return "closed"
            return "open" if now < self._until else "half_open"

    def admits(self, now: float) -> bool:
        """Whether a call may go now; of a breaker that is half open only one may, until it reports."""
        with self._lock:
            if self._until is None:
                return True
            if now < self._until:
                return False
            # A trial whose caller died without a word is not waited for forever.
            if self._trying is not None and now < self._trying + self.config.open_s:
                return False
            self._trying = now
            return True

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failed, self._until, self._trying = 0, None, None

    def failed(self, now: float) -> None:
        """A call failed in a way that says something of the provider."""
        with self._lock:
            self._failed += 1
            if self._until is not None or self._failed >= self.config.failures:
                self._until, self._trying = now + self.config.open_s, None
