"""What the stages before the classifier make of a corpus, and the features of its windows."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows, windows
from aimds.detect.fusion import StageScores
from aimds.detect.mentions import unmentioned
from aimds.detect.normalize import Views, normalize
from aimds.detect.patterns import Bank, Matches
from aimds.detect.rules import Rules
from aimds.detect.stages import Detector
from aimds.detect.strongest import combine
from aimds.jobs.corpus import Corpus
from aimds.jobs.train import synthesis
from aimds.jobs.train.config import TrainConfig

F32 = npt.NDArray[np.float32]

CHUNK_ROWS = 4096
SENTENCE_BYTES = 100
"""Ordinary texts of our own that are shorter are one sentence, nearly all."""


@dataclass(slots=True)
class Chunk:
    """What the stages before the classifier made of up to CHUNK_ROWS rows."""

    first_row: int
    channels: npt.NDArray[np.int8]
    views: Views
    pieces: Windows
    matches: Matches
    found: list[Evidence]


@dataclass(slots=True)
class Features:
    """CSR features of all windows, and where each window comes from (``row`` int64 (W,), ``written`` bool (W,))."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    counts: F32
    data: F32
    idf: F32
    row: npt.NDArray[np.int64]
    written: npt.NDArray[np.bool_]


def chunks(corpus: Corpus, fold: npt.NDArray[np.int64], rules: Rules, config: TrainConfig) -> tuple[Bank, list[Chunk]]:
    """The bank calibrated on all benign texts, and the chunks of ``corpus``, whose rows come sorted by ``fold``."""
    # Rows come sorted by fold. A fold's rows are matched with thresholds learnt from the other folds: on the texts they
    # were learnt from, patterns raise no false alarm by construction.
    bare = Bank.load(calibrated=False)
    made = []
    for held_out in range(-1, config.folds):
        keep = fold != held_out
        benign, alike = _benign_texts(corpus, keep, config), _look_alikes(corpus, keep & (fold < 0))
        bank = bare.calibrated(benign, alike, threads=os.cpu_count() or 1)
        first, last = (int(place) for place in np.searchsorted(fold, [held_out, held_out + 1]))
        for start in range(first, last, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, last)
            texts, channels = corpus.texts.slice(start, stop), corpus.channel[start:stop]
            views = unmentioned(normalize(texts.values, texts.offsets), channels)
            pieces = windows(views)
            found = rules.scan((texts.values, texts.offsets), views, channels)
            made.append(Chunk(start, channels, views, pieces, bank.match(pieces, threads=os.cpu_count() or 1), found))
    whole = np.ones(len(fold), np.bool_)
    return bare.calibrated(_benign_texts(corpus, whole, config), _look_alikes(corpus, fold < 0)), made


def _look_alikes(corpus: Corpus, keep: npt.NDArray[np.bool_]) -> list[str]:
    # English has public texts enough, and so many look-alikes that any pattern is near two of them.
    return [
        _text(corpus, row) for row in np.flatnonzero(keep & synthesis.is_foreign_look_alike(corpus.source)).tolist()
    ]


def _text(corpus: Corpus, row: int) -> str:
    return corpus.texts.raw(row).decode("utf-8", "replace")


def _benign_texts(corpus: Corpus, keep: npt.NDArray[np.bool_], config: TrainConfig) -> list[str]:
    # Not the look-alikes of the grammar: they quote attacks, and a pattern would learn to overlook its own words. Our
    # own ordinary text quotes none, but sentences that chance put beside each other can make one.
    rows = np.flatnonzero(keep & (corpus.label == 0) & ~synthesis.is_own(corpus.source))
    rng = np.random.default_rng(config.seed)
    single = np.diff(corpus.texts.offsets) < SENTENCE_BYTES
    ordinary = np.flatnonzero(keep & single & synthesis.is_ordinary(corpus.source))
    chosen = np.sort(np.concatenate([rng.permutation(rows)[: config.bank_texts], ordinary]))
    return [_text(corpus, row) for row in chosen.tolist()]


def features_of(chunks: list[Chunk], config: TrainConfig) -> Features:
    """Features of all windows of ``chunks``, in order."""
    parts = [kernels.ngram_hash(c.pieces.values, c.pieces.offsets, bits=config.bits) for c in chunks]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part[0]) for part in parts]))]).astype(np.int64)
    indices = np.concatenate([part[1] for part in parts])
    counts = np.concatenate([part[2] for part in parts])
    idf, data = weighted(indptr, indices, counts, 1 << config.bits)
    row = np.concatenate([c.pieces.row.astype(np.int64) + c.first_row for c in chunks])
    written = np.concatenate([c.views.depths[c.pieces.view] == 0 for c in chunks])
    return Features(indptr, indices, counts, data, idf, row, written)


def weighted(
    indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], counts: F32, features: int
) -> tuple[F32, F32]:
    """Inverse document frequencies float32 (``features``,) of CSR rows, and their values, each row of length 1."""
    documents = len(indptr) - 1
    frequency = np.bincount(indices, minlength=features)
    idf = np.where(frequency > 0, np.log((1 + documents) / (1 + frequency)) + 1.0, 1.0)
    idf = idf.astype(np.float16).astype(np.float32)
    data = (1.0 + np.log(counts)) * idf[indices]
    squares = np.concatenate([[0.0], np.cumsum(data.astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(squares[indptr[1:]] - squares[indptr[:-1]], 1e-12))
    return idf, (data / np.repeat(norms, np.diff(indptr))).astype(np.float32)


def stage_scores(chunks: list[Chunk], detector: Detector, logits: F32) -> StageScores:
    """What the stages say of every row; ``logits`` float32 (W, H) are those of all windows."""
    parts, first = [], 0
    for chunk in chunks:
        last = first + len(chunk.pieces)
        args = (chunk.views, chunk.pieces, logits[first:last], chunk.matches, chunk.found, chunk.channels)
        parts.append(combine(detector.bank, detector.classifier, *args)[0])
        first = last
    names = [field.name for field in dataclasses.fields(StageScores) if getattr(parts[0], field.name) is not None]
    return StageScores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def with_tails(chunks: list[Chunk], detector: Detector, logits: F32, before: StageScores) -> StageScores:
    """The same once the detector has its tails, with the encoder's scores of ``before``."""
    return dataclasses.replace(stage_scores(chunks, detector, logits), deep=before.deep)
