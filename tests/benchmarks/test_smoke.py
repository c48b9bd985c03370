"""What `make bench-smoke` runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_benchmarks_that_the_page_on_the_gateway_names_are_run_briefly() -> None:
    page = (ROOT / "docs" / "gateway.md").read_text("utf-8")
    named = set(re.findall(r"python -m benchmarks\.(\w+)", page))
    assert {"gateway", "soak"} <= named
    try:
        done = subprocess.run(
            ["make", "--no-print-directory", "-n", "bench-smoke"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("no make here")
    (names,) = re.findall(r"for name in ([\w ]+);", done.stdout)
    assert named <= set(names.split())
