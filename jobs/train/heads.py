"""The linear heads of the classifier: who is positive and negative in each, how much a row counts, and the fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect.classifier import FIRST_TYPE, HEADS, TYPES
from aimds.jobs.corpus import Corpus
from aimds.jobs.train import work
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.windows import Features
from aimds.learn import linear
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS

F32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

UNTRUSTED = tuple(CHANNELS.index(name) for name in UNTRUSTED_CHANNELS)


@dataclass(slots=True)
class Heads:
    """Float weights (F, H) and bias (H,) of one fit."""

    weights: F32
    bias: F32


def logits_of(features: Features, heads: Heads) -> F32:
    """Scores of every window in every head, float32 (W, H)."""
    scale = np.ones(len(HEADS), np.float32)
    return kernels.linear(
        features.indptr, features.indices, features.counts, heads.weights, scale, features.idf, heads.bias
    )


def out_of_fold(
    corpus: Corpus,
    fold: npt.NDArray[np.int64],
    features: Features,
    config: TrainConfig,
    kept: work.Folder,
    name: str,
    say: Say,
) -> tuple[F32, Heads]:
    """Scores of every window, float32 (W, H), by heads that left out its ``fold`` int64 (N,), and the heads fitted on
    everything. Fits are kept as parts that begin with ``name``."""
    logits = np.zeros((len(features.row), len(HEADS)), np.float32)
    last = config.folds

    def one(held_out: int) -> Heads:
        part = name if held_out == last else f"{name}-{held_out + 1}"
        arrays = kept.load(part)
        if arrays is None:
            fitted = fit(corpus, features, fold != held_out, config, say, part)
            kept.save(part, {"weights": fitted.weights, "bias": fitted.bias})
        else:
            fitted = Heads(arrays["weights"], arrays["bias"])
        rows = np.flatnonzero(fold[features.row] == held_out)
        if held_out == last:  # texts in no fold are in every fit; they are judged by none
            rows = np.flatnonzero(fold[features.row] < 0)
        logits[rows] = logits_of(features, fitted)[rows]
        return fitted

    with ThreadPoolExecutor(max_workers=min(config.folds, os.cpu_count() or 1)) as pool:
        *_, final = pool.map(one, range(last + 1))
    return logits, final


def fit(
    corpus: Corpus, features: Features, keep: npt.NDArray[np.bool_], config: TrainConfig, say: Say, name: str
) -> Heads:
    """Heads fitted on the rows ``keep`` bool (N,)."""
    targets, row_costs = _targets(corpus, keep, config)
    row = features.row
    per_row = np.bincount(row, minlength=len(corpus)).astype(np.float32)
    window_targets = targets[row]
    base = row_costs[row]
    share = (1.0 / np.sqrt(per_row[row])).astype(np.float32)[:, None]
    costs = (base * share).astype(np.float32)
    heads = Heads(np.zeros((len(features.idf), len(HEADS)), np.float32), np.zeros(len(HEADS), np.float32))
    for turn in range(config.rounds):
        last = turn == config.rounds - 1  # the rounds before it only choose windows
        if turn:
            costs = _choose(features, heads, window_targets, base, share, per_row)
        # The type heads see attacks only, so they are fitted apart from those that also see all benign text; they do
        # not choose windows.
        groups = (slice(0, FIRST_TYPE), slice(FIRST_TYPE, len(HEADS)))
        parts = [
            linear.fit(
                features.indptr,
                features.indices,
                features.data,
                np.ascontiguousarray(window_targets[:, group]),
                np.ascontiguousarray(costs[:, group]),
                features=len(features.idf),
                max_epochs=config.max_epochs if last else config.max_epochs // 4,
                tolerance=config.tolerance,
                seed=config.seed,
            )
            for group in (groups if last else groups[:1])
        ]
        heads = Heads(
            np.concatenate([part.weights for part in parts], axis=1), np.concatenate([part.bias for part in parts])
        )
        if not last:  # the type heads come with the last round
            more = len(HEADS) - FIRST_TYPE
            heads = Heads(np.pad(heads.weights, ((0, 0), (0, more))), np.pad(heads.bias, (0, more)))
        say(f"{name}: round {turn + 1}/{config.rounds}, {parts[0].epochs} epochs, gap {parts[0].gap:.3f}")
    return heads


def _choose(
    features: Features,
    heads: Heads,
    targets: npt.NDArray[np.int8],
    base: F32,
    share: F32,
    per_row: F32,
) -> F32:
    # Multiple-instance choice: of a long attack, its highest window and those that clearly look like one are positive;
    # the rest is ordinary text around it and is left out. Every window of a benign text stays a negative.
    logits = logits_of(features, heads)
    costs = (base * share).astype(np.float32)
    for head in range(FIRST_TYPE):
        top = np.full(len(per_row), -np.inf, np.float32)
        np.maximum.at(top, features.row, logits[:, head])
        chosen = (logits[:, head] >= top[features.row]) | (logits[:, head] > 0.5)
        positive = targets[:, head] > 0
        costs[positive & ~chosen, head] = 0.0
        if head == 0:
            costs[positive & ~chosen, FIRST_TYPE:] = 0.0
    return costs


def _targets(corpus: Corpus, keep: npt.NDArray[np.bool_], config: TrainConfig) -> tuple[npt.NDArray[np.int8], F32]:
    # Rows that do not belong to a head have cost 0 there: harmful asks are neither attack nor benign, and the type
    # heads only ever tell attacks apart.
    attack = (corpus.label == 1) & (corpus.threat != "harmful_request")
    harmful = corpus.threat == "harmful_request"
    benign = corpus.label == 0
    planted = attack & np.isin(corpus.channel, UNTRUSTED)
    members = [(attack, benign), (planted, benign), (harmful, benign)]
    typed = attack & np.isin(corpus.threat, TYPES)
    members += [(corpus.threat == name, typed & (corpus.threat != name)) for name in TYPES]
    targets = -np.ones((len(corpus), len(HEADS)), np.int8)
    costs = np.zeros((len(corpus), len(HEADS)), np.float32)
    for head, (positive, negative) in enumerate(members):
        targets[positive, head] = 1
        for side in (positive & keep, negative & keep):
            weight = balanced(corpus.source, side)
            costs[:, head] += config.cost * weight
    return targets, costs


def balanced(source: npt.NDArray[np.object_], rows: npt.NDArray[np.bool_]) -> F32:
    """Weights float32 (N,), 0 outside ``rows``: a source counts by the root of its size, the mean is 1."""
    weight = np.zeros(len(source), np.float32)
    if rows.any():
        _, inverse, counts = np.unique(source[rows].astype(str), return_inverse=True, return_counts=True)
        raw = 1.0 / np.sqrt(counts[inverse])
        weight[rows] = raw / raw.mean()
    return weight
