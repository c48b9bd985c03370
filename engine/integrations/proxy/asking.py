"""Verdicts on rows of a proxied request, from the gateway's queue: batched with those of all others, or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aimds.gateway.identity import Identity
from aimds.gateway.pieces import OBJECTS, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.rows import Row, batch_of, objects
from aimds.respond.policy import Policy

DEADLINE_S = 10.0
OPEN = ("overloaded", "deadline-exceeded")
"""Refusals after which a text is forwarded unjudged where the policy fails open; after any other it never is."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks ``service``; ``policy`` gives the one in force, ``deadline_s`` is how long a verdict may take."""

    service: Service
    policy: Callable[[], Policy]
    deadline_s: float = DEADLINE_S
    clock: Callable[[], float] = time.monotonic

    async def verdicts(self, route: str, identity: Identity, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The verdicts of ``rows``, in their order. Given up where the caller is cancelled.

        Raises:
            Problem: they cannot be judged now, or not be recorded.
        """
        loop, found = asyncio.get_running_loop(), []
        jobs = []
        now = self.clock()
        try:
            for i, part in enumerate(_parts(rows, self.service)):
                future: asyncio.Future[list[dict[str, Any]]] = loop.create_future()
                piece = Piece(route, identity, OBJECTS, *_ends(future), rows=part, admitted=i > 0)
                found.append(future)
                jobs.append(self.service.place(piece, now + self.deadline_s, 3, now))
            return [verdict for future in found for verdict in await future]
        except Problem as problem:
            if problem.kind in OPEN:
                reason = f"not judged: {problem}"
                unjudged = objects(self.service.unjudged(batch_of(rows), reason))
                if all(verdict["action"] == "allow" for verdict in unjudged):
                    return unjudged
            raise
        finally:
            for job in jobs:
                self.service.cancel(job)
            for future in found:
                if future.done() and not future.cancelled():
                    future.exception()
                future.cancel()


def _ends(
    future: asyncio.Future[list[dict[str, Any]]],
) -> tuple[Callable[[Any, float], None], Callable[[Problem, float], None]]:
    def done(verdicts: Any, now: float) -> None:
        if not future.done():
            future.set_result(verdicts)

    def failed(problem: Problem, now: float) -> None:
        if not future.done():
            future.set_exception(problem)

    return done, failed


def _parts(rows: Sequence[Row], service: Service) -> list[list[Row]]:
    """``rows`` in parts of the size that the queue is made for; a longer text is a part of its own."""
    parts: list[list[Row]] = [[]]
    size = 0
    for row in rows:
        n = len(row.text)
        if parts[-1] and (len(parts[-1]) >= service.limits.piece_rows or size + n > service.limits.piece_bytes):
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += n
    return [part for part in parts if part]
