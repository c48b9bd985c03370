"""How many workers a cluster takes, and what each needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aimds.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of a machine."""

    cpus: float
    gpus: float


def shares(nodes: Sequence[Node], *, backend: str = "auto", workers: int | None = None) -> tuple[int, Share]:
    """The number of workers and the share of each: one a GPU where there are GPUs, else one a CPU.

    A worker with a GPU takes its part of that machine's CPUs, so that texts are decoded beside the kernels. ``workers``
    may ask for more than there is room for: they start when machines join.

    Raises:
        ConfigError: ``backend`` is cuda and no machine has a GPU, or no machine has a CPU.
    """
    if not any(node.cpus >= 1 for node in nodes):
        raise ConfigError("ray", "no machine with a CPU", "a cluster with at least one CPU")
    with_gpu = [node for node in nodes if node.gpus >= 1]
    if backend == "cuda" and not with_gpu:
        raise ConfigError("backend", backend, "cpu or auto: no machine of the cluster has a GPU")
    if with_gpu and backend != "cpu":
        # The machine with the fewest CPUs a GPU sets the share, or some of its GPUs would stay without a worker.
        cpus = max(0.0, min(node.cpus // node.gpus for node in with_gpu))
        return workers or int(sum(node.gpus for node in with_gpu)), Share(cpus, 1.0)
    return workers or int(sum(node.cpus // 1 for node in nodes)), Share(1.0, 0.0)
