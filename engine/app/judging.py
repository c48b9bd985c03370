"""What judges beside a gateway's own process: processes of this machine, or actors of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aimds.gateway.frames import Setup
from aimds.gateway.judges import Judges
from aimds.gateway.settings import Ray, Settings

if TYPE_CHECKING:
    from aimds.actors.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Judging:
    """Judges, how many there are to begin with, and the cluster they are in, if any."""

    judges: Judges
    count: int
    cluster: Cluster | None = None

    async def close(self) -> None:
        """End them."""
        await self.judges.close()
        if self.cluster is not None:
            self.cluster.close()


def judging(
    settings: Settings,
    warm: Sequence[str],
    command: Sequence[str],
    *,
    waiting: Callable[[], float],
    on_change: Callable[[int], None],
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> Judging | None:
    """The judges that ``settings`` ask for; None: the gateway's own process alone.

    Args:
        warm: texts that make them ready to work.
        command: starts a process that judges.
        waiting: how many batches wait, parts of one included; asked by those that grow and shrink in number.
        on_change: told how many are ready.
        clock: monotonic seconds.
        say: told what a person should know.

    Raises:
        ClusterError: a cluster cannot be reached.
        ConfigError: Ray is not installed, or there is no room for the actors that are asked for.
    """
    setup, workers = Setup(settings.screening, tuple(warm)), settings.screening.workers or 0
    if settings.ray is not None:
        return _on_ray(setup, settings.ray, max(1, workers), waiting, on_change, clock, say)
    return Judging(Judges(setup, workers, command), workers) if workers else None


def _on_ray(
    setup: Setup,
    on: Ray,
    cpus: int,
    waiting: Callable[[], float],
    on_change: Callable[[int], None],
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> Judging:
    from aimds.actors.cluster import connect
    from aimds.actors.scaling import Bounds
    from aimds.actors.topology import shares
    from aimds.gateway.cluster_judges import ClusterJudges

    # A Ray of this machine leaves the gateway the core that processes would leave it.
    cluster = connect(on.address, cpus=cpus)
    room, share = shares(cluster.nodes())
    least = min(room, on.least or room)
    bounds = Bounds(least, max(least, on.most or least))
    judges = ClusterJudges(setup, bounds, share, waiting=waiting, on_change=on_change, clock=clock)
    say(f"Ray: {room} places for actors, {bounds.least} to {bounds.most} of them judge")
    return Judging(judges, least, cluster)
