"""The candidates as rows: kept on disk without their texts while families are looked for, then written with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.jobs.campaigns.history import Part
from aimds.schema import REQUESTS

I64 = npt.NDArray[np.int64]
_Places = Callable[[I64], I64]
ROWS = pa.schema(
    [
        *(REQUESTS.field(name) for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel")),
        pa.field("user", pa.string()),
        pa.field("action", pa.string()),
        pa.field("threat_type", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("p_value", pa.float64()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("text_key", pa.int64(), nullable=False),
    ]
)
"""``file`` and ``row`` (from 0) say where a candidate stands; ``text_key`` is a hash of what it says, folded."""
FAMILIES = pa.schema(
    [
        pa.field("family_id", pa.string()),
        pa.field("closeness", pa.float32()),
        *ROWS,
    ]
)
"""``family_id`` null: no family. ``closeness`` in [0, 1]: likeness to the medoid of the family."""


def taken(part: Part, at: I64, keys: list[int]) -> pa.RecordBatch:
    """The rows ``at`` of ``part`` as ROWS."""
    places = pa.array(at)
    columns = {name: part.requests.column(name) for name in ROWS.names if name in REQUESTS.names}
    columns |= {name: part.verdicts[name] for name in ("action", "threat_type", "score", "p_value")}
    columns |= {"user": part.user, "row": part.numbers}
    arrays = [
        pa.array([part.file] * len(at), pa.string())
        if field.name == "file"
        else pa.array(keys, pa.int64())
        if field.name == "text_key"
        else columns[field.name].take(places).cast(field.type)
        for field in ROWS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def named(
    kept: IO[bytes], name_of: pa.Array, closeness: npt.NDArray[np.float32], places: _Places
) -> Iterator[pa.RecordBatch]:
    """The rows in ``kept`` as FAMILIES, in their order.

    Args:
        name_of: the family of each text, null for none. closeness: of each text. places: which text a key names.
    """
    with pq.ParquetFile(kept) as file:
        for batch in file.iter_batches(batch_size=1 << 16):
            at = places(np.asarray(batch.column("text_key")))
            index = pa.array(at, mask=at < 0)
            near = pa.array(closeness, pa.float32()).take(index)
            names = name_of.take(index)
            near = pc.if_else(names.is_valid(), near, pa.scalar(None, pa.float32()))
            yield pa.RecordBatch.from_arrays([names, near, *batch.columns], schema=FAMILIES)
