"""Verdicts of a batch for each of its pieces: a row that breaks the screener is alone with that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.errors import DeviceLost
from aimds.gateway.pieces import ARROW, Piece, joined
from aimds.gateway.problem import Problem

Record = Callable[[pa.RecordBatch, pa.RecordBatch, list[Piece]], None]
"""Called with requests, verdicts and pieces of a batch before its verdicts are given."""


Respond = Callable[[pa.RecordBatch, pa.RecordBatch, list[Piece]], pa.RecordBatch]
"""Gives the verdicts of a batch with what follows from sessions, called before they are recorded."""

Route = Callable[[pa.RecordBatch, pa.RecordBatch, Sequence[Piece], Sequence[Any]], list[Any]]
"""Gives the answers of a batch with the model tier in those that ask for one; called when they are recorded."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the worker made of a batch: an answer or a Problem for each piece, and counts for metrics."""

    answers: list[Any]
    actions: list[tuple[str, int]] = field(default_factory=list)
    threats: list[tuple[str, int]] = field(default_factory=list)
    unjudged: int = 0


def judge(
    screen: Callable[[pa.RecordBatch], pa.RecordBatch],
    unjudged: Callable[[pa.RecordBatch, str], pa.RecordBatch],
    pieces: list[Piece],
    record: Record | None = None,
    respond: Respond | None = None,
    route: Route | None = None,
) -> Judged:
    """Screen all rows of ``pieces`` together and cut the verdicts up again; see `judge_batch`."""
    return judge_batch(screen, unjudged, joined(pieces), pieces, record, respond, route)


def judge_batch(
    screen: Callable[[pa.RecordBatch], pa.RecordBatch],
    unjudged: Callable[[pa.RecordBatch, str], pa.RecordBatch],
    batch: pa.RecordBatch,
    pieces: Sequence[Piece],
    record: Record | None = None,
    respond: Respond | None = None,
    route: Route | None = None,
) -> Judged:
    """Screen ``batch``, the rows of all ``pieces``, and cut the verdicts up again.

    A row that makes ``screen`` raise has status error for itself alone: the batch is halved until it is found. With
    ``record``, verdicts are given only once it has returned.

    Raises:
        DeviceLost: nothing can be judged in this process any more.
    """
    return finished(batch, _isolated(screen, unjudged, batch), pieces, record, respond, route)


def finished(
    batch: pa.RecordBatch,
    verdicts: pa.RecordBatch,
    pieces: Sequence[Piece],
    record: Record | None = None,
    respond: Respond | None = None,
    route: Route | None = None,
) -> Judged:
    """The ``verdicts`` of ``batch``, responded to, recorded and cut up for its ``pieces``."""
    if respond is not None:
        try:
            verdicts = respond(batch, verdicts, list(pieces))
        except Exception as error:  # what people should have seen is not let through unseen
            return _undone(pieces, "carried out", error)
    if record is not None:
        try:
            record(batch, verdicts, list(pieces))
        except Exception as error:  # a verdict that is not recorded is not given
            return unrecorded(pieces, error)
    formed = _formed(pieces, verdicts)
    if route is not None:
        formed = route(batch, verdicts, pieces, formed)
    actions, threats = verdicts.column("action"), verdicts.column("threat_type")
    caught = _codes(actions) != actions.dictionary.index("allow").as_py()
    statuses = verdicts.column("status")
    return Judged(
        formed,
        _counts(actions, np.ones(len(actions), np.bool_)),
        _counts(threats, caught),
        int((_codes(statuses) == statuses.dictionary.index("error").as_py()).sum()),
    )


def unrecorded(pieces: Sequence[Piece], error: Exception) -> Judged:
    """No verdicts, since ``error`` kept them from being recorded."""
    return _undone(pieces, "recorded", error)


def _undone(pieces: Sequence[Piece], what: str, error: Exception) -> Judged:
    problem = Problem("internal", f"the verdict could not be {what}: {type(error).__name__}: {error}")
    return Judged([problem] * len(pieces))


def _isolated(
    screen: Callable[[pa.RecordBatch], pa.RecordBatch],
    unjudged: Callable[[pa.RecordBatch, str], pa.RecordBatch],
    batch: pa.RecordBatch,
) -> pa.RecordBatch:
    try:
        return screen(batch)
    except DeviceLost:
        raise
    except Exception as error:  # whatever a row does to a stage, its neighbours get their verdicts
        if batch.num_rows == 1:
            return unjudged(batch, f"could not be judged: {type(error).__name__}: {error}")
    middle = batch.num_rows // 2
    halves = [_isolated(screen, unjudged, part) for part in (batch.slice(0, middle), batch.slice(middle))]
    return pa.concat_batches(halves)


def _formed(pieces: Sequence[Piece], verdicts: pa.RecordBatch) -> list[Any]:
    # Columns are read once for all rows of one form, not once a piece: a batch may hold hundreds of pieces.
    one_form = len({piece.form for piece in pieces}) == 1 and pieces[0].form != ARROW
    flat, out, start = pieces[0].formed(verdicts) if one_form else None, [], 0
    for piece in pieces:
        stop = start + piece.count
        out.append(piece.formed(verdicts.slice(start, stop - start)) if flat is None else flat[start:stop])
        start = stop
    return out


def _codes(column: pa.DictionaryArray) -> Any:
    return column.indices.to_numpy(zero_copy_only=False)


def _counts(column: pa.DictionaryArray, chosen: Any) -> list[tuple[str, int]]:
    words = column.dictionary.to_pylist()
    found = np.bincount(_codes(column)[chosen], minlength=len(words))
    return [(words[code], int(n)) for code, n in enumerate(found.tolist()) if n]
