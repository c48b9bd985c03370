"""Answers given again: to the same prompt, and to one that is worded almost like it; each tenant has its own.

A tenant's answers lie on a shelf of their own, so no lookup can reach another's. What may be looked up and kept at all
is decided by who calls, row by row (`Standing.cacheable`). Time comes in as an argument.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import kernels
from aimds.errors import ConfigError
from aimds.route.choices import CACHE
from aimds.route.tiers import CacheConfig
from aimds.route.wording import signature

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Embed = Callable[[pa.Array], F32]

CANDIDATES = 8
"""Nearest entries that are looked at: the words that decide may differ in the first ones."""
BARRED, MISS, EXACT, NEAR = range(len(CACHE))


@dataclass(frozen=True, slots=True)
class Hits:
    """What a lookup found, row by row: ``kind`` int8 (B,) into CACHE, ``similarity`` float32 (B,), 1 for the same text
    and 0 where nothing was found, and the ``answers``, None where nothing was found."""

    kind: npt.NDArray[np.int8]
    similarity: F32
    answers: tuple[bytes | None, ...]


@dataclass(slots=True)
class CacheStats:
    """Rows since the start: ``exact`` and ``near`` hits, ``misses``, ``barred`` ones; entries ``kept``, ``evicted`` for
    room and ``expired``."""

    exact: int = 0
    near: int = 0
    misses: int = 0
    barred: int = 0
    kept: int = 0
    evicted: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Shelf:
    """Entries of one tenant, the first ``len(keys)`` rows of each array; ``places`` says where a text's entry is."""

    vectors: F32
    until: F64
    used: F64
    keys: list[bytes] = field(default_factory=list)
    signs: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def add(self, key: bytes, vector: F32, sign: bytes, answer: bytes, near: bool, until: float, now: float) -> None:
        at = self.places.get(key)
        if at is None:
            at = len(self.keys)
            if at == len(self.until):
                self._grow()
            self.keys.append(key)
            self.signs.append(sign)
            self.answers.append(answer)
            self.near.append(near)
            self.places[key] = at
        else:
            self.answers[at] = answer
        self.vectors[at], self.until[at], self.used[at] = vector, until, now

    def drop(self, at: int) -> None:
        last = len(self.keys) - 1
        del self.places[self.keys[at]]
        if at != last:
            self.keys[at], self.signs[at] = self.keys[last], self.signs[last]
            self.answers[at], self.near[at] = self.answers[last], self.near[last]
            self.vectors[at], self.until[at], self.used[at] = self.vectors[last], self.until[last], self.used[last]
            self.places[self.keys[at]] = at
        for held in (self.keys, self.signs, self.answers):
            held.pop()
        self.near.pop()

    def expire(self, now: float) -> int:
        gone = np.flatnonzero(self.until[: len(self.keys)] <= now)
        for at in gone[::-1].tolist():
            self.drop(at)
        return len(gone)

    def oldest(self) -> int:
        return int(np.argmin(self.used[: len(self.keys)]))

    def _grow(self) -> None:
        size = 2 * len(self.until)
        self.vectors = np.resize(self.vectors, (size, self.vectors.shape[1]))
        self.until, self.used = np.resize(self.until, size), np.resize(self.used, size)


class AnswerCache:
    """A bounded cache of answers by likeness; thread-safe.

    Args:
        embed: unit vectors float32 (B, D) of texts.
        config: threshold, time to live and bounds.
        salt: keys the hashes of texts and tenants, so that nobody can aim two at one entry; secret and random.
    """

    def __init__(self, embed: Embed, config: CacheConfig, salt: bytes) -> None:
        if not 16 <= len(salt) <= 64:
            raise ConfigError("salt", f"{len(salt)} bytes", "16 to 64 random bytes")
        self.config, self.stats = config, CacheStats()
        self._embed, self._salt = embed, salt
        self._shelves: dict[bytes, _Shelf] = {}
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._size

    def lookup(
        self, tenants: Sequence[str | None], texts: pa.Array, allowed: Flags, *, now: float, scope: str = ""
    ) -> Hits:
        """What is known of each of B ``texts`` (large_string); rows not ``allowed`` bool (B,) are not looked at.

        Args:
            scope: all else that an answer depends on: system prompt, parameters, tier. Another scope is another shelf.
        """
        n = _check(tenants, texts, allowed)
        kind = np.where(allowed, MISS, BARRED).astype(np.int8)
        similarity = np.zeros(n, np.float32)
        answers: list[bytes | None] = [None] * n
        waiting: dict[bytes, list[int]] = {}
        with self._lock:
            for row in np.flatnonzero(allowed).tolist():
                name, raw = self._name(tenants[row], scope), _raw(texts, row)
                shelf = self._shelves.get(name)
                if shelf is not None and name not in waiting:
                    waiting[name] = []
                    self._expire(name, shelf, now)
                if shelf is None or not shelf.keys:
                    continue
                at = shelf.places.get(self._key(raw))
                if at is not None:
                    kind[row], similarity[row], answers[row] = EXACT, 1.0, shelf.answers[at]
                    shelf.used[at] = now
                elif len(raw) <= self.config.near_bytes:
                    waiting[name].append(row)
        # Only what is not there as it is has to be embedded, and others need not wait for that.
        near = [row for rows in waiting.values() for row in rows]
        vectors = self._embed(texts.take(pa.array(near, pa.int64()))) if near else np.zeros((0, 1), np.float32)
        with self._lock:
            first = 0
            for name, rows in waiting.items():
                shelf = self._shelves.get(name)
                if rows and shelf is not None:
                    some = vectors[first : first + len(rows)]
                    self._near(shelf, texts, rows, some, kind, similarity, answers, now)
                first += len(rows)
            counts = np.bincount(kind, minlength=len(CACHE)).tolist()
            self.stats.barred += counts[BARRED]
            self.stats.misses += counts[MISS]
            self.stats.exact += counts[EXACT]
            self.stats.near += counts[NEAR]
        return Hits(kind, similarity, tuple(answers))

    def put(
        self,
        tenants: Sequence[str | None],
        texts: pa.Array,
        answers: Sequence[bytes | None],
        allowed: Flags,
        *,
        now: float,
        scope: str = "",
    ) -> int:
        """Keep the ``answers`` to ``texts`` for as long as the file says; how many were kept. Rows that are not
        ``allowed``, have no answer, or are too long are left out."""
        n = _check(tenants, texts, allowed)
        if len(answers) != n:
            raise ConfigError("answers", len(answers), f"one for each of {n} texts")
        most = self.config.most_bytes
        raws = {row: _raw(texts, row) for row in np.flatnonzero(allowed).tolist()}
        kept = [row for row, raw in raws.items() if len(raw) <= most and len(answers[row] or b"") <= most]
        kept = [row for row in kept if answers[row] is not None]
        if not kept:
            return 0
        vectors = self._embed(texts.take(pa.array(kept, pa.int64())))
        with self._lock:
            for vector, row in zip(vectors, kept, strict=True):
                answer, raw = answers[row], raws[row]
                assert answer is not None
                name, key = self._name(tenants[row], scope), self._key(raw)
                shelf = self._shelves.get(name)
                if shelf is None:
                    shelf = _Shelf(np.zeros((1, len(vector)), np.float32), np.zeros(1), np.zeros(1))
                    self._shelves[name] = shelf
                if key not in shelf.places:
                    self._make_room(name, shelf, now)
                    self._size += 1
                near = len(raw) <= self.config.near_bytes
                shelf.add(key, vector, signature(raw) if near else b"", answer, near, now + self.config.ttl_s, now)
            self.stats.kept += len(kept)
        return len(kept)

    def forget(self, tenant: str | None, *, scope: str = "") -> int:
        """Drop what is kept for ``tenant`` in ``scope``; how many entries that were."""
        with self._lock:
            shelf = self._shelves.pop(self._name(tenant, scope), None)
            gone = 0 if shelf is None else len(shelf.keys)
            self._size -= gone
            return gone

    def _near(
        self,
        shelf: _Shelf,
        texts: pa.Array,
        rows: list[int],
        vectors: F32,
        kind: npt.NDArray[np.int8],
        similarity: F32,
        answers: list[bytes | None],
        now: float,
    ) -> None:
        count = len(shelf.keys)
        if not count:
            return
        scores, ids = kernels.topk(vectors, shelf.vectors[:count], min(CANDIDATES, count))
        for row, score, near in zip(rows, scores, ids, strict=True):
            if score[0] < self.config.threshold:
                continue
            sign = signature(_raw(texts, row))
            for likeness, at in zip(score.tolist(), near.tolist(), strict=True):
                if likeness < self.config.threshold:
                    break
                # Between the two locks another thread may have kept something by an older clock.
                if shelf.until[at] > now and shelf.near[at] and shelf.signs[at] == sign:
                    kind[row], similarity[row], answers[row] = NEAR, min(likeness, 1.0), shelf.answers[at]
                    shelf.used[at] = now
                    break

    def _make_room(self, name: bytes, shelf: _Shelf, now: float) -> None:
        self._expire(name, shelf, now)
        self._shelves.setdefault(name, shelf)
        if len(shelf.keys) >= self.config.entries:
            self._evict(shelf)
        while self._size >= self.config.total:
            # The largest shelf gives way: no tenant can push out one that holds less.
            largest = max(self._shelves, key=lambda other: len(self._shelves[other].keys))
            self._evict(self._shelves[largest])
            if not self._shelves[largest].keys and largest != name:
                del self._shelves[largest]

    def _evict(self, shelf: _Shelf) -> None:
        shelf.drop(shelf.oldest())
        self._size -= 1
        self.stats.evicted += 1

    def _expire(self, name: bytes, shelf: _Shelf, now: float) -> None:
        gone = shelf.expire(now)
        self._size -= gone
        self.stats.expired += gone
        if not shelf.keys:
            del self._shelves[name]

    def _name(self, tenant: str | None, scope: str) -> bytes:
        # Rows without a tenant are one tenant, another than the one whose name is empty.
        named = b"\0" if tenant is None else b"\1" + tenant.encode("utf-8", "surrogatepass")
        inner = hashlib.blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return hashlib.blake2b(inner + named, key=self._salt, digest_size=16, person=b"tenant").digest()

    def _key(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._salt, digest_size=16, person=b"text").digest()


def _raw(texts: pa.Array, row: int) -> bytes:
    return bytes(texts[row].as_buffer())


def _check(tenants: Sequence[str | None], texts: pa.Array, allowed: Flags) -> int:
    n = len(texts)
    if len(tenants) != n or len(allowed) != n:
        raise ConfigError("tenants, allowed", (len(tenants), len(allowed)), f"one for each of {n} texts")
    if texts.type != pa.large_string() or bool((allowed & np.asarray(texts.is_null())).any()):
        raise ConfigError("texts", str(texts.type), "large_string, none of the allowed ones null")
    return n
