"""The model tiers of a gateway that is to name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aimds.gateway.protocol import Service
from aimds.gateway.settings import Settings
from aimds.gateway.worker import Worker
from aimds.metrics import Metrics

if TYPE_CHECKING:
    from aimds.gateway.routing import Routing


class ModelTiers:
    """What chooses among the tiers of ``settings``, as ``routing``; None where there are none.

    Args:
        metrics: counted into.
        wall: seconds since 1970.

    Raises:
        AimdsError: the file of tiers cannot be used.
    """

    def __init__(self, settings: Settings, metrics: Metrics, wall: Callable[[], float]) -> None:
        self._metrics, self._wall = metrics, wall
        self.routing: Routing | None = None
        self.routing = self.read(settings)

    def read(self, settings: Settings) -> Routing | None:
        """What would choose among the tiers of ``settings``; nothing changes before `use`.

        Raises:
            AimdsError: the file of tiers cannot be used.
        """
        if settings.tiers is None:
            return None
        from aimds.gateway.routing import Routing
        from aimds.route.tiers import Tiers

        ledger = None if self.routing is None else self.routing.router.ledger
        return Routing(Tiers.load(settings.tiers), self._metrics, wall=self._wall, ledger=ledger)

    def use(self, found: Routing | None, worker: Worker, service: Service) -> None:
        """Choose by ``found`` from the next batch on. What was spent stays spent, unless the period is another."""
        service.has_tiers = found is not None
        # Requests that have asked already are told a tier, though there are none from now on.
        if found is not None:
            found.router.ledger.use(found.router.tiers.budgets)
            self.routing = worker.route = found
