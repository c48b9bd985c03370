"""Counts a replay in bounded memory, batch by batch, and keeps a random few of the rows that change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.jobs.hunt import times
from aimds.jobs.replay.findings import BLOCKED, KINDS, OTHERWISE, RELEASED, UNCHANGED, Group, Timeline
from aimds.jobs.report.timeline import Range
from aimds.jobs.report.verdict_files import clean
from aimds.moments import outside_years
from aimds.respond.scored import BLOCK, ESCALATE, Codes, Decisions, codes
from aimds.schema import ACTIONS, CHANNELS, SESSION_ACTIONS
from aimds.taxonomy import THREATS

MOST_TENANTS = 10_000
NO_TENANT, OTHER_TENANTS = "(no tenant)", "(all other tenants)"
BINS_PER_DECADE, P_BINS = 4, 40
STOPPING = np.isin(np.arange(len(ACTIONS)), [BLOCK, ESCALATE])
Rows = npt.NDArray[np.int64]


class Kept(NamedTuple):
    """A row that changes: its ``key`` decides whether it stays among the samples."""

    key: int
    file: int
    row: int
    action: int
    session_before: int
    session_action: int
    reason: int


class Tally:
    """Everything that is counted. ``samples`` rows of each kind of change are kept."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._actions = np.zeros((len(ACTIONS), len(ACTIONS)), np.int64)
        self._sessions = np.zeros((len(SESSION_ACTIONS), len(SESSION_ACTIONS)), np.int64)
        self._threats = np.zeros((len(THREATS), len(KINDS)), np.int64)
        self._channels = np.zeros((len(CHANNELS), len(KINDS)), np.int64)
        self._tenants: dict[str, Rows] = {}
        self._by_p = np.zeros((len(KINDS), P_BINS), np.int64)
        self._times: list[times.Bins] = [{} for _ in KINDS]
        self._kept: list[list[Kept]] = [[] for _ in KINDS]
        self.policies: Counter[str] = Counter()
        self.kinds = np.zeros(len(KINDS), np.int64)

    def add(self, file: int, first_row: int, verdicts: pa.RecordBatch, decided: Decisions) -> None:
        """Count a batch of recorded ``verdicts``, whose first row is ``first_row`` of ``file``, decided anew."""
        n = verdicts.num_rows
        names = verdicts.schema.names
        before = codes(verdicts.column("action"), ACTIONS, "action")
        session = np.zeros(n, np.int8)
        if "session_action" in names:
            session = codes(pc.fill_null(verdicts.column("session_action"), "none"), SESSION_ACTIONS, "session_action")
        after = decided.action
        kind = kinds(before, session, decided)
        self.kinds += np.bincount(kind, minlength=len(KINDS))
        _count(self._actions, before, after)
        _count(self._sessions, session, decided.session_action)
        _count(self._threats, codes(verdicts.column("threat_type"), THREATS, "threat_type"), kind)
        _count(self._channels, codes(verdicts.column("channel"), CHANNELS, "channel"), kind)
        self._add_tenants(verdicts.column("tenant") if "tenant" in names else None, kind)
        p_value = pc.fill_null(verdicts.column("p_value").cast(pa.float64()), 1.0).to_numpy(zero_copy_only=False)
        p_value = np.where(np.isnan(p_value), 1.0, p_value)
        place = np.minimum(-np.log10(np.clip(p_value, 1e-300, 1.0)) * BINS_PER_DECADE, P_BINS - 1)
        _count(self._by_p, kind, place.astype(np.int64))
        if "ts" in names:
            self._add_times(verdicts.column("ts"), kind)
        if "policy_version" in names:
            for found in pc.value_counts(verdicts.column("policy_version").cast(pa.string())).to_pylist():
                self.policies[str(found["values"])] += found["counts"]
        rows = np.flatnonzero(kind != UNCHANGED)
        if self._samples and len(rows):
            self._keep(file, first_row, rows, kind, session, decided)

    def _add_tenants(self, column: pa.Array | None, kind: Codes) -> None:
        if column is None:
            self._add_tenant(NO_TENANT, np.bincount(kind, minlength=len(KINDS)))
            return
        column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        listed = clean(column.dictionary).to_pylist()
        place = pc.fill_null(column.indices, len(listed)).to_numpy(zero_copy_only=False).astype(np.int64)
        table = np.zeros((len(listed) + 1, len(KINDS)), np.int64)
        _count(table, place, kind)
        for name, row in zip([*listed, None], table, strict=True):
            if row.any():
                self._add_tenant(NO_TENANT if name is None else name, row)

    def _add_tenant(self, name: str, row: Rows) -> None:
        if name not in self._tenants and len(self._tenants) >= MOST_TENANTS:
            name = OTHER_TENANTS
        self._tenants[name] = self._tenants.get(name, np.zeros(len(KINDS), np.int64)) + row

    def _add_times(self, column: pa.Array, kind: Codes) -> None:
        fit = column.is_valid().to_numpy(zero_copy_only=False)
        fit &= ~pc.fill_null(outside_years(column), True).to_numpy(zero_copy_only=False)
        seconds = pc.fill_null(column.cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64()), 0)
        at = seconds.to_numpy(zero_copy_only=False)
        for code, bins in enumerate(self._times):
            times.count(bins, at[fit & (kind == code)])

    def _keep(self, file: int, first_row: int, rows: Rows, kind: Codes, session: Codes, decided: Decisions) -> None:
        keys = _scattered(rows + first_row, file)
        for code in (BLOCKED, RELEASED, OTHERWISE):
            mine = np.flatnonzero(kind[rows] == code)
            mine = mine[np.argsort(keys[mine], kind="stable")[: self._samples]]
            for place in mine.tolist():
                row = int(rows[place])
                found = (decided.action[row], session[row], decided.session_action[row], decided.reason[row])
                self._kept[code].append(Kept(int(keys[place]), file, first_row + row, *map(int, found)))
            self._kept[code] = sorted(self._kept[code])[: self._samples]

    def kept(self, kind: int) -> list[Kept]:
        """A random few of the rows of ``kind``, by file and row; the same for the same files."""
        return sorted(self._kept[kind], key=lambda one: (one.file, one.row))

    def actions(self) -> dict[tuple[str, str], int]:
        """Rows by action recorded and action now, the most first."""
        return _pairs(self._actions, ACTIONS)

    def session_actions(self) -> dict[tuple[str, str], int]:
        """The same for session actions."""
        return _pairs(self._sessions, SESSION_ACTIONS)

    def whole(self) -> Group:
        """All rows."""
        return _group("all", self.kinds)

    def tenants(self) -> list[Group]:
        """By tenant; groups with the most changes first, then the most rows."""
        return _ordered(_group(name, row) for name, row in self._tenants.items())

    def threats(self) -> list[Group]:
        """By the threat type recorded."""
        return _ordered(_group(name, row) for name, row in zip(THREATS, self._threats, strict=True) if row.any())

    def channels(self) -> list[Group]:
        """By channel."""
        return _ordered(_group(name, row) for name, row in zip(CHANNELS, self._channels, strict=True) if row.any())

    def by_p(self) -> tuple[list[int], ...]:
        """Rows by kind, in classes of the p-value."""
        return tuple(row.tolist() for row in self._by_p)

    def timeline(self) -> Timeline | None:
        """Rows over time, None where none has a time."""
        every: times.Bins = {}
        for bins in self._times:
            times.add(every, bins)
        found = times.choose(every)
        if found is None:
            return None
        return Timeline(found, tuple(_over(bins, found) for bins in self._times))


def kinds(before: Codes, session: Codes, decided: Decisions) -> Codes:
    """Code into KINDS of each row, int8 (B,), from the recorded action and session action."""
    was, now = STOPPING[before], STOPPING[decided.action]
    same = (before == decided.action) & (session == decided.session_action)
    out = np.where(same, UNCHANGED, OTHERWISE)
    return np.where(now & ~was, BLOCKED, np.where(was & ~now, RELEASED, out)).astype(np.int8)


def _over(bins: times.Bins, found: Range) -> list[int]:
    # Rows of one kind may lie closer together than those of all.
    return times.counts(bins, found)[0] if bins else [0] * found.bins


def _count(table: Rows, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> None:
    width = table.shape[1]
    table += np.bincount(first.astype(np.int64) * width + second, minlength=table.size).reshape(table.shape)


def _scattered(rows: Rows, file: int) -> npt.NDArray[np.uint64]:
    """A number for each row that looks random and is always the same (splitmix64: Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (rows.astype(np.uint64) + np.uint64(file) * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _pairs(table: Rows, names: Sequence[str]) -> dict[tuple[str, str], int]:
    pairs = {(names[i], names[j]): int(table[i, j]) for i, j in zip(*np.nonzero(table), strict=True)}
    return dict(sorted(pairs.items(), key=lambda item: (-item[1], item[0])))


def _group(name: str, row: Rows) -> Group:
    unchanged, blocked, released, otherwise = (int(n) for n in row)
    return Group(name, (unchanged, blocked, released, otherwise))


def _ordered(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda one: (-one.changed, -one.rows, one.name))
