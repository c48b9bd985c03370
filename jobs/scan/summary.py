"""What a scan did, for people and machines, and the list of what it had to skip."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Skip:
    """Rows that have no verdict. ``row_group`` and ``rows`` are None where the file could not even be opened; ``rows``
    are declared ones."""

    file: str
    row_group: int | None
    first_row: int | None
    rows: int | None
    error: str


@dataclass(slots=True)
class Summary:
    """``rows``, ``actions``, ``threats``, ``statuses``, ``violations`` (rows by policy over sessions) and
    ``unfollowed`` (sessions that a policy could not judge) describe the outputs as they stand; ``rows_screened`` and
    ``seconds`` this run. ``units_done`` were finished now, ``units_resumed`` by an earlier run. ``stages`` are the
    seconds that this run spent in each stage, all workers together, in the order of the stages."""

    output: str
    files: int = 0
    units_total: int = 0
    units_done: int = 0
    units_resumed: int = 0
    rows: int = 0
    rows_screened: int = 0
    seconds: float = 0.0
    startup_seconds: float = 0.0
    rows_per_s: float = 0.0
    actions: dict[str, int] = field(default_factory=dict)
    threats: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    violations: dict[str, int] = field(default_factory=dict)
    unfollowed: dict[str, int] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    nothing_to_do: bool = False
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def nothing_read(self) -> bool:
        """Whether no row of any input could be read, of a job whose outputs have a row for each."""
        return bool(self.skipped) and not self.rows

    def to_json(self) -> dict[str, Any]:
        """As a JSON value, names in a stable order."""
        value = asdict(self) | {"nothing_read": self.nothing_read, "way_out": way_out(self.skipped)}
        value["stages"] = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        for key in ("actions", "threats", "statuses", "violations", "unfollowed"):
            value[key] = dict(sorted(value[key].items(), key=lambda item: (-item[1], item[0])))
        return value


def way_out(skipped: list[Skip], anew: str = "--overwrite") -> str:
    """What to do about what was skipped, "" where nothing was; ``anew`` makes a file with gaps be read again."""
    if not skipped:
        return ""
    gaps = f" with {anew}" if any(skip.row_group is not None for skip in skipped) else ""
    files = any(skip.row_group is None for skip in skipped)
    kinds = " (files called .jsonl, .ndjson or .csv are read as these, all others as Parquet)" if files else ""
    return f"make what was skipped readable, or leave it out, and run the same command again{gaps}{kinds}"


@dataclass(frozen=True, slots=True)
class Gap:
    """Units [start, stop) of a row group that were skipped; ``sticky`` where an unreadable one hides all behind it."""

    group: int
    start: int
    stop: int
    error: str
    sticky: bool


def merged(gaps: list[Gap]) -> list[Gap]:
    """``gaps`` in row order, neighbours of one unreadable stretch joined under the error of its first unit."""
    joined: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: (gap.group, gap.start)):
        last = joined[-1] if joined else None
        if last and last.sticky and gap.sticky and (last.group, last.stop) == (gap.group, gap.start):
            joined[-1] = Gap(last.group, last.start, gap.stop, last.error, True)
        else:
            joined.append(gap)
    return joined
