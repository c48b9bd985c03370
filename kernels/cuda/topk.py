"""topk on CUDA: float32 peaks of octets of the bank, then float64 scores of the octets that are near the k-th."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.errors import KernelError
from aimds.kernels.cuda.launch import ROOM_BYTES, Device, Launch, blocks
from aimds.kernels.cuda.module import on_device

THREADS: Final = 256
TILE_QUERIES: Final = 64
TILE_ROWS: Final = 128
OCTET: Final = 8
RESCORERS: Final = 128
"""Threads of topk_rescore, and the most of k that it keeps; past that all rows are scored and sorted."""
PEAK_BYTES: Final = 4
KEY_BYTES: Final = 8
MOST_QUERIES: Final = 65535
FLOAT_MAX: Final = float(np.finfo(np.float32).max)


@on_device("topk")
def run(device: Device, queries: Any, bank: Any, k: int) -> tuple[Any, Any]:
    xp = device.xp
    count = len(bank)
    scores, ids = xp.full((len(queries), k), -np.inf, np.float32), xp.full((len(queries), k), -1, np.int32)
    if not len(queries) or not count:
        return scores, ids
    squares, largest = _squares(device, queries), _squares(device, bank).max(keepdims=True)
    if not bool(xp.isfinite(squares).all()):
        raise KernelError("topk", "queries", "holds NaN or infinity")
    # Written so that a norm that is not a number is refused.
    if not float(largest[0]) <= FLOAT_MAX:
        raise KernelError("topk", "bank", "holds NaN, infinity or a row whose squared norm leaves float32")
    top = min(k, count)
    size = PEAK_BYTES * blocks(count, OCTET) if top <= RESCORERS else KEY_BYTES * count
    each = min(MOST_QUERIES, max(1, ROOM_BYTES // size))
    for start in range(0, len(queries), each):
        part = slice(start, start + each)
        if top <= RESCORERS:
            found = _near(device, queries[part], squares[part], bank, largest, top)
        else:
            found = _all(device, queries[part], bank, top)
        scores[part, :top], ids[part, :top] = found
    return scores, ids


def _squares(device: Device, rows: Any) -> Any:
    """Squared lengths of the rows, float64; infinite or NaN where a row is."""
    squares = device.xp.empty(len(rows), np.float64)
    launch = Launch("topk", "topk_squares", (blocks(len(rows), THREADS // 32), 1, 1), (THREADS, 1, 1))
    device.launch(launch, rows, np.int64(len(rows)), np.int32(rows.shape[1]), squares)
    return squares


def _near(device: Device, queries: Any, squares: Any, bank: Any, largest: Any, top: int) -> tuple[Any, Any]:
    """Scores and ids of the best ``top`` rows, from the octets whose peak is within the error bound."""
    xp, batch = device.xp, len(queries)
    count, dim = (np.int32(size) for size in bank.shape)
    peaks = xp.empty((batch, blocks(len(bank), OCTET)), np.float32)
    grid = blocks(len(bank), TILE_ROWS), blocks(batch, TILE_QUERIES), 1
    device.launch(
        Launch("topk", "topk_peaks", grid, (THREADS, 1, 1)), queries, np.int32(batch), bank, count, dim, peaks
    )
    scores, ids = xp.empty((batch, top), np.float32), xp.empty((batch, top), np.int32)
    launch = Launch("topk", "topk_rescore", (batch, 1, 1), (RESCORERS, 1, 1))
    device.launch(launch, queries, squares, bank, largest, count, dim, peaks, np.int32(top), scores, ids)
    return scores, ids


def _all(device: Device, queries: Any, bank: Any, top: int) -> tuple[Any, Any]:
    """Scores and ids of the best ``top`` rows, all rows sorted by keys of which no two are equal."""
    xp, batch = device.xp, len(queries)
    count, dim = (np.int32(size) for size in bank.shape)
    keys = xp.empty((batch, len(bank)), np.uint64)
    grid = blocks(len(bank), THREADS), batch, 1
    device.launch(Launch("topk", "topk_keys", grid, (THREADS, 1, 1)), queries, bank, count, dim, keys)
    best = xp.ascontiguousarray(xp.sort(keys, axis=1)[:, :top])
    scores, ids = xp.empty((batch, top), np.float32), xp.empty((batch, top), np.int32)
    launch = Launch("topk", "topk_unpack", (blocks(best.size, THREADS), 1, 1), (THREADS, 1, 1))
    device.launch(launch, best, np.int64(best.size), scores, ids)
    return scores, ids
