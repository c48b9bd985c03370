"""The settings of a scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aimds.errors import ConfigError
from aimds.jobs.scan.columns import Columns
from aimds.jobs.scan.tasks import Limits


@dataclass(frozen=True, slots=True)
class ScanConfig:
    """What to scan and how. ``workers`` = 1 runs in this process; more are processes of their own. ``told``: the other
    options that outputs depend on, by name; they are named where an output was made with others. ``unit_rows``: what
    each worker loses where the scan is interrupted; as many as a batch has, so that a unit is done in seconds and yet
    takes much longer than its fsync."""

    inputs: tuple[str, ...]
    output: Path
    columns: Columns = field(default_factory=Columns)
    carry: tuple[str, ...] = ()
    with_text: bool = False
    workers: int = 1
    overwrite: bool = False
    unit_rows: int = 2048
    limits: Limits = field(default_factory=Limits)
    told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError("workers", self.workers, "at least 1")
        if self.unit_rows < 1:
            raise ConfigError("unit_rows", self.unit_rows, "at least 1")
        if self.output.parts[:1] and self.output.parts[0].endswith(":"):
            raise ConfigError("output", str(self.output), "a local folder")
