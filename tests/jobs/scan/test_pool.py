from __future__ import annotations

import os
import subprocess
import sys

from scan_data import log

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


def test_a_process_that_only_hands_out_work_holds_neither_compiler_nor_kernels(tmp_path):
    log(tmp_path / "a.parquet", 60)
    given = f"Path({str(tmp_path / 'a.parquet')!r}), Path({str(tmp_path / 'out')!r}), workers=2"
    code = (
        "import sys; from pathlib import Path; from scan_data import scan; "
        f"summary = scan({given}); "
        "print(summary.rows, *sorted(sys.modules.keys() & {'numba', 'scipy', 'onnxruntime', 'polars'}))"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "60\n"
