"""Columns of VERDICTS from what the stages found. What many batches share is made once, for a power of two of rows.

All arrays come from buffers, one way for every type: for a batch of one row each further way costs more than its work.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import schema
from aimds.detect.evidence import Evidence, Span
from aimds.packing import packed
from aimds.schema import VERDICTS
from aimds.taxonomy import THREATS

SCORED = np.array([code for code, name in enumerate(THREATS) if name not in ("none", "harmful_request")])
"""Threat codes with an entry in the ``scores`` map; the harmful score is a column of its own."""

Flags = npt.NDArray[np.bool_]
_TYPES = {field.name: field.type for field in VERDICTS}
_ENTRY = pa.struct([_TYPES["scores"].key_field, _TYPES["scores"].item_field])


def numbers(name: str, values: npt.NDArray[Any], error: Flags | None) -> pa.Array:
    """Column ``name`` of ``values`` (B,) of its type, null where ``error`` bool (B,) says so; None: nowhere."""
    if error is not None:
        return pa.array(values, mask=error)
    return _plain(values, _TYPES[name])


def score_map(strengths: npt.NDArray[np.float32], error: Flags | None) -> pa.MapArray:
    """The column ``scores``: ``strengths`` float32 (B, SCORED) by threat, no entry where ``error`` bool (B,)."""
    rows, each = strengths.shape
    offsets = _map_offsets(schema.room(rows))
    if error is not None:
        strengths = strengths[~error]
        places = np.zeros(rows + 1, np.int32)
        np.cumsum(~error * each, out=places[1:])
        offsets = pa.py_buffer(places)
    size = strengths.size
    keys = _map_keys(schema.room(rows))
    keys = keys if len(keys) == size else keys[:size]
    entries = pa.Array.from_buffers(_ENTRY, size, [None], children=[keys, _plain(strengths.ravel(), pa.float32())])
    return pa.Array.from_buffers(_TYPES["scores"], rows, [None, offsets], children=[entries])


@functools.lru_cache(maxsize=32)
def _map_offsets(rows: int) -> pa.Buffer:
    return pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * np.int32(len(SCORED)))


@functools.lru_cache(maxsize=32)
def _map_keys(rows: int) -> pa.DictionaryArray:
    return schema.enum(THREATS, np.tile(SCORED.astype(np.int8), rows))


def evidence(rows: int, found: Mapping[int, Sequence[Evidence]]) -> pa.ListArray:
    """The column ``evidence``, from what was ``found`` by row."""
    if not found:
        return schema.empty("evidence", rows)
    flat = [item for row in sorted(found) for item in found[row]]
    columns = [
        packed([item.detector.encode() for item in flat], pa.string()),
        packed([item.pattern_id.encode() for item in flat], pa.string()),
        _plain(np.array([item.start for item in flat], np.int32), pa.int32()),
        _plain(np.array([item.end for item in flat], np.int32), pa.int32()),
        _plain(np.array([item.score for item in flat], np.float32), pa.float32()),
    ]
    return _lists("evidence", rows, found, columns)


def spans(rows: int, found: Mapping[int, Sequence[Span]]) -> pa.ListArray:
    """The column ``spans``, from those ``found`` by row."""
    if not found:
        return schema.empty("spans", rows)
    flat = [span for row in sorted(found) for span in found[row]]
    columns = [
        _plain(np.array([span.start for span in flat], np.int32), pa.int32()),
        _plain(np.array([span.end for span in flat], np.int32), pa.int32()),
        packed([span.kind.encode() for span in flat], pa.string()),
    ]
    return _lists("spans", rows, found, columns)


def _plain(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _lists(name: str, rows: int, found: Mapping[int, Sequence[Any]], columns: list[pa.Array]) -> pa.ListArray:
    # Column ``name`` of ``rows`` lists: those ``found`` by row, whose fields are ``columns``.
    kind, ends = _TYPES[name], np.zeros(rows + 1, np.int32)
    for row, items in found.items():
        ends[row + 1] = len(items)
    offsets = pa.py_buffer(ends.cumsum(dtype=np.int32))
    items = pa.Array.from_buffers(kind.value_type, len(columns[0]), [None], children=columns)
    return pa.Array.from_buffers(kind, rows, [None, offsets], children=[items])
