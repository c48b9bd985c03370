"""State that survives its process: each change is written down elsewhere before it is answered, so that it counts once.

A `Keeper` holds the state of one shard. What it is asked goes to a `Log`, kept by a `Ledger` in another process, in the
order in which it is done. A keeper that takes the place of a lost one begins with the last snapshot and does again what
came after it: the state is as if nothing had happened, whoever asked. Senders number their calls; one that is sent
again is answered as before and not counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa

from aimds.actors.cell import found
from aimds.errors import AimdsError

REPLAY_S: Final = 2.0
"""So much work is done again after a loss at most, or ten times what a snapshot takes, if that is more."""
MOST_ENTRIES, MOST_BYTES = 4096, 64 << 20
"""A ledger keeps so much of a shard at most before the next snapshot."""
MOST_SENDERS: Final = 256


class State(Protocol):
    """What a shard holds. What it says depends on what it was asked, in order, and on nothing else: no clock, no
    chance."""

    def snapshot(self) -> Any:
        """Everything it knows, as plain values and arrays."""

    def restore(self, snapshot: Any) -> None:
        """Know what ``snapshot`` says, and nothing else."""


class Entry(NamedTuple):
    """``sender`` asked for ``method`` with ``arguments``, as its call ``number``, from 1 up."""

    sender: str
    number: int
    method: str
    arguments: tuple[Any, ...]


class Said(NamedTuple):
    """What came of a call: its ``value``, or why it failed; ``gap``: it was not done, since calls of this sender that
    came before are not known: the state was lost, and the ledger with it."""

    value: Any = None
    failed: str | None = None
    gap: bool = False


class Fenced(AimdsError):
    """Another process keeps ``shard`` now."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        super().__init__(f"shard {shard} is kept by another process now")

    def __reduce__(self) -> Any:
        return Fenced, (self.shard,)


class Log(Protocol):
    """The way of a keeper to its ledger."""

    def begin(self) -> tuple[int, int, Any, list[Entry]]:
        """See `Ledger.begin`."""

    def add(self, term: int, place: int, entry: Entry) -> Callable[[], bool]:
        """See `Ledger.add`; the answer is waited for by the call of what is given back."""

    def cover(self, term: int, place: int, snapshot: Any) -> None:
        """See `Ledger.cover`."""


@dataclass(slots=True)
class _Kept:
    term: int = 0
    place: int = 0
    snapshot: Any = None
    entries: list[Entry] = field(default_factory=list)


class Ledger:
    """Of each shard the last snapshot and what came after it; runs in an actor of its own."""

    def __init__(self) -> None:
        self._shards: dict[str, _Kept] = {}
        self._agreed: dict[str, Any] = {}

    def about(self) -> int:
        """Shards that are known."""
        return len(self._shards)

    def pulse(self) -> int:
        """The same, while it works."""
        return len(self._shards)

    def agree(self, terms: dict[str, Any]) -> dict[str, Any]:
        """What those who use these shards are to agree on: the ``terms`` of who came first."""
        self._agreed = self._agreed or terms
        return self._agreed

    def begin(self, shard: str) -> tuple[int, int, Any, list[Entry]]:
        """Somebody keeps ``shard`` from now on, and nobody else: the number of its term, the place up to which the
        snapshot goes, the snapshot (None where there is none), and what came after it."""
        kept = self._shards.setdefault(shard, _Kept())
        kept.term += 1
        return kept.term, kept.place, kept.snapshot, list(kept.entries)

    def add(self, shard: str, term: int, place: int, entry: Entry) -> bool:
        """Keep what is done at ``place``; False where something before it is missing, so that a snapshot is needed.

        Raises:
            Fenced: somebody else keeps the shard.
        """
        kept = self._of(shard, term)
        after = kept.place + len(kept.entries)
        if term > kept.term or place > after + 1:
            return False
        if place == after + 1:
            # What came through an object store is lent, and takes its room.
            kept.entries.append(deepcopy(entry))
        return True

    def cover(self, shard: str, term: int, place: int, snapshot: Any) -> None:
        """``snapshot`` holds everything up to ``place``.

        Raises:
            Fenced: somebody else keeps the shard.
        """
        kept = self._of(shard, term)
        kept.term, kept.place, kept.snapshot, kept.entries = term, place, deepcopy(snapshot), []

    def drop(self, shard: str) -> None:
        """Nobody keeps ``shard`` any more."""
        self._shards.pop(shard, None)

    def _of(self, shard: str, term: int) -> _Kept:
        kept = self._shards.setdefault(shard, _Kept())
        if term < kept.term:
            raise Fenced(shard)
        return kept


class Keeper:
    """The state of one shard; runs in an actor.

    Args:
        target, arguments: make the state, see `State`.
        log: where what is done is written down.
        clock: monotonic seconds, for when a snapshot is due.
    """

    def __init__(self, target: str, arguments: dict[str, Any], log: Log, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._state: Any = found(target)(**arguments)
        self._last: OrderedDict[str, tuple[int, Said]] = OrderedDict()
        self._term, self._place, snapshot, entries = log.begin()
        if snapshot is not None:
            last, state = snapshot
            self._last.update({sender: (number, Said(*said)) for sender, (number, said) in last.items()})
            self._state.restore(state)
        self._spent = self._snapshot_s = 0.0
        self._entries = self._bytes = 0
        self._behind = False
        for entry in entries:
            self._done(Entry(*entry))
            self._place += 1
        self.replayed = len(entries)
        """Calls that were done again when it began."""

    def about(self) -> dict[str, int]:
        """Where it stands."""
        return {"place": self._place, "replayed": self.replayed}

    def pulse(self) -> int:
        """Calls that were done so far."""
        return self._place

    def do(self, sender: str, number: int, method: str, *arguments: Any) -> Said:
        """``method`` of the state, unless this was done before; what is answered outlives this process."""
        if self._behind:
            # Something was done and may not be written down: nothing is answered before it is.
            self._cover()
        had, before = self._last.get(sender, (0, Said()))
        if number == had:
            return before
        if number != had + 1:
            return Said(gap=True)
        entry = Entry(sender, number, method, arguments)
        # Written down while it is done: the answer waits for both.
        written = self._log.add(self._term, self._place + 1, entry)
        self._behind = True
        said = self._done(entry)
        self._place += 1
        if not written() or self._due():
            self._cover()
        self._behind = False
        return said

    def _done(self, entry: Entry) -> Said:
        began = self._clock()
        try:
            said = Said(getattr(self._state, entry.method)(*entry.arguments))
        except Exception as error:  # the same error comes when it is done again: it is an answer like others
            said = Said(failed=f"{type(error).__name__}: {error}")
        self._last[entry.sender] = (entry.number, said)
        self._last.move_to_end(entry.sender)
        if len(self._last) > MOST_SENDERS:
            self._last.popitem(last=False)
        self._spent += self._clock() - began
        self._entries += 1
        self._bytes += sum(one.size for one in entry.arguments if isinstance(one, pa.Buffer))
        return said

    def _due(self) -> bool:
        late = self._spent > max(REPLAY_S, 10 * self._snapshot_s)
        return late or self._entries >= MOST_ENTRIES or self._bytes >= MOST_BYTES

    def _cover(self) -> None:
        began = self._clock()
        last = {sender: (number, tuple(said)) for sender, (number, said) in self._last.items()}
        self._log.cover(self._term, self._place, (last, self._state.snapshot()))
        self._behind = False
        self._snapshot_s = self._clock() - began
        self._spent, self._entries, self._bytes = 0.0, 0, 0
