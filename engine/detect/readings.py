"""How a text was read: its decoded views and, where its characters were disguised, its folded text; for showing why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDED = "text"
"""The kind of the row itself with its characters folded; the other kinds are those of `aimds.detect.normalize`."""
_MIN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """One way a text was read: ``text`` in UTF-8, what it was decoded from (``kind``) and how many decodings deep;
    ``starts`` and ``ends`` integers (len(text),), the original bytes behind each of its bytes."""

    kind: str
    depth: int
    text: bytes
    starts: npt.NDArray[np.integer[Any]]
    ends: npt.NDArray[np.integer[Any]]

    @property
    def name(self) -> str:
        """What it was decoded from, in words."""
        return self.kind.replace("_", " ")

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Where in ``text`` the original bytes ``start`` to ``end`` are read; None where they are not."""
        inside = np.flatnonzero((self.starts >= start) & (self.ends <= end))
        return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else None

    def share(self, start: int, end: int) -> float:
        """The share of the original bytes ``start`` to ``end`` that this reading accounts for."""
        place = self.place(start, end)
        if place is None or start >= end:
            return 0.0
        low, high = place
        return float(self.ends[low:high].max() - self.starts[low:high].min()) / (end - start)


def readings(raw: bytes) -> tuple[Reading, ...]:
    """How the stages read ``raw`` besides as it is written: all its decoded views, then the folded text if the
    characters of ``raw`` are disguised."""
    from aimds.detect.normalize import Flag, normalize

    views = normalize(np.frombuffer(raw, np.uint8), np.array([0, len(raw)], np.int64))
    found = [Reading(one.kind, one.depth, one.text, one.starts, one.ends) for one in views.decoded]
    tricks = Flag.ZERO_WIDTH | Flag.TAGS | Flag.BIDI | Flag.VARIATION | Flag.CONFUSABLE | Flag.COMBINING
    if views.flags[0] & int(tricks | Flag.DISGUISE | Flag.SPACED | Flag.LEET):
        last = int(views.offsets[1])
        text = views.values[:last].tobytes()
        found.append(Reading(FOLDED, 0, text, views.starts[:last], views.ends[:last]))
    return tuple(found)


def read_as(start: int, end: int, raw: bytes, ways: Iterable[Reading]) -> tuple[Reading, str] | None:
    """The reading in which a stage saw what it found at the bytes ``start`` to ``end`` of ``raw``, and what stands
    there; None where that is the text as it is written.

    A decoded view that accounts for at least half of these bytes is taken to be it, the best fit and the deepest
    first: what is encoded says nothing as it is written.
    """
    best = max(ways, key=lambda way: (way.share(start, end) >= _MIN_SHARE, _fit(way, start, end)), default=None)
    if best is None or best.share(start, end) < _MIN_SHARE:
        return None
    place = best.place(start, end)
    assert place is not None
    words = best.text[slice(*place)].decode("utf-8", "replace")
    written = raw[start:end].decode("utf-8", "replace")
    if best.kind == FOLDED and "".join(words.split()) == "".join(written.lower().split()) and not _spread(written):
        return None
    return best, words


def _fit(way: Reading, start: int, end: int) -> tuple[bool, float, int]:
    return way.kind != FOLDED, round(way.share(start, end), 1), way.depth


def _spread(written: str) -> bool:
    # Letters standing alone: i g n o r e.
    parts = written.split()
    return len(parts) > 3 and sum(len(part) == 1 for part in parts) > len(parts) // 2


def evidence_in(way: Reading, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where in the text of ``way`` each of ``spans`` (original bytes) is read, as far as it is."""
    places = (way.place(start, end) for start, end in spans)
    return [place for place in places if place is not None]
