"""The deep stage's share of a training: rows chosen, the fit, scores of rows it never saw, the artefact."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import deep, gray
from aimds.detect.classifier import ATTACK
from aimds.detect.deep import Deep, Tokenizer
from aimds.detect.fusion import StageScores
from aimds.jobs.corpus import Corpus
from aimds.jobs.deep import graph, head, pretrained, selection
from aimds.jobs.deep.finetune import Rows, Settings, average, finetune
from aimds.jobs.scan.worker import die_with_parent
from aimds.jobs.train import synthesis
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.windows import Chunk
from aimds.jobs.train.work import Folder
from aimds.printable import counted

F32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

HEADS = 12
FIT, HEAD = "deep", "head"
BEGINNING, PIECES = "pretrained", "pieces"
BATCH_WINDOWS = 2048
PART_WINDOWS = 16_384
"""Windows whose states are kept at once, for a training that goes on after an interruption."""


def train(
    corpus: Corpus,
    fold: npt.NDArray[np.int64],
    public: npt.NDArray[np.bool_],
    chunks: list[Chunk],
    logits: F32,
    stages: StageScores,
    config: TrainConfig,
    folder: Path,
    earlier: Deep | None,
    kept: Folder,
    say: Say,
) -> tuple[bytes, F32, str]:
    """The bytes of ``deep.npz``, margins of public rows it never saw, float32 (N,), -inf for all others, and the
    `digest` of these rows.

    Args:
        logits: float32 (W, H), the linear heads' out-of-fold scores of all windows of ``chunks``.
        stages: what the other stages say of the rows.
        folder: where the file of the pretrained encoder is; not looked into where there is an ``earlier`` one.

    Raises:
        ArtefactError: its file is not there, or none of its kind.
    """
    tokenizer = _begun(folder, earlier, chunks, config, kept)
    rng = np.random.default_rng(config.seed + 1)
    document = synthesis.is_document(corpus.source)
    aside = selection.aside(corpus, fold, config.deep_aside, public, config.deep_judged, ~document, rng)
    rows_file = kept.file("rows")
    if not rows_file.exists():
        measure = selection.Measure(config.deep_attacks, config.deep_benign, config.deep_harmful, config.deep_own)
        rng = np.random.default_rng(config.seed + 2)
        attack = logits[:, ATTACK]
        rows = selection.select(corpus, fold < 0, public, ~aside, chunks, attack, measure, tokenizer, rng)
        rows.write(rows_file)
    rows = Rows.read(rows_file)
    say(f"encoder: {len(rows.label):,} windows, {len(rows.tokens):,} word pieces")
    if config.deep_steps:
        _fit(rows_file, tokenizer, config, kept)
    else:
        average([kept.file(BEGINNING)], kept.file(FIT))
    put_aside = digest(corpus, public & aside)
    card = {
        "format": deep.FORMAT,
        "classes": list(deep.CLASSES),
        "layers": config.layers,
        "heads": HEADS,
        "aside": put_aside,
    }
    weights = kept.load(FIT)
    assert weights is not None
    plain_file = kept.file("plain")
    if not plain_file.exists():
        rng = np.random.default_rng(config.seed + 4)
        part = np.where(document, head.DOCUMENT, 0) + np.where(synthesis.is_task(corpus.source), head.TASK, 0)
        part = part.astype(np.int32)
        selection.plain(corpus, public, part, ~aside, chunks, logits[:, ATTACK], tokenizer, rng).write(plain_file)
    weights |= _head(weights, {"rows": rows, "plain": Rows.read(plain_file)}, tokenizer, card, config, kept, say)
    packed = _pack(weights, tokenizer, card)
    margins = kept.load("margins")
    if margins is None:
        margin = np.full(len(corpus), -np.inf, np.float32)
        mine = _asked(corpus, public & aside, config)
        say(f"encoder: judging {counted(len(mine), 'text')} it never saw")
        margin[mine] = _scores(Deep.unpack(FIT, packed), chunks, logits, mine, stages)
        kept.save("margins", {"margin": margin})
    else:
        margin = margins["margin"]
    return packed, margin, put_aside


def _begun(folder: Path, earlier: Deep | None, chunks: list[Chunk], config: TrainConfig, kept: Folder) -> Tokenizer:
    # The pieces that the text of ``chunks`` needs, or those of an earlier encoder, and the weights fits begin with.
    pieces = kept.load(PIECES)
    if pieces is None and earlier:
        # The body alone: its head is laid over it again when all else is done.
        body = {name: array for name, array in earlier.weights.items() if not name.startswith("head.")}
        kept.save(BEGINNING, body)
        _keep(earlier.tokenizer, kept)
        return earlier.tokenizer
    if pieces is None:
        original = pretrained.Pretrained.read(folder / pretrained.FILE)
        everything, counts = original.tokenizer(), np.zeros(len(original.pieces), np.int64)
        for chunk in chunks:
            texts = deep.texts_of(*chunk.pieces.take(np.arange(len(chunk.pieces))))
            for ids in everything.pieces(texts):
                np.add.at(counts, ids, 1)
        chosen = original.vocabulary(counts)
        kept.save(BEGINNING, original.weights(chosen, range(config.layers)))
        tokenizer = original.tokenizer(chosen)
        _keep(tokenizer, kept)
        return tokenizer
    return Tokenizer(pieces["vocabulary"].tobytes(), pieces["scores"])


def _keep(tokenizer: Tokenizer, kept: Folder) -> None:
    vocabulary = np.frombuffer(tokenizer.vocabulary, np.uint8)
    kept.save(PIECES, {"vocabulary": vocabulary, "scores": tokenizer.scores})


def _fit(rows: Path, tokenizer: Tokenizer, config: TrainConfig, kept: Folder) -> None:
    # Fits from one beginning run side by side, a process each, and share the threads; what ships is their mean.
    fits = [kept.file(f"{FIT}-{place}") for place in range(config.deep_fits)]
    threads = max((os.cpu_count() or 1) // config.deep_fits, 1)
    if kept.file(FIT).exists():
        return
    mask = tokenizer.vocabulary.decode().split("\n").index(pretrained.MASK)
    with processes(config.deep_fits) as pool:
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
            jobs.append(pool.submit(finetune, rows, kept.file(BEGINNING), file, settings, threads=threads))
        for job in jobs:
            job.result()
    average(fits, kept.file(FIT))


def digest(corpus: Corpus, rows: npt.NDArray[np.bool_]) -> str:
    """Which texts ``rows`` bool (N,) are, in any order: 16 signs that are equal for the same texts."""
    found = sorted(hashlib.sha256(corpus.texts.raw(int(row))).digest() for row in np.flatnonzero(rows))
    return hashlib.sha256(b"".join(found)).hexdigest()[:16]


def processes(count: int) -> ProcessPoolExecutor:
    """``count`` processes, begun anew and not forked, that end with this one, however it ends."""
    return ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
    )


def _asked(corpus: Corpus, unseen: npt.NDArray[np.bool_], config: TrainConfig) -> npt.NDArray[np.int64]:
    # All attacks, and of benign text a part by source: the encoder is slow and tails need thousands, not all.
    rng = np.random.default_rng(config.seed + 3)
    attacks = np.flatnonzero(unseen & (corpus.label == 1) & (corpus.threat != "harmful_request"))
    benign = selection.by_source(
        corpus.source, np.flatnonzero(unseen & (corpus.label == 0)), config.calibration_rows, rng
    )
    return np.sort(np.concatenate([attacks, benign]))


def _scores(encoder: Deep, chunks: list[Chunk], logits: F32, rows: npt.NDArray[np.int64], stages: StageScores) -> F32:
    out = np.full(len(stages.untrusted), -np.inf, np.float32)
    first = 0
    for chunk in chunks:
        last = first + len(chunk.pieces)
        mine = rows[(rows >= chunk.first_row) & (rows < chunk.first_row + len(chunk.channels))] - chunk.first_row
        these = slice(chunk.first_row, chunk.first_row + len(chunk.channels))
        untrusted, units, said = stages.untrusted[these], stages.units[these], logits[first:last]
        marked = gray.marked(chunk.views, chunk.pieces, said, chunk.matches.margin, chunk.found, mine)
        window = gray.windows(chunk.pieces, said, mine, untrusted, marked)
        for part in _whole_rows(window, chunk.pieces.row[window]):
            margin = gray.judge(encoder, chunk.pieces, part, untrusted, units, threads=os.cpu_count() or 1)
            np.maximum.at(out, chunk.pieces.row[part] + chunk.first_row, margin[:, 0])
        first = last
    return out[rows]


def _whole_rows(window: npt.NDArray[np.int64], row: npt.NDArray[np.integer[Any]]) -> Iterator[npt.NDArray[np.int64]]:
    """``window`` int64 (D,) in runs of about BATCH_WINDOWS that leave the windows of a ``row`` (D,) together."""
    first = np.flatnonzero(np.diff(row, prepend=-1))
    run = first // BATCH_WINDOWS
    yield from np.split(window, first[1:][np.diff(run) > 0]) if len(window) else ()


def _head(
    weights: dict[str, F32],
    chosen: dict[str, Rows],
    tokenizer: Tokenizer,
    card: dict[str, object],
    config: TrainConfig,
    kept: Folder,
    say: Say,
) -> dict[str, F32]:
    # The head over the states of the encoder as it is kept, int8.
    found = kept.load(HEAD)
    if found is not None:
        return found
    width = weights["word"].shape[1] * min(config.deep_pooled, config.layers)
    blank = {"head.weight": np.zeros((width, len(deep.CLASSES)), np.float32), "head.bias": np.zeros(3, np.float32)}
    encoder = Deep.unpack(FIT, _pack({**weights, **blank}, tokenizer, card))
    states = []
    for name, rows in chosen.items():
        for first in range(0, len(rows.label), PART_WINDOWS):
            part = f"states-{name}-{first // PART_WINDOWS}"
            found = kept.load(part)
            if found is None:
                last = min(first + PART_WINDOWS, len(rows.label))
                say(f"encoder: states of {name}, windows {first + 1:,} to {last:,}")
                pieces = [rows.tokens[rows.offsets[k] : rows.offsets[k + 1]].tolist() for k in range(first, last)]
                pooled = encoder.pooled(pieces, rows.untrusted[first:last], threads=os.cpu_count() or 1)
                found = {"states": pooled.astype(np.float16)}
                kept.save(part, found)
            states.append(found["states"])
    label, source = (np.concatenate([getattr(rows, key) for rows in chosen.values()]) for key in ("label", "source"))
    count = head.counts(label, source)
    fitted = head.fit(np.concatenate(states), label, count, len(deep.CLASSES), config.deep_penalty)
    kept.save(HEAD, fitted)
    return fitted


def _pack(weights: dict[str, F32], tokenizer: Tokenizer, card: dict[str, object]) -> bytes:
    shapes = {key: array.shape for key, array in weights.items()}
    layers = card["layers"]
    assert isinstance(layers, int)
    skeleton = graph.build(shapes, layers=layers, heads=HEADS)
    arrays = {
        **deep.quantised(weights),
        "graph": np.frombuffer(skeleton, np.uint8),
        "vocabulary": np.frombuffer(tokenizer.vocabulary, np.uint8),
        "piece.scores": tokenizer.scores,
        "card": np.frombuffer(json.dumps(card, sort_keys=True).encode(), np.uint8),
    }
    return data.pack(arrays)
