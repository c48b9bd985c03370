"""Train the classifier and calibrate all stages: labelled text in, ``model.npz`` with its card and ``bank.npz`` out.

The order is fixed: folds by source, pattern thresholds and features, out-of-fold scores (each source judged by a model
and by thresholds that never saw it), benign tails and calibration from those scores, then the final fit on everything.
The same data, config and seed give the same files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import aimds
from aimds import data, kernels
from aimds.detect import fusion, tail
from aimds.detect.classifier import FIRST_TYPE, HEADS, TYPES, Classifier, quantise
from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows, windows
from aimds.detect.normalize import Views, normalize
from aimds.detect.patterns import Bank, Matches, thresholds
from aimds.detect.pii import Pii
from aimds.detect.rules import Rules
from aimds.detect.stages import Detector
from aimds.errors import ConfigError, DataError
from aimds.jobs import corpus as corpora
from aimds.jobs import model_card, synthesis
from aimds.jobs.corpus import Corpus
from aimds.learn import linear
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS

F32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

CHUNK_ROWS = 4096
UNTRUSTED = tuple(CHANNELS.index(name) for name in UNTRUSTED_CHANNELS)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train.

    ``bits``: 2 ** bits hashed features · ``bank_texts``: benign texts that set the thresholds of the patterns ·
    ``pairs``: times each pattern of the bank stands beside a benign text among the training texts · ``cost``: penalty
    C of a mean row · ``folds``: groups of sources for out-of-fold scores · ``rounds``: passes of choosing the windows
    that make a long attack one (multiple-instance learning) · ``max_epochs``, ``tolerance``: when a fit stops ·
    ``hard_share``: share of benign_hard text in the traffic the tails are calibrated for · ``document_share``: share
    of the benign documents at hand in the traffic of tools and documents · ``prevalence``: share of attacks at which
    the score is a probability.
    """

    bits: int = 19
    bank_texts: int = 40_000
    pairs: int = 3
    cost: float = 2.0
    folds: int = 5
    rounds: int = 2
    max_epochs: int = 40
    tolerance: float = 0.05
    hard_share: float = 0.02
    document_share: float = 0.05
    prevalence: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 10 <= self.bits <= 24:
            raise ConfigError("bits", self.bits, "10 to 24")
        if not 0 < self.cost < 1e6:
            raise ConfigError("cost", self.cost, "a positive number")
        if not 2 <= self.folds <= 20:
            raise ConfigError("folds", self.folds, "2 to 20")
        if not 0 < self.prevalence < 1:
            raise ConfigError("prevalence", self.prevalence, "a share between 0 and 1")
        if not 0 <= self.hard_share < 1:
            raise ConfigError("hard_share", self.hard_share, "a share from 0 to below 1")


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


@dataclass(slots=True)
class Heads:
    """Float weights (F, H) and bias (H,) of one fit."""

    weights: F32
    bias: F32


def train(corpus: Corpus, config: TrainConfig, say: Say = lambda text: None) -> tuple[Classifier, Bank]:
    """A classifier and a pattern bank fitted on ``corpus`` and calibrated out of fold by source.

    Raises:
        DataError: the corpus lacks attacks or benign text, or has fewer sources than folds.
    """
    sources = np.unique(corpus.source.astype(str))
    if len(sources) < config.folds:
        raise DataError(corpus.name, f"has {len(sources)} sources; leave-sources-out needs at least {config.folds}")
    if not 0 < corpus.label.sum() < len(corpus):
        raise DataError(corpus.name, "needs both attacks (label 1) and benign text (label 0)")
    rules, pii = Rules.load(), Pii.load()
    fold = corpora.folds(corpus.source, corpus.label, config.folds)
    rng = np.random.default_rng(config.seed)
    corpus, fold = synthesis.with_own(corpus, fold, Bank.load(calibrated=False), rng, pairs=config.pairs)
    public = ~synthesis.is_own(corpus.source)
    order = np.argsort(fold, kind="stable")
    corpus, fold, public = corpus.take(order), fold[order], public[order]
    say(f"{len(corpus):,} texts of {len(sources)} sources; normalising, matching")
    bank, chunks = _chunks(corpus, fold, rules, config)
    features = _features(chunks, config)
    say(f"{len(features.row):,} windows, {len(features.indices):,} features")

    logits = np.zeros((len(features.row), len(HEADS)), np.float32)
    final = config.folds

    def fit(held_out: int) -> Heads:
        name = "final" if held_out == final else f"fold {held_out + 1}/{config.folds}"
        fitted = _fit(corpus, features, fold != held_out, config, say, name)
        if held_out != final:
            rows = np.flatnonzero(fold[features.row] == held_out)
            logits[rows] = _logits(features, fitted)[rows]
        return fitted

    with ThreadPoolExecutor(max_workers=min(config.folds, os.cpu_count() or 1)) as pool:
        *_, heads = pool.map(fit, range(final + 1))

    empty = Classifier(
        bits=config.bits,
        weights=np.zeros((1, len(HEADS)), np.int8),
        scale=np.ones(len(HEADS), np.float32),
        idf=features.idf,
        bias=np.zeros(len(HEADS), np.float32),
        tails={},
        card={"calibration": {"slope": 1.0, "intercept": 0.0}},
        version="",
    )
    stages = _stage_scores(chunks, Detector(rules, pii, bank, empty), logits)
    benign = (corpus.label == 0) & public
    weights = _benign_weights(corpus, benign & ~stages.untrusted, config)
    untrusted = _untrusted_weights(weights, benign & stages.untrusted, config)
    tails = {
        name: tail.fit(scores[benign], weight[benign])
        for name, scores, weight in (
            ("attack", stages.attack, weights),
            ("attack.untrusted", stages.attack, untrusted),
            ("indirect", stages.indirect, untrusted),
            ("harmful", stages.harmful, weights),
            ("patterns", stages.margin, weights),
        )
    }
    tails["rules"] = _counted(stages.rules.max(axis=1)[benign], weights[benign])
    calibrated = dataclasses.replace(empty, tails=tails)
    stages = _stage_scores(chunks, Detector(rules, pii, bank, calibrated), logits)
    fused = fusion.fuse(calibrated, stages)
    calibration = _calibrate(corpus, public, fused.p_value, weights, config.prevalence)
    report = _out_of_fold(corpus, public, fused, weights)
    say("out-of-fold by source, at p <= 0.01: " + json.dumps(report["macro"]))

    int8, scale = quantise(heads.weights)
    card = _card(corpus, config, calibration, report, bank, rules)
    return dataclasses.replace(calibrated, weights=int8, scale=scale, bias=heads.bias, card=card), bank


def write(model: Classifier, bank: Bank, folder: Path) -> None:
    """Write model.npz, bank.npz, model_card.md and their manifest into ``folder``; each appears whole or not."""
    contents = {
        "model.npz": data.pack(model.pack()),
        "bank.npz": thresholds.pack(bank.limits, bank.version),
        "model_card.md": model_card.render(model.card).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    data.seal(folder)


def _chunks(corpus: Corpus, fold: npt.NDArray[np.int64], rules: Rules, config: TrainConfig) -> tuple[Bank, list[Chunk]]:
    # Rows come sorted by fold. A fold's rows are matched with thresholds learnt from the other folds: on the texts they
    # were learnt from, patterns raise no false alarm by construction.
    bare = Bank.load(calibrated=False)
    chunks = []
    for held_out in range(-1, config.folds):
        bank = bare.calibrated(_benign_texts(corpus, fold != held_out, config))
        first, last = (int(place) for place in np.searchsorted(fold, [held_out, held_out + 1]))
        for start in range(first, last, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, last)
            texts, channels = corpus.texts.slice(start, stop), corpus.channel[start:stop]
            views = normalize(texts.values, texts.offsets)
            pieces = windows(views)
            found = rules.scan((texts.values, texts.offsets), views, channels)
            chunks.append(Chunk(start, channels, views, pieces, bank.match(pieces), found))
    return bare.calibrated(_benign_texts(corpus, np.ones(len(fold), np.bool_), config)), chunks


def _benign_texts(corpus: Corpus, keep: npt.NDArray[np.bool_], config: TrainConfig) -> list[str]:
    rows = np.flatnonzero(keep & (corpus.label == 0))
    rng = np.random.default_rng(config.seed)
    chosen = np.sort(rng.permutation(rows)[: config.bank_texts])
    return [corpus.texts.raw(int(row)).decode("utf-8", "replace") for row in chosen]


def _features(chunks: list[Chunk], config: TrainConfig) -> Features:
    parts = [kernels.ngram_hash(c.pieces.values, c.pieces.offsets, bits=config.bits) for c in chunks]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part[0]) for part in parts]))]).astype(np.int64)
    indices = np.concatenate([part[1] for part in parts])
    counts = np.concatenate([part[2] for part in parts])
    documents = len(indptr) - 1
    frequency = np.bincount(indices, minlength=1 << config.bits)
    idf = np.where(frequency > 0, np.log((1 + documents) / (1 + frequency)) + 1.0, 1.0)
    idf = idf.astype(np.float16).astype(np.float32)
    data = (1.0 + np.log(counts)) * idf[indices]
    squares = np.concatenate([[0.0], np.cumsum(data.astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(squares[indptr[1:]] - squares[indptr[:-1]], 1e-12))
    data = (data / np.repeat(norms, np.diff(indptr))).astype(np.float32)
    row = np.concatenate([c.pieces.row.astype(np.int64) + c.first_row for c in chunks])
    written = np.concatenate([c.views.depths[c.pieces.view] == 0 for c in chunks])
    return Features(indptr, indices, counts, data, idf, row, written)


def _logits(features: Features, heads: Heads) -> F32:
    scale = np.ones(len(HEADS), np.float32)
    return kernels.linear(
        features.indptr, features.indices, features.counts, heads.weights, scale, features.idf, heads.bias
    )


def _fit(
    corpus: Corpus, features: Features, keep: npt.NDArray[np.bool_], config: TrainConfig, say: Say, name: str
) -> Heads:
    targets, row_costs = _targets(corpus, keep, config)
    row = features.row
    per_row = np.bincount(row, minlength=len(corpus)).astype(np.float32)
    window_targets = targets[row]
    base = row_costs[row]
    share = (1.0 / np.sqrt(per_row[row])).astype(np.float32)[:, None]
    costs = (base * share).astype(np.float32)
    heads = Heads(np.zeros((1 << config.bits, len(HEADS)), np.float32), np.zeros(len(HEADS), np.float32))
    for turn in range(config.rounds):
        if turn:
            costs = _choose(features, heads, window_targets, base, share, per_row)
        # The type heads see attacks only, so they are fitted apart from those that also see all benign text.
        parts = [
            linear.fit(
                features.indptr,
                features.indices,
                features.data,
                np.ascontiguousarray(window_targets[:, group]),
                np.ascontiguousarray(costs[:, group]),
                features=1 << config.bits,
                max_epochs=config.max_epochs,
                tolerance=config.tolerance,
                seed=config.seed,
            )
            for group in (slice(0, FIRST_TYPE), slice(FIRST_TYPE, len(HEADS)))
        ]
        heads = Heads(
            np.concatenate([part.weights for part in parts], axis=1), np.concatenate([part.bias for part in parts])
        )
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
    logits = _logits(features, heads)
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
            weight = _balanced(corpus.source, side)
            costs[:, head] += config.cost * weight
    return targets, costs


def _balanced(source: npt.NDArray[np.object_], rows: npt.NDArray[np.bool_]) -> F32:
    # A source counts by the square root of its size; the mean weight of the chosen rows is 1.
    weight = np.zeros(len(source), np.float32)
    if rows.any():
        _, inverse, counts = np.unique(source[rows].astype(str), return_inverse=True, return_counts=True)
        raw = 1.0 / np.sqrt(counts[inverse])
        weight[rows] = raw / raw.mean()
    return weight


def _benign_weights(corpus: Corpus, benign: npt.NDArray[np.bool_], config: TrainConfig) -> npt.NDArray[np.float64]:
    hard = benign & (corpus.category == "benign_hard")
    weights = np.zeros(len(corpus))
    for rows, share in ((benign & ~hard, 1.0 - config.hard_share), (hard, config.hard_share)):
        balanced = _balanced(corpus.source, rows).astype(np.float64)
        if balanced.sum() > 0:
            weights += balanced * (share / balanced.sum())
    return weights


def _untrusted_weights(
    ordinary: npt.NDArray[np.float64], documents: npt.NDArray[np.bool_], config: TrainConfig
) -> npt.NDArray[np.float64]:
    # Tool and document text is ordinary text as well; the few benign documents a corpus holds are a stated part of it.
    if not documents.any():
        return ordinary
    share = config.document_share
    return np.asarray(ordinary * (1.0 - share) + documents * (share / documents.sum()), np.float64)


def _counted(scores: F32, weights: npt.NDArray[np.float64]) -> tail.Tail:
    # Signatures take few values and hardly ever fire on benign text, so there is no tail to model: the p-value of a
    # strength is the benign share at or above it, with half a text added for those not seen.
    size = tail.effective_size(weights)
    share = weights / weights.sum()
    values = np.unique(np.concatenate([[0.0], np.round(scores[scores > 0].astype(np.float64), 6), [1.0]]))
    at_or_above = np.array([share[scores >= value - 1e-6].sum() for value in values])
    survival = np.minimum((at_or_above * size + 0.5) / (size + 0.5), 1.0)
    return tail.Tail(values, survival, rate=float(survival[-1]), shape=0.0, scale=1.0, size=size)


def _stage_scores(chunks: list[Chunk], detector: Detector, logits: F32) -> fusion.StageScores:
    parts, first = [], 0
    for chunk in chunks:
        last = first + len(chunk.pieces)
        parts.append(
            detector.combine(chunk.views, chunk.pieces, logits[first:last], chunk.matches, chunk.found, chunk.channels)[
                0
            ]
        )
        first = last
    names = [field.name for field in dataclasses.fields(fusion.StageScores)]
    return fusion.StageScores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _calibrate(
    corpus: Corpus,
    public: npt.NDArray[np.bool_],
    p_value: npt.NDArray[np.float64],
    benign_weights: npt.NDArray[np.float64],
    prevalence: float,
) -> dict[str, float]:
    # Logistic regression of attack on -log10 p by Newton's method, classes weighted to the stated prevalence.
    attack = (corpus.label == 1) & (corpus.threat != "harmful_request") & public
    attack_weights = _balanced(corpus.source, attack).astype(np.float64)
    weights = (
        benign_weights / benign_weights.sum() * (1 - prevalence) + attack_weights / attack_weights.sum() * prevalence
    )
    x = np.stack([np.minimum(-np.log10(p_value), 6.0), np.ones(len(p_value))], axis=1)
    theta = np.array([1.0, -4.0])
    for _ in range(100):
        probability = 1.0 / (1.0 + np.exp(-(x @ theta)))
        gradient = x.T @ (weights * (probability - attack))
        curvature = (x * (weights * probability * (1 - probability))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        theta -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return {"slope": float(max(theta[0], 0.05)), "intercept": float(theta[1]), "prevalence": prevalence}


def _out_of_fold(
    corpus: Corpus, public: npt.NDArray[np.bool_], fused: fusion.Fused, benign_weights: npt.NDArray[np.float64]
) -> dict[str, Any]:
    flagged = {"0.001": fused.p_value <= 0.001, "0.01": fused.p_value <= 0.01}
    rows: list[dict[str, Any]] = []
    for source in np.unique(corpus.source[public].astype(str)):
        mine = corpus.source == source
        for label in (0, 1):
            chosen = mine & (corpus.label == label) & (corpus.threat != "harmful_request")
            if chosen.any():
                rates = {p: round(float(hit[chosen].mean()), 4) for p, hit in flagged.items()}
                rows.append({"source": str(source), "label": label, "n": int(chosen.sum()), **rates})
    attacks = [row for row in rows if row["label"] == 1 and row["n"] >= 50]
    macro = {p: round(float(np.mean([row[p] for row in attacks])), 4) for p in flagged} if attacks else {}
    false_alarms = {p: round(float(np.sum(benign_weights * hit)), 5) for p, hit in flagged.items()}
    return {"macro": {"detection": macro, "false_alarms": false_alarms, "sources": len(attacks)}, "sources": rows}


def _card(
    corpus: Corpus, config: TrainConfig, calibration: dict[str, float], report: dict[str, Any], bank: Bank, rules: Rules
) -> dict[str, Any]:
    names, counts = np.unique(corpus.source.astype(str), return_counts=True)
    digest = hashlib.sha256(corpus.texts.values.tobytes() + corpus.texts.offsets.tobytes()).hexdigest()
    return {
        "engine": aimds.__version__,
        "config": dataclasses.asdict(config),
        "calibration": calibration,
        "rows": len(corpus),
        "attacks": int((corpus.label == 1).sum()),
        "data_sha256": digest,
        "sources": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "licences": {str(name): corpus.licences.get(name, "") for name in names},
        "out_of_fold": report,
        "bank": bank.version,
        "rules": rules.version,
    }
