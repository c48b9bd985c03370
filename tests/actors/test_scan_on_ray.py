"""A scan on a cluster: the same bytes as in one process, whatever becomes of actors and machines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from machines import Machines
from scan_data import fake, fingerprint, log, scan, texts

from aimds.actors.dispatch import Patience
from aimds.actors.topology import Share
from aimds.errors import AimdsError
from aimds.jobs.scan import Factory, Limits, Scan, ScanConfig, Summary
from aimds.jobs.scan.cluster import Actors

pytestmark = pytest.mark.usefixtures("machines")
SMALL = Share(0.5, 0.0)


def on_ray(
    inputs: Path,
    output: Path,
    factory: Factory,
    *,
    workers: int = 2,
    share: Share = SMALL,
    made: list[Actors] | None = None,
    **more: Any,
) -> tuple[Summary, Actors]:
    """Scan with small units by actors; the pool, also put into ``made``, says what was moved and repeated."""
    made = [] if made is None else made

    def pool(work: Factory) -> Actors:
        made.append(Actors(work, output, workers, share, **more))
        return made[0]

    config = ScanConfig(
        inputs=(str(inputs),), output=output, workers=workers, unit_rows=32, limits=Limits(batch_rows=10)
    )
    return Scan(config, factory, pool=pool).run(), made[0]


def test_a_scan_by_actors_gives_the_same_bytes(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 500, group_rows=450)
    log(tmp_path / "logs/b.parquet", 90)
    one = scan(tmp_path / "logs", tmp_path / "one")
    many, _ = on_ray(tmp_path / "logs", tmp_path / "many", fake())
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")
    assert (one.rows, one.actions, one.threats) == (many.rows, many.actions, many.threats)
    assert not list((tmp_path / "many").rglob("*.part")) + list((tmp_path / "many").rglob("*.tmp"))


def when(condition: Any, patience_s: float = 40.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_an_actor_that_is_killed_in_the_middle_of_a_unit_costs_nothing(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 600)
    values = texts(64)
    values[40] = "CRASH"
    pq.write_table(pa.table({"text": values}), tmp_path / "logs/b.parquet")
    flag = tmp_path / "flag"
    scan(tmp_path / "logs", tmp_path / "one", factory=fake(flag=str(flag)))
    flag.touch()
    many, pool = on_ray(tmp_path / "logs", tmp_path / "many", fake(flag=str(flag), once=True))
    assert not flag.exists()
    assert pool.restarts == 1
    assert many.skipped == []
    assert many.rows == many.rows_screened == 664
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")


def test_a_poisoned_unit_is_reported_like_a_row_group_that_cannot_be_read(tmp_path: Path) -> None:
    values = texts(300)
    values[170] = "CRASH"
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet", row_group_size=100)
    summary, _ = on_ray(tmp_path / "a.parquet", tmp_path / "out", fake())
    [skip] = summary.skipped
    assert (skip.row_group, skip.first_row, skip.rows) == (1, 164, 32)
    assert skip.error == "the worker process ended, twice"
    found = pq.read_table(tmp_path / "out/a.parquet")["request_id"].to_pylist()
    assert found == [str(i) for i in range(300) if not 164 <= i < 196]


def test_a_machine_that_is_lost_costs_its_units_a_second_start(tmp_path: Path, machines: Machines) -> None:
    log(tmp_path / "a.parquet", 600)
    scan(tmp_path / "a.parquet", tmp_path / "one", factory=fake(delay_s=0.0))
    node = machines.add(2)
    made: list[Actors] = []

    def lose() -> None:
        when(lambda: bool(made) and node.node_id in made[0].machines.values())
        machines.kill(node)

    loser = threading.Thread(target=lose)
    loser.start()
    many, pool = on_ray(tmp_path / "a.parquet", tmp_path / "many", fake(delay_s=0.1), workers=4, made=made)
    loser.join()
    assert pool.restarts >= 1
    assert many.skipped == []
    assert many.rows == many.rows_screened == 600
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")


def test_a_slow_actor_is_overtaken_and_its_result_is_not_missed(tmp_path: Path) -> None:
    log(tmp_path / "a.parquet", 600)
    scan(tmp_path / "a.parquet", tmp_path / "one")
    hare = Patience(factor=3.0, least_s=1.0, samples=3)
    factory = Factory("dawdling_screener:dawdling", {"flag": str(tmp_path / "taken"), "delay_s": 60.0})
    began = time.monotonic()
    many, pool = on_ray(tmp_path / "a.parquet", tmp_path / "many", factory, patience=hare)
    assert time.monotonic() - began < 60.0
    assert pool.dispatch.repeats == 1
    assert many.rows == many.rows_screened == 600
    assert many.units_done == many.units_total
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")
    assert not list((tmp_path / "many").rglob("*.part")) + list((tmp_path / "many").rglob("*.tmp"))


def test_an_actor_on_another_disk_stops_the_scan_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tmp_path / "a.parquet", 40)
    monkeypatch.setattr("aimds.jobs.scan.cluster.durable.write_json", lambda path, value: None)
    with pytest.raises(AimdsError, match=r"expected a folder that all machines share; \S+ has another"):
        on_ray(tmp_path / "a.parquet", tmp_path / "out", fake())


SCAN = """
import sys
from aimds.actors.topology import Share
from aimds.actors.cluster import connect
from aimds.jobs.scan import Factory, Limits, Scan, ScanConfig
from aimds.jobs.scan.cluster import Actors
from pathlib import Path
address, inputs, output = sys.argv[1:]
connect(address)
config = ScanConfig(inputs=(inputs,), output=Path(output), workers=2, unit_rows=32, limits=Limits(batch_rows=10))
Scan(config, Factory("fake_screener:FakeScreener", {"delay_s": 0.1}),
     pool=lambda work: Actors(work, Path(output), 2, Share(0.5, 0.0))).run()
"""


def test_a_driver_that_is_killed_leaves_what_another_takes_up(tmp_path: Path, machines: Machines) -> None:
    log(tmp_path / "a.parquet", 600)
    scan(tmp_path / "a.parquet", tmp_path / "one")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", SCAN, machines.address, str(tmp_path / "a.parquet"), str(tmp_path / "many")]
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    parts = (tmp_path / "many").glob
    when(lambda: len(list(parts(".aimds/*/*.part"))) > 2 or driver.poll() is not None)
    driver.kill()
    driver.wait()
    many, _ = on_ray(tmp_path / "a.parquet", tmp_path / "many", fake())
    assert many.units_resumed > 2
    assert many.units_resumed + many.units_done == many.units_total
    assert many.rows == 600
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")
