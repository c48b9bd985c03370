"""Figures of each family from the rows written: who, when, how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from aimds.jobs.report import timeline
from aimds.jobs.report.timeline import Range

TOP_TENANTS = 8


@dataclass(slots=True)
class Figures:
    """Of one family; ``first`` and ``last`` in microseconds since 1970."""

    rows: int = 0
    tenants: int = 0
    sessions: int = 0
    users: int = 0
    first: int | None = None
    last: int | None = None
    top_tenants: list[tuple[str, int]] = field(default_factory=list)
    threats: dict[str, int] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tally:
    """Figures by family, and all candidates over time."""

    families: dict[str, Figures]
    range: Range | None
    candidates: list[int]


_NAME = pl.col("family_id")
_HELD = {
    "tenants": pl.col("tenant"),
    # A session, and a user, is known within its tenant.
    "sessions": pl.struct("tenant", "session_id").filter(pl.col("session_id").is_not_null()),
    "users": pl.struct("tenant", "user").filter(pl.col("user").is_not_null()),
}


def spread_of(file: Path) -> dict[str, int]:
    """How many tenants each family in ``file`` (FAMILIES) has."""
    counted = pl.scan_parquet(file).filter(_NAME.is_not_null()).group_by("family_id")
    table = counted.agg(tenants=pl.col("tenant").drop_nulls().n_unique()).collect(engine="streaming")
    return dict(table.select("family_id", "tenants").iter_rows())


def tally(file: Path, families: Sequence[str]) -> Tally:
    """Figures of ``families`` from the rows in ``file`` (FAMILIES)."""
    rows = pl.scan_parquet(file).with_columns(pl.col("channel").cast(pl.String), at=pl.col("ts").to_physical())
    mine = rows.filter(_NAME.is_in(list(families)))
    out = {name: Figures() for name in families}
    sums = mine.group_by("family_id").agg(
        rows=pl.len(),
        first=pl.col("at").min(),
        last=pl.col("at").max(),
        **{name: column.drop_nulls().n_unique() for name, column in _HELD.items()},
    )
    for row in sums.collect(engine="streaming").iter_rows(named=True):
        one = out[row.pop("family_id")]
        for name, value in row.items():
            setattr(one, name, value)
    for name, column in (("threats", "threat_type"), ("actions", "action"), ("channels", "channel")):
        for family, counts in _counted(mine, column).items():
            setattr(out[family], name, dict(counts))
    for family, counts in _counted(mine, "tenant").items():
        out[family].top_tenants = counts[:TOP_TENANTS]
    range_ = _range(rows)
    if range_ is None:
        return Tally(out, None, [])
    placed = rows.with_columns(bin=(pl.col("at") - range_.first_us) // range_.width_us)
    placed = placed.filter(pl.col("bin").is_between(0, range_.bins - 1))
    candidates = [0] * range_.bins
    for figures in out.values():
        figures.counts = [0] * range_.bins
    counted = placed.group_by("family_id", "bin").agg(n=pl.len()).collect(engine="streaming")
    for family, at, n in counted.iter_rows():
        candidates[at] += n
        if family in out:
            out[family].counts[at] += n
    return Tally(out, range_, candidates)


def _counted(rows: pl.LazyFrame, column: str) -> dict[str, list[tuple[str, int]]]:
    """For each family how often each value of ``column`` occurs, most frequent first."""
    found: dict[str, list[tuple[str, int]]] = {}
    named = rows.filter(pl.col(column).is_not_null())
    table = named.group_by("family_id", column).agg(n=pl.len()).collect(engine="streaming")
    for family, value, n in sorted(table.iter_rows(), key=lambda row: (row[0], -row[2], row[1])):
        found.setdefault(family, []).append((value, n))
    return found


def _range(rows: pl.LazyFrame) -> Range | None:
    days = timeline.Days()
    timed = rows.filter(pl.col("at").is_not_null()).group_by(day=pl.col("at") // timeline.DAY_US)
    table: Any = timed.agg(n=pl.len(), low=pl.col("at").min(), high=pl.col("at").max()).collect(engine="streaming")
    for day, n, low, high in table.sort("day").iter_rows():
        days.add(day, n, low, high)
    return timeline.choose(days.table())
