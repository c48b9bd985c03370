"""What was made once and is wanted again, bounded in bytes. It belongs to a connection and goes with it: a head may
hold a token."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
LINE_BYTES: Final = 256
"""What the objects of a header line take besides its text, about."""


class Kept(Generic[K, V]):
    """Up to ``most_bytes`` of values by their keys; where one more would not fit, all others make room for it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._values: dict[K, V] = {}
        self._bytes = 0

    def get(self, key: K) -> V | None:
        """What is kept under ``key``."""
        return self._values.get(key)

    def put(self, key: K, value: V, size: int) -> None:
        """Keep ``value``, which takes ``size`` bytes with its key, unless that is too much by itself."""
        if size > self._most_bytes:
            return
        if self._bytes + size > self._most_bytes:
            self.clear()
        self._values[key] = value
        self._bytes += size

    def clear(self) -> None:
        """Let go of all."""
        self._values.clear()
        self._bytes = 0
