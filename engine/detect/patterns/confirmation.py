"""What confirms that a stretch of a window is a pattern: its heavy words in order, and not too much between them.

Word by word in compiled code: what is to be confirmed are single pairs of a stretch and a pattern, of a dozen words
each, for which `kernels.lcs` and `kernels.levenshtein` take longer to prepare than this takes as a whole.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def confirmed(tokens, first, last, pattern, near, words, least_common, most_edits, sure):  # type: ignore[no-untyped-def]
    """Which of C stretches ``tokens[first:last]`` are confirmed for their pattern, into ``sure`` bool (C,).

    Args:
        tokens: int32 (T,), token rows. first, last: int64 (C,). pattern: int32 (C,).
        near: of each token row the pattern words it is near: offsets int64 (R+1,), words int32, costs int32.
        words: of each pattern: offsets int64 (P+1,), words int32 (places,), whether each is heavy, bool (places,).
        least_common: share of the heavy words that the longest common subsequence holds (Wagner & Fischer 1974,
            doi:10.1145/321796.321811).
        most_edits: edits (Levenshtein), as a share of the longer side.
    """
    offsets, flat, heavy = words
    longest = 0
    for p in pattern:
        longest = max(longest, offsets[p + 1] - offsets[p])
    common, edits = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    wanted = np.empty(longest, np.int32)
    for k in range(len(pattern)):
        low, high = offsets[pattern[k]], offsets[pattern[k] + 1]
        size, places = 0, high - low
        for place in range(low, high):
            if heavy[place]:
                wanted[size] = flat[place]
                size += 1
        common[: size + 1] = 0
        for j in range(places + 1):
            edits[j] = j
        for i in range(first[k], last[k]):
            word = _nearest(tokens[i], near, flat, low, high)
            corner = np.int64(0)
            for j in range(size):
                above = common[j + 1]
                common[j + 1] = corner + 1 if wanted[j] == word else max(above, common[j])
                corner = above
            corner = edits[0]
            edits[0] += 1
            for j in range(places):
                above = edits[j + 1]
                edits[j + 1] = min(corner + (flat[low + j] != word), min(above, edits[j]) + 1)
                corner = above
        longer = max(last[k] - first[k], places)
        sure[k] = common[size] >= least_common * size and edits[places] <= most_edits * longer


@njit(cache=True, nogil=True)
def _nearest(token, near, flat, low, high):  # type: ignore[no-untyped-def]
    # The word among ``flat[low:high]`` that the token is nearest to, of equals the one whose last place comes first; -1
    # where it is near none.
    offsets, words, costs = near
    best, cheapest, nearest = np.int64(-1), np.int64(0), np.int64(0)
    for at in range(offsets[token], offsets[token + 1]):
        word, cost = words[at], costs[at]
        if best >= 0 and cost > cheapest:
            continue
        place = high - 1
        while place >= low and flat[place] != word:
            place -= 1
        if place >= low and (best < 0 or cost < cheapest or place < nearest):
            best, cheapest, nearest = np.int64(word), np.int64(cost), np.int64(place)
    return best
