"""ltl_batch on CUDA: a warp cuts a step of 64 rows into words, then a thread goes over the steps of a word."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import ROOM_BYTES, THREADS, WARP, Device, Launch, blocks, host, threads
from aimds.kernels.cuda.module import on_device

COPY, BEGIN, KEEP = 5, 6, 7
GRID: Final = 65_535
"""Most blocks one below the other."""
STEPS: Final = 4096
"""Words go together as long as there is room for so many steps of all of them; longer rows come in stretches."""


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
    step_bytes = 8 * max(inputs, 1)
    first = 0
    while first < len(longest):
        wanted = step_bytes * np.minimum(longest[first:], STEPS) * np.arange(1, len(longest) - first + 1)
        words = max(1, int(np.searchsorted(wanted, ROOM_BYTES, side="right")))
        columns = int(longest[first + words - 1])
        steps = min(columns, max(1, ROOM_BYTES // (step_bytes * words)))
        bits = xp.empty((steps, max(inputs, 1), words), np.uint64)
        sized = (np.int32(rows), np.int32(first), np.int32(words))
        down = min(blocks(steps, THREADS // WARP), GRID)
        events = np.int32(len(shifts))
        spread: tuple[Any, ...] = (Launch("ltl_batch", "ltl_batch_spread", (words, down, 1), (THREADS, 1, 1)),)
        spread += (values, offsets, order, shifts, events, np.int32(inputs), *sized)
        before: tuple[Any, ...] = (Launch("ltl_batch", "ltl_batch_past", *threads(words)),)
        before += (offsets, order, back, *map(np.int32, turns), events, *sized)
        asked = (*map(np.int32, others[:3]), results, np.int32(len(results)), np.int32(inputs))
        after = (Launch("ltl_batch", "ltl_batch", *threads(words)), offsets, order, ahead, *asked, *sized)
        stretches = [(np.int32(at), np.int32(min(at + steps, columns))) for at in range(0, columns, steps)]
        held = xp.zeros((slots, words), np.uint64)
        pasts = [held.copy()]
        for stretch in stretches[:-1] if turns[3] else ():
            # The past as it is before each stretch; on the way back it is gone over once more from there.
            device.launch(*spread, *stretch, bits)
            device.launch(*before, *stretch, held, bits)
            pasts.append(held.copy())
        for stretch in reversed(stretches):
            device.launch(*spread, *stretch, bits)
            if turns[3]:
                device.launch(*before, *stretch, pasts.pop(), bits)
            device.launch(*after, *stretch, np.int32(across), held, bits, holds)
        first += words
    return holds


def _phases(xp: Any, program: Any) -> tuple[Any, tuple[int, ...]]:
    # The program as copies, begins, operations and what is kept, each in their order; how many of each.
    codes = program[:, 0]
    parts = [program[codes == COPY], program[codes == BEGIN], program[codes < COPY], program[codes == KEEP]]
    return xp.ascontiguousarray(xp.concatenate(parts)), tuple(len(part) for part in parts)
