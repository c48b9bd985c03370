"""tokenize on CUDA: a launch that counts the words of each segment of a row, and one that writes them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, blocks, running
from aimds.kernels.cuda.module import on_device

SEGMENT: Final = 4096
"""Bytes of a row that a warp goes over."""
WARPS: Final = 4


@on_device("tokenize")
def run(device: Device, values: Any, offsets: Any, keys: Any, ids: Any, max_tokens: int) -> tuple[Any, Any, Any, Any]:
    xp = device.xp
    firsts = running(xp, -(-(offsets[1:] - offsets[:-1]) // SEGMENT))
    segments = int(firsts[-1])
    rows = xp.searchsorted(firsts[1:], xp.arange(segments), side="right").astype(np.int32)
    sizes = xp.empty(segments, np.int32)
    grid, block = (blocks(segments, WARPS), 1, 1), (32 * WARPS, 1, 1)
    batch = values, offsets, rows, firsts, np.int64(segments)
    if segments:
        device.launch(Launch("tokenize", "tokenize_sizes", grid, block), *batch, sizes)
    placed = running(xp, sizes)
    words = placed[firsts[1:]] - placed[firsts[:-1]]
    token_offsets = running(xp, xp.minimum(words, max_tokens) if max_tokens else words)
    tokens, starts, ends = (xp.empty(int(token_offsets[-1]), np.int32) for _ in range(3))
    if len(tokens):
        unknown = ids.max(keepdims=True) + np.int32(1)
        table = np.int64(max_tokens), keys, ids, np.int64(len(ids)), unknown
        launch = Launch("tokenize", "tokenize_fill", grid, block)
        device.launch(launch, *batch, placed, token_offsets, *table, tokens, starts, ends)
    return tokens, token_offsets, starts, ends
