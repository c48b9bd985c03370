"""Which windows of a labelled corpus the encoder learns from, which it never sees, and in which measure.

Of a long attack the window that a linear model of other sources scores highest is taken, of a long benign text that one
or any one; half of the public benign texts are those with the highest score: the look-alikes are what there is to
learn. For the rest a source counts by the square root of its size, so that a large one does not speak for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.detect.deep import Tokenizer, texts_of
from aimds.detect.gray import MAX_WINDOWS
from aimds.jobs.corpus import Corpus
from aimds.jobs.deep import head, shapes
from aimds.jobs.deep.finetune import Rows
from aimds.jobs.train.windows import Chunk
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS

BENIGN, ATTACK, HARMFUL = range(3)
UNTRUSTED = tuple(CHANNELS.index(name) for name in UNTRUSTED_CHANNELS)

ASIDE = 8
"""One of so many benign texts of the sources that the encoder learns from is kept from it, for its tails."""
PER_SOURCE = (300, 350, 150)
"""Benign texts, attacks and harmful requests of one public source that the head is fitted to (`plain`)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Rows of public sources by class, ``attacks``, ``benign``, ``harmful``, and of texts made here that carry public
    text, ``own``; of those that stand alone the encoder sees all."""

    attacks: int
    benign: int
    harmful: int
    own: int


def aside(
    corpus: Corpus,
    fold: npt.NDArray[np.int64],
    group: int,
    public: npt.NDArray[np.bool_],
    attacks: bool,
    counted: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Rows the encoder never sees, bool (N,): the fold ``group``, and of other public benign text one in ASIDE.

    Unless ``attacks`` the public attacks of the fold are seen all the same: tails need benign text alone. There is a
    draw for each row of ``counted`` bool (N,) alone: those it leaves out, none of them public, change no other's.
    """
    drawn = np.zeros(len(corpus), np.bool_)
    drawn[counted] = rng.random(np.count_nonzero(counted)) < 1.0 / ASIDE
    grouped = (fold == group) & (attacks | ~public | (corpus.label == 0))
    return np.asarray(grouped | (public & (corpus.label == 0) & drawn), np.bool_)


def select(
    corpus: Corpus,
    alone: npt.NDArray[np.bool_],
    public: npt.NDArray[np.bool_],
    seen: npt.NDArray[np.bool_],
    chunks: list[Chunk],
    attack: npt.NDArray[np.float32],
    measure: Measure,
    tokenizer: Tokenizer,
    rng: np.random.Generator,
) -> Rows:
    """Training rows.

    Args:
        alone: bool (N,), texts made here that carry no public text. public: bool (N,), False for texts made here.
        seen: bool (N,), rows to choose from.
        attack: float32 (W,), out-of-fold score of each window of ``chunks``.
    """
    row = np.concatenate([chunk.pieces.row.astype(np.int64) + chunk.first_row for chunk in chunks])
    highest = np.full(len(corpus), -np.inf, np.float32)
    np.maximum.at(highest, row, attack)
    label = _classes(corpus)
    benign = np.flatnonzero(public & seen & (label == BENIGN))
    hard = benign[np.argsort(-highest[benign], kind="stable")][: measure.benign // 2]
    rows = [
        np.flatnonzero(alone & seen),
        rng.permutation(np.flatnonzero(~public & ~alone & seen))[: measure.own],
        hard,
        by_source(corpus.source, np.setdiff1d(benign, hard), measure.benign - len(hard), rng),
    ]
    for kind, size in ((ATTACK, measure.attacks), (HARMFUL, measure.harmful)):
        rows.append(by_source(corpus.source, np.flatnonzero(public & seen & (label == kind)), size, rng))
    chosen = np.sort(np.concatenate(rows))
    # In the order of the rows, which is not that of the windows: those of decoded views come last in a chunk.
    texts = _texts(chunks, _windows(row, attack, chosen, label, rng))
    shaped, of = shapes.more(texts, label[chosen] == BENIGN, rng)
    chosen = np.concatenate([chosen, chosen[of]])
    return _rows(corpus, chosen, label, [*texts, *shaped], np.full(len(chosen), head.ALONE, np.int32), tokenizer)


def plain(
    corpus: Corpus,
    public: npt.NDArray[np.bool_],
    part: npt.NDArray[np.int32],
    seen: npt.NDArray[np.bool_],
    chunks: list[Chunk],
    attack: npt.NDArray[np.float32],
    tokenizer: Tokenizer,
    rng: np.random.Generator,
) -> Rows:
    """Rows of public text as it comes, no source for more than another: up to PER_SOURCE texts of each, and all of
    our own that are a ``part`` int32 (N,) of the head's (`head.PARTS`, 0 for others). Of an attack it is the window
    that ``attack`` ranks highest, of others as many as the encoder is shown. Other arguments as in `select`."""
    row = np.concatenate([chunk.pieces.row.astype(np.int64) + chunk.first_row for chunk in chunks])
    label = _classes(corpus)
    _, names = np.unique(corpus.source.astype(str), return_inverse=True)
    best = np.lexsort((-attack, row))
    window = []
    for kind, most in enumerate(PER_SOURCE):
        mine = rng.permutation(np.flatnonzero(public & seen & (label == kind)))
        by_source = [mine[names[mine] == one][:most] for one in np.unique(names[mine])]
        chosen = np.concatenate([*by_source, np.flatnonzero((part < 0) & seen & (label == kind))])
        order = best[np.isin(row[best], chosen)]
        rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
        window.append(order[rank < (1 if kind == ATTACK else MAX_WINDOWS)])
    chosen = np.sort(np.concatenate(window))
    mine = row[chosen]
    source = np.where(part < 0, part, names)[mine].astype(np.int32)
    return _rows(corpus, mine, label, _texts(chunks, chosen), source, tokenizer)


def _classes(corpus: Corpus) -> npt.NDArray[np.int64]:
    harmful = corpus.threat == "harmful_request"
    return np.where(harmful, HARMFUL, np.where(corpus.label == 1, ATTACK, BENIGN)).astype(np.int64)


def _texts(chunks: list[Chunk], window: npt.NDArray[np.int64]) -> list[str]:
    texts: list[str] = []
    first = 0
    for chunk in chunks:
        mine = window[(window >= first) & (window < first + len(chunk.pieces))] - first
        texts += texts_of(*chunk.pieces.take(mine))
        first += len(chunk.pieces)
    return texts


def _rows(
    corpus: Corpus,
    chosen: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
    texts: list[str],
    source: npt.NDArray[np.int32],
    tokenizer: Tokenizer,
) -> Rows:
    ids = [parts[0] for parts in tokenizer.encode(texts)]
    starts = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(part) for part in ids], out=starts[1:])
    return Rows(
        tokens=np.array([piece for part in ids for piece in part], np.int32),
        offsets=starts,
        label=label[chosen],
        untrusted=np.isin(corpus.channel[chosen], UNTRUSTED),
        source=source,
    )


def by_source(
    source: npt.NDArray[np.object_], rows: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """About ``size`` of ``rows``, ascending: a source gives by the square root of what it has, at most all."""
    if not len(rows):
        return rows
    _, inverse, counts = np.unique(source[rows].astype(str), return_inverse=True, return_counts=True)
    quota = np.minimum(counts, np.ceil(size * np.sqrt(counts) / np.sqrt(counts).sum())).astype(np.int64)
    order = rng.permutation(len(rows))
    order = order[np.argsort(inverse[order], kind="stable")]
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(rows[order[rank < np.repeat(quota, counts)]])


def _windows(
    row: npt.NDArray[np.int64],
    attack: npt.NDArray[np.float32],
    chosen: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    # The windows of a row, best first: attacks give their first, benign rows their first or any.
    order = np.lexsort((-attack, row))
    first = np.searchsorted(row[order], chosen)
    count = np.searchsorted(row[order], chosen, side="right") - first
    anyone = (rng.random(len(chosen)) * count).astype(np.int64)
    free = (label[chosen] != ATTACK) & (rng.random(len(chosen)) < 0.5)
    return np.asarray(order[first + np.where(free, anyone, 0)], np.int64)
