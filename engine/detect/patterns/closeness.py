"""How near a text comes to each pattern, misses included: what a person asks when a pattern should have matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aimds.detect.features import windows
from aimds.detect.normalize import normalize
from aimds.detect.patterns import Bank


class Closeness(NamedTuple):
    """The nearest stretch of one text to one pattern. ``start`` and ``end`` are bytes of the original text, ``decoded``
    whether the stretch stands in a decoded view. ``limit`` is the pattern's threshold, ``margin`` how far below it the
    normalised ``distance`` is, as a share. A match is within its threshold and ``confirmed`` by the order of words."""

    row: int
    pattern: int
    distance: float
    limit: float
    margin: float
    confirmed: bool
    start: int
    end: int
    decoded: bool

    @property
    def matched(self) -> bool:
        """Whether the matcher would report it."""
        return self.confirmed and self.margin > 0


def near(bank: Bank, texts: Sequence[bytes], *, slack: float = 1.0, threads: int = 1) -> list[Closeness]:
    """What in ``texts`` comes within ``1 + slack`` times the threshold of a pattern, by row, matches and nearest first.

    Of each text and pattern only the nearest stretch is given. Patterns that are off (threshold 0) are left out.
    """
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    views = normalize(np.frombuffer(b"".join(texts), np.uint8), offsets)
    pieces = windows(views)
    index, limits = bank.index, bank.limits
    survey = index.survey(pieces.values, pieces.offsets, index.need(limits * np.float32(1 + slack)), threads=threads)
    found: dict[tuple[int, int], Closeness] = {}
    for aligned in index.align(survey, threads=threads):
        reach = limits[aligned.pattern] * np.float32(1 + slack)
        kept = aligned.take(aligned.distance < reach)
        sure = index.confirm(survey, kept)
        first = survey.offsets[kept.window]
        low, high = survey.starts[first + kept.start], survey.ends[first + kept.end]
        for k in range(len(sure)):
            piece, number = int(kept.window[k]), int(kept.pattern[k])
            base, view = int(pieces.base[piece]), int(pieces.view[piece])
            start, stop = views.span(view, base + int(low[k]), base + int(high[k]))
            limit, distance = float(limits[number]), float(kept.distance[k])
            item = Closeness(
                int(pieces.row[piece]), number, distance, limit, 1 - distance / limit, bool(sure[k]), start, stop,
                bool(views.depths[view]),
            )  # fmt: skip
            place = (item.row, number)
            if place not in found or _rank(item) < _rank(found[place]):
                found[place] = item
    return sorted(found.values(), key=lambda item: (item.row, *_rank(item), item.pattern))


def _rank(item: Closeness) -> tuple[bool, float, int, int]:
    return not item.matched, -item.margin, item.start, item.end
