"""The connection to a Ray cluster, or a Ray of this machine alone, started here and ended with this process."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from aimds.actors.topology import Node
from aimds.errors import AimdsError, ConfigError

NAMESPACE = "aimds"
QUIET = {
    # Ray would report its use to its makers, and say so at the end of every command.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
STORE_BYTES = 512 << 20
"""Object store of a local Ray: batches pass through it, nothing stays."""


class ClusterError(AimdsError):
    """A cluster cannot be used: names the address and the problem."""

    def __init__(self, address: str | None, problem: str) -> None:
        self.address, self.problem = address, problem
        super().__init__(f"Ray {f'at {address}' if address else 'on this machine'}: {problem}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection. ``owned``: made by `connect`, so `close` ends it."""

    address: str | None
    owned: bool

    def nodes(self) -> list[Node]:
        """The machines that are alive."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [Node(float(one.get("CPU", 0)), float(one.get("GPU", 0))) for one in alive]

    def close(self) -> None:
        """Disconnect; a local Ray ends."""
        import ray

        if self.owned and ray.is_initialized():
            ray.shutdown()


def connect(address: str | None = None, *, cpus: int | None = None, store_bytes: int = STORE_BYTES) -> Cluster:
    """Connect to the cluster at ``address`` (``auto``: the one this machine belongs to), else to the one that
    RAY_ADDRESS names, else start a Ray of this machine with ``cpus`` CPUs. A connection that is there already is used.

    Nothing is reported to anybody: usage statistics are off, and a local Ray has no dashboard.

    Raises:
        ConfigError: Ray is not installed.
        ClusterError: nobody answers at ``address``, or a local Ray does not start.
    """
    os.environ.update(QUIET)
    try:
        import ray
    except ImportError as error:
        raise ConfigError("ray", "not installed", "pip install 'aimds[ray]'") from error
    if ray.is_initialized():
        return Cluster(address, owned=False)
    address = address or os.environ.get("RAY_ADDRESS") or None
    common = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=store_bytes, **common)
        else:
            ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ClusterError(address, str(error).strip().partition("\n")[0]) from error
    return Cluster(address, owned=True)
