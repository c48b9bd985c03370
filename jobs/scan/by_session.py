"""Rows of a file kept beside its output, sorted by the hash of their session: any stretch of sessions is read without
the rest, so that sessions that run on in other files are judged in passes over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.turns import keys
from aimds.errors import DataError
from aimds.jobs.scan import durable, parts, session_column

BATCH_ROWS: Final = 65_536
HASH: Final = (pa.field("high", pa.uint64()), pa.field("low", pa.uint64()))
"""The first columns of every such file: what a session is known by."""
Made = Callable[[pa.RecordBatch, npt.NDArray[np.int64]], Sequence[pa.Array]]
"""Of rows of a part and their places in the file, int64 (B,): their columns, but for HASH."""


def write(path: Path, schema: pa.Schema, found: Sequence[Path], made: Made, *, joined: bool = False) -> None:
    """Write the rows of the parts ``found`` that have a session to ``path``, an Arrow IPC file of ``schema``.

    ``joined``: with the ends of their texts.

    Raises:
        OutputError: the operating system refuses a read or a write.
    """
    with durable.writing(path) as file:
        writer = pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

        def put() -> None:
            passes = session_column.passes(session_column.rows(found), joined=joined)
            for number in range(passes):
                batch = _sorted(list(_of_pass(found, number, passes, schema, made)), schema)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    writer.write_batch(batch.slice(start, BATCH_ROWS))

        durable.finish(put, writer.close)


def _of_pass(
    found: Sequence[Path], number: int, passes: int, schema: pa.Schema, made: Made
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
                who = [pa.array(np.ascontiguousarray(known[:, word])) for word in (0, 1)]
                yield pa.RecordBatch.from_arrays([*who, *made(mine, first + rows)], schema=schema)
            first += batch.num_rows


def _sorted(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    high, low = (table.column(field.name).to_numpy() for field in HASH)
    ordered = table.take(pa.array(np.lexsort((low, high)))).combine_chunks().to_batches()
    return ordered[0] if ordered else pa.RecordBatch.from_pylist([], schema)


class BySession:
    """The rows in ``path``, which `write` left there with ``schema``, or with this and further columns.

    Raises:
        DataError: they cannot be read.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        columns = list(self._batches([0]))
        self.rows = sum(batch.num_rows for batch in columns)
        self._firsts = np.array([batch.column(0)[0].as_py() for batch in columns], np.uint64)

    def _batches(self, fields: list[int], begin: int = 0, end: int | None = None) -> Iterator[Any]:
        try:
            with pa.OSFile(str(self._path)) as file:
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
                for number in range(begin, reader.num_record_batches if end is None else end):
                    yield reader.get_batch(number)
        except (OSError, pa.ArrowException) as error:
            problem = "cannot be read, and other files' sessions go on in it; scan everything again with --overwrite"
            raise DataError(self._path, problem) from error

    def of_pass(self, number: int, passes: int) -> pa.Table:
        """The rows of the sessions that pass ``number`` looks at."""
        stretch = (self._firsts >> np.uint64(32)) * np.uint64(passes) >> np.uint64(32)
        begin = max(0, int(np.searchsorted(stretch, number, side="left")) - 1)
        end = int(np.searchsorted(stretch, number, side="right"))
        batches = []
        for batch in self._batches(list(range(len(self._schema))), begin, end):
            chosen = session_column.mine(batch.column(0).to_numpy()[:, None], number, passes)
            if len(chosen):
                batches.append(batch.slice(chosen[0], len(chosen)))
        return pa.Table.from_batches(batches, self._schema)
