"""Sums up the hits of all outputs in one streamed pass and bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import DataError
from aimds.jobs.hunt.findings import Group, Holders, Sample
from aimds.jobs.report.timeline import moment
from aimds.jobs.scan.convert import to_requests, valid_text

BATCH_ROWS = 16_384
MOST_KEYS = 500_000
"""Sessions, tenants or users followed at once; beyond, those with fewest rows are let go."""
EXACT = 4_000_000
"""Distinct ones counted exactly, by hash; beyond, the count stays there and says so."""
PER_PATTERN = 6
_COLUMNS = ("request_id", "session_id", "turn", "tenant", "ts", "channel", "row", "pattern_id", "start", "end", "score",
            "view", "excerpt", "excerpt_start")  # fmt: skip
_SEEN = [pl.len().cast(pl.Int64).alias("rows"), pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")]
_AGAIN = [pl.col("rows").sum(), pl.col("first").min(), pl.col("last").max()]


class Keys:
    """Rows, first and last time by the values of a column, each tenant's apart: two tenants may use the same id."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._hashes: list[pl.Series] = []
        self._pending = 0
        self._exact = True
        self._frame: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows with the column, ``tenant`` and ``ts`` (microseconds since 1970)."""
        named = rows.filter(pl.col(self._column).is_not_null()).with_columns(key=pl.col(self._column), of="tenant")
        if not named.height:
            return
        fresh = named.group_by("of", "key").agg(*_SEEN)
        self._note(fresh.select("of", "key").hash_rows(seed=0))
        if self._frame is not None:
            fresh = pl.concat([self._frame, fresh]).group_by("of", "key").agg(*_AGAIN)
        self._frame = fresh
        if fresh.height > MOST_KEYS:
            self._frame = self._sorted(fresh).head(MOST_KEYS // 2)

    def _note(self, hashes: pl.Series) -> None:
        if not self._exact:
            return
        self._hashes.append(hashes)
        self._pending += len(hashes)
        if self._pending > 1_000_000:
            merged = pl.concat(self._hashes).unique()
            self._hashes, self._pending = [merged], 0
            self._exact = len(merged) <= EXACT

    @staticmethod
    def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.sort("rows", "key", "of", descending=[True, False, False])

    def holders(self, n: int) -> Holders:
        """How many there are, and the ``n`` with most rows."""
        if self._frame is None:
            return Holders()
        count = pl.concat(self._hashes).n_unique()
        top = [
            Group(row["key"], row["rows"], _at(row["first"]), _at(row["last"]), row["of"])
            for row in self._sorted(self._frame).head(n).iter_rows(named=True)
        ]
        return Holders(count, self._exact, top)


class Tally:
    """The figures of the hits in ``outputs``, (name of the input, file) each; ``user`` is the column of users.

    Raises:
        DataError: a file is damaged.
    """

    def __init__(self, outputs: Sequence[tuple[str, Path]], user: str | None = None) -> None:
        self.hits = 0
        self.first: int | None = None
        self.last: int | None = None
        self.sessions, self.tenants = Keys("session_id"), Keys("tenant")
        self.users = Keys("user") if user else None
        self.views: Counter[str] = Counter()
        self.patterns: dict[str, tuple[int, int | None, int | None]] = {}
        self._kept: dict[str, dict[str, Sample]] = {}
        for name, path in outputs:
            last_row = -1
            for frame in _stream(path, user):
                self._count(frame)
                rows = frame.filter(pl.col("row") > last_row).unique("row", keep="first", maintain_order=True)
                last_row = frame["row"][-1]
                for keys in filter(None, (self.sessions, self.tenants, self.users)):
                    keys.add(rows)
                self._choose(name, frame)

    def _count(self, frame: pl.DataFrame) -> None:
        self.hits += frame.height
        for view, n in frame.group_by("view").agg(pl.len()).iter_rows():
            self.views[view or "signature"] += n
        for name, rows, first, last in frame.group_by("pattern_id").agg(*_SEEN).iter_rows():
            known = self.patterns.get(name, (0, None, None))
            self.patterns[name] = (known[0] + rows, _least(known[1], first), _most(known[2], last))
            self.first, self.last = _least(self.first, first), _most(self.last, last)

    def _choose(self, name: str, frame: pl.DataFrame) -> None:
        best = (
            frame.sort("score", "row", descending=[True, False])
            .unique(["pattern_id", "excerpt"], keep="first", maintain_order=True)
            .group_by("pattern_id", maintain_order=True)
            .head(4 * PER_PATTERN)
        )
        for values in best.select(*_COLUMNS).iter_rows(named=True):
            values["ts"] = _at(values["ts"])
            sample = Sample(file=name, **values)
            kept = self._kept.setdefault(sample.pattern_id, {})
            said = _said(sample)
            if said not in kept and (len(kept) < PER_PATTERN or sample.score > min(one.score for one in kept.values())):
                kept[said] = sample
            if len(kept) > PER_PATTERN:
                del kept[max(kept, key=lambda key: _order(kept[key]))]

    def samples(self, n: int) -> list[Sample]:
        """At most ``n`` samples, as even over the patterns as they allow; by pattern, then the strongest first."""
        queues = [sorted(kept.values(), key=_order) for _, kept in sorted(self._kept.items())]
        chosen = [queue[turn] for turn in range(PER_PATTERN) for queue in queues if len(queue) > turn]
        return sorted(chosen[:n], key=lambda one: (one.pattern_id, *_order(one)))


def _stream(path: Path, user: str | None) -> Iterator[pl.DataFrame]:
    columns = [*_COLUMNS, *([user] if user else [])]
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                table = pa.Table.from_batches([batch]).select(columns)
                table = table.rename_columns([*_COLUMNS, *(["user"] if user else [])])
                for place, field in enumerate(table.schema):
                    table = table.set_column(place, field.name, _simple(table.column(place), field.name))
                if table.num_rows:
                    yield pl.DataFrame(table)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"damaged: {str(error).splitlines()[0]}; run the hunt again with --overwrite") from error


def _simple(column: pa.ChunkedArray, name: str) -> pa.Array:
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    if name == "ts":
        # As numbers: a datetime cannot hold every time that Arrow can.
        return array.cast(pa.int64())
    if name == "user":
        return _names(array)
    return valid_text(array) if pa.types.is_string(array.type) else array


def _names(column: pa.Array) -> pa.Array:
    """Users as text, read as a scan reads session ids."""
    batch = pa.record_batch({"text": pa.nulls(len(column), pa.large_string()), "user": column})
    numbers = pa.array(range(len(column)), pa.int64())
    return to_requests(batch, {"text": "text", "session_id": "user"}, numbers)[0].column("session_id")


def _said(sample: Sample) -> str:
    if sample.excerpt is None or sample.excerpt_start is None:
        return f"{sample.file} {sample.row}"
    raw = sample.excerpt.encode()
    return raw[max(0, sample.start - sample.excerpt_start) : sample.end - sample.excerpt_start].decode(
        "utf-8", "ignore"
    )


def _order(sample: Sample) -> tuple[float, str, int]:
    return -sample.score, sample.file, sample.row


def _at(us: int | None) -> datetime | None:
    return None if us is None else moment(us)


def _least(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)


def _most(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else max(one, other)
