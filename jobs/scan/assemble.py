"""From a file's parts to its output: a Parquet file whose bytes depend on the rows alone, renamed in when whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.jobs.scan import durable, parts

GROUP_ROWS = 65_536
GROUP_BYTES = 64 << 20


Change = Callable[[pa.RecordBatch], pa.RecordBatch]


def assemble(
    found: Iterable[Path], schema: pa.Schema, output: Path, scratch: Path, change: Change | None = None
) -> tuple[int, int]:
    """Write the batches of the parts ``found``, in that order, to ``output``; return its rows and its bytes.

    ``change`` makes each batch one of ``schema``, where the parts have another.

    Row groups end at 65,536 rows or 64 MiB, zstd, page checksums. Part borders leave no trace beyond batch borders,
    which depend on the rows only.

    Raises:
        OutputError: the operating system refuses a read or a write.
    """
    rows = 0
    durable.make_folder(output.parent)
    with durable.writing(output, scratch=scratch) as file:
        writer = pq.ParquetWriter(
            file, schema, compression="zstd", compression_level=3, write_page_checksum=True, version="2.6"
        )

        def put() -> None:
            nonlocal rows
            for table in _groups(found, schema, change):
                writer.write_table(table, row_group_size=table.num_rows)
                rows += table.num_rows

        durable.finish(put, writer.close)
        size = file.tell()
    return rows, size


def _groups(found: Iterable[Path], schema: pa.Schema, change: Change | None) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for path in found:
        for read in parts.read(path):
            batch = read if change is None else change(read)
            if held and (rows + batch.num_rows > GROUP_ROWS or size + batch.nbytes > GROUP_BYTES):
                yield _table(held, schema)
                held, rows, size = [], 0, 0
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
    if held:
        yield _table(held, schema)


def _table(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, schema).unify_dictionaries()
