"""A gateway that is asked again and again how it is, and what it has said so far."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aimds.cli.top_alerts import WATCHED_S, Alert, alerts
from aimds.cli.top_figures import Figures, figures
from aimds.cli.top_window import Sample, Window, read
from aimds.errors import AimdsError
from aimds.gateway.client import Answer, ServerError

FINAL = frozenset({401, 403})
"""Statuses that do not change by asking again; each try would be another denial in the gateway's log."""
TREND = 60


class Asks(Protocol):
    """`aimds.gateway.client.Client`, as far as it is needed."""

    def request(self, method: str, target: str) -> Answer:
        """The answer, or a ServerError."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How things stand after a poll. ``figures`` is None before there were two readings; ``lost``: why there is no
    answer, for ``lost_s`` seconds now; ``trend``: rows a second of the last windows, the oldest first."""

    url: str
    version: str
    state: str
    figures: Figures | None = None
    alerts: tuple[Alert, ...] = ()
    trend: tuple[float, ...] = ()
    lost: str | None = None
    lost_s: float = 0.0


@dataclass(slots=True)
class Watch:
    """The gateway at ``url``, asked through ``client``; ``clock``: monotonic seconds."""

    url: str
    client: Asks
    clock: Callable[[], float]
    _samples: list[Sample] = field(default_factory=list)
    _trend: list[float] = field(default_factory=list)
    _last: Shown | None = None
    _version: str = ""

    def poll(self) -> Shown:
        """Ask once. A gateway that has answered before and does not now is lost, until it answers again.

        Raises:
            AimdsError: it has never answered, or does not accept who asks.
        """
        try:
            self._last = self._asked()
        except AimdsError as error:
            status = error.status if isinstance(error, ServerError) else 0
            if self._last is None or status in FINAL:
                raise
            self._version = ""
            before, since = self._last, self._samples[-1].at
            return Shown(
                self.url,
                before.version,
                "lost",
                before.figures,
                before.alerts,
                before.trend,
                lost=str(error),
                lost_s=self.clock() - since,
            )
        return self._last

    def _asked(self) -> Shown:
        sample = read(self.client.request("GET", "/metrics").body, self.clock(), self.url)
        if not self._version:
            health = _json(self.client.request("GET", "/healthz").body)
            self._version = str(health.get("version", "unknown"))
        state = self._state()
        self._samples.append(sample)
        if len(self._samples) < 2:
            return Shown(self.url, self._version, state)
        found = figures(Window(self._samples[-2], sample))
        self._trend = [*self._trend, found.rows_per_s][-TREND:]
        showing = tuple(alerts(self._samples))
        # The first reading stays: what was counted before it is what is ordinary.
        self._samples[1:] = [one for one in self._samples[1:] if sample.at - one.at <= WATCHED_S]
        return Shown(self.url, self._version, state, found, showing, tuple(self._trend))

    def _state(self) -> str:
        try:
            self.client.request("GET", "/readyz")
        except ServerError as error:
            if error.status != 503:
                raise
            return "draining" if error.problem.get("draining") is True else "not ready"
        return "ready"


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
