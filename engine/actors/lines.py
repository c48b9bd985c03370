"""Calls on their way to the keepers of shards: one at a time to each, in order, sent again until they are answered.

Knows no Ray: a `Way` carries calls, time comes in. Whoever asks waits for a while only; a call that is not answered by
then stays in its line, and is done before those that come later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa

from aimds.actors.keeper import Said

PATIENCE_S: Final = 5.0
"""How long a call is waited for; a shard that takes longer is not waited for any more until it answers."""
HUNG_S: Final = 30.0
"""A keeper that is at one call for so long is ended, and started again."""
MOST_WAITING: Final = 1024
MOST_BYTES: Final = 256 << 20
"""Of buffers in the arguments of the calls that wait for one shard."""


@dataclass(slots=True, eq=False)
class Call:
    """``method`` with ``arguments``; ``said`` once it is answered, ``dropped`` where too many waited: it is never
    done. One that is ``due`` is never dropped."""

    method: str
    arguments: tuple[Any, ...]
    due: bool = False
    said: Said | None = None
    dropped: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.dropped or self.said is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers in the arguments."""
        return sum(one.size for one in self.arguments if isinstance(one, pa.Buffer))


class Way(Protocol):
    """Carries calls to the keepers of shards."""

    def send(self, shard: int, sender: str, number: int, call: Call) -> Any:
        """Begin `Keeper.do`; a token for `heard`."""

    def heard(self, tokens: Sequence[Any], timeout_s: float) -> list[tuple[Any, Said | None]]:
        """Answers to ``tokens``, at least one if it comes within ``timeout_s``; None: it has to be sent again."""

    def stop(self, shard: int) -> None:
        """End what keeps ``shard``, whatever it is at; another takes its place."""

    def end(self, shard: int) -> None:
        """End what keeps ``shard`` for good."""


@dataclass(slots=True, eq=False)
class _Line:
    sender: str
    waiting: deque[Call]
    number: int = 0
    token: Any = None
    since: float = 0.0
    nbytes: int = 0
    late: bool = False
    losses: int = 0


class Lines:
    """The lines to ``shards`` shards. Not to be used by two threads at once.

    Args:
        way: carries the calls.
        sender: a name that nobody else has or had.
        what: what is kept, for what is said.
        clock: monotonic seconds.
        anew: told which shard has lost all it knew; the calls that it is to begin with.
        say: told what a person should know.
    """

    def __init__(
        self,
        way: Way,
        sender: str,
        shards: int,
        *,
        what: str = "sessions",
        clock: Callable[[], float],
        anew: Callable[[int], Iterable[Call]] = lambda shard: (),
        say: Callable[[str], None] = lambda line: None,
        patience_s: float = PATIENCE_S,
        hung_s: float = HUNG_S,
    ) -> None:
        self._way, self._sender, self._clock, self._anew, self._say = way, sender, clock, anew, say
        self._what, self._patience_s, self._hung_s = what, patience_s, hung_s
        self._lines: list[_Line] = []
        self.resize(shards)
        self.dropped = 0
        """Calls that were never done, since too many waited for their shard."""

    def __len__(self) -> int:
        return len(self._lines)

    def resize(self, shards: int) -> None:
        """From now on there are so many; nothing may wait for one that goes."""
        while len(self._lines) < shards:
            self._lines.append(_Line(self._sender, deque()))
        del self._lines[shards:]

    def ask(self, calls: Mapping[int, Sequence[Call]], patience_s: float | None = None) -> None:
        """Send each shard its ``calls`` in order, and wait until they are over, for ``patience_s`` at most."""
        until = self._clock() + (self._patience_s if patience_s is None else patience_s)
        for shard, listed in calls.items():
            self._put(self._lines[shard], listed)
        self._hear(0.0)
        while True:
            open_ = [shard for shard, listed in calls.items() if not all(call.over for call in listed)]
            waited = [shard for shard in open_ if not self._lines[shard].late]
            left = until - self._clock()
            if not waited:
                return
            if left <= 0:
                for shard in waited:
                    self._lines[shard].late = True
                    self._say(f"shard {shard} of {self._what} does not answer; it is waited for no more until it does")
                return
            self._hear(left)

    def _put(self, line: _Line, listed: Sequence[Call]) -> None:
        for call in listed:
            is_full = len(line.waiting) >= MOST_WAITING or line.nbytes >= MOST_BYTES
            if is_full and not call.due:
                call.dropped = True
                self.dropped += 1
            else:
                line.waiting.append(call)
                line.nbytes += call.nbytes

    def _hear(self, timeout_s: float) -> None:
        now = self._clock()
        for shard, line in enumerate(self._lines):
            if line.token is not None and now - line.since > self._hung_s:
                self._say(
                    f"shard {shard} of {self._what} has been at one call for {self._hung_s:g} s and is started again"
                )
                self._way.stop(shard)
                line.since = now
            self._send(shard, line, now)
        by_token = {line.token: shard for shard, line in enumerate(self._lines) if line.token is not None}
        if by_token:
            for token, said in self._way.heard(list(by_token), min(timeout_s, self._hung_s)):
                self._answered(by_token[token], said)

    def _send(self, shard: int, line: _Line, now: float) -> None:
        if line.token is None and line.waiting:
            line.token, line.since = self._way.send(shard, line.sender, line.number + 1, line.waiting[0]), now

    def _answered(self, shard: int, said: Said | None) -> None:
        line = self._lines[shard]
        line.token = None
        if said is not None and said.gap:
            line.losses += 1
            line.sender, line.number = f"{self._sender}/{line.losses}", 0
            self._say(f"shard {shard} of {self._what} and what was written down of it are lost; it begins anew")
            first = list(self._anew(shard))
            line.waiting.extendleft(reversed(first))
            line.nbytes += sum(call.nbytes for call in first)
        elif said is not None:
            done = line.waiting.popleft()
            done.said = said
            line.nbytes -= done.nbytes
            line.number += 1
            if line.late:
                line.late = False
                self._say(f"shard {shard} of {self._what} answers again")
        self._send(shard, line, self._clock())
