"""The column ``session_score`` of a scan: units leave behind what a session needs of each row, the assembly sums it up.

A session is followed within one file. Its rows go by turn, else by time, else as they stand; each gets the score of its
session as it stands with that row, as it would live. Memory stays bounded: sessions are shared out by their hash into
passes over the parts of about PASS_ROWS rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import kernels
from aimds.analyze.rephrase import DIMS
from aimds.analyze.series import WINDOW
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.traces import Memory
from aimds.analyze.turns import Marks, Turns, keys, marks, turns
from aimds.detect.texts import Texts
from aimds.jobs.scan import parts
from aimds.schema import VERDICTS

MARKS: Final = pa.field("_session_marks", pa.binary(DIMS + 1))
"""Column of the parts, not of the output: the fingerprint of a row and whether it refuses."""
PASS_ROWS: Final = 1_000_000
CHUNK_ROWS: Final = 65_536
_EMPTY: Final = bytes(DIMS + 1)

Change = Callable[[pa.RecordBatch], pa.RecordBatch]


def wanted(used: dict[str, str]) -> bool:
    """Whether a file with these columns has sessions."""
    return "session_id" in used


def column(texts: pa.Array, verdicts: pa.RecordBatch) -> pa.Array:
    """MARKS of the rows of ``verdicts``, whose ``texts`` (large_string) are given."""
    made = marks(Texts.from_arrow(texts), turns(verdicts).kinds)
    packed = np.concatenate([made.prints.view(np.uint8), made.refused[:, None]], axis=1)
    return pa.FixedSizeBinaryArray.from_buffers(MARKS.type, len(packed), [None, pa.py_buffer(packed.tobytes())])


def filled(found: Sequence[Path], model: SessionModel) -> Change:
    """What makes the batches of the parts ``found``, in their order, those of the output.

    It fills ``session_score`` and leaves MARKS out.

    Raises:
        OutputError: the operating system refuses a read.
    """
    sizes = [batch.num_rows for path in found for batch in parts.read(path)]
    scores = np.full(sum(sizes), np.nan, np.float32)
    passes = -(-len(scores) // PASS_ROWS)
    for number in range(passes):
        _pass(found, number, passes, model, scores)
    place = 0

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal place
        mine = scores[place : place + batch.num_rows]
        place += batch.num_rows
        index = batch.schema.get_field_index("session_score")
        made = batch.set_column(index, VERDICTS.field(index), pa.array(mine, mask=np.isnan(mine)))
        return made.drop_columns([MARKS.name])

    return change


def _pass(
    found: Sequence[Path], number: int, passes: int, model: SessionModel, scores: npt.NDArray[np.float32]
) -> None:
    named, rows, kept, printed = [], [], [], []
    first = 0
    for path in found:
        for batch in parts.read(path):
            with_session = np.flatnonzero(batch.column("session_id").is_valid().to_numpy(zero_copy_only=False))
            if len(with_session):
                batch_rows = batch.take(pa.array(with_session))
                known = keys(batch_rows)
                mine = np.flatnonzero(known[:, 0] % np.uint64(passes) == number)
                named.append(known[mine])
                rows.append(with_session[mine] + first)
                kept.append(turns(batch_rows).take(mine))
                column = batch_rows.column(MARKS.name)
                width = DIMS + 1
                packed = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
                printed.append(packed.reshape(-1, width)[mine])
            first += batch.num_rows
    if rows:
        where = np.concatenate(rows)
        scores[where] = _scores(np.concatenate(named), _joined(kept), np.concatenate(printed), model)


def _joined(kept: Sequence[Turns]) -> Turns:
    names = ("kinds", "surprises", "orders", "ordered", "names")
    return Turns(*(np.concatenate([getattr(part, name) for part in kept]) for name in names))


def _scores(
    named: npt.NDArray[np.uint64], given: Turns, printed: npt.NDArray[np.uint8], model: SessionModel
) -> npt.NDArray[np.float32]:
    out = np.full(len(named), np.nan, np.float32)
    order = np.lexsort((np.arange(len(named)), given.orders, named[:, 1], named[:, 0]))
    sorted_keys = named[order]
    begins = np.flatnonzero(np.concatenate([[True], (sorted_keys[1:] != sorted_keys[:-1]).any(axis=1)]))
    group = np.cumsum(np.isin(np.arange(len(order)), begins)) - 1
    start = 0
    while start < len(order):
        # Whole sessions, at least one.
        last = int(np.searchsorted(begins, start + CHUNK_ROWS, side="right"))
        stop = int(begins[last - 1]) if last < len(begins) and begins[last - 1] > start else len(order)
        if stop == len(order) and last < len(begins):
            stop = int(begins[last])
        chosen = order[start:stop]
        slots = (group[start:stop] - group[start]).astype(np.int64)
        memory = Memory(int(slots[-1]) + 1, WINDOW)
        mine = printed[chosen]
        left = Marks(np.ascontiguousarray(mine[:, :DIMS]).view(np.int8), np.ascontiguousarray(mine[:, DIMS]))
        seen = memory.follow(slots, given.take(chosen), left)
        features = kernels.session_series(seen.values, seen.offsets)
        lengths = np.diff(seen.offsets)
        found = model.float_scores(Parts(features, lengths, seen.closest))
        out[chosen] = np.where(lengths > 0, found, np.float32(np.nan))
        start = stop
    return out
