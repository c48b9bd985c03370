from __future__ import annotations

from aimds.jobs.scan.pool import Processes
from aimds.jobs.scan.tasks import Answer, Factory


def device():
    """Work whose config hash is the number of the worker, as it finds it."""
    import os
    from types import SimpleNamespace

    return SimpleNamespace(config_hash=os.environ["AIMDS_DEVICE"])


def test_workers_are_numbered_so_that_each_takes_a_gpu(monkeypatch):
    monkeypatch.setenv("AIMDS_DEVICE", "7")
    pool = Processes(Factory("test_pool:device", {}))
    try:
        found: dict[int, Answer] = {}
        for _ in range(2):
            pool.start()
        while len(found) < 2:
            found.update(pool.wait(5.0))
        assert {worker: answer.value for worker, answer in found.items()} == {
            0: {"config_hash": "0"},
            1: {"config_hash": "1"},
        }
    finally:
        pool.close()
