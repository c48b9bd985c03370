"""`aimds hunt`: where in a history one new signature was met, by running the stages that it needs and no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimds import __version__
from aimds.errors import DataError, SchemaError
from aimds.jobs.hunt import hits, times, work
from aimds.jobs.hunt.findings import Findings, Found, Timeline
from aimds.jobs.hunt.page import render
from aimds.jobs.hunt.sought import Sought, sought
from aimds.jobs.hunt.tally import Tally
from aimds.jobs.report import timeline, write
from aimds.jobs.scan import Columns, Counts, Factory, Files, Limits, Progress, ScanConfig, Summary
from aimds.jobs.scan.columns import resolve
from aimds.jobs.scan.inputs import discover
from aimds.jobs.scan.reading import open_table

__all__ = ["LIMITS", "Findings", "Hunt", "Options", "Result", "Sought", "sought"]

LIMITS = Limits(batch_rows=16_384)
"""The stages of a hunt cost more a batch and less a row than those of a scan, so that longer batches pay."""
TOP = 12
SAMPLES = 18


@dataclass(frozen=True, slots=True)
class Options:
    """How to hunt.

    ``decode``: also in what is encoded · ``excerpts``: hits carry the words around them · ``mask``: personal data and
    secrets are left out of them · ``user``: column of the input that names a user · ``page``: where the page goes
    (None for no page), headed ``title`` · ``backend``: auto, cpu or cuda; the hits are the same.
    """

    decode: bool = True
    excerpts: bool = True
    mask: bool = True
    user: str | None = None
    page: Path | None = None
    title: str = "Hunt"
    backend: str = "auto"


@dataclass(frozen=True, slots=True)
class Result:
    """What was found, in ``findings``, and what this run did, in ``run``."""

    findings: Findings
    run: Summary

    def as_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        run = self.run.to_json()
        kept = ("output", "units_total", "units_done", "units_resumed", "seconds", "startup_seconds", "rows_per_s")
        figures = {name: run[name] for name in (*kept, "outputs", "nothing_to_do")}
        return self.findings.as_dict() | {"rows_searched": run["rows_screened"]} | figures


class Hunt:
    """One run of ``aimds hunt`` over the files of ``config``; ``factory`` makes the `work.Hunting` of each worker, by
    default from what is ``wanted``."""

    def __init__(
        self,
        config: ScanConfig,
        wanted: Sought,
        options: Options | None = None,
        *,
        factory: Factory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options or Options()
        user = self._options.user
        carry = config.carry if user is None or user in config.carry else (*config.carry, user)
        self._config, self._wanted, self._clock = replace(config, carry=carry), wanted, clock
        self._factory = factory or work.factory(
            wanted,
            decode=self._options.decode,
            excerpts=self._options.excerpts,
            mask=self._options.mask,
            backend=self._options.backend,
        )

    def run(self, progress: Progress | None = None) -> Result:
        """Do what is left to do, sum up all hits and write the page.

        Raises:
            DataError: no input, the output belongs to another hunt, another is at work there, or writing fails.
            SchemaError: a column is missing or does not fit, that of users too.
            ConfigError: a setting, or what is sought, cannot be used.
        """
        options = self._options
        if options.user is not None:
            _check_users(self._config, options.user)
        run, counts = Files(self._config, hits.KIND, self._factory, clock=self._clock).run(progress)
        findings = self._findings(run, counts)
        if options.page is not None:
            write(options.page, render(findings, title=options.title, engine_version=__version__))
        return Result(findings, run)

    def _findings(self, run: Summary, counts: Counts) -> Findings:
        tally = Tally([(one["input"], Path(one["output"])) for one in run.outputs], self._options.user)
        rows, ends = counts.get("rows", {}), counts.get(hits.ENDS, {})
        met = [(target, tally.patterns.get(target.id, (0, None, None))) for target in self._wanted.targets]
        return Findings(
            files=[(one["input"], one["rows"]) for one in run.outputs],
            rows=rows.get("read", 0),
            rows_hit=rows.get("hit", 0),
            hits=tally.hits,
            unjudged=rows.get("unjudged", 0),
            partial=rows.get("partial", 0),
            first=_moment(tally.first),
            last=_moment(tally.last),
            begins=_moment(ends.get(hits.FIRST)),
            ends=_moment(ends.get(hits.LAST)),
            decoded=self._options.decode,
            patterns=[
                Found(target.id, target.threat, target.text, target.threshold, n, _moment(first), _moment(last))
                for target, (n, first, last) in met
            ],
            sessions=tally.sessions.holders(TOP),
            tenants=tally.tenants.holders(TOP),
            users=tally.users.holders(TOP) if tally.users else None,
            channels=_sorted(counts.get("channels", {})),
            views=_sorted(tally.views),
            timeline=_timeline(counts),
            samples=tally.samples(SAMPLES),
            skipped=run.skipped,
        )


def _check_users(config: ScanConfig, user: str) -> None:
    """Refuse a column of users that holds no names, before hours are spent on a search that could not count them."""
    for source in discover(config.inputs, config.output):
        try:
            schema = open_table(source).schema
        except (DataError, OSError, ValueError):
            continue  # reported where the inputs are planned
        if user not in schema.names:
            continue
        try:
            resolve(schema, Columns(text=config.columns.text, session_id=user), source.label)
        except SchemaError as error:
            if error.column == user:
                problem = f"cannot name users: it {error.problem}; give --user-column another one, or leave it out"
                raise SchemaError(user, problem) from None


def _moment(us: int | None) -> Any:
    return None if us is None else timeline.moment(us)


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _timeline(counts: Counts) -> Timeline | None:
    read, hit = counts.get(hits.READ, {}), counts.get(hits.HIT, {})
    range_ = times.choose(read)
    if range_ is None:
        return None
    found, outside = times.counts(hit, range_) if hit else ([0] * range_.bins, 0)
    bins = range(range_.bins)
    return Timeline(
        starts=[range_.start(i) for i in bins],
        labels=[timeline.label(range_, i) for i in bins],
        ticks=timeline.ticks(range_),
        width=timeline.width_name(range_),
        rows=times.counts(read, range_)[0],
        hit=found,
        outside=outside,
    )
