"""From verdict files into the review queue: rows of the chosen actions, and the turns of their sessions beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError
from aimds.jobs.report.verdict_files import VerdictFile, open_all
from aimds.printable import counted
from aimds.respond.review import Queue
from aimds.respond.review.items import cases, turns
from aimds.schema import ACTIONS, VERDICTS

ROWS = 1024
"""Rows that are read, and queued, at a time: each is one transaction."""
MAX_TURNS = 200
"""Turns of a session that are kept beside its items."""
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
    sessions: dict[tuple[str | None, str], int] = {}
    total = chosen = new = known = bare = kept = 0
    for file in files:
        say(f"{file.path}: {counted(file.rows, 'row')}")
        for batch in _batches(file):
            total += batch.num_rows
            found = batch.filter(pc.is_in(_plain(batch.column("action")), value_set=wanted))
            if not found.num_rows:
                continue
            listed = cases(found, _texts(found))
            added = queue.add(listed, (), now, who)
            chosen, known = chosen + len(listed), known + added.known
            new += len(added.ids)
            bare += sum(case.text is None for case in listed) if added.ids else 0
            for case in listed:
                if case.session_id is not None:
                    sessions.setdefault((case.tenant, case.session_id), 0)
    if sessions:
        say(f"turns of {counted(len(sessions), 'session')}")
        names = pa.array(sorted({session for _, session in sessions}), pa.string())
        for file in files:
            if "session_id" not in file.columns:
                continue
            for batch in _batches(file):
                near = batch.filter(pc.is_in(_plain(batch.column("session_id")), value_set=names))
                around = []
                for one in turns(near, _texts(near)):
                    key = (one.tenant, one.session_id)
                    if one.action not in actions and sessions.get(key, MAX_TURNS) < MAX_TURNS:
                        sessions[key] += 1
                        around.append(one)
                if around:
                    queue.add((), around, now, who)
                    kept += len(around)
    return Result(len(files), total, chosen, new, known, bare, kept)


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
