"""What lcs and levenshtein share on CUDA: patterns by the lanes that hold them, symbols as codes, tables of masks."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import ROOM_BYTES, THREADS, Device, Launch, blocks, host, rows_by_lanes, threads

BYTE_SYMBOLS: Final = 256
WORD: Final = 64
MOST_WORDS: Final = 32
"""Words of a pattern that a warp holds; past these one stretch follows another."""
_NARROW: Final = 0


def over_patterns(device: Device, stem: str, q_values: Any, q_offsets: Any, p_values: Any, p_offsets: Any) -> Any:
    """int32 (B, P): what the kernels of ``stem`` write for each query and each pattern."""
    rows, patterns = len(q_offsets) - 1, len(p_offsets) - 1
    out = device.xp.empty((rows, patterns), np.int32)
    if not out.size:
        return out
    codes, p_codes, size = encode(device.xp, q_values, p_values)
    lengths = np.diff(host(p_offsets))
    for words, ids in classes(lengths):
        for part in parts(ids, lengths[ids], words, size, len(codes)):
            _over_part(
                device, stem, words, part, int(lengths[part].max()), codes, q_offsets, p_codes, p_offsets, size, out
            )
    return out


def encode(xp: Any, queries: Any, patterns: Any) -> tuple[Any, Any, int]:
    """Both as int32 codes below the number of codes given; a symbol that no pattern holds has a code of none."""
    if not len(patterns):
        return xp.zeros(len(queries), np.int32), xp.zeros(0, np.int32), 1
    if queries.dtype == np.uint8:
        return queries.astype(np.int32), patterns.astype(np.int32), BYTE_SYMBOLS
    alphabet = xp.unique(patterns)
    size = len(alphabet) + 1
    places = xp.minimum(xp.searchsorted(alphabet, queries), size - 2)
    codes = xp.where(alphabet[places] == queries, places + 1, 0).astype(np.int32)
    return codes, (xp.searchsorted(alphabet, patterns) + 1).astype(np.int32), size


def classes(lengths: Any) -> list[tuple[int, Any]]:
    """Patterns, as int32 ids, by the words that hold them: 0 for one of 32 bits, else a power of two of 64 bits each;
    those that MOST_WORDS do not hold are with them, by length."""
    words = np.maximum(-(-lengths // WORD), 1)
    kind = np.where(lengths <= WORD // 2, _NARROW, 1 << np.ceil(np.log2(words)).astype(np.int64))
    kind = np.minimum(kind, MOST_WORDS)
    found = []
    for k in np.unique(kind).tolist():
        ids = np.flatnonzero(kind == k).astype(np.int32)
        found.append((k, ids[np.argsort(lengths[ids], kind="stable")] if k == MOST_WORDS else ids))
    return found


def parts(ids: Any, lengths: Any, words: int, size: int, symbols: int) -> list[Any]:
    """``ids`` in runs whose tables, and whose carries for ``symbols`` of the queries, fit ROOM_BYTES."""
    lane_bytes = 8 * max(words, 1)
    # A table has a row for each symbol of its patterns: of all there are, or of as many as the patterns are long.
    reach = WORD * max(words, 1)
    most = max(ROOM_BYTES // (size * lane_bytes), math.isqrt(ROOM_BYTES // (reach * lane_bytes)))
    if words == MOST_WORDS:
        most = min(most, ROOM_BYTES // max(symbols, 1))
    return [ids[first : first + max(most, 1)] for first in range(0, len(ids), max(most, 1))]


def _over_part(
    device: Device,
    stem: str,
    words: int,
    part: Any,
    longest: int,
    codes: Any,
    q_offsets: Any,
    p_codes: Any,
    p_offsets: Any,
    size: int,
    out: Any,
) -> None:
    xp, here, (rows, patterns) = device.xp, len(part), out.shape
    ids = xp.asarray(part)
    reach = WORD * max(words, 1)
    stretches = max(blocks(longest, reach), 1)
    carried = xp.empty(len(codes) * here if stretches > 1 else 0, np.uint8)
    for stretch in range(stretches):
        table, slots = _table(device, stem, words, ids, stretch * reach, p_codes, p_offsets, size)
        given = slots[codes], q_offsets, table, p_offsets, ids
        sizes = np.int32(rows), np.int32(here), np.int32(patterns)
        if words <= 1:
            name = f"{stem}_word{32 if words == _NARROW else 64}"
            device.launch(Launch(stem, name, *rows_by_lanes(rows, here)), *given, *sizes, out)
            continue
        chain = np.int32(words), np.int32(stretch), np.int32(stretch + 1 < stretches)
        launch = Launch(stem, f"{stem}_words", (blocks(rows * here * words, THREADS), 1, 1), (THREADS, 1, 1))
        device.launch(launch, *given, *sizes, *chain, carried, out)


def _table(
    device: Device, stem: str, words: int, ids: Any, skip: int, p_codes: Any, p_offsets: Any, size: int
) -> tuple[Any, Any]:
    """The masks of patterns ``ids`` from place ``skip`` on, and the row of each code, 0 for those without one."""
    xp, here, wide = device.xp, len(ids), max(words, 1)
    geometry = threads(here * wide)
    sizes = np.int32(here), np.int32(wide), np.int64(skip)
    used = xp.zeros(size, np.int32)
    device.launch(Launch(stem, "masks_used", *geometry), p_codes, p_offsets, ids, *sizes, used)
    slots = xp.cumsum(used, dtype=np.int32) * used
    bits = 32 if words == _NARROW else 64
    table = xp.zeros((int(slots.max()) + 1, here * wide), np.dtype(f"uint{bits}"))
    device.launch(Launch(stem, f"masks_fill{bits}", *geometry), p_codes, p_offsets, ids, slots, *sizes, table)
    return table, slots
