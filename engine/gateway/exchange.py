"""One request and its answer, whatever carries them: bytes in, bytes out, no socket and no clock.

A transport calls `receive`, `end` or `abort` and sends what `take` gives. It reads on only while `wants_data`: a client
that sends faster than its rows are screened, or reads slower than its verdicts come, is slowed down; nothing piles up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from aimds.gateway.problem import Problem

MAX_UNSENT = 1 << 20
"""Bytes of an answer that may wait for a slow reader before no more is read from it."""
LITTLE_UNSENT = 64 << 10
"""Of which each answer may have as much, however much waits of others."""
Headers = list[tuple[str, str]]


def _nothing() -> None:
    """Nobody listens yet."""


def _always() -> bool:
    """There is nothing to share with."""
    return True


def _itself(problem: Problem) -> Problem:
    """Nobody notes it."""
    return problem


class Exchange:
    """Base of all routes. ``route`` names it in metrics; ``wake`` is called when something can be taken, or read.
    ``idle_s``: in so many seconds a client must send something of a body that we are ready to read."""

    route = "none"
    idle_s = 30.0
    more: Sequence[tuple[str, str]] = ()
    """Headers that the answer has besides, once it begins."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nothing
        self.status = 0
        """Of the answer; 0 until it begins."""
        self.headers: Headers = []
        self.ended = False
        """The answer is complete; `take` may still hold a part of it."""
        self.broken = False
        """It had begun and breaks off: the transport is to end it so that nobody takes it for whole."""
        self.unsent = 0
        self.waited_s = 0.0
        """How long ago what is handed on now came to this machine."""
        self.has_share: Callable[[], bool] = _always
        """Whether its transport holds so little of all answers that more of this one may wait."""
        self.on_close: Callable[[Exchange], None] | None = None
        self.denied: Callable[[Problem], Problem] = _itself
        """Notes a problem where it is a denial; gives what to answer with."""
        self._out: deque[bytes] = deque()

    @property
    def expected(self) -> int:
        """Bytes of the answer, about, that will come of what is under way."""
        return 0

    @property
    def has_room(self) -> bool:
        """Whether a verdict more may wait for the reader."""
        return self.unsent + self.expected < LITTLE_UNSENT or (self.unsent < MAX_UNSENT and self.has_share())

    @property
    def wants_data(self) -> bool:
        """Whether the transport should read on."""
        return not self.ended and self.has_room

    def receive(self, content: bytes, now: float) -> None:
        """A piece of the body came."""

    def end(self, now: float) -> None:
        """The body is complete."""

    def abort(self, now: float) -> None:
        """The client is gone; what waits for it is given up."""
        self._out.clear()
        self.unsent = 0
        self._close()

    def sent(self, now: float) -> None:
        """The transport took bytes; there may be room for more work."""

    def drain(self, now: float) -> None:
        """The server ends: answer what was taken in, take nothing more."""

    def take(self, most: int = 1 << 20) -> bytes:
        """Up to about ``most`` bytes of the answer's body."""
        parts: list[bytes] = []
        size = 0
        while self._out and (not parts or size + len(self._out[0]) <= most):
            part = self._out.popleft()
            size += len(part)
            parts.append(part)
        self.unsent -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def refuse(self, problem: Problem) -> None:
        """Answer with ``problem``; an answer that has begun ends here, broken off."""
        if self.ended:
            return
        if self.status:
            self.broken = True
        else:
            self.begin(problem.status, problem.headers())
            self.send(problem.body())
        self.finish()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer at once."""
        if self.ended:
            return
        self.begin(status, [*headers, ("content-length", str(len(body)))])
        if body:
            self._out.append(body)
            self.unsent += len(body)
        self.finish()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self.status, self.headers = status, [*headers, *self.more] if self.more else headers

    def send(self, content: bytes) -> None:
        """A piece of the answer's body."""
        if content and not self.ended:
            self._out.append(content)
            self.unsent += len(content)
            self.wake()

    def finish(self) -> None:
        """The answer is complete."""
        if not self.ended:
            self._close()
            self.wake()

    def _close(self) -> None:
        if not self.ended:
            self.ended = True
            if self.on_close is not None:
                self.on_close(self)


class Fixed(Exchange):
    """An answer that needs nothing of the body."""

    def __init__(self, route: str, status: int, headers: Headers, body: bytes) -> None:
        super().__init__()
        self.route = route
        self.answer(status, headers, body)


class Refused(Exchange):
    """A request that was refused from its head on."""

    def __init__(self, route: str, problem: Problem) -> None:
        super().__init__()
        self.route = route
        self.refuse(problem)
