"""ltl_batch on CUDA: a warp cuts a step of 64 rows into words, then a thread goes over the steps of a word."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import ROOM_BYTES, THREADS, WARP, Device, Launch, blocks, host, threads
from aimds.kernels.cuda.module import on_device

COPY, BEGIN, KEEP = 5, 6, 7
GRID: Final = 65_535
"""Most blocks one below the other."""


@on_device("ltl_batch")
def run(
    device: Device, values: Any, offsets: Any, shifts: Any, past: Any, future: Any, results: Any, slots: int
) -> Any:
    xp = device.xp
    count = len(offsets) - 1
    across = blocks(count, 64)
    holds = xp.zeros((len(results), across), np.uint64)
    lengths = offsets[1:] - offsets[:-1]
    order = xp.argsort(lengths, kind="stable").astype(np.int64)
    order = order[int((lengths == 0).sum()) :]
    rows = len(order)
    if not rows or not len(results):
        return holds
    (back, turns), (ahead, others) = _phases(xp, past), _phases(xp, future)
    inputs = len(shifts) + turns[3]
    lasts = np.minimum(np.arange(64, 64 * blocks(rows, 64) + 1, 64), rows) - 1
    longest = np.asarray(host(lengths[order[xp.asarray(lasts)]]))
    first = 0
    while first < len(longest):
        # As many words as there is room for, the steps of all being those of the longest.
        sizes = 8 * longest[first:] * max(inputs, 1) * np.arange(1, len(longest) - first + 1)
        words = max(1, int(np.searchsorted(sizes, ROOM_BYTES, side="right")))
        columns = int(longest[first + words - 1])
        bits = xp.empty((columns, max(inputs, 1), words), np.uint64)
        held = xp.zeros((slots, words), np.uint64)
        sized = (np.int32(rows), np.int32(first), np.int32(words))
        if len(shifts):
            down = min(blocks(columns, THREADS // WARP), GRID)
            spread = Launch("ltl_batch", "ltl_batch_spread", (words, down, 1), (THREADS, 1, 1))
            width = (np.int32(len(shifts)), np.int32(inputs))
            device.launch(spread, values, offsets, order, shifts, *width, *sized, np.int32(columns), bits)
        if turns[3]:
            past_sweep = Launch("ltl_batch", "ltl_batch_past", *threads(words))
            parts = (*map(np.int32, turns), np.int32(len(shifts)))
            device.launch(past_sweep, offsets, order, back, *parts, *sized, held, bits)
        sweep = Launch("ltl_batch", "ltl_batch", *threads(words))
        asked = (*map(np.int32, others[:3]), results, np.int32(len(results)), np.int32(inputs))
        device.launch(sweep, offsets, order, ahead, *asked, *sized, np.int32(across), held, bits, holds)
        first += words
    return holds


def _phases(xp: Any, program: Any) -> tuple[Any, tuple[int, ...]]:
    # The program as copies, begins, operations and what is kept, each in their order; how many of each.
    codes = program[:, 0]
    parts = [program[codes == COPY], program[codes == BEGIN], program[codes < COPY], program[codes == KEEP]]
    return xp.ascontiguousarray(xp.concatenate(parts)), tuple(len(part) for part in parts)
