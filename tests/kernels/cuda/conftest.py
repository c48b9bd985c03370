"""The counts that make test-cuda-host prints: what was run on the CPU, which mutants were noticed, what was compiled."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

import host


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if os.environ.get("CUDA_HOST") != "all":
        return
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        architecture = re.search(r"test_compile\.py::.*\b(80|90|100)\b", report.nodeid)
        if "is_noticed" in report.nodeid:
            counts["mutants noticed"] += 1
        elif architecture:
            counts[f"checks of machine code for sm_{architecture[1]}"] += 1
        else:
            counts["cases on the host shim and of signatures"] += 1
    counts["kernel launches on the CPU"] = host.LAUNCHES[0]
    counts["skipped"] = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_sep("=", "CUDA kernels without a GPU")
    for name, count in counts.items():
        terminalreporter.write_line(f"{count:7} {name}")
