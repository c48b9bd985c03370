"""Rows picked by lot for the suites that screen every text many times over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.detect.texts import Texts
from aimds.jobs.evaluate.judging import Judged, Outcomes, join

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Picked:
    """N texts with their ``channel`` int8 (N,), and what came out for them as they are. Bad UTF-8 has become U+FFFD."""

    texts: list[str]
    channel: npt.NDArray[np.int8]
    outcomes: Outcomes

    def __len__(self) -> int:
        return len(self.texts)


def drawn(rows: Rows, most: int, seed: int) -> Rows:
    """At most ``most`` of ``rows`` by lot, in their order; all of them where ``most`` is 0."""
    if not most or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def attacks(judged: Sequence[Judged], most: int, seed: int) -> Picked | None:
    """At most ``most`` attacks of each file, by lot; None where no file holds any."""
    found = [(item, np.flatnonzero(item.attacks)) for item in judged]
    parts = [picked(item, drawn(rows, most, seed)) for item, rows in found if len(rows)]
    if not parts:
        return None
    texts = [text for part in parts for text in part.texts]
    channel = np.concatenate([part.channel for part in parts])
    return Picked(texts, channel, join([part.outcomes for part in parts]))


def picked(item: Judged, rows: Rows) -> Picked:
    """``rows`` of a judged file."""
    texts = [item.corpus.texts.raw(row).decode("utf-8", "replace") for row in rows.tolist()]
    return Picked(texts, item.corpus.channel[rows], item.outcomes.take(rows))


def packed(texts: Sequence[str]) -> Texts:
    """``texts`` as the engine takes them."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(raw) + 1, np.int64)
    np.cumsum([len(text) for text in raw], out=offsets[1:])
    return Texts(np.frombuffer(b"".join(raw), np.uint8), offsets, np.ones(len(raw), np.bool_))
