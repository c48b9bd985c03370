"""The heads over concepts: their fits with folds left out, and how their scores join those over n-grams."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect import fusion, tail
from aimds.detect.classifier import ATTACK, FIRST_TYPE, quantise
from aimds.detect.concepts import Concepts
from aimds.detect.concepts import heads as joining
from aimds.detect.concepts.lexicon import Found, Lexicon
from aimds.jobs.corpus import Corpus
from aimds.jobs.train import heads, tails, work
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.windows import Chunk, Features, weighted
from aimds.kernels.pairs import FEATURES

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Say = Callable[[str], None]

COST = 1.0
"""Penalty C of a mean row."""
FEWEST_FOREIGN = 250
"""Ordinary public texts in other languages without which these are not judged by concepts."""
RESERVE = 1.5
"""A score in another language counts as one that so many times more English texts reach: of most languages there are
hardly any among the ordinary texts that say how rare it is."""
RARENESS = np.geomspace(1.0, 1e-8, 65)
"""p-values at which the scores of other languages are tied to those of English."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What the words of all W windows mean: ``found``, and as ``features`` of the heads."""

    lexicon: Lexicon
    found: Found
    features: Features


def windows(chunks: list[Chunk], lexicon: Lexicon, before: Features) -> Windows:
    """The concepts of all windows of ``chunks``, whose features of n-grams are ``before``."""
    parts = [lexicon.read(chunk.pieces.values, chunk.pieces.offsets) for chunk in chunks]
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    lang, concept, start, end = (np.concatenate([part[k] for part in parts]) for k in range(4))
    found = Found(lang, concept, start, end, offsets)
    indptr, indices, counts = kernels.concept_pairs(concept, offsets, joining.REACH)
    idf, data = weighted(indptr, indices, counts, FEATURES)
    return Windows(lexicon, found, Features(indptr, indices, counts, data, idf, before.row, before.written))


def fit(
    corpus: Corpus,
    fold: Rows,
    public: Mask,
    seen: Windows,
    logits: F32,
    untrusted: Mask,
    config: TrainConfig,
    kept: work.Folder,
    say: Say,
) -> tuple[Concepts, F32]:
    """The heads over concepts fitted on everything, and the ``logits`` float32 (W, H) with what heads that left out a
    window's fold say of it."""
    own = dataclasses.replace(config, cost=COST)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in seen.lexicon.arrays().values())).hexdigest()[:12]
    scores, final = heads.out_of_fold(corpus, fold, seen.features, own, kept, f"concepts-{digest}", say)
    scores[np.diff(seen.found.offsets) < joining.FEWEST] = joining.SILENT
    foreign = joining.foreign(seen.lexicon, seen.found.lang, seen.found.offsets)
    knots = _knots(corpus, public, seen.features, foreign, scores, logits, untrusted, config)
    if not len(knots):
        foreign[:] = False
    int8, scale = quantise(final.weights)
    model = Concepts(seen.lexicon, int8, scale, seen.features.idf, final.bias, knots)
    return model, joining.join(foreign, scores, logits, knots, FIRST_TYPE)


def _knots(
    corpus: Corpus,
    public: Mask,
    features: Features,
    foreign: Mask,
    scores: F32,
    logits: F32,
    untrusted: Mask,
    config: TrainConfig,
) -> F32:
    # Scores of other languages and of English that ordinary texts reach alike often, float32 (K, 2), both rising.
    row = features.row
    windows = np.bincount(row[foreign], minlength=len(corpus))
    benign = public & (corpus.label == 0) & ~untrusted
    there, here = benign & (windows > 0), benign & (windows == 0)
    if there.sum() < FEWEST_FOREIGN or here.sum() < FEWEST_FOREIGN:
        return np.zeros((0, 2), np.float32)
    weights = tails.benign_weights(corpus, benign, config)
    units = np.maximum(np.bincount(row[features.written], minlength=len(corpus)) / fusion.UNIT_WINDOWS, 1.0)
    sides = []
    for rows, mine, values in (
        (there, foreign, joining.raw(scores, logits)[:, ATTACK]),
        (here, ~foreign, (logits + joining.SHARE * scores)[:, ATTACK]),
    ):
        top = np.full(len(corpus), -np.inf, np.float32)
        np.maximum.at(top, row[mine], values[mine])
        sides.append(tail.fit(top[rows], weights[rows]).for_one(units[rows], weights[rows]))
    there_tail, here_tail = sides
    knots = np.array(
        [[there_tail.quantile(p), here_tail.quantile(min(RESERVE * p, 1.0))] for p in RARENESS], np.float32
    )
    rising = [0]
    for place in range(1, len(knots)):
        if (knots[place] > knots[rising[-1]] + 1e-3).all():
            rising.append(place)
    return knots[rising] if len(rising) > 1 else np.zeros((0, 2), np.float32)
