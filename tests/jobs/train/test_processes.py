"""Processes that a training starts end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, time
from aimds.jobs.train.encoder import processes

if __name__ == "__main__":
    pool = processes(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 60)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_training_that_is_killed_leaves_no_fit_behind(tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(CHILD, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        fit = int(training.stdout.readline())
        os.kill(fit, 0)
        training.send_signal(signal.SIGKILL)
        training.wait()
        for _ in range(200):
            if not _lives(fit):
                return
            time.sleep(0.05)
    raise AssertionError("the fit goes on without the training")


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
