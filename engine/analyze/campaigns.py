"""Families of attacks: texts that are worded alike, found among many without ever holding all pairs.

    near copies folded (`copies`) → the nearest of each by n-grams (`likeness.neighbours`) → edit distance of
    these pairs (`Wording`) → groups by average linkage (`linkage`) → medoid and spread of each

The constants were chosen on planted families and development texts; benchmarks/campaigns.py measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.analyze import copies, linkage
from aimds.analyze.likeness import Wording, neighbours
from aimds.errors import ConfigError

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]

CUT = 0.30
"""Mean likeness of two groups from which they are one family."""
UNKNOWN = 0.2
"""What a pair counts that is not among the nearest of either text."""
LEAST = 0.25
"""A pair less alike than this counts as unknown."""
NEIGHBOURS = 32
LEAST_ROWS = 3
BITS, DIM = 18, 256
"""Features of the n-grams, and numbers a text is sketched in."""
SLICE_BYTES = 1 << 20
"""Text whose n-grams are held at once; they take some 20 times as much."""
MOST_MEASURED = 512
"""Texts of a family among which the medoid is looked for, those of most rows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``cut`` in (UNKNOWN, 1): mean likeness from which groups are one family · ``min_rows``: rows from which a group
    is reported as a family · ``neighbours``: texts that each is held against."""

    cut: float = CUT
    min_rows: int = LEAST_ROWS
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if not UNKNOWN < self.cut < 1:
            raise ConfigError("cut", self.cut, f"a likeness above {UNKNOWN} and below 1, {CUT} by default")
        if self.min_rows < 1:
            raise ConfigError("min_rows", self.min_rows, "at least 1")
        if self.neighbours < 1:
            raise ConfigError("neighbours", self.neighbours, "at least 1")


@dataclass(frozen=True, slots=True)
class Families:
    """F families among T texts, those of most rows first.

    ``family`` int32 (T,): the family of each text, -1 for none · ``original`` int64 (T,): the text that each is a near
    copy of, itself where it is none · ``closeness`` float32 (T,): likeness of the original to the medoid, 0 without a
    family · ``medoid`` int64 (F,): the text that is most like the others · ``rows`` int64 (F,) · ``spread`` float32
    (F,): mean over the rows of 1 - closeness.
    """

    family: I32
    original: I64
    closeness: F32
    medoid: I64
    rows: I64
    spread: F32


def find(
    values: U8,
    offsets: I64,
    rows: I64,
    settings: Settings | None = None,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[Families, Wording]:
    """The families among T texts, and their wording.

    The order of the texts decides between equals, so it must follow from the texts: by rows and by a hash, say. Memory
    grows with T times ``neighbours``.

    Args:
        values: uint8 (N,) folded text. offsets: int64 (T+1,). rows: int64 (T,), how often each text occurred.
        progress: hears of a step by name, how much of it is done, and how much there is.

    Source: average linkage as in `linkage`; likeness as in `Wording.alike`.
    """
    settings, tell = settings or Settings(), progress or _silent
    sketches, signs = _features(values, offsets, threads, tell)
    original = copies.originals(signs)
    kept = np.flatnonzero((original == np.arange(len(original))) & (signs != copies.EMPTY).any(axis=1))
    wording = Wording.of(values, offsets)
    first, second = _nearest(sketches[kept], settings.neighbours, threads, tell)
    alike = _measured(wording, kept[first], kept[second], threads, tell)
    linked = alike >= LEAST
    groups = linkage.average(
        len(kept),
        first[linked].tolist(),
        second[linked].tolist(),
        alike[linked].astype(np.float64).tolist(),
        cut=settings.cut,
        unknown=UNKNOWN,
    )
    group = np.arange(len(original))
    group[kept] = kept[groups]
    return _families(group[original], original, rows, settings, wording, threads, tell), wording


def _features(values: U8, offsets: I64, threads: int, tell: Progress) -> tuple[F32, npt.NDArray[np.uint32]]:
    count = len(offsets) - 1
    sketches, signs = np.zeros((count, DIM), np.float32), np.full((count, copies.BINS), copies.EMPTY, np.uint32)
    even = np.ones(1 << BITS, np.float32)
    start = 0
    while start < count:
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + SLICE_BYTES, side="right")) - 1)
        features = kernels.ngram_hash(values, offsets[start : stop + 1], bits=BITS, threads=threads)
        sketches[start:stop] = kernels.sketch(*features, even, DIM, threads=threads)
        signs[start:stop] = copies.signatures(features[0], features[1])
        start = stop
        tell("reading n-grams", start, count)
    return sketches, signs


def _nearest(sketches: F32, k: int, threads: int, tell: Progress) -> tuple[I64, I64]:
    """The pairs of near texts, each once, ascending."""
    count = len(sketches)
    keys: list[I64] = []
    done = 0
    for stop, ids in neighbours(sketches, min(k + 1, max(count, 1)), threads=threads):
        one = np.repeat(np.arange(done, stop, dtype=np.int64), ids.shape[1])
        other = ids.ravel().astype(np.int64)
        apart = one != other
        keys.append((np.minimum(one, other) * count + np.maximum(one, other))[apart])
        done = stop
        tell("looking for near texts", done, count)
    pairs = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))
    return pairs // max(count, 1), pairs % max(count, 1)


def _measured(wording: Wording, first: I64, second: I64, threads: int, tell: Progress) -> F32:
    out = np.zeros(len(first), np.float32)
    edges = np.flatnonzero(np.diff(first, prepend=-1, append=-1))
    for low in range(0, len(edges) - 1, 256):
        a, b = int(edges[low]), int(edges[min(low + 256, len(edges) - 1)])
        out[a:b] = wording.pairs(first[a:b], second[a:b], threads=threads)
        tell("comparing pairs", b, len(first))
    return out


def _families(
    group: I64, original: I64, rows: I64, settings: Settings, wording: Wording, threads: int, tell: Progress
) -> Families:
    total = np.bincount(group, weights=rows, minlength=len(group)).astype(np.int64)
    named = np.flatnonzero(total >= settings.min_rows)
    named = named[np.lexsort((named, -total[named]))]
    number = np.full(len(group) + 1, -1, np.int32)
    number[named] = np.arange(len(named), dtype=np.int32)
    family = number[group]
    closeness, medoid = np.zeros(len(group), np.float32), np.zeros(len(named), np.int64)
    spread = np.zeros(len(named), np.float32)
    order = np.argsort(family, kind="stable")
    edges = np.searchsorted(family[order], np.arange(len(named) + 1))
    for one in range(len(named)):
        texts = order[edges[one] : edges[one + 1]]
        members, at = np.unique(original[texts], return_inverse=True)
        weight = np.bincount(at, weights=rows[texts])
        few = np.sort(np.lexsort((members, -weight))[:MOST_MEASURED])
        among = wording.alike(members[few], members[few], threads=threads)
        best = int(np.argmax(np.round(among.astype(np.float64) @ weight[few], 9)))
        medoid[one] = members[few[best]]
        whole = len(few) == len(members)
        near = among[best] if whole else wording.alike(medoid[one : one + 1], members, threads=threads)[0]
        closeness[texts] = near[at]
        spread[one] = 1.0 - float(near @ weight) / float(weight.sum())
        tell("measuring families", one + 1, len(named))
    return Families(family, original, closeness, medoid, total[named], spread)


def _silent(step: str, done: int, total: int) -> None:
    pass
