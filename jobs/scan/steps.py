"""A file's rows as steps of sessions, kept beside its output: sessions that run on in other files are judged by them.

An Arrow IPC file sorted by the hash of the session, so that any stretch of sessions is read from all files without the
rest. A row without a session is no step: it is judged where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.turns import keys
from aimds.errors import DataError
from aimds.jobs.scan import durable, parts, session_column
from aimds.jobs.scan.outcome import acted
from aimds.ltl.sessions import masks, micros
from aimds.respond.policy import Policy

NAME: Final = "steps.arrow"
EVENTS: Final = pa.field("_events", pa.uint64())
"""Column of the parts, not of the output: which events of the policies the request itself names."""
BATCH_ROWS: Final = 65_536
STEPS: Final = pa.schema(
    [
        pa.field("high", pa.uint64()),
        pa.field("low", pa.uint64()),
        pa.field("turn", pa.int64()),
        pa.field("ts", pa.int64()),
        pa.field("events", pa.uint64()),
        pa.field("row", pa.int64()),
        pa.field("score", pa.float32()),
    ]
)


def write(
    folder: Path,
    found: Sequence[Path],
    scores: npt.NDArray[np.float32],
    policy: Policy | None,
    names: Sequence[str],
) -> None:
    """Write the steps of the parts ``found`` into ``folder``: the events ``names`` that occur in each row once the
    ``policy`` has acted on its session score, float32 (rows,).

    Raises:
        OutputError: the operating system refuses a read or a write.
    """
    with durable.writing(folder / NAME) as file:
        writer = pa.ipc.new_file(file, STEPS, options=pa.ipc.IpcWriteOptions(compression="lz4"))

        def put() -> None:
            number_of = session_column.passes(len(scores))
            for number in range(number_of):
                batch = _sorted(list(_of_pass(found, number, number_of, scores, policy, names)))
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    writer.write_batch(batch.slice(start, BATCH_ROWS))

        durable.finish(put, writer.close)


def _of_pass(
    found: Sequence[Path],
    number: int,
    passes: int,
    scores: npt.NDArray[np.float32],
    policy: Policy | None,
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    first = 0
    for path in found:
        for batch in parts.read(path):
            rows = np.flatnonzero(batch.column("session_id").is_valid().to_numpy(zero_copy_only=False))
            known = keys(batch.take(pa.array(rows))) if len(rows) else np.zeros((0, 2), np.uint64)
            chosen = session_column.mine(known, number, passes)
            rows, known = rows[chosen], known[chosen]
            if len(rows):
                mine = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
                here = scores[first + rows]
                verdicts = acted(mine, here, policy)
                events = masks(verdicts, names) | mine.column(EVENTS.name).to_numpy(zero_copy_only=False)
                who = [pa.array(known[:, 0]), pa.array(known[:, 1])]
                when = [mine.column("turn"), micros(mine.column("ts"))]
                what = [pa.array(events), pa.array(first + rows), pa.array(here, mask=np.isnan(here))]
                yield pa.RecordBatch.from_arrays([*who, *when, *what], schema=STEPS)
            first += batch.num_rows


def _sorted(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches, STEPS).combine_chunks()
    high, low = (table.column(name).to_numpy() for name in ("high", "low"))
    ordered = table.take(pa.array(np.lexsort((low, high)))).combine_chunks().to_batches()
    return ordered[0] if ordered else pa.RecordBatch.from_pylist([], STEPS)


class Steps:
    """The steps in ``folder``, which `write` left there.

    Raises:
        DataError: they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        columns = list(self._batches([0]))
        self.rows = sum(batch.num_rows for batch in columns)
        self._firsts = np.array([batch.column(0)[0].as_py() for batch in columns], np.uint64)

    def _batches(self, fields: list[int] | None = None, begin: int = 0, end: int | None = None) -> Iterator[Any]:
        try:
            with pa.OSFile(str(self._path)) as file:
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
                for number in range(begin, reader.num_record_batches if end is None else end):
                    yield reader.get_batch(number)
        except (OSError, pa.ArrowException) as error:
            problem = "cannot be read, and other files' sessions go on in it; scan everything again with --overwrite"
            raise DataError(self._path, problem) from error

    def of_pass(self, number: int, passes: int) -> pa.Table:
        """The steps of the sessions that pass ``number`` looks at."""
        stretch = (self._firsts >> np.uint64(32)) * np.uint64(passes) >> np.uint64(32)
        begin = max(0, int(np.searchsorted(stretch, number, side="left")) - 1)
        end = int(np.searchsorted(stretch, number, side="right"))
        batches = []
        for batch in self._batches(None, begin, end):
            chosen = session_column.mine(batch.column(0).to_numpy()[:, None], number, passes)
            if len(chosen):
                batches.append(batch.slice(chosen[0], len(chosen)))
        return pa.Table.from_batches(batches, STEPS)

    def scores(self, count: int) -> npt.NDArray[np.float32]:
        """The session score of each of ``count`` rows of the file, float32, NaN where there is none."""
        out = np.full(count, np.nan, np.float32)
        for batch in self._batches([5, 6]):
            out[batch.column(0).to_numpy()] = batch.column(1).to_numpy(zero_copy_only=False)
        return out
