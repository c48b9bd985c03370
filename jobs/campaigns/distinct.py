"""The different texts among the candidates, counted, in bounded memory whatever the history holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged

I64 = npt.NDArray[np.int64]
MOST = 50_000
"""Different texts that are compared."""


@dataclass(slots=True)
class Entry:
    """One text: ``said`` folded, ``written`` as the least of its spellings, ``rows`` in which it occurred."""

    said: bytes
    written: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """T texts, those of most rows first, of equals by key. ``keys`` int64 (T,) · ``rows`` int64 (T,) · ``values`` uint8
    and ``offsets`` int64 (T+1,): folded · ``written``: as they were · ``left_out``: rows whose text was not kept."""

    keys: I64
    rows: I64
    values: npt.NDArray[np.uint8]
    offsets: I64
    written: list[bytes]
    left_out: int

    def places(self, keys: I64) -> I64:
        """Which of the texts each of ``keys`` int64 (n,) names, int64 (n,), -1 for none of them."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        order = np.argsort(self.keys, kind="stable")
        at = np.minimum(np.searchsorted(self.keys[order], keys), len(order) - 1)
        return np.where(self.keys[order][at] == keys, order[at], -1)


class Distinct:
    """Collects texts. Where there are more than ``most``, those with the smallest hash stay: a sample that does not
    depend on order or files."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._limit = most, 1 << 64
        self._entries: dict[int, Entry] = {}
        self._rows = 0

    def add(self, said: bytes, written: bytes) -> int:
        """Count one row; the key of its text, a signed 64-bit hash."""
        key = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
        self._rows += 1
        if key < self._limit:
            entry = self._entries.get(key)
            if entry is None:
                self._entries[key] = Entry(said, written, 1)
                if len(self._entries) >= 2 * self._most:
                    self._cut()
            else:
                entry.rows += 1
                entry.written = min(entry.written, written)
        return _signed(key)

    def _cut(self) -> None:
        if len(self._entries) > self._most:
            self._limit = sorted(self._entries)[self._most]
            self._entries = {key: entry for key, entry in self._entries.items() if key < self._limit}

    def chosen(self) -> Chosen:
        """The texts as they are compared."""
        self._cut()
        found = sorted(self._entries.items(), key=lambda item: (-item[1].rows, item[0]))
        rows = np.array([entry.rows for _, entry in found], np.int64)
        said = [np.frombuffer(entry.said, np.uint8) for _, entry in found]
        values, offsets = ragged.joined([np.zeros(0, np.uint8), *said])
        keys = np.array([_signed(key) for key, _ in found], np.int64)
        return Chosen(
            keys, rows, values, offsets[1:], [entry.written for _, entry in found], self._rows - int(rows.sum())
        )


def _signed(key: int) -> int:
    return key - (1 << 64) if key >= 1 << 63 else key
