"""What can be screened, as batches of the data contract: lists of texts and tables of several libraries."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from aimds.errors import SchemaError
from aimds.packing import packed
from aimds.schema import requests


def batches(source: Any) -> Iterator[pa.RecordBatch]:
    """The batches (schema REQUESTS) in ``source``, one by one.

    Args:
        source: a list of texts (str, bytes or None), or a table with a ``text`` column and any of the other columns of
            REQUESTS: an Arrow table, batch or reader, a pandas or a polars frame.

    Raises:
        SchemaError: no text column, or a column of a type that does not fit; names the column and the row.
    """
    if isinstance(source, (str, bytes)):
        raise SchemaError("text", "is a single text; pass a list of texts")
    if isinstance(source, (Mapping, io.IOBase)):
        raise SchemaError("text", f"cannot screen a {type(source).__name__}; pass a list of texts or a table")
    kind = type(source).__module__.partition(".")[0]
    if kind == "polars":
        source = (source.collect() if hasattr(source, "collect") else source).to_arrow()
    elif kind == "pandas" and hasattr(source, "columns"):
        source = pa.Table.from_pandas(source, preserve_index=False)
    if kind == "pandas" and not isinstance(source, pa.Table):
        source = pa.array(source, from_pandas=True)
    if isinstance(source, (pa.Array, pa.ChunkedArray)):
        source = pa.table({"text": source})
    if isinstance(source, pa.RecordBatch):
        yield requests(source)
        return
    first_row = 0
    for batch in _pieces(source):
        yield requests(batch, first_row=first_row)
        first_row += batch.num_rows


def _pieces(source: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(source, pa.Table):
        yield from source.combine_chunks().to_batches(max_chunksize=65_536)
        if not source.num_rows:
            yield pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in source.schema], schema=source.schema)
    elif isinstance(source, pa.RecordBatchReader):
        yield from source
    else:
        yield pa.RecordBatch.from_arrays([_text_array(source)], names=["text"])


def _text_array(source: Any) -> pa.Array:
    try:
        items = list(source)
    except TypeError:
        raise SchemaError("text", f"cannot screen a {type(source).__name__}; pass a list of texts or a table") from None
    for row, item in enumerate(items):
        if item is not None and not isinstance(item, (str, bytes)):
            raise SchemaError("text", f"holds a {type(item).__name__}, expected str, bytes or None", row=row)
    encoded = [item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item for item in items]
    if None in encoded:
        return pa.array(encoded, pa.large_binary())
    return packed(encoded, pa.large_string())
