"""Scores of texts seen before: least recently used goes first, bounded by bytes.

Only stateless scores are kept, never an action: policies, tenants and sessions may differ for the same text. The key
is a keyed 128-bit hash of the text, so that a sender cannot aim two texts at one entry.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

OVERHEAD_BYTES = 200
"""What one entry costs beside its own bytes: key, links, tuple."""


@dataclass(frozen=True, slots=True)
class Stats:
    """``hits`` and ``misses`` since the start, ``entries`` and ``used_bytes`` now."""

    hits: int
    misses: int
    entries: int
    used_bytes: int


class Cache(Generic[Entry]):
    """A mapping from (text, channel) to scores for one fixed configuration of stages.

    Args:
        max_bytes: bound on what is kept; 0 turns the cache off.
        scope: everything else the scores depend on (profile, calibration, versions); part of every key.
    """

    def __init__(self, max_bytes: int, scope: str) -> None:
        self.max_bytes = max_bytes
        self._salt = hashlib.blake2b(scope.encode(), key=secrets.token_bytes(32), digest_size=32).digest()
        self._entries: OrderedDict[bytes, tuple[Entry, int]] = OrderedDict()
        self._used = self._hits = self._misses = 0

    def key(self, text: bytes | memoryview, channel: int) -> bytes:
        """The key of ``text`` in ``channel``."""
        return hashlib.blake2b(text, key=self._salt, digest_size=16, salt=channel.to_bytes(2, "little")).digest()

    def get(self, key: bytes) -> Entry | None:
        """The entry of ``key``, now the most recently used; None when it is not there."""
        found = self._entries.get(key)
        if found is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return found[0]

    def put(self, key: bytes, entry: Entry, size_bytes: int) -> None:
        """Keep ``entry``; the least recently used ones make room. One larger than the whole cache is not kept."""
        cost = size_bytes + OVERHEAD_BYTES
        if cost > self.max_bytes:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            self._used -= old[1]
        self._entries[key] = (entry, cost)
        self._used += cost
        while self._used > self.max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._used -= freed

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._used = 0

    @property
    def stats(self) -> Stats:
        """Counters for metrics."""
        return Stats(self._hits, self._misses, len(self._entries), self._used)
