"""Routing over texts and files: verdicts read or made, choices written, and what it all comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.report.verdict_files import find
from aimds.jobs.scan.columns import Columns
from aimds.jobs.scan.convert import to_requests
from aimds.jobs.scan.durable import writing
from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.plan import plan
from aimds.jobs.scan.progress import Progress
from aimds.jobs.scan.reading import Slice, gather, open_table
from aimds.jobs.scan.rows import Screener, screen_except
from aimds.jobs.scan.screening import too_long
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.tasks import Limits
from aimds.respond.violations import noted
from aimds.route.cache import AnswerCache
from aimds.route.choices import ANSWERED, CHOICES
from aimds.route.router import NEEDED, Router
from aimds.schema import VERDICTS

READ_ROWS = 4096
CACHED_ROWS = 64
"""Rows that are under way at once where there is a cache: they do not see one another's answers."""
READ = (*NEEDED, "ts", "mitigated_text", "text")
Emit = Callable[[pa.RecordBatch], None]


@dataclass(slots=True)
class Group:
    """Rows of one tier or tenant, and what they cost; ``strongest``: what the most capable tier would have."""

    rows: int = 0
    cost: float = 0.0
    strongest: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, rows: int, cost: float, strongest: float, input_tokens: int, output_tokens: int) -> None:
        """Count more rows."""
        self.rows, self.cost, self.strongest = self.rows + rows, self.cost + cost, self.strongest + strongest
        self.input_tokens, self.output_tokens = self.input_tokens + input_tokens, self.output_tokens + output_tokens

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "rows": self.rows,
            "cost": self.cost,
            "strongest_cost": self.strongest,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }


@dataclass(slots=True)
class Totals:
    """What a run comes to. ``tiers`` has the rows that a tier answers, ``reasons`` and ``cache`` count all rows."""

    whole: Group = field(default_factory=Group)
    tiers: dict[str, Group] = field(default_factory=dict)
    tenants: dict[str, Group] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    private: int = 0

    @property
    def answered(self) -> int:
        """Rows that a tier or the cache answers."""
        return sum(self.reasons.get(reason, 0) for reason in ANSWERED)

    @property
    def saved(self) -> float:
        """Share of the strongest tier's price that was not spent on the rows that are answered; 0 where that is 0."""
        return 1 - self.whole.cost / self.whole.strongest if self.whole.strongest else 0.0

    def add(self, choices: pa.RecordBatch) -> None:
        """Count a batch of CHOICES."""
        rows = choices.num_rows
        for name, into in (("reason", self.reasons), ("cache", self.cache)):
            for item in pc.value_counts(choices.column(name).cast(pa.string())).to_pylist():
                into[item["values"]] = into.get(item["values"], 0) + item["counts"]
        self.private += int(pc.sum(choices.column("private")).as_py() or 0)
        money = ("cost", "strongest_cost", "input_tokens", "output_tokens")
        answered = pc.is_in(choices.column("reason").cast(pa.string()), pa.array(ANSWERED))
        plain = pa.table(
            {
                "tier": choices.column("tier").cast(pa.string()),
                "tenant": pc.fill_null(choices.column("tenant"), ""),
                "cost": choices.column("cost"),
                "strongest_cost": choices.column("strongest_cost"),
                # What goes nowhere, or is answered from the cache, has no tokens to pay for.
                "input_tokens": pc.if_else(choices.column("tier").is_valid(), choices.column("input_tokens"), 0),
                "output_tokens": choices.column("output_tokens"),
            }
        ).filter(answered)
        for name, groups in (("tier", self.tiers), ("tenant", self.tenants)):
            summed = plain.group_by(name).aggregate([(column, "sum") for column in money] + [(name, "count")])
            for item in summed.to_pylist():
                key = item[name]
                if key is not None:
                    count = item[f"{name}_count"]
                    groups.setdefault(key, Group()).add(count, *(item[f"{column}_sum"] for column in money))
        self.whole.add(rows, *(pc.sum(plain.column(column)).as_py() or 0 for column in money))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.whole.as_dict(),
            "answered": self.answered,
            "private": self.private,
            "saved": self.saved,
            "tiers": {name: group.as_dict() for name, group in sorted(self.tiers.items())},
            "tenants": {name: group.as_dict() for name, group in sorted(self.tenants.items())},
            "reasons": dict(sorted(self.reasons.items())),
            "cache": dict(sorted(self.cache.items())),
        }


class Routing:
    """A run: every batch goes through the same router, and the same cache where there is one.

    With a cache, each answer that would be fetched is kept (its text is not known, and not needed) so that the run says
    what would have been answered again. Rows are taken to come in order of time.
    """

    def __init__(self, router: Router, cache: AnswerCache | None, *, now: float) -> None:
        self.router, self.cache, self.totals = router, cache, Totals()
        self._now = now

    def verdicts(self, table: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """CHOICES for verdicts with their texts, in order, in pieces."""
        for start, stop, now in self._pieces(table):
            piece = table.slice(start, stop - start)
            choices = self._piece(piece, now)
            self.totals.add(choices)
            yield choices

    def _piece(self, piece: pa.Table | pa.RecordBatch, now: float) -> pa.RecordBatch:
        standing = self.router.standing(piece)
        if self.cache is None:
            return self.router.route(piece, now=now, standing=standing)
        tenants = piece.column("tenant").cast(pa.string()).to_pylist()
        hits = self.cache.lookup(tenants, standing.texts, standing.cacheable, now=now)
        choices = self.router.route(piece, now=now, standing=standing, cached=hits.kind)
        fetched = standing.cacheable & np.asarray(choices.column("tier").is_valid())
        self.cache.put(tenants, standing.texts, [b""] * len(tenants), fetched, now=now)
        return choices

    def _pieces(self, table: pa.Table | pa.RecordBatch) -> Iterator[tuple[int, int, float]]:
        # Rows of one piece lie in one period of the budgets.
        n, size = table.num_rows, READ_ROWS if self.cache is None else CACHED_ROWS
        times = np.full(n, self._now)
        if "ts" in table.schema.names and not pa.types.is_null(table.schema.field("ts").type):
            given: npt.NDArray[np.float64] = np.asarray(
                pc.fill_null(pc.divide(table.column("ts").cast(pa.int64()).cast(pa.float64()), 1e6), np.nan)
            )
            times = np.where(np.isnan(given), self._now, given)
        periods = np.floor(times / self.router.tiers.budgets.period_s)
        edges = {0, n, *range(0, n, size), *(np.flatnonzero(np.diff(periods)) + 1).tolist()}
        ordered = sorted(edges)
        for start, stop in pairwise(ordered):
            yield start, stop, float(times[start])


def route_files(
    paths: Sequence[str | Path],
    routing: Routing,
    screener: Callable[[], Screener],
    *,
    columns: Columns,
    out: Path | None,
    progress: Progress,
) -> int:
    """Choices for all rows of Parquet files, written to ``out`` where it is given; how many rows there were.

    A file of verdicts with a column ``text`` is read as it is; any other is a log and is screened by ``screener``,
    which is made when the first one comes. ``out`` appears when all is done, or not at all.

    Raises:
        DataError: a file cannot be read, or there is nothing to route.
        ConfigError: ``out`` is one of the files.
        SchemaError: a log, or verdicts, have no text column.
    """
    files = find(paths)
    if out is not None and any(out.exists() and out.samefile(file) for file in files):
        raise ConfigError("output", str(out), "another file than the inputs")
    total = sum(_rows(file) for file in files)
    if not total:
        raise DataError(files[0], "holds no rows: nothing to route")
    with ExitStack() as stack:
        sink = None
        if out is not None:
            sink = stack.enter_context(pq.ParquetWriter(stack.enter_context(writing(out)), CHOICES))
        progress.begin(total, 0)
        stack.callback(progress.end)
        made: Screener | None = None
        for file in files:
            names = set(pq.read_schema(file).names)
            logged = not set(NEEDED) <= names
            if not logged and "text" not in names:
                raise SchemaError("text", f"missing in {file}; aimds scan --with-text keeps it beside the verdicts")
            if logged and made is None:
                made = screener()
            batches = _screened(file, columns, made, progress) if logged and made is not None else _read(file)
            for batch in batches:
                for choices in routing.verdicts(batch):
                    if sink is not None:
                        sink.write_batch(choices)
                    progress.advance(choices.num_rows)
    return total


def screened(screener: Screener, requests: pa.RecordBatch) -> pa.Table:
    """Verdicts for ``requests``, with their texts."""
    return _with_text(screener, requests, {}, {})


def _with_text(
    screener: Screener, requests: pa.RecordBatch, problems: dict[int, str], notes: dict[int, str]
) -> pa.Table:
    verdicts = pa.Table.from_batches(list(screen_except(screener, requests, problems)), VERDICTS)
    whole = noted(verdicts.combine_chunks().to_batches()[0], notes) if requests.num_rows else verdicts
    table = pa.Table.from_batches([whole]) if isinstance(whole, pa.RecordBatch) else whole
    return table.append_column("text", requests.column("text"))


def _rows(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DataError(file, f"not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _read(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file) as parquet:
            present = [name for name in READ if name in parquet.schema_arrow.names]
            yield from parquet.iter_batches(batch_size=READ_ROWS, columns=present)
    except (pa.ArrowException, OSError) as error:
        raise DataError(file, f"damaged: {str(error).splitlines()[0]}") from error


def _screened(file: Path, columns: Columns, screener: Screener, progress: Progress) -> Iterator[pa.Table]:
    source = Source(str(file), "", file.name, "parquet")
    one = plan(source, ScanConfig((str(file),), file.parent, columns))
    if one.notes:
        progress.note(f"{file}: columns guessed: {', '.join(one.notes)}")
    limits, table, names = Limits(), open_table(source), list(dict.fromkeys(one.used.values()))
    for index, group in enumerate(one.groups):
        chunks = table.chunks(Slice(index, 0, group.rows, one.firsts[index]), names)
        for chunk in gather(chunks, limits.batch_rows, limits.batch_bytes):
            requests, notes = to_requests(chunk.batch, one.used, chunk.numbers)
            yield _with_text(screener, requests, too_long(requests.column("text"), limits), notes)
