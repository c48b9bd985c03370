"""embed and add_norm on CUDA: a warp a token, its state in registers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import WARP, Device, Launch, blocks, warps
from aimds.kernels.cuda.module import on_device

THREADS: Final = 128


def _columns(width: int) -> tuple[tuple[str, int], ...]:
    return (("COLUMNS", blocks(width, WARP)),)


@on_device("embed")
def embed(
    device: Device,
    tokens: Any,
    offsets: Any,
    kinds: Any,
    word: Any,
    position: Any,
    channel: Any,
    gain: Any,
    bias: Any,
) -> Any:
    width = len(gain)
    states = device.xp.empty((len(tokens), width), np.float32)
    if len(tokens):
        grid, block = (len(offsets) - 1, 1, 1), (THREADS, 1, 1)
        launch = Launch("layer_norm", "embed", grid, block, defines=_columns(width))
        tables = word, position, channel, gain, bias
        device.launch(launch, tokens, offsets, kinds, *tables, np.int32(width), states)
    return states


@on_device("add_norm")
def add_norm(device: Device, states: Any, product: Any, shift: Any, gain: Any, bias: Any) -> Any:
    count, width = states.shape
    sums = device.xp.empty(states.shape, np.float32)
    if count:
        launch = Launch("layer_norm", "add_norm", *warps(count), defines=_columns(width))
        device.launch(launch, states, product, shift, gain, bias, np.int64(count), np.int32(width), sums)
    return sums
