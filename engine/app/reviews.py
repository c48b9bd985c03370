"""Where people review: the queue, what puts rows into it, and the console, all of one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from aimds.console.local import NAMES, threaded
from aimds.console.sessions import Sessions
from aimds.console.site import Answer, Run, Site
from aimds.gateway.access import Access
from aimds.gateway.headers import Head
from aimds.gateway.identity import Peer
from aimds.gateway.problem import Problem
from aimds.gateway.reviewing import Reviewing, reviewed
from aimds.gateway.settings import Review, Screening
from aimds.respond.policy import Policy
from aimds.respond.review import Queue


class Reviews:
    """The queue of ``review`` with all around it.

    Args:
        screening: says which policy chooses the rows.
        access: who may enter the console.
        secure: whether the gateway has a certificate.
        denied: told of everybody who was turned away.
        counted: told how many rows were queued, known or lost.
        wall: seconds since 1970.
        say: told what a person should know.

    Raises:
        AimdsError: the policy or the queue cannot be used.
    """

    def __init__(
        self,
        review: Review,
        screening: Screening,
        access: Access,
        *,
        secure: bool,
        denied: Callable[[Problem, Head, Peer], None],
        counted: Callable[[str, int], None],
        wall: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        keep = None if review.keep_days is None else timedelta(days=review.keep_days)
        actions = chosen(screening)
        queue = Queue(review.where, create=True)
        self.reviewing = Reviewing(queue, actions, keep=keep, wall=wall, counted=counted, say=say)
        sessions = Sessions("aimds-review", secure=secure)
        self.site = Site(queue, access, self._aside, sessions, secure=secure, denied=denied, wall=wall)
        self._secure = secure
        self._pool: ThreadPoolExecutor | None = None
        self._run: Run | None = None

    def open(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        """Be ready for those who come to ``port``; what takes time is done beside ``loop``."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aimds-console")
        self._run = threaded(self._pool, loop)
        if not self._secure:
            names = (*NAMES, "[::1]")
            self.site.hosts = frozenset(f"{one}:{port}" for one in names)

    def _aside(self, work: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
        assert self._run is not None
        self._run(work, done)

    def close(self) -> None:
        """Finish what was begun, write what waits, and let go of the file."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self.reviewing.close()


def chosen(screening: Screening) -> tuple[str, ...]:
    """The actions whose rows people shall see, by the policy of ``screening``."""
    return reviewed(Policy.load(screening.policy).playbook)
