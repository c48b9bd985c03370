"""Letters with a blank or an emoji between any two of them, read without: by the layout, whatever the language.

A blank parts words where the text's other gaps are narrower. Text whose gaps are all alike is left to `spacing`, which
cuts the letters into words by frequency.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from aimds.detect.normalize.emoji import emoji_bytes
from aimds.detect.normalize.proposals import Proposal, Text, Trust
from aimds.detect.normalize.vocabulary import WORD_BYTES

MIN_BEADS = 6
"""Letters with an emoji behind them from which the emoji are taken for beads on a string."""


def spread(source: Text, limit: int) -> Iterator[Proposal]:
    """The text without its narrow gaps, and the text without its emoji."""
    apart = _narrow(source.values, source.starts, source.ends)
    beads = _beads(source.values)
    for kept in (apart, beads):
        if len(kept):
            cut = len(kept) > limit
            at = kept[:limit].astype(np.int64)
            yield Proposal("spread", source.take(source.values[at], at, at), Trust.SPEECH, cut)


@njit(cache=True, nogil=True)
def _narrow(values, starts, ends):  # type: ignore[no-untyped-def]
    # Places that stay, int64 (M,): all but the blanks of the usual width between two single characters. None where
    # the text has no wider gaps, ideographs apart, or is no single characters for the most part.
    n = len(values)
    widths = np.zeros(4, np.int64)
    singles = tokens = ideographs = i = 0
    before = False
    end = -1
    while i < n:
        if values[i] <= 32:
            i += 1
            continue
        begin = i
        count = 0
        while i < n and values[i] > 32:
            count += values[i] & 0xC0 != 0x80
            i += 1
        tokens += 1
        singles += count == 1
        ideographs += 0xE3 <= values[begin] <= 0xE9
        if end >= 0 and before and count == 1:
            widths[max(0, min(starts[begin] - ends[end], 3))] += 1
        before = count == 1
        end = i - 1
    usual = np.argmax(widths)
    if singles * 5 < tokens * 4 or not (widths[usual + 1 :].sum() or ideographs * 2 > tokens):
        return np.empty(0, np.int64)
    kept = np.empty(n, np.int64)
    m = i = 0
    while i < n:
        begin = i
        broken = False
        while i < n and values[i] <= 32:
            broken |= values[i] == 10
            i += 1
        if begin < i and (broken or begin == 0 or i == n or starts[i] - ends[begin - 1] > usual):
            kept[m] = begin
            m += 1
        if i < n:
            kept[m] = i
            m += 1
            i += 1
    return kept[:m]


@njit(cache=True, nogil=True)
def _beads(values):  # type: ignore[no-untyped-def]
    # Places that stay, int64 (M,): all but the emoji. None where fewer than three in four letters have one behind.
    n = len(values)
    kept = np.empty(n, np.int64)
    m = letters = beads = i = letter = 0
    while i < n:
        size = int(emoji_bytes(values, i, n))
        if size:
            beads += letter
            letter = 0
            i += size
            continue
        b = values[i]
        size = int(WORD_BYTES[b])
        letter = int(size > 0 or 0xE3 <= b <= 0xE9)
        size = max(size, 1 if b < 0xC0 else 2 if b < 0xE0 else 3 if b < 0xF0 else 4)
        letters += letter
        for k in range(i, min(n, i + size)):
            kept[m] = k
            m += 1
        i += size
    if beads < MIN_BEADS or beads * 4 < letters * 3:
        return kept[:0]
    return kept[:m]
