"""Counts verdicts in bounded memory: streamed passes over times, all counts, and the rows shown one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from aimds.errors import DataError
from aimds.jobs.report import timeline
from aimds.jobs.report.findings import Findings, Group, Histogram, Pattern, Timeline
from aimds.jobs.report.samples import Chooser, attach_texts
from aimds.jobs.report.session_risk import Candidates, follow
from aimds.jobs.report.verdict_files import BEYOND_US, VerdictFile, open_all, stream
from aimds.schema import ACTIONS, SESSION_ACTIONS, STATUSES
from aimds.taxonomy import THREATS
from aimds.verdicts import SESSIONS

SCORE_BINS = 50
TOP_PATTERNS = 12
TOP_ERRORS = 20
TOP_TENANTS = 12
NO_TENANT = "(no tenant)"
COLUMNS = (
    *(
        "request_id",
        "session_id",
        "turn",
        "tenant",
        "ts",
        "channel",
        "action",
        "session_action",
        "threat_type",
        "score",
    ),
    *("p_value", "evidence", "spans", "session_score", "violations", "status", "error", "profile", "backend"),
    *("engine_version", "model_version", "signature_version", "policy_version"),
)
VERSIONS = ("engine_version", "model_version", "signature_version", "policy_version", "profile", "backend")
_ORDER = {name: place for place, name in enumerate((*ACTIONS, *THREATS))}
_CAUGHT = pl.col("action") != "allow"


@dataclass(slots=True)
class _Times:
    range: timeline.Range | None = None
    first: datetime | None = None
    last: datetime | None = None
    untimed: int = 0


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    by: dict[str, Counter[tuple[Any, ...]]] = field(default_factory=dict)
    lowest: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, frame: pl.DataFrame, *keys: str) -> None:
        counter = self.by.setdefault(name, Counter())
        for *key, count in frame.group_by(keys).agg(pl.len()).iter_rows():
            counter[tuple(key)] += count

    def of(self, name: str) -> Counter[tuple[Any, ...]]:
        return self.by.get(name, Counter())


def tally(
    paths: Sequence[str | Path],
    *,
    requests: Sequence[str | Path] = (),
    mask: bool = True,
    samples: int = 18,
    sessions: int = 12,
) -> Findings:
    """The figures of every verdict file that ``paths`` (files, folders, globs) names.

    ``requests`` are the original logs, for the texts of the samples where the verdicts carry none; ``mask`` leaves
    personal data and secrets out of the excerpts. At most ``samples`` samples and ``sessions`` sessions are listed.

    Raises:
        DataError: nothing to read, not one row, or a damaged file.
        SchemaError: a file that does not hold verdicts, or a log without text.
    """
    files = open_all(paths)
    if not any(file.rows for file in files):
        raise DataError(files[0].path, "holds no verdicts (0 rows): nothing to report")
    times = _times(files)
    counts, chooser, candidates = _Counts(), Chooser(per_threat=6), Candidates()
    for index, file in enumerate(files):
        row = 0
        for frame in stream(file, COLUMNS):
            numbered = frame.with_columns(row=pl.int_range(row, row + frame.height, dtype=pl.Int64))
            _count(counts, numbered, times.range)
            chooser.add(index, numbered.filter(_CAUGHT))
            candidates.add(numbered)
            row += frame.height
        counts.rows += row
    tenants, patterns = _groups(counts.of("tenant"), NO_TENANT), _patterns(counts.of("pattern"))
    errors = sorted(counts.of("error").items(), key=lambda item: (-item[1], str(item[0])))
    versions = sorted(counts.of("versions").items(), key=lambda item: (-item[1], str(item[0])))
    return Findings(
        files=[(file.path.name, file.rows) for file in files],
        rows=counts.rows,
        first=times.first,
        last=times.last,
        actions=_known(counts.of("action"), ACTIONS),
        session_actions=_known(counts.of("session_action"), SESSION_ACTIONS),
        statuses=_known(counts.of("status"), STATUSES),
        sessions=candidates.sessions,
        sessions_exact=candidates.exact,
        threats=_groups(counts.of("threat_type"), "none"),
        channels=_groups(counts.of("channel"), "user"),
        tenants=tenants[:TOP_TENANTS],
        n_tenants=len(tenants),
        violations=_groups(counts.of("violation"), "(no name)"),
        timeline=_timeline(counts, times),
        histogram=_histogram(counts),
        patterns=patterns[:TOP_PATTERNS],
        n_patterns=len(patterns),
        kinds=dict(sorted(_known(counts.of("kind"), ()).items(), key=lambda item: (-item[1], item[0]))),
        errors=[(str(status), message or "(no message)", n) for (status, message), n in errors[:TOP_ERRORS]],
        risks=follow(files, candidates.top(sessions)),
        samples=attach_texts(chooser.best(samples), files, requests, mask=mask),
        versions=[(dict(zip(VERSIONS, map(_word, key), strict=True)), n) for key, n in versions[:20]],
    )


def _word(value: str | None) -> str:
    return "unknown" if value is None else value


def _times(files: Sequence[VerdictFile]) -> _Times:
    days, untimed = timeline.Days(), 0
    for file in files:
        for frame in stream(file, ("ts",), rows=1 << 20):
            at = frame["ts"].drop_nulls().to_physical()
            untimed += frame.height - len(at)
            sane = at.filter(at < BEYOND_US)
            each = pl.DataFrame({"at": sane, "day": sane // timeline.DAY_US}).group_by("day")
            for day, n, low, high in each.agg(n=pl.len(), low=pl.col("at").min(), high=pl.col("at").max()).iter_rows():
                days.add(day, n, low, high)
    table = days.table()
    found = timeline.choose(table)
    if found is None:
        return _Times(untimed=untimed)
    inside = [table[day] for day in table if 0 <= table[day][1] - found.first_us < found.width_us * found.bins]
    first, last = min(low for _, low, _ in inside), max(high for _, _, high in inside)
    return _Times(found, timeline.moment(first), timeline.moment(last), untimed)


def _count(counts: _Counts, frame: pl.DataFrame, range_: timeline.Range | None) -> None:
    for name in ("action", "session_action", "status"):
        counts.add(name, frame, name)
    for name in ("threat_type", "channel", "tenant"):
        counts.add(name, frame, name, "action")
    counts.add("versions", frame, *VERSIONS)
    counts.add("error", frame.filter(pl.col("status") != "ok"), "status", "error")
    if range_ is not None:
        at = (pl.col("ts").to_physical() - range_.first_us) // range_.width_us
        timed = frame.filter(pl.col("ts").is_not_null()).with_columns(bin=at.clip(-1, range_.bins))
        counts.add("time action", timed, "bin", "action")
        counts.add("time threat", timed.filter(_CAUGHT), "bin", "threat_type")
    place = (pl.col("score") * SCORE_BINS).floor().clip(0, SCORE_BINS - 1).cast(pl.Int32)
    scored = frame.filter(pl.col("score").is_not_null() & pl.col("score").is_not_nan())
    counts.add("score", scored.with_columns(place=place, caught=_CAUGHT), "place", "caught")
    by_session = pl.col("evidence").list.eval(pl.element().struct.field("detector") == SESSIONS).list.any()
    by_itself = (pl.col("status") == "ok") & ~by_session.fill_null(False)
    judged = scored.filter(by_itself & pl.col("action").is_in(["flag", "block"]))
    for action, score in judged.group_by("action").agg(pl.col("score").min()).iter_rows():
        counts.lowest[action] = min(score, counts.lowest.get(action, score))
    evidence = frame.filter(_CAUGHT & (pl.col("evidence").list.len() > 0)).select("row", "threat_type", "evidence")
    each = evidence.explode("evidence").unnest("evidence").select("row", "threat_type", "detector", "pattern_id")
    counts.add("pattern", each.unique(), "detector", "pattern_id", "threat_type")
    broken = frame.filter(pl.col("violations").list.len() > 0).select("action", "violations").explode("violations")
    counts.add("violation", broken.with_columns(pl.col("violations").cast(pl.String)), "violations", "action")
    spans = frame.filter(pl.col("spans").list.len() > 0).select("row", "spans").explode("spans").unnest("spans")
    counts.add("kind", spans.select("row", "kind").unique(), "kind")


def _known(counter: Counter[tuple[Any, ...]], order: Sequence[str]) -> dict[str, int]:
    """Counts under the known names in their order (zero where none), unknown ones after them by name."""
    plain = {str(key[0]): n for key, n in counter.items() if key[0] is not None}
    return {name: plain.get(name, 0) for name in order} | {name: plain[name] for name in sorted({*plain} - {*order})}


def _groups(counter: Counter[tuple[Any, ...]], missing: str) -> list[Group]:
    """Groups with the most caught rows first, then the most rows, then by name."""
    split: dict[str, Counter[tuple[Any, ...]]] = {}
    for (name, action), n in counter.items():
        split.setdefault(missing if name is None else str(name), Counter())[(action,)] += n
    groups = [Group(name, sum(actions.values()), _known(actions, ACTIONS)) for name, actions in split.items()]
    return sorted(groups, key=lambda group: (-group.caught, -group.rows, group.name))


def _patterns(counter: Counter[tuple[Any, ...]]) -> list[Pattern]:
    merged: dict[tuple[str, str], dict[str, int]] = {}
    for (detector, pattern_id, threat), n in sorted(counter.items(), key=lambda item: (-item[1], str(item[0]))):
        merged.setdefault((str(detector), str(pattern_id)), {})[str(threat)] = n
    patterns = [Pattern(*key, sum(threats.values()), threats) for key, threats in merged.items()]
    return sorted(patterns, key=lambda one: (-one.rows, one.detector, one.pattern_id))


def _timeline(counts: _Counts, times: _Times) -> Timeline | None:
    range_ = times.range
    if range_ is None:
        return None
    bins = range(range_.bins)

    def series(name: str) -> Iterator[tuple[str, list[int]]]:
        split: dict[str, list[int]] = {}
        for (at, key), n in counts.of(name).items():
            if at in bins:
                split.setdefault(str(key), [0] * len(bins))[at] += n
        yield from sorted(split.items(), key=lambda item: (_ORDER.get(item[0], len(_ORDER)), item[0]))

    return Timeline(
        starts=[range_.start(i) for i in bins],
        labels=[timeline.label(range_, i) for i in bins],
        ticks=timeline.ticks(range_),
        width=timeline.width_name(range_),
        actions=dict(series("time action")),
        threats=dict(series("time threat")),
        untimed=times.untimed,
        outside=sum(n for (at, _), n in counts.of("time action").items() if at not in bins),
    )


def _histogram(counts: _Counts) -> Histogram:
    every, caught = [0] * SCORE_BINS, [0] * SCORE_BINS
    for (place, was_caught), n in counts.of("score").items():
        every[place] += n
        caught[place] += n if was_caught else 0
    return Histogram(every, caught, counts.rows - sum(every), dict(sorted(counts.lowest.items())))
