"""Answers kept under an Idempotency-Key, so that a request sent again is answered again and not screened again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from aimds.gateway.exchange import Exchange, Headers
from aimds.gateway.problem import Problem

KEEP_S = 600.0
MAX_BYTES = 16 << 20
ENTRY_BYTES = 400


@dataclass(slots=True)
class Entry:
    """One key: the digest of its first request, who waits, and the answer once it is there."""

    digest: bytes
    at: float
    waiting: list[Exchange] = field(default_factory=list)
    answer: tuple[int, Headers, bytes] | None = None


class Answers:
    """Entries by (identity, key), the oldest leaving first, bounded by time and bytes."""

    def __init__(self, keep_s: float = KEEP_S, max_bytes: int = MAX_BYTES) -> None:
        self._keep_s, self._max_bytes = keep_s, max_bytes
        self._entries: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, name: tuple[str, str], digest: bytes, exchange: Exchange, now: float) -> bool:
        """True where ``exchange`` is the first with this key and is to be screened; else it is answered, now or later.

        Raises:
            Problem: ``conflict``: the key came with another request.
        """
        self._forget(now)
        entry = self._entries.get(name)
        if entry is None:
            self._entries[name] = Entry(digest, now)
            self._used += ENTRY_BYTES
            return True
        if entry.digest != digest:
            raise Problem("conflict", "this key came with another body or path before")
        if entry.answer is None:
            entry.waiting.append(exchange)
        else:
            _give(exchange, entry.answer)
        return False

    def answered(self, name: tuple[str, str], answer: tuple[int, Headers, bytes]) -> None:
        """Keep ``answer``, and give it to those that wait."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.answer = answer
        self._used += len(answer[2])
        for exchange in entry.waiting:
            _give(exchange, answer)
        entry.waiting.clear()

    def failed(self, name: tuple[str, str], problem: Problem) -> None:
        """There is no verdict: those that wait are told, and the next request with the key is screened."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._used -= ENTRY_BYTES
        for exchange in entry.waiting:
            exchange.refuse(problem)

    def _forget(self, now: float) -> None:
        gone, used = [], self._used
        for name, entry in self._entries.items():
            if now - entry.at <= self._keep_s and used <= self._max_bytes:
                break
            if entry.answer is not None:
                gone.append(name)
                used -= ENTRY_BYTES + len(entry.answer[2])
        for name in gone:
            del self._entries[name]
        self._used = used


def _give(exchange: Exchange, answer: tuple[int, Headers, bytes]) -> None:
    status, headers, body = answer
    exchange.answer(status, [*headers, ("idempotency-replayed", "true")], body)
