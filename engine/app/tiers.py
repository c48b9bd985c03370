"""The model tiers of a gateway that is to name one."""

from __future__ import annotations

from collections.abc import Callable

from aimds.gateway.judging import Route
from aimds.gateway.settings import Settings
from aimds.metrics import Metrics


def routing(settings: Settings, metrics: Metrics, wall: Callable[[], float]) -> Route | None:
    """What chooses among the tiers of ``settings``; None where there are none.

    Raises:
        AimdsError: the file of tiers cannot be used.
    """
    if settings.tiers is None:
        return None
    from aimds.gateway.routing import Routing
    from aimds.route.tiers import Tiers

    return Routing(Tiers.load(settings.tiers), metrics, wall=wall)
