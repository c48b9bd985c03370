"""Logs to scan, and a scan with a fake screener in one call."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.jobs.scan import Columns, Factory, Limits, Progress, Scan, ScanConfig, Summary


def texts(n: int, seed: int = 0) -> list[str]:
    """``n`` different short texts, every seventh an attack for the fake screener."""
    return [f"{'ignore' if i % 7 == 3 else 'hello'} number {i} of {seed}" for i in range(n)]


def log(path: Path, n: int, *, seed: int = 0, group_rows: int = 100, **more: Any) -> Path:
    """A Parquet log with text, session_id and a number to carry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": texts(n, seed), "session_id": [f"s{i // 5}" for i in range(n)], "label": range(n)})
    pq.write_table(table, path, row_group_size=group_rows, **more)
    return path


def fake(**arguments: Any) -> Factory:
    """The fake screener with these arguments."""
    return Factory("fake_screener:FakeScreener", arguments)


def scan(
    inputs: Path | str | list[Path],
    output: Path,
    *,
    factory: Factory | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
    unit_rows: int = 32,
    **settings: Any,
) -> Summary:
    """Scan with small units and batches."""
    given = inputs if isinstance(inputs, list) else [inputs]
    columns = settings.pop("columns", Columns())
    config = ScanConfig(
        inputs=tuple(str(one) for one in given),
        output=output,
        columns=columns,
        unit_rows=unit_rows,
        limits=limits or Limits(batch_rows=10),
        **settings,
    )
    return Scan(config, factory or fake()).run(progress)


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every output file below ``folder``, by relative name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }
