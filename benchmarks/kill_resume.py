"""Kill `aimds scan` with SIGKILL at ten random moments, resume it each time, and compare with an undisturbed run.

    python -m benchmarks.kill_resume
    python -m benchmarks.kill_resume --rows 30000 --kills 3 --seed 5

A kill comes at a random moment between the first finished unit and the end. Prints JSON; exits with 1 unless each
resumed output is identical to the byte and each resumed scan found finished units.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.scan_traffic import write_log

ROW_GROUP_ROWS = 8_192
POLL_S = 0.01


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of each output file, by relative name."""
    paths = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def finished(command: list[str]) -> dict[str, Any]:
    """Run a scan to its end; its summary."""
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    summary: dict[str, Any] = json.loads(run.stdout)
    return summary


def finished_units(output: Path) -> int:
    """Part files and finished outputs in ``output``."""
    return len(list(output.glob(".aimds/*/*.part"))) + len(list(output.rglob("*.parquet")))


def killed(command: list[str], output: Path, after_s: float) -> bool:
    """Start a scan and kill it ``after_s`` seconds after its first unit; whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not finished_units(output):
        time.sleep(POLL_S)
    time.sleep(after_s)
    process.kill()
    return process.wait() < 0


def main() -> None:
    """Generate, scan undisturbed, scan disturbed, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--screener", help="module:callable that makes another screener")
    parser.add_argument("--smoke", action="store_true", help="few rows: does it work?")
    options = parser.parse_args()
    group_rows = ROW_GROUP_ROWS
    if options.smoke:
        options.rows, options.kills, group_rows = 9_000, 1, 1_024
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "logs", options.rows, options.files, row_group_rows=group_rows)

        def command(output: Path) -> list[str]:
            parts = [sys.executable, "-m", "aimds", "scan", str(folder / "logs"), "-o", str(output), "--json", "-q"]
            parts += ["--workers", str(options.workers), "--profile", options.profile]
            return parts + (["--screener", options.screener] if options.screener else [])

        whole = finished(command(folder / "whole"))
        expected = fingerprint(folder / "whole")
        work_s = whole["seconds"] - whole["startup_seconds"]
        trials: list[dict[str, Any]] = []
        while len(trials) < options.kills:
            output = folder / "out"
            after_s = rng.random() * work_s
            if killed(command(output), output, after_s):
                resumed = finished(command(output))
                trials.append(
                    {
                        "killed_s_after_first_unit": round(after_s, 2),
                        "units_resumed": resumed["units_resumed"],
                        "units_done": resumed["units_done"],
                        "identical": fingerprint(output) == expected,
                    }
                )
            shutil.rmtree(output)
    result = {
        "identical": all(trial["identical"] for trial in trials),
        "resumed": all(trial["units_resumed"] for trial in trials),
        "trials": trials,
        "units_total": whole["units_total"],
        "rows": whole["rows"],
        "undisturbed_seconds": whole["seconds"],
        "workers": options.workers,
    }
    print(json.dumps(result, indent=1))
    if not (result["identical"] and result["resumed"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
