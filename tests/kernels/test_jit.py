"""Machine code is kept: a process that loads every kernel after another one compiles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_second_process_finds_all_machine_code_on_disk(tmp_path: Path) -> None:
    def load() -> set[str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        code = "from aimds import kernels; kernels.warmup(lambda *_: None)"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        return {path.name for path in tmp_path.rglob("*.nbc")}

    first = load()
    assert any(name.startswith("lcs.") for name in first)
    assert load() == first
