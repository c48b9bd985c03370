"""How long answers of a connection wait for a reader who takes nothing of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

UNREAD_S: Final = 60.0
LOOKS: Final = 4
"""So often an answer is looked at in the time that it may wait: it breaks off a quarter of that late at most."""


@dataclass(frozen=True, slots=True)
class Found:
    """``waits``: something is not taken yet · ``stale``: streams of which nothing was taken for too long · ``all``:
    nothing at all was, of any answer of the connection."""

    waits: bool
    stale: tuple[int, ...] = ()
    all: bool = False


class Unread:
    """Watches what a client acknowledges of its answers. Without credit nothing more is sent to it, so that it has
    nothing more to acknowledge; who acknowledges nothing of what was sent is the same to us.

    Args:
        longest_s: how long an answer may wait without any of it being taken.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._seen: dict[int, tuple[int, float]] = {}
        """Of each answer that waits: bytes that were acknowledged, and since when no more were."""
        self._over = -1
        self._moved_at = 0.0

    def look(self, owing: Iterable[tuple[int, int]], over: int, now: float) -> Found:
        """What waits at ``now``. ``owing``: see `Streams.owing`; ``over``: requests that are over altogether."""
        before, self._seen = self._seen, {}
        if over != self._over:
            self._over, self._moved_at = over, now
        for stream_id, acknowledged in owing:
            last, since = before.get(stream_id, (-1, now))
            if acknowledged != last:
                since = self._moved_at = now
            self._seen[stream_id] = acknowledged, since
        longest = now - self._longest_s
        stale = tuple(stream_id for stream_id, (_, since) in self._seen.items() if since <= longest)
        return Found(bool(self._seen), stale, bool(stale) and self._moved_at <= longest)
