"""A scan on a cluster: the same bytes as in one process, whatever becomes of actors and machines."""

from __future__ import annotations

import functools
import os
import signal
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
    inputs: Path, output: Path, factory: Factory, *, workers: int = 2, share: Share = SMALL, **more: Any
) -> tuple[Summary, Actors]:
    """Scan with small units by actors; the pool says what was moved and repeated."""
    made: list[Actors] = []

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
