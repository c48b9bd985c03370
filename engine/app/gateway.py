"""A gateway in this process, from start to drain: its parts, made from settings, and in what order they come and go."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aimds.analyze.owing import Owed
from aimds.app import following, recording
from aimds.app.credentials import credentials
from aimds.app.gauges import set_gauges
from aimds.app.holds import Holds
from aimds.app.judging import judging
from aimds.app.reloads import Parts, Reloads, Sources
from aimds.app.reviews import Reviews
from aimds.app.sockets import Sockets
from aimds.app.tiers import ModelTiers
from aimds.errors import AimdsError
from aimds.gateway.access import Access, Everybody
from aimds.gateway.auth import Auth, Credentials
from aimds.gateway.batching import Batcher
from aimds.gateway.follow_ups import FollowUps
from aimds.gateway.headers import Head
from aimds.gateway.hooks import Hooks
from aimds.gateway.http import App
from aimds.gateway.identity import Peer
from aimds.gateway.judge_process import screener_of
from aimds.gateway.judges import COMMAND
from aimds.gateway.limits import Failures, Rates
from aimds.gateway.notifications import Notifications
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.settings import Screening, Settings
from aimds.gateway.traced import TracedService
from aimds.gateway.tracing import traces
from aimds.gateway.upkeep import Upkeep
from aimds.gateway.worker import Worker
from aimds.metrics import Metrics
from aimds.respond.hold_file import HoldFile
from aimds.respond.notify import NotifyFile
from aimds.respond.policy import Policy
from aimds.screener import Screener

Say = Callable[[str], None]


class Gateway:
    """A gateway in this process.

    Args:
        settings: checked ones.
        reread: gives the settings anew on a reload.
        build: makes the screener; another one in tests, as ``judge``, the command that starts a process that judges.
        warm: texts that make such a process ready to work.
        front: makes an ASGI application that stands before the one over TCP.
        say: told what a person should know.
        clock: monotonic seconds; ``wall``: seconds since 1970.

    Raises:
        AimdsError: a file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reread: Callable[[], Settings] | None = None,
        build: Callable[[Screening], Any] = screener_of,
        judge: Sequence[str] = COMMAND,
        warm: Sequence[str] = (),
        front: Callable[[App, Gateway], Any] | None = None,
        say: Say = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings.check()
        self._clock, self._wall, self._front, self._say = clock, wall, front, say
        self.audit = recording.opened(settings)
        self.metrics = Metrics()
        self.follow_ups = FollowUps(self.metrics, say=say)
        notify = settings.notify
        told = None if notify is None else Notifications(NotifyFile(notify), self.follow_ups, say)
        file = None if settings.holds is None else HoldFile(settings.holds, say)
        self.responder = following.responder(settings, told, file, wall())
        self._upkeep = Upkeep(
            self.follow_ups,
            self.metrics,
            self.responder,
            self.audit,
            clock=clock,
            wall=wall,
            say=say,
            traffic=lambda rows, caught: self._following.caught(rows, caught),
        )
        self._auth: Auth | None = None
        if not settings.insecure:
            failures = Failures(settings.failures_per_minute)
            found = self._credentials(settings)
            self._auth = Auth(found, settings.admin_allow, wall=wall, failures=failures)
            self._upkeep.use_keys(found.key_set)
        access: Access = Everybody() if self._auth is None else self._auth
        self._judging = judging(
            settings,
            warm,
            judge,
            waiting=lambda: self.service.batcher.waiting_batches,
            on_change=self._slots,
            clock=clock,
            say=say,
        )
        batch = settings.batch if self._judging is None else replace(settings.batch, slots=self._judging.count)
        self._reviews = self._reviewed(settings, access)
        self._following = following.Following(
            settings, self.responder, lambda: self.worker.screener, clock=clock, wall=wall, say=say
        )
        self._tiers = ModelTiers(settings, self.metrics, wall)
        self.worker = Worker(
            build(settings.screening),
            slots=batch.slots,
            judges=None if self._judging is None else self._judging.judges,
            record=recording.recorder(
                settings,
                self.audit,
                None if self._reviews is None else self._reviews.reviewing.record,
                self.policy,
            ),
            route=self._tiers.routing,
            follower=self._following.follower,
            say=say,
            clock=clock,
        )
        self._traces = traces(settings.traces, os.environ)
        service: Callable[..., Service] = Service
        if self._traces is not None:
            service = functools.partial(TracedService, self._traces)
        holds = Holds(self.responder, self._upkeep, wall)
        self.service = service(
            Batcher(batch, settings.weights),
            Hooks(
                work=self.worker.work,
                rest=self.worker.rest,
                unjudged=self.worker.unjudged,
                forwards=lambda action: self.policy().playbook.forwards(action),
                denied=functools.partial(self._upkeep.note, "denied"),
                reload=lambda: self.reloads.soon(),
                state=self._state,
                held=holds.listed,
                release=holds.release,
                gauges=lambda: set_gauges(
                    self.metrics, self.responder, told, self._following.follower, self.follow_ups, wall
                ),
                alive=lambda: self.worker.ready,
                ready=lambda: (
                    self.worker.ready
                    and self.sockets.ready
                    and (self._judging is None or self._judging.judges.ready > 0)
                ),
            ),
            access=access,
            limits=settings.limits,
            output=settings.output,
            rates=Rates(settings.rate, settings.burst),
            metrics=self.metrics,
            pages=None if self._reviews is None else self._reviews.site,
            has_tiers=settings.tiers is not None,
        )
        self.sockets = Sockets(
            settings, self.service, clock, _uncounted if self._auth is None else self._auth.failed, say
        )
        self.reloads = Reloads(
            Sources(reread or (lambda: settings), build, warm, self._credentials),
            Parts(
                worker=self.worker,
                service=self.service,
                sockets=self.sockets,
                following=self._following,
                tiers=self._tiers,
                auth=self._auth,
                upkeep=self._upkeep,
                judging=self._judging,
                reviews=self._reviews,
            ),
            tell=self._tell,
            say=say,
            wall=wall,
        )

    @property
    def port(self) -> int:
        """TCP port, once started."""
        return self.sockets.port

    def policy(self) -> Policy:
        """The policy in force."""
        found: Policy = self.worker.screener.policy
        return found

    def _credentials(self, settings: Settings) -> Credentials:
        before = None if self._auth is None else self._auth.credentials.key_set
        return credentials(settings, before, clock=self._clock, wall=self._wall)

    def _reviewed(self, settings: Settings, access: Access) -> Reviews | None:
        if settings.review is None:
            return None

        def denied(problem: Problem, head: Head, peer: Peer) -> None:
            self.service.deny(problem, head.method, head.path, peer)

        return Reviews(
            settings.review,
            settings.screening,
            access,
            secure=settings.certificate is not None,
            denied=denied,
            counted=lambda outcome, rows: self.metrics.review.labels(outcome).inc(rows),
            wall=self._wall,
            say=self._say,
        )

    def _slots(self, ready: int) -> None:
        """As many batches may be under way as there are actors; admission counts with them."""
        self.service.batcher.config = replace(self.service.batcher.config, slots=max(1, ready))

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"last_reload": self.reloads.last}
        if self.sockets.relay is not None:
            state["quic_processes"] = {"ready": self.sockets.relay.ready, "restarts": self.sockets.relay.restarts}
        screener = self.worker.screener
        if isinstance(screener, Screener):
            state |= {"profile": screener.profile, "versions": screener.versions, "config_hash": screener.config_hash}
        return state

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be used.
            JudgeError: a process that judges cannot be started.
        """
        self.worker.attach(self.service)
        if self._judging is not None:
            await self._judging.judges.start()
        await self._following.begin()
        front = self._front
        self.sockets.open(
            None if front is None else lambda app: front(app, self), self.metrics.connections.labels("tcp").inc
        )
        if self._reviews is not None:
            self._reviews.open(asyncio.get_running_loop(), self.port)
        jwt, audit = self.settings.jwt, self.settings.audit
        self._upkeep.begin(
            self.service,
            self._following.follower,
            None if self._reviews is None else self._reviews.reviewing,
            None if jwt is None else jwt.refresh_s,
            None if audit is None else audit.keep_days,
            self._following.kept,
        )
        self.follow_ups.attach()
        await self.sockets.opened()

    async def stop(self) -> None:
        """Take nothing new, finish what is under way, for at most ``drain_s``, and let go of everything."""
        self.service.drain(self._clock())
        until = self._clock() + self.settings.drain_s
        while not self.service.idle and self._clock() < until:
            await asyncio.sleep(0.01)
        await self.sockets.close(until + 1)
        await self.reloads.close(until + 1 - self._clock())
        self.worker.close()
        await asyncio.get_running_loop().run_in_executor(None, self._following.ended, self._tell)
        await self.follow_ups.close(asyncio.get_running_loop().time() + self.settings.drain_s)
        self.responder.close()
        self._following.close()
        if self._judging is not None:
            await self._judging.close()
        if self._reviews is not None:
            self._reviews.close()
        if self.audit is not None:
            self.audit.close()
        if self._traces is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._traces.close)

    async def reload(self) -> None:
        """See `Reloads.reload`."""
        await self.reloads.reload()

    def _tell(self, owed: list[Owed]) -> None:
        try:
            self._upkeep.tell(self._following.follower, owed)
        except AimdsError as error:
            self._say(f"what was owed to {len(owed)} sessions that have ended could not be recorded: {error}")


def _uncounted(address: str, now: float) -> None:
    """Nobody is asked who they are."""
