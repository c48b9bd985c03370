"""Scan a generated log with `aimds scan` and print rows/s and the peak memory of the whole process tree as JSON.

    python -m benchmarks.scan_log                          # 1,000,000 rows, 8 files, all cores
    python -m benchmarks.scan_log --rows 50000 --workers 1

Memory is the sum over processes of the resident set (shared pages count once for each process), sampled every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.scan_traffic import write_log

MAX_RSS_MB = 1500
SAMPLE_S = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """``pid`` and all its descendants that are alive."""
    found = [pid]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def resident_bytes(pid: int) -> int:
    """Resident set of ``pid``; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def measure(command: list[str]) -> tuple[dict[str, object], int, float]:
    """Run a scan; its summary, the peak of its tree's resident bytes, and the wall time in seconds."""
    started = time.monotonic()
    peak = 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        while process.poll() is None:
            peak = max(peak, sum(map(resident_bytes, tree(process.pid))))
            time.sleep(SAMPLE_S)
        seconds = time.monotonic() - started
        if process.returncode:
            sys.exit(process.returncode)
        out.seek(0)
        return json.loads(out.read()), peak, seconds


def main() -> None:
    """Generate, scan, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--folder", type=Path, help="where to put log and verdicts  [default: a temporary folder]")
    parser.add_argument("--screener", help="module:callable that makes another screener")
    parser.add_argument("--smoke", action="store_true", help="few rows: does it work?")
    options = parser.parse_args()
    if options.smoke:
        options.rows, options.files = 20_000, 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        logs = Path(folder) / "logs"
        write_log(logs, options.rows, options.files)
        command = [sys.executable, "-m", "aimds", "scan", str(logs), "-o", f"{folder}/verdicts", "--json"]
        command += ["--workers", str(options.workers), "--profile", options.profile]
        command += ["--screener", options.screener] if options.screener else []
        summary, peak, seconds = measure(command)
    result = {
        "rows": summary["rows"],
        "rows_per_s": summary["rows_per_s"],
        "seconds": round(seconds, 1),
        "startup_seconds": summary["startup_seconds"],
        "peak_rss_mb": round(peak / (1 << 20)),
        "peak_rss_below_mb": MAX_RSS_MB,
        "workers": options.workers,
        "files": options.files,
        "actions": summary["actions"],
        "statuses": summary["statuses"],
    }
    print(json.dumps(result, indent=1))
    if summary["rows"] != options.rows or peak > MAX_RSS_MB << 20:
        sys.exit(1)


if __name__ == "__main__":
    main()
