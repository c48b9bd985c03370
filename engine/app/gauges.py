"""The metrics of a gateway that are read off when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable

from aimds.gateway.follow_ups import FollowUps
from aimds.gateway.following import Follows
from aimds.gateway.notifications import Notifications
from aimds.metrics import Metrics
from aimds.respond.carry_out import Responder


def set_gauges(
    metrics: Metrics,
    responder: Responder,
    notifications: Notifications | None,
    follower: Follows,
    follow_ups: FollowUps,
    wall: Callable[[], float],
) -> None:
    """Bring ``metrics`` up to what the others say now. ``wall``: seconds since 1970."""
    # Listing forgets what is over.
    responder.listed(wall())
    for kind, n in responder.counts.items():
        metrics.held.labels(kind).set(n)
    lost = responder.lost + (0 if notifications is None else notifications.lost)
    for name, n in (("notify", responder.notified), ("lost", lost)):
        metrics.handed.labels(name).set(n)
    for name, counts in follower.counts().items():
        metrics.broken.labels(name).set(counts["broken"])
        metrics.unfollowed.labels(name).set(counts["unjudged"])
        metrics.owed.labels(name).set(counts["owed"])
    for name, n in list(follower.failed.items()):
        metrics.shards_failed.labels(name).set(n)
    follow_ups.gauges()
