"""The collector of a process that serves."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import weakref
from aimds.gateway.garbage import settle

class Ended:
    def __init__(self):
        self.itself = self

settle()
one = Ended()
gone = weakref.ref(one)
for _ in range(3):
    # Old enough that only a full collection finds it.
    kept = [[] for _ in range(120_000)]
del one, kept
kept = []
for _ in range(600_000):
    kept.append([])
print(gone() is None)
"""


def test_what_has_ended_is_freed_before_a_million_new_objects() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
