"""The bound that spares most windows the alignment, from the set of words of each window alone.

Each token row lists the places of patterns that it makes cheaper, and by how much (`similarity.Index`). What all words
of a window save on a pattern, each place counted once with its cheapest word, is the most an alignment can save.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit


class _Memory(threading.local):
    """Working memory of `survey` in one thread, which is kept and only grows.

    All zero between calls: which token rows were seen, uint8; what each place saves at best, int32; what each pattern
    is saved, int64, and its heavy words that are held, int32. Then room for the places and the patterns that were met,
    int32.
    """

    def __init__(self) -> None:
        self.sizes = (0, 0, 0)
        self.arrays: tuple[npt.NDArray[Any], ...] = ()

    def of(self, rows: int, places: int, patterns: int) -> tuple[npt.NDArray[Any], ...]:
        if rows > self.sizes[0] or places > self.sizes[1] or patterns > self.sizes[2]:
            rows, places, patterns = (max(pair) for pair in zip((rows, places, patterns), self.sizes, strict=True))
            sizes = (rows, np.uint8), (places, np.int32), (patterns, np.int64), (patterns, np.int32)
            self.arrays = tuple(np.zeros(size, kind) for size, kind in sizes)
            self.arrays += np.empty(places, np.int32), np.empty(patterns, np.int32)
            self.sizes = rows, places, patterns
        return self.arrays


MEMORY: Final = _Memory()


@njit(cache=True, nogil=True)
def survey(  # type: ignore[no-untyped-def]
    words: Any,  # int32 (N,)
    offsets: Any,  # int64 (W+1,)
    first: Any,
    last: Any,
    row_of: Any,  # int32 (vocabulary + 1,)
    post_offsets: Any,  # int64 (R+1,)
    post_place: Any,  # int32
    post_gain: Any,  # int32
    place_pattern: Any,  # int32
    heavy: Any,  # bool
    need: Any,  # int64 (P,): gain over the floor
    heavy_need: Any,  # int32 (P,): heavy words
    memory: Any,  # of `MEMORY`
    tokens: Any,  # int32 (N,): those kept of window w, from offsets[w] on
    origin: Any,  # int64 (N,): word each came from
    counts: Any,  # int64 (W,)
    pair_windows: Any,  # int32 (room,)
    pair_patterns: Any,  # int32 (room,)
):
    seen, best, gained, held, used_places, used_patterns = memory
    found = 0
    for w in range(first, last):
        at = offsets[w]
        n_places = 0
        n_patterns = 0
        for k in range(offsets[w], offsets[w + 1]):
            row = row_of[words[k]]
            if row < 0:
                continue
            tokens[at] = row
            origin[at] = k
            at += 1
            if seen[row]:
                continue
            seen[row] = 1
            for post in range(post_offsets[row], post_offsets[row + 1]):
                place = post_place[post]
                more = post_gain[post] - best[place]
                if more <= 0:
                    continue
                pattern = place_pattern[place]
                if best[place] == 0:
                    used_places[n_places] = place
                    n_places += 1
                    if heavy[place]:
                        held[pattern] += 1
                best[place] += more
                if gained[pattern] == 0:
                    used_patterns[n_patterns] = pattern
                    n_patterns += 1
                gained[pattern] += more
        counts[w] = at - offsets[w]
        for k in range(offsets[w], at):
            seen[tokens[k]] = 0
        for k in range(n_patterns):
            pattern = used_patterns[k]
            if gained[pattern] >= need[pattern] and held[pattern] >= heavy_need[pattern]:
                if found < len(pair_windows):
                    pair_windows[found] = w
                    pair_patterns[found] = pattern
                found += 1
            gained[pattern] = 0
            held[pattern] = 0
        for k in range(n_places):
            best[used_places[k]] = 0
    return found
