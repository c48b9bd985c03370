"""The npm package `midstreamer`: DTW and common subsequence in WebAssembly, a pair a call, in a process of Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RUNNER = Path(__file__).parent / "runners" / "midstreamer.mjs"
PACKAGE = Path(sys.prefix) / "package"
"""Where `make bench` unpacks it."""


def pairs(kind: str, queries: npt.NDArray[Any], patterns: npt.NDArray[Any]) -> Callable[[], npt.NDArray[Any]] | None:
    """A call that compares all pairs, or None where Node.js or the package is missing; ``kind`` is dtw or lcs."""
    node = shutil.which("node")
    if node is None or not (PACKAGE / "pkg-node").is_dir():
        print("SKIPPED midstreamer: no Node.js or not unpacked; see benchmarks/peers/README.md", file=sys.stderr)
        return None
    process = subprocess.Popen([node, str(RUNNER), str(PACKAGE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answering = process.stdin, process.stdout

    def ask(line: str = "again") -> npt.NDArray[Any]:
        asking.write(line.encode() + b"\n")
        asking.flush()
        return np.array(json.loads(answering.readline()))

    ask(json.dumps({"kind": kind, "queries": queries.tolist(), "patterns": patterns.tolist()}))
    return ask
