"""Answers kept under an Idempotency-Key, so that a request sent again is answered again and not screened again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from aimds.gateway.exchange import Exchange, Headers
from aimds.gateway.problem import Problem

KEEP_S = 600.0
MAX_BYTES = 16 << 20
"""Of the answers of all identities together."""
ENTRY_BYTES = 400
MAX_ANSWER_BYTES = 4 << 20
"""A streamed answer beyond this is not kept."""


@dataclass(slots=True)
class Entry:
    """One key: the digest of its first request (None while that still comes in), who waits with which digest, and the
    answer once it is there."""

    digest: bytes | None
    at: float
    waiting: list[tuple[Exchange, bytes]] = field(default_factory=list)
    answer: tuple[int, Headers, bytes] | None = None


class Answers:
    """Entries by (identity, key), bounded by time and bytes. Where there are too many, those who keep the most lose
    their oldest, so that nobody costs another an answer who keeps fewer."""

    def __init__(self, keep_s: float = KEEP_S, max_bytes: int = MAX_BYTES) -> None:
        self._keep_s, self._max_bytes = keep_s, max_bytes
        self._entries: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._used: dict[str, int] = {}
        """Bytes by identity."""
        self._total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, name: tuple[str, str], digest: bytes, exchange: Exchange, now: float) -> bool:
        """True where ``exchange`` is the first with this key and is to be screened; else it is answered, now or later.

        Raises:
            Problem: ``conflict``: the key came with another request.
        """
        self.forget(now)
        entry = self._entries.get(name)
        if entry is None:
            self._entries[name] = Entry(digest, now)
            self._count(name, ENTRY_BYTES)
            return True
        if entry.digest not in (None, digest):
            raise Problem("conflict", _OTHER)
        if entry.answer is None:
            entry.waiting.append((exchange, digest))
        else:
            _give(exchange, entry.answer)
        return False

    def claim(self, name: tuple[str, str], now: float) -> bool:
        """True where nobody came with this key before; what the request was is said once it is known (`seal`)."""
        self.forget(now)
        if name in self._entries:
            return False
        self._entries[name] = Entry(None, now)
        self._count(name, ENTRY_BYTES)
        return True

    def seal(self, name: tuple[str, str], digest: bytes) -> None:
        """The request that claimed ``name`` is complete; those that wait with another one are refused."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.digest = digest
        others = [one for one, said in entry.waiting if said != digest]
        entry.waiting = [(one, said) for one, said in entry.waiting if said == digest]
        for exchange in others:
            exchange.refuse(Problem("conflict", _OTHER))

    def answered(self, name: tuple[str, str], answer: tuple[int, Headers, bytes]) -> None:
        """Keep ``answer``, and give it to those that wait."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.answer = answer
        self._count(name, len(answer[2]))
        for exchange, _ in entry.waiting:
            _give(exchange, answer)
        entry.waiting.clear()

    def failed(self, name: tuple[str, str], problem: Problem) -> None:
        """There is no verdict: those that wait are told, and the next request with the key is screened."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._count(name, -ENTRY_BYTES)
        for exchange, _ in entry.waiting:
            exchange.refuse(problem)

    def forget(self, now: float) -> None:
        """Let go of answers that are too old, or too many."""
        gone = []
        for name, entry in self._entries.items():
            if now - entry.at <= self._keep_s:
                break
            if entry.answer is not None:
                gone.append(name)
        for name in gone:
            self._drop(name)
        if self._total > self._max_bytes:
            self._share()

    def _share(self) -> None:
        # A little more room than is needed, since all are looked at.
        most = level(self._used.values(), self._max_bytes - self._max_bytes // 16)
        over = {identity: used - most for identity, used in self._used.items() if used > most}
        gone = []
        for name, entry in self._entries.items():
            if over.get(name[0], 0) > 0 and entry.answer is not None:
                gone.append(name)
                over[name[0]] -= ENTRY_BYTES + len(entry.answer[2])
        for name in gone:
            self._drop(name)

    def _drop(self, name: tuple[str, str]) -> None:
        entry = self._entries.pop(name)
        self._count(name, -ENTRY_BYTES - (0 if entry.answer is None else len(entry.answer[2])))

    def _count(self, name: tuple[str, str], size: int) -> None:
        self._total += size
        used = self._used[name[0]] = self._used.get(name[0], 0) + size
        if not used:
            del self._used[name[0]]


def level(used: Collection[int], room: int) -> int:
    """The most that each may keep of what it has ``used``, so that together they keep no more than ``room``."""
    left = len(used)
    for one in sorted(used):
        if one * left > room:
            return room // left
        room -= one
        left -= 1
    return max(used, default=0)


class Recording:
    """A request with a key whose body and answer are streams: the body is hashed and the answer recorded as they pass.

    The first with a key is screened as it comes; a later one is only hashed, and gets the answer of the first. An
    answer that is too large, or holds rows that could not be judged, is not kept: the next with the key is screened.

    Args:
        shape: what beside the body tells two requests apart.
    """

    def __init__(self, answers: Answers, name: tuple[str, str], shape: str) -> None:
        self._answers, self._name = answers, name
        self._hash = hashlib.sha256(shape.encode() + b"\0")
        self._first: bool | None = None
        self._open = False
        self._parts: list[bytes] = []
        self._size = 0

    def receive(self, content: bytes, now: float) -> bool:
        """A piece of the body came; whether it is to be screened."""
        if self._first is None:
            self._first = self._open = self._answers.claim(self._name, now)
        self._hash.update(content)
        return self._first

    def end(self, exchange: Exchange, now: float) -> bool:
        """The body is complete; whether it is to be screened. If not, ``exchange`` is answered, now or later.

        Raises:
            Problem: ``conflict``, or ``given-up``: there is no answer to give, and the body is gone.
        """
        if self.receive(b"", now):
            self._answers.seal(self._name, self._hash.digest())
            return True
        if self._answers.begin(self._name, self._hash.digest(), exchange, now):
            problem = _given_up()
            self._answers.failed(self._name, problem)
            raise problem
        return False

    def record(self, content: bytes) -> None:
        """A piece of the answer."""
        self._size += len(content)
        if self._open and self._size > MAX_ANSWER_BYTES:
            self.failed()
        if self._open:
            self._parts.append(content)

    def done(self, headers: Headers) -> None:
        """The answer is complete."""
        if self._open:
            self._open = False
            self._answers.answered(self._name, (200, headers, b"".join(self._parts)))
            self._parts.clear()

    def failed(self, problem: Problem | None = None) -> None:
        """There is no answer to keep."""
        if self._open:
            self._open = False
            self._parts.clear()
            self._answers.failed(self._name, problem or _given_up())


_OTHER = "this key came with another body or path before"


def _given_up() -> Problem:
    return Problem("given-up", "there is no answer of it to give; send the request again", retry_after_s=0.05)


def _give(exchange: Exchange, answer: tuple[int, Headers, bytes]) -> None:
    status, headers, body = answer
    exchange.answer(status, [*headers, ("idempotency-replayed", "true")], body)
