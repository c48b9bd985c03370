"""concepts on CUDA: a launch that reads the rows, and one that moves together what was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, running, warps
from aimds.kernels.cuda.module import on_device


@on_device("concepts")
def run(
    device: Device,
    values: Any,
    offsets: Any,
    word_offsets: Any,
    starts: Any,
    ends: Any,
    kinds: Any,
    keys: Any,
    heads: Any,
    sieve: Any,
    spoken: Any,
    group_from: Any,
    facts: Any,
    part_from: Any,
    parts: Any,
    pool: Any,
    clitics: Any,
    languages: int,
    main: int,
    least: int,
    bare: int,
) -> tuple[Any, Any, Any, Any, Any]:
    xp, rows = device.xp, len(offsets) - 1
    lang, sizes = xp.empty(rows, np.int16), xp.empty(rows, np.int32)
    # A word of one byte needs one more beside it, but for the last of its row.
    room = int(offsets[-1] - offsets[0]) // 2 + rows
    wide = xp.empty(room, np.uint8), xp.empty(room, np.int32), xp.empty(room, np.int32)
    if rows:
        table = keys, heads, sieve, spoken, group_from, facts, part_from, parts, pool, clitics
        chosen = (np.int64(len(keys)), *map(np.int32, (len(clitics), languages, main, least, bare, rows)))
        batch = values, offsets, word_offsets, starts, ends, kinds
        device.launch(Launch("concepts", "concepts_read", *warps(rows)), *batch, *table, *chosen, lang, sizes, *wide)
    concept_offsets = running(xp, sizes)
    total = int(concept_offsets[-1])
    found = xp.empty(total, np.uint8), xp.empty(total, np.int32), xp.empty(total, np.int32)
    if total:
        moved = Launch("concepts", "concepts_moved", *warps(rows))
        device.launch(moved, offsets, concept_offsets, np.int32(rows), *wide, *found)
    return lang, *found, concept_offsets
