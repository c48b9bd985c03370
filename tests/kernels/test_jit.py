"""Machine code is kept: a process that loads every kernel after another one compiles nothing."""

from __future__ import annotations

import json
import subprocess
import sys

LOAD = """
import gc, json
from aimds import kernels
kernels.warmup(lambda *_: None)
from numba.core.dispatcher import Dispatcher
of_ours = [one for one in gc.get_objects() if isinstance(one, Dispatcher) and one.py_func.__module__.startswith("aimds.")]
print(json.dumps([[one.py_func.__module__, len(one.stats.cache_hits), len(one.stats.cache_misses)] for one in of_ours]))
"""


def test_a_second_process_finds_all_machine_code_on_disk() -> None:
    def load() -> list[tuple[str, int, int]]:
        done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
        return [tuple(one) for one in json.loads(done.stdout)]

    load()
    found = load()
    assert [module for module, _, misses in found if misses] == []
    assert {"aimds.kernels.cpu.lcs", "aimds.kernels.cpu.ngram_hash"} <= {module for module, hits, _ in found if hits}
