"""A canary share: some sessions are judged by what is on trial, the others by what is in force, each all the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.schema import VERDICTS

_STEPS = 1 << 32


def chosen(batch: pa.RecordBatch, share: float) -> npt.NDArray[np.bool_]:
    """Which rows of ``batch`` (REQUESTS, B rows) are on trial, bool (B,): about ``share`` of the sessions.

    By a hash of the session id, or of the request id where there is no session: a row's side depends on that row only,
    and who is in at one share is in at every larger one.
    """
    sessions, requests = batch.column("session_id").to_pylist(), batch.column("request_id").to_pylist()
    limit = share * _STEPS
    sides: dict[str, bool] = {}
    out = np.zeros(batch.num_rows, np.bool_)
    for row, (session, request) in enumerate(zip(sessions, requests, strict=True)):
        name = request if session is None else session
        if name not in sides:
            digest = hashlib.blake2b(
                name.encode("utf-8", "surrogatepass"), digest_size=4, person=b"aimds.trial"
            ).digest()
            sides[name] = int.from_bytes(digest, "big") < limit
        out[row] = sides[name]
    return out


def joined(
    batch: pa.RecordBatch, tried: npt.NDArray[np.bool_], judge: Callable[[pa.RecordBatch, bool], pa.RecordBatch]
) -> pa.RecordBatch:
    """The verdicts of ``batch``, same rows, same order: ``judge(part, on_trial)`` is asked for each side once."""
    if not tried.any() or tried.all():
        return judge(batch, bool(tried.any()))
    sides = [(np.flatnonzero(tried == side), bool(side)) for side in (False, True)]
    parts = [judge(batch.take(pa.array(rows)), side) for rows, side in sides]
    order = np.empty(batch.num_rows, np.int64)
    order[np.concatenate([rows for rows, _ in sides])] = np.arange(batch.num_rows)
    # The sides differ in their dictionaries: each names its own versions.
    table = pa.Table.from_batches(parts, VERDICTS).unify_dictionaries().combine_chunks()
    return table.take(pa.array(order)).combine_chunks().to_batches()[0]
