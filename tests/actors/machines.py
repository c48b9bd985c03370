"""Machines of a Ray cluster, all of them on this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STORE_BYTES = 80 << 20
"""The least that Ray takes, so that a test can fill it."""


@dataclass
class Machines:
    """The cluster; ``add`` and ``kill`` change its machines."""

    cluster: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, cpus: int, **resources: float) -> Any:
        return self.cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES, resources=resources)

    def kill(self, node: Any) -> None:
        """As a machine that loses its power."""
        self.cluster.remove_node(node, allow_graceful=False)
