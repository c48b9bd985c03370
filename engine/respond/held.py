"""Sessions that are held: in quarantine, or limited to a few turns a minute. Bounded; the time is passed in."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import astuple

Key = tuple[str | None, str | None, str | None]
"""Tenant, session, and sender where there is no session."""
MOST = 100_000


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Since when and until when, seconds of the clock that is passed in, and the request that caused it."""

    since: float
    until: float
    request_id: str


class Quarantine:
    """Sessions that nothing of gets through until they are released.

    Args:
        most: sessions held at once; of more, the one held longest goes, and ``dropped`` counts it.
        gone: told of each that goes so.
    """

    def __init__(self, most: int = MOST, gone: Callable[[Key], None] = lambda key: None) -> None:
        self._most, self._gone = most, gone
        self._held: OrderedDict[Key, Hold] = OrderedDict()
        self._over: deque[tuple[Key, Hold]] = deque(maxlen=most)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: Key, now: float, hold_s: float, request_id: str = "") -> Hold:
        """Hold ``key`` for ``hold_s`` seconds, 0: until it is released. One that is held already is held longer."""
        until = now + hold_s if hold_s else math.inf
        before = self.get(key, now)
        hold = Hold(now, until, request_id) if before is None else _longer(before, until)
        self.resume(key, hold)
        return hold

    def resume(self, key: Key, hold: Hold) -> None:
        """Hold ``key`` as ``hold`` says, which another process began. One that is held already keeps its place."""
        self._held[key] = hold
        if len(self._held) > self._most:
            gone, _ = self._held.popitem(last=False)
            self.dropped += 1
            self._gone(gone)

    @property
    def held(self) -> list[tuple[Key, Hold]]:
        """What is held or was not yet found to be over, longest first."""
        return list(self._held.items())

    def get(self, key: Key, now: float) -> Hold | None:
        """The hold on ``key``, None where there is none any more."""
        found = self._held.get(key)
        if found is not None and found.until <= now:
            self._over.append((key, self._held.pop(key)))
            return None
        return found

    def release(self, key: Key, now: float) -> bool:
        """Let ``key`` go; False where it is not held."""
        held = self.get(key, now) is not None
        self._held.pop(key, None)
        return held

    def expire(self, now: float) -> None:
        """Forget what is over."""
        for key in [key for key, hold in self._held.items() if hold.until <= now]:
            self._over.append((key, self._held.pop(key)))

    def ended(self, now: float) -> list[tuple[Key, Hold]]:
        """The holds whose time is over, each of them once; those that were released are not among them."""
        self.expire(now)
        found = list(self._over)
        self._over.clear()
        return found

    def kept(self, chosen: Callable[[Key], bool]) -> list[list[Any]]:
        """What is held, and what has ended and was not told, of the keys that are ``chosen``: for `keep`."""
        both = (self._held.items(), self._over)
        return [[(key, astuple(hold)) for key, hold in one if chosen(key)] for one in both]

    def keep(self, kept: list[list[Any]]) -> None:
        """Hold what another one `kept`, beside what is held."""
        held, over = kept
        self._held.update({key: Hold(*values) for key, values in held})
        self._over.extend((key, Hold(*values)) for key, values in over)

    def let_go(self, chosen: Callable[[Key], bool]) -> None:
        """Forget the keys that are ``chosen``, as if they had never been held."""
        self._held = OrderedDict((key, hold) for key, hold in self._held.items() if not chosen(key))
        self._over = deque(((key, hold) for key, hold in self._over if not chosen(key)), self._most)

    def listed(self, now: float) -> list[tuple[Key, Hold]]:
        """What is held, longest first."""
        self.expire(now)
        return list(self._held.items())


class RateLimits:
    """Sessions, or senders, that may send a few turns a minute: a bucket of one minute's turns each, full at first.

    Args:
        most, gone: as for `Quarantine`.
    """

    def __init__(self, most: int = MOST, gone: Callable[[Key], None] = lambda key: None) -> None:
        self._holds = Quarantine(most, gone)
        self._buckets: dict[Key, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._holds)

    @property
    def held(self) -> list[tuple[Key, Hold]]:
        """What is limited or was not yet found to be over, longest first."""
        return self._holds.held

    def get(self, key: Key, now: float) -> Hold | None:
        """The limit on ``key``, None where there is none any more."""
        return self._holds.get(key, now)

    @property
    def dropped(self) -> int:
        """Limits that went because there were too many."""
        return self._holds.dropped

    def put(self, key: Key, now: float, hold_s: float, request_id: str = "") -> Hold:
        """Limit ``key`` for ``hold_s`` seconds."""
        hold = self._holds.put(key, now, hold_s, request_id)
        if len(self._buckets) > 2 * len(self._holds) + 64:
            held = {one for one, _ in self._holds.listed(now)}
            self._buckets = {one: bucket for one, bucket in self._buckets.items() if one in held}
        return hold

    def resume(self, key: Key, hold: Hold, now: float) -> None:
        """Limit ``key`` as ``hold`` says, which another process began. No turns are saved up: else each restart would
        give a minute's turns anew."""
        self._holds.resume(key, hold)
        self._buckets[key] = (0.0, now)

    def take(self, key: Key, now: float, per_minute: float) -> bool:
        """Whether ``key`` may send a turn now; one that is not limited always may."""
        if self._holds.get(key, now) is None:
            self._buckets.pop(key, None)
            return True
        room = max(1.0, per_minute)
        left, at = self._buckets.get(key, (room, now))
        left = min(room, left + max(0.0, now - at) * per_minute / 60)
        self._buckets[key] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def release(self, key: Key, now: float) -> bool:
        """Let ``key`` go; False where it is not limited."""
        self._buckets.pop(key, None)
        return self._holds.release(key, now)

    def expire(self, now: float) -> None:
        """Forget what is over."""
        self._holds.expire(now)

    def ended(self, now: float) -> list[tuple[Key, Hold]]:
        """The limits whose time is over, each of them once."""
        found = self._holds.ended(now)
        for key, _ in found:
            if self._holds.get(key, now) is None:
                self._buckets.pop(key, None)
        return found

    def kept(self, chosen: Callable[[Key], bool]) -> list[list[Any]]:
        """As `Quarantine.kept`, with what is left of each."""
        return [*self._holds.kept(chosen), [one for one in self._buckets.items() if chosen(one[0])]]

    def keep(self, kept: list[list[Any]]) -> None:
        """As `Quarantine.keep`."""
        *holds, buckets = kept
        self._holds.keep(holds)
        self._buckets.update(dict(buckets))

    def let_go(self, chosen: Callable[[Key], bool]) -> None:
        """As `Quarantine.let_go`."""
        self._holds.let_go(chosen)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not chosen(key)}

    def listed(self, now: float) -> list[tuple[Key, Hold]]:
        """What is limited, longest first."""
        return self._holds.listed(now)


def _longer(before: Hold, until: float) -> Hold:
    return Hold(before.since, max(before.until, until), before.request_id)
