"""The deep stage's share of a training: rows chosen, the fit, scores of rows it never saw, the artefact."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import deep, gray
from aimds.detect.classifier import ATTACK
from aimds.detect.deep import Deep, Tokenizer
from aimds.errors import ArtefactError
from aimds.jobs.corpus import Corpus
from aimds.jobs.deep import graph, selection
from aimds.jobs.deep.finetune import Rows, Settings, average, finetune
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.windows import Chunk
from aimds.jobs.train.work import Folder
from aimds.printable import counted

F32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"
MASK = "[MASK]"
HEADS = 12
FIT = "deep"
BATCH_WINDOWS = 2048


def train(
    corpus: Corpus,
    fold: npt.NDArray[np.int64],
    public: npt.NDArray[np.bool_],
    chunks: list[Chunk],
    logits: F32,
    untrusted: npt.NDArray[np.bool_],
    config: TrainConfig,
    pretrained: Path,
    kept: Folder,
    say: Say,
) -> tuple[bytes, F32]:
    """The bytes of ``deep.npz``, and margins of public rows it never saw, float32 (N,), -inf for all others.

    Args:
        logits: float32 (W, H), the linear heads' out-of-fold scores of all windows of ``chunks``.

    Raises:
        ArtefactError: ``pretrained`` lacks a file.
    """
    for name in (WEIGHTS, VOCABULARY):
        if not (pretrained / name).is_file():
            raise ArtefactError(pretrained / name, "no such file; name the folder of the pretrained encoder")
    vocabulary = "\n".join((pretrained / VOCABULARY).read_text("utf-8").split("\n")[:-1]).encode()
    tokenizer = Tokenizer(vocabulary)
    rng = np.random.default_rng(config.seed + 1)
    aside = selection.aside(corpus, fold, config.deep_aside, public, config.deep_judged, rng)
    rows_file = kept.file("rows")
    if not rows_file.exists():
        measure = selection.Measure(config.deep_attacks, config.deep_benign, config.deep_harmful, config.deep_own)
        rng = np.random.default_rng(config.seed + 2)
        attack = logits[:, ATTACK]
        selection.select(corpus, fold < 0, public, ~aside, chunks, attack, measure, tokenizer, rng).write(rows_file)
    rows = Rows.read(rows_file)
    say(f"encoder: {len(rows.label):,} windows, {len(rows.tokens):,} word pieces")
    _fit(rows_file, pretrained / WEIGHTS, vocabulary.decode().split("\n").index(MASK), config, kept)
    card = {"format": deep.FORMAT, "classes": list(deep.CLASSES), "layers": config.layers, "heads": HEADS}
    packed = _pack(kept, vocabulary, card, config.layers)
    margins = kept.load("margins")
    if margins is None:
        margin = np.full(len(corpus), -np.inf, np.float32)
        mine = _asked(corpus, public & aside, config)
        say(f"encoder: judging {counted(len(mine), 'text')} it never saw")
        margin[mine] = _scores(Deep.unpack(FIT, packed), chunks, logits, mine, untrusted)
        kept.save("margins", {"margin": margin})
    else:
        margin = margins["margin"]
    return packed, margin


def _fit(rows: Path, pretrained: Path, mask: int, config: TrainConfig, kept: Folder) -> None:
    # Fits from one beginning run side by side, a process each, and share the threads; what ships is their mean.
    fits = [kept.file(f"{FIT}-{place}") for place in range(config.deep_fits)]
    threads = max((os.cpu_count() or 1) // config.deep_fits, 1)
    if kept.file(FIT).exists():
        return
    with ProcessPoolExecutor(config.deep_fits, multiprocessing.get_context("spawn")) as pool:
        jobs = []
        for place, file in enumerate(fits):
            settings = Settings(
                config.layers,
                config.deep_steps,
                config.rate,
                config.batch_tokens,
                config.seed,
                order=config.seed * config.deep_fits + place,
                hidden=config.deep_hidden if place % 2 else 0.0,
                mask=mask,
            )
            jobs.append(pool.submit(finetune, rows, pretrained, file, settings, threads=threads))
        for job in jobs:
            job.result()
    average(fits, kept.file(FIT))


def _asked(corpus: Corpus, unseen: npt.NDArray[np.bool_], config: TrainConfig) -> npt.NDArray[np.int64]:
    # All attacks, and of benign text a part by source: the encoder is slow and tails need thousands, not all.
    rng = np.random.default_rng(config.seed + 3)
    attacks = np.flatnonzero(unseen & (corpus.label == 1) & (corpus.threat != "harmful_request"))
    benign = selection.by_source(
        corpus.source, np.flatnonzero(unseen & (corpus.label == 0)), config.calibration_rows, rng
    )
    return np.sort(np.concatenate([attacks, benign]))


def _scores(
    encoder: Deep, chunks: list[Chunk], logits: F32, rows: npt.NDArray[np.int64], untrusted: npt.NDArray[np.bool_]
) -> F32:
    out = np.full(len(untrusted), -np.inf, np.float32)
    first = 0
    for chunk in chunks:
        last = first + len(chunk.pieces)
        mine = rows[(rows >= chunk.first_row) & (rows < chunk.first_row + len(chunk.channels))] - chunk.first_row
        here = untrusted[chunk.first_row : chunk.first_row + len(chunk.channels)]
        window = gray.windows(chunk.pieces, logits[first:last], mine, here)
        for start in range(0, len(window), BATCH_WINDOWS):
            part = window[start : start + BATCH_WINDOWS]
            owner = chunk.pieces.row[part]
            margin = encoder.score(*chunk.pieces.take(part), here[owner], threads=os.cpu_count() or 1)[:, 0]
            np.maximum.at(out, owner + chunk.first_row, margin)
        first = last
    return out[rows]


def _pack(kept: Folder, vocabulary: bytes, card: dict[str, object], layers: int) -> bytes:
    weights = kept.load(FIT)
    assert weights is not None
    shapes = {key: array.shape for key, array in weights.items()}
    skeleton = graph.build(shapes, layers=layers, heads=HEADS, classes=len(deep.CLASSES))
    arrays = {
        **deep.quantised(weights),
        "graph": np.frombuffer(skeleton, np.uint8),
        "vocabulary": np.frombuffer(vocabulary, np.uint8),
        "card": np.frombuffer(json.dumps(card, sort_keys=True).encode(), np.uint8),
    }
    return data.pack(arrays)
