"""Keepers of shards in this process, with a ledger that outlives them: a way to them that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aimds.actors.keeper import Entry, Keeper, Ledger, Said
from aimds.actors.lines import Call


class LocalLog:
    """The way from a keeper to ``ledger``; it leads nowhere once it is ``cut``."""

    def __init__(self, shard: str, ledger: Ledger) -> None:
        self.shard, self.ledger = shard, ledger

    def begin(self) -> tuple[int, int, Any, list[Entry]]:
        return self.ledger.begin(self.shard)

    def add(self, term: int, place: int, entry: Entry) -> Callable[[], bool]:
        return lambda: self.ledger.add(self.shard, term, place, entry)

    def cover(self, term: int, place: int, snapshot: Any) -> None:
        self.ledger.cover(self.shard, term, place, snapshot)


class LocalWay:
    """A `Way` to keepers here. ``silent``: shards that do not answer. `die` ends one; ``lose`` counts calls that are
    still done, by shard, before it ends with the next, whose answer is lost. Time goes on while somebody waits."""

    def __init__(self, target: str, arguments: dict[str, Any]) -> None:
        self.ledger = Ledger()
        self._made = (target, arguments)
        self.keepers: dict[int, Keeper] = {}
        self.silent: set[int] = set()
        self.lose: dict[int, int] = {}
        self.stopped: list[int] = []
        self.sent: list[tuple[int, str]] = []
        self._calls: dict[int, tuple[int, str, int, Call]] = {}
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def keeper(self, shard: int) -> Keeper:
        if shard not in self.keepers:
            self.keepers[shard] = Keeper(*self._made, LocalLog(str(shard), self.ledger), self.clock)
        return self.keepers[shard]

    def die(self, shard: int) -> None:
        self.keepers.pop(shard, None)

    def send(self, shard: int, sender: str, number: int, call: Call) -> Any:
        token = len(self.sent)
        self.sent.append((shard, call.method))
        self._calls[token] = (shard, sender, number, call)
        return token

    def heard(self, tokens: Sequence[Any], timeout_s: float) -> list[tuple[Any, Said | None]]:
        out: list[tuple[Any, Said | None]] = []
        for token in tokens:
            shard, sender, number, call = self._calls[token]
            if shard in self.silent:
                continue
            said: Said | None = self.keeper(shard).do(sender, number, call.method, *call.arguments)
            if self.lose.get(shard) == 0:
                del self.lose[shard]
                self.die(shard)
                said = None
            elif shard in self.lose:
                self.lose[shard] -= 1
            out.append((token, said))
        if not out:
            self.now += timeout_s
        return out

    def stop(self, shard: int) -> None:
        self.stopped.append(shard)
        self.silent.discard(shard)
        self.die(shard)

    def end(self, shard: int) -> None:
        self.die(shard)
        self.ledger.drop(str(shard))
