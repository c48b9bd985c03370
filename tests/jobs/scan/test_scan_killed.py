"""Scans in processes of their own that are killed, interrupted, or whose workers die."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scan_data import fake, fingerprint, log, scan, texts

from aimds.errors import AimdsError
from aimds.jobs.scan import Factory, Limits, ScanConfig

PATIENCE_S = 60.0
SCAN = """
import json, sys
import typer
from aimds.cli.scan import register
app = typer.Typer()
register(app)
app()
"""


class Started:
    """`aimds scan` with the slow fake screener, in a process of its own."""

    def __init__(self, logs: Path, out: Path, workers: int) -> None:
        self.out = out
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", SCAN, str(logs), "-o", str(out), "--json", "-q"]
        command += ["--workers", str(workers), "--screener", "slow_screener:slow"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def parts(self) -> int:
        """Finished units on disk; an output counts for more than it had."""
        return len(list(self.out.glob(".aimds/*/*.part"))) + 100 * len(list(self.out.glob("*.parquet")))

    def when(self, parts: int) -> None:
        """Wait until so many units are finished."""
        end = time.monotonic() + PATIENCE_S
        while self.parts() < parts and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)

    def result(self) -> dict[str, Any]:
        """What it printed at the end."""
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, errors
        found = json.loads(out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """66 units in three files, row groups longer than a unit."""
    for name, rows in (("a", 100_000), ("b", 30_000), ("c", 10)):
        numbers = pa.array(range(rows), pa.int32()).cast(pa.string())
        path = tmp_path / "logs" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": numbers}), path, row_group_size=80_000)
    return tmp_path / "logs"


@pytest.mark.parametrize(("workers", "kills"), [(1, 1), (2, 3)])
def test_a_scan_that_is_killed_again_and_again_ends_with_the_same_bytes(
    logs: Path, tmp_path: Path, workers: int, kills: int
) -> None:
    whole = Started(logs, tmp_path / "whole", workers).result()
    assert whole["units_total"] == 66
    rng = random.Random(workers)
    before = 0
    for _ in range(kills):
        run = Started(logs, tmp_path / "out", workers)
        run.when(parts=before + 1)
        time.sleep(rng.random() * 0.2)
        run.process.kill()
        run.process.communicate()
        before = run.parts()
        assert before > 0
    last = Started(logs, tmp_path / "out", workers).result()
    assert last["units_resumed"] > 0
    assert last["units_resumed"] + last["units_done"] == 66
    assert last["rows"] == whole["rows"] == 130_010
    assert last["actions"] == whole["actions"]
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_workers_die_with_a_scan_that_is_killed(logs: Path, tmp_path: Path) -> None:
    run = Started(logs, tmp_path / "out", 2)
    run.when(parts=1)
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
    assert len(children) == 2
    run.process.kill()
    run.process.communicate()
    end = time.monotonic() + PATIENCE_S
    while any(alive(int(child)) for child in children) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(alive(int(child)) for child in children)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_scan_says_how_to_go_on_and_can(logs: Path, tmp_path: Path, how: signal.Signals) -> None:
    run = Started(logs, tmp_path / "out", 2)
    run.when(parts=1)
    os.killpg(run.process.pid, how)
    out, errors = run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode == 130
    assert out == ""
    assert errors == f"interrupted; what is finished is kept in {tmp_path}/out: run the same command again to go on\n"
    assert Started(logs, tmp_path / "out", 2).result()["units_resumed"] > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_interrupted_in_its_first_seconds_keeps_what_was_screened(tmp_path: Path, workers: int) -> None:
    log(tmp_path / "a.parquet", 20_000, group_rows=20_000)
    run = Started(tmp_path / "a.parquet", tmp_path / "out", workers)
    run.when(parts=1)
    run.process.send_signal(signal.SIGINT)
    run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode == 130
    resumed = Started(tmp_path / "a.parquet", tmp_path / "out", workers).result()
    assert resumed["units_resumed"] > 0
    assert resumed["rows_screened"] < resumed["rows"] == 20_000
    Started(tmp_path / "a.parquet", tmp_path / "whole", workers).result()
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_a_unit_has_no_more_rows_than_a_batch() -> None:
    assert ScanConfig((), Path("out")).unit_rows <= Limits().batch_rows


@pytest.mark.parametrize("settings", [{"workers": 2}, {"workers": 3}, {"unit_rows": 64, "workers": 2}])
def test_the_number_of_workers_leaves_no_trace(tmp_path: Path, settings: dict[str, Any]) -> None:
    log(tmp_path / "logs/a.parquet", 500, group_rows=450)
    log(tmp_path / "logs/b.parquet", 90)
    one = scan(tmp_path / "logs", tmp_path / "one", **(settings | {"workers": 1}))
    many = scan(tmp_path / "logs", tmp_path / "many", **settings)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")
    assert (one.rows, one.actions, one.threats) == (many.rows, many.actions, many.threats)


def crashing(tmp_path: Path) -> Path:
    values = texts(300)
    values[170] = "CRASH"
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": values}), path, row_group_size=100)
    return path


def test_a_unit_that_kills_its_worker_twice_is_skipped_and_all_others_are_done(tmp_path: Path) -> None:
    summary = scan(crashing(tmp_path), tmp_path / "out", workers=2)
    [skip] = summary.skipped
    assert (skip.row_group, skip.first_row, skip.rows) == (1, 164, 32)
    assert skip.error == "the worker process was killed by SIGKILL, twice"
    found = pq.read_table(tmp_path / "out/a.parquet")["request_id"].to_pylist()
    assert found == [str(i) for i in range(300) if not 164 <= i < 196]


def test_where_every_worker_was_killed_the_output_is_assembled_without_their_unit(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["CRASH"]}), tmp_path / "a.parquet")
    [skip] = scan(tmp_path / "a.parquet", tmp_path / "out", workers=2).skipped
    assert (skip.first_row, skip.rows) == (0, 1)
    assert pq.read_metadata(tmp_path / "out/a.parquet").num_rows == 0


def test_a_scan_that_is_done_does_not_wait_for_a_worker_that_is_still_starting(tmp_path: Path) -> None:
    factory = Factory("slow_screener:first_only", {"flag": str(tmp_path / "flag")})
    assert scan(log(tmp_path / "a.parquet", 300), tmp_path / "out", workers=2, factory=factory).rows == 300


def test_a_unit_whose_worker_was_killed_once_is_done_in_the_end(tmp_path: Path) -> None:
    path = crashing(tmp_path)
    flag = tmp_path / "flag"
    flag.touch()
    summary = scan(path, tmp_path / "out", workers=2, factory=fake(flag=str(flag), once=True))
    assert summary.skipped == []
    assert summary.rows == 300
    calm = fake(flag=str(flag))
    scan(path, tmp_path / "whole", factory=calm)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_a_worker_that_cannot_start_stops_the_scan_with_its_reason(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 100)
    for factory, word in (
        (Factory("fake_screener:unfit", {}), r"weights\.npz: is missing"),
        (Factory("no_such_module:x", {}), r"no_such_module"),
        (Factory("os:_exit", {"status": 3}), r"a worker could not start: the worker process exited \(3\)"),
    ):
        with pytest.raises(AimdsError, match=word):
            scan(path, tmp_path / "out", workers=2, factory=factory)


def test_a_screener_that_prints_does_not_disturb_its_worker(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 100)
    factory = Factory("slow_screener:chatty", {})
    assert scan(path, tmp_path / "out", workers=2, factory=factory, limits=Limits(batch_rows=10)).rows == 100
