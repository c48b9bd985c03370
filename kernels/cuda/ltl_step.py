"""ltl_step on CUDA: a thread an automaton and a session, which takes the steps of that session in their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, rows_by_lanes
from aimds.kernels.cuda.module import on_device


@on_device("ltl_step")
def run(
    device: Device,
    table: Any,
    resets: Any,
    shape: Any,
    letters: Any,
    limits: Any,
    verdicts: Any,
    sessions: Any,
    values: Any,
    times: Any,
    records: Any,
) -> Any:
    xp = device.xp
    after = records.copy()
    verdict = xp.empty((len(sessions), len(shape)), np.uint8)
    if len(sessions):
        order = xp.argsort(sessions, kind="stable").astype(np.int64)
        sorted_ = sessions[order]
        begins = xp.flatnonzero(sorted_[1:] != sorted_[:-1]).astype(np.int64) + 1
        edges = (xp.zeros(1, np.int64), begins, xp.full(1, len(order), np.int64))
        starts = xp.concatenate(edges)
        groups, automata = len(starts) - 1, len(shape)
        sizes = map(np.int32, (groups, automata, letters.shape[1], len(limits), records.shape[1]))
        program = (table, resets, shape, letters, limits, verdicts)
        launch = Launch("ltl_step", "ltl_step", *rows_by_lanes(groups, max(automata, 1)))
        device.launch(launch, *program, sessions, values, times, records, order, starts, *sizes, after, verdict)
    return after, verdict
