"""A Ray cluster of several machines on this one, shared by all tests that need it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import STORE_BYTES, Machines


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A head and a connection to it; skipped where Ray is not installed."""
    pytest.importorskip("ray", reason="needs aimds[ray]")
    from aimds.actors import cluster

    os.environ.update(cluster.QUIET)
    # Its actors import what stands beside the tests.
    beside = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "jobs" / "scan")]
    os.environ["PYTHONPATH"] = os.pathsep.join(beside)
    from ray.cluster_utils import Cluster

    head = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 4, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    connection = cluster.connect(head.address)
    try:
        yield Machines(head)
    finally:
        connection.close()
        head.shutdown()
