"""subsequence_dtw on CUDA: a thread a row and four patterns (or a pair) up to 48 columns, a warp above."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import ROOM_BYTES, WARP, Device, Launch, address, blocks, rows_by_lanes, threads, warps
from aimds.kernels.cuda.module import on_device

THREAD_COLUMNS: Final = 48
LANE_COLUMNS: Final = 16
"""Most columns of a lane; a warp with more takes them in stretches."""
NARROW_COLUMNS: Final = 124
"""Most columns whose costs fit 16 bits: 255 * 124 is below the largest finite float16, read as an integer."""
FOUR: Final = 4
"""Patterns of a thread: their costs are one load."""


@on_device("subsequence_dtw")
def run(device: Device, tokens: Any, offsets: Any, cost: Any) -> tuple[Any, Any]:
    xp = device.xp
    rows, (_, length, patterns) = len(offsets) - 1, cost.shape
    distance, end = xp.empty((rows, patterns), np.int32), xp.empty((rows, patterns), np.int32)
    if not distance.size:
        return distance, end
    table = _in_fours(xp, cost)
    fours = table.shape[2]
    sizes = np.int32(rows), np.int32(patterns), np.int32(fours)
    if length <= THREAD_COLUMNS:
        geometry, columns = rows_by_lanes(rows, fours), (("COLUMNS", length),)
        launch = Launch("subsequence_dtw", "subsequence_dtw_thread", *geometry, defines=columns)
        device.launch(launch, tokens, offsets, table, *sizes, distance, end)
        return distance, end
    lane = min(blocks(length, WARP), LANE_COLUMNS)
    columns = (("COLUMNS", lane),)
    if length <= NARROW_COLUMNS:
        launch = Launch("subsequence_dtw", "subsequence_dtw_warp", *warps(rows * fours), defines=columns)
        device.launch(launch, tokens, offsets, table, *sizes, np.int32(length), distance, end)
        return distance, end
    edges = FOUR * len(tokens) if length > WARP * lane else 0
    each = min(fours, max(1, ROOM_BYTES // (4 * max(edges, 1))))
    edge = xp.empty(edges * each, np.int32)
    for first in range(0, fours, each):
        here = min(each, fours - first)
        launch = Launch("subsequence_dtw", "subsequence_dtw_wide", *warps(rows * here), defines=columns)
        part = np.int32(first), np.int32(here), np.int32(length)
        device.launch(launch, tokens, offsets, table, *sizes, *part, edge, distance, end)
    return distance, end


def _in_fours(xp: Any, cost: Any) -> Any:
    """``cost`` as uint32 (V, L, P / 4), filled up with patterns of cost 0; a copy only where it must be."""
    vocabulary, length, patterns = cost.shape
    fours = blocks(patterns, FOUR)
    if patterns % FOUR or address(cost) % FOUR:
        filled = xp.zeros((vocabulary, length, fours * FOUR), np.uint8)
        filled[:, :, :patterns] = cost
        cost = filled
    return cost.view(np.uint32)


@on_device("subsequence_dtw_pairs")
def run_pairs(
    device: Device, tokens: Any, offsets: Any, cost: Any, lengths: Any, rows: Any, patterns: Any
) -> tuple[Any, Any, Any]:
    xp, pairs, (_, bank, length) = device.xp, len(rows), cost.shape
    distance, start, end = (xp.empty(pairs, np.int32) for _ in range(3))
    if not pairs:
        return distance, start, end
    given = tokens, offsets, cost, lengths
    if length <= THREAD_COLUMNS:
        geometry, columns = threads(pairs), (("COLUMNS", length),)
        launch = Launch("subsequence_dtw", "subsequence_dtw_pairs_thread", *geometry, defines=columns)
        device.launch(launch, *given, rows, patterns, np.int32(bank), np.int32(pairs), distance, start, end)
        return distance, start, end
    lane = min(blocks(length, WARP), LANE_COLUMNS)
    room = int((offsets[1:] - offsets[:-1]).max()) if length > WARP * lane else 0
    each = min(pairs, max(1, ROOM_BYTES // (8 * max(room, 1))))
    edge = xp.empty(room * each, np.uint64)
    for first in range(0, pairs, each):
        part = slice(first, first + each)
        here = len(rows[part])
        name = "subsequence_dtw_pairs_warp"
        launch = Launch("subsequence_dtw", name, *warps(here), defines=(("COLUMNS", lane),))
        sizes = np.int32(bank), np.int32(length), np.int32(here)
        out = distance[part], start[part], end[part]
        device.launch(launch, *given, rows[part], patterns[part], *sizes, edge, np.int64(room), *out)
    return distance, start, end
