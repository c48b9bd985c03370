"""From verdict files into the review queue: rows of the chosen actions, and the turns of their sessions beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError
from aimds.jobs.report.verdict_files import VerdictFile, open_all, scanned_name, stream
from aimds.printable import counted
from aimds.respond.review import Queue
from aimds.respond.review.items import Case, Turn, cases, turns
from aimds.schema import ACTIONS, VERDICTS

ROWS = 1024
"""Rows that are read, and queued, at a time: each is one transaction."""
MAX_TURNS = 200
"""Turns of a session that are kept beside its items, those nearest to them."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What was read and queued; ``known`` rows stood in the queue before, ``without_text`` new ones have no text."""

    files: int
    rows: int
    chosen: int
    new: int
    known: int
    without_text: int
    turns: int


def add(
    queue: Queue,
    paths: Sequence[str | Path],
    actions: Collection[str],
    now: datetime,
    who: str,
    say: Progress = lambda line: None,
) -> Result:
    """Queue the rows of the verdict files ``paths`` that have one of ``actions``.

    Raises:
        ConfigError: an action that is not known.
        DataError, SchemaError: a file cannot be read, or holds no verdicts.
    """
    check_actions(actions)
    files = open_all(paths)
    wanted = pa.array(sorted(actions), pa.string())
    names = [_name(file) for file in files]
    sessions: set[str] = set()
    total = chosen = new = known = bare = kept = 0
    for file, name in zip(files, names, strict=True):
        say(f"{file.path}: {counted(file.rows, 'row')}")
        first = 0
        for batch in _batches(file):
            rows = pc.indices_nonzero(pc.is_in(_plain(batch.column("action")), value_set=wanted))
            found = batch.take(rows)
            listed = [
                _placed(case, first + row, name)
                for case, row in zip(cases(found, _texts(found)), rows.to_pylist(), strict=True)
            ]
            first += batch.num_rows
            if listed:
                added = queue.add(listed, (), now, who)
                chosen, known, new = chosen + len(listed), known + added.known, new + len(added.ids)
                bare += added.without_text
                sessions.update(case.session_id for case in listed if case.session_id is not None)
        total += first
    if sessions:
        say(f"turns of {counted(len(sessions), 'session')}")
        beside = _beside(files, sessions, actions)
        for index, (file, name) in enumerate(zip(files, names, strict=True)):
            places = beside.get(index, np.zeros(0, np.int64))
            for around in _turns_at(file, name, places):
                queue.add((), around, now, who)
                kept += len(around)
    return Result(len(files), total, chosen, new, known, bare, kept)


def _name(file: VerdictFile) -> str:
    """What tells ``file`` from others, whichever paths are given with it."""
    path = Path(os.path.abspath(file.path))
    return str(scanned_name(path) or path)


One = TypeVar("One", Case, Turn)


def _placed(one: One, row: int, name: str) -> One:
    """``one`` with its source, where it has neither a text nor an id but its place in the file ``name``."""
    return replace(one, source=name) if one.text is None and one.request_id == str(row) else one


def _beside(
    files: Sequence[VerdictFile], sessions: Collection[str], actions: Collection[str]
) -> dict[int, npt.NDArray[np.int64]]:
    """The rows to keep beside those with one of ``actions``, by the place of their file: of each session that has such
    rows the MAX_TURNS nearest to them. Turns go by number where all have one, else by time, else as they stand.

    Memory: some tens of bytes for each row of the sessions.
    """
    session, named, parts = ("tenant", "session_id"), list(sessions), []
    for index, file in enumerate(files):
        first = 0
        for frame in stream(file, (*session, "turn", "ts", "action")):
            numbered = frame.with_columns(pl.int_range(first, first + frame.height).alias("row"), file=pl.lit(index))
            first += frame.height
            parts.append(
                numbered.filter(pl.col("session_id").is_in(named)).with_columns(
                    pl.col("tenant").fill_null(""),
                    pl.col("ts").to_physical(),
                    chosen=pl.col("action").is_in(list(actions)),
                )
            )
    time = pl.coalesce("ts", pl.col("ts").cum_max().forward_fill().over(session))
    number = pl.when(pl.col("turn").is_not_null().all().over(session)).then("turn")
    ordered = pl.concat(parts).with_columns(number=number, time=time).sort("number", "time", "file", "row")
    at = ordered.with_columns(at=pl.int_range(pl.len()).over(session))
    mark = pl.when("chosen").then("at")
    near = pl.min_horizontal(
        pl.col("at") - mark.forward_fill().over(session), mark.backward_fill().over(session) - pl.col("at")
    )
    # A session of this id that another tenant has may have no row that was chosen.
    nearest = (
        at.with_columns(near=near)
        .filter(~pl.col("chosen") & pl.col("near").is_not_null())
        .sort("near", "at")
        .group_by(session)
        .head(MAX_TURNS)
        .sort("file", "row")
    )
    return {file: rows["row"].to_numpy() for (file,), rows in nearest.group_by("file")}


def _turns_at(file: VerdictFile, name: str, places: npt.NDArray[np.int64]) -> Iterator[list[Turn]]:
    first = 0
    for batch in _batches(file) if len(places) else ():
        inside = places[(places >= first) & (places < first + batch.num_rows)]
        if len(inside):
            near = batch.take(pa.array(inside - first))
            yield [_placed(one, row, name) for one, row in zip(turns(near, _texts(near)), inside.tolist(), strict=True)]
        first += batch.num_rows


def check_actions(actions: Collection[str]) -> None:
    """Raise ConfigError unless each of ``actions`` is one."""
    for action in actions:
        if action not in ACTIONS:
            raise ConfigError("action", action, "one of " + ", ".join(ACTIONS))


_COLUMNS = frozenset((*VERDICTS.names, "text"))


def _batches(file: VerdictFile) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file.path) as parquet:
            yield from parquet.iter_batches(batch_size=ROWS, columns=sorted(file.columns & _COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise DataError(file.path, f"damaged: {str(error).splitlines()[0]}") from error


def _plain(column: pa.Array) -> pa.Array:
    return (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).cast(pa.string())


def _texts(batch: pa.RecordBatch) -> pa.Array | None:
    return batch.column("text") if "text" in batch.schema.names else None
