"""Train the classifier and the encoder and calibrate all stages: labelled text in, the artefacts of a model out.

The order is fixed: folds by source, pattern thresholds and features, out-of-fold scores (each source judged by heads
and by thresholds that never saw it; what an encoder was never shown judged by it), benign tails and calibration from
those scores, and the fits on everything. The same data, config and seed give the same files on one kind of processor.
What takes long is kept in a work folder as soon as it is done, and the same call goes on from there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import fusion
from aimds.detect.classifier import HEADS, MODEL, Classifier, quantise
from aimds.detect.deep import DEEP, Deep
from aimds.detect.patterns import Bank, thresholds
from aimds.detect.pii import Pii
from aimds.detect.reference import REFERENCE, Reference
from aimds.detect.rules import Rules
from aimds.detect.stages import Detector
from aimds.errors import ArtefactError, ConfigError, DataError
from aimds.jobs import concepts as lists
from aimds.jobs import corpus as corpora
from aimds.jobs import model_card
from aimds.jobs.corpus import Corpus
from aimds.jobs.deep import selection
from aimds.jobs.deep.pretrained import MASK, file_of
from aimds.jobs.train import concepts, encoder, heads, outcome, synthesis, tails, windows, work
from aimds.jobs.train.config import FEWEST_BENIGN, TrainConfig
from aimds.printable import counted

__all__ = ["TrainConfig", "Trained", "train", "write"]

Say = Callable[[str], None]
BANK = "bank.npz"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model: the linear heads with all tails and the card, the bank's thresholds, ordinary text as hashed n-grams to
    hold exemplars against, and the encoder's file, if any."""

    model: Classifier
    bank: Bank
    reference: Reference
    deep: bytes | None


def train(
    corpus: Corpus,
    config: TrainConfig,
    folder: Path,
    *,
    pretrained: Path | None = None,
    say: Say = lambda text: None,
) -> Trained:
    """A model fitted on ``corpus`` and calibrated out of fold by source.

    Args:
        folder: where finished parts are kept until the whole is done, in a folder of their own; another corpus, config
            or pretrained encoder starts anew there.
        pretrained: folder of the pretrained encoder (`aimds.jobs.deep.pretrained`) or of an earlier model, whose
            encoder learns further; needed unless ``layers`` is 0. Where it put other text aside than is put aside now,
            it may have learnt from some of that, and the card says so.

    Raises:
        ConfigError: an encoder is wanted and ``pretrained`` is not given, or has another number of layers.
        ArtefactError: ``pretrained`` lacks a file, or holds an encoder that cannot learn further.
        DataError: the corpus lacks attacks that manipulate or benign text, or has fewer sources than folds.
    """
    if config.layers and pretrained is None:
        raise ConfigError("pretrained", None, "a folder with the pretrained encoder, or layers = 0 for no deep stage")
    used = pretrained if config.layers else None
    earlier = _earlier(used, config)
    sources = np.unique(corpus.source.astype(str))
    if len(sources) < config.folds:
        raise DataError(corpus.name, f"has {len(sources)} sources; leave-sources-out needs at least {config.folds}")
    if not 0 < corpus.label.sum() < len(corpus):
        raise DataError(corpus.name, "needs both attacks (label 1) and benign text (label 0)")
    _check_public(corpus, config)
    rules = Rules.load()
    if config.leave_out == "row":
        fold = corpora.row_folds(len(corpus), config.folds, config.seed)
    else:
        fold = corpora.folds(corpus.source, corpus.label, config.folds)
    corpus, fold = synthesis.with_own(corpus, fold, Bank.load(calibrated=False), config)
    order = np.argsort(fold, kind="stable")
    corpus, fold = corpus.take(order), fold[order]
    public = ~synthesis.is_own(corpus.source)
    files = [file_of(used)] if used else []
    kept = work.Folder(folder, corpus, config, files)
    say(f"{counted(len(corpus), 'text')} of {len(sources)} public sources and our own; normalising, matching")
    bank, chunks = windows.chunks(corpus, fold, rules, config)
    features = windows.features_of(chunks, config)
    say(f"{len(features.row):,} windows, {len(features.indices):,} features")

    logits, final = heads.out_of_fold(corpus, fold, features, config, kept, "linear", say)
    untrusted = np.isin(corpus.channel, heads.UNTRUSTED)
    seen = concepts.windows(chunks, lists.load(), features)
    meaning, logits = concepts.fit(corpus, fold, public, seen, logits, untrusted, config, kept, say)
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
    detector = Detector(rules, Pii.load(), bank, empty)
    stages = windows.stage_scores(chunks, detector, logits)
    deep, put_aside = None, ""
    if used:
        deep, stages.deep, put_aside = encoder.train(
            corpus, fold, public, chunks, logits, stages, config, used, earlier, kept, say
        )

    calibrated = dataclasses.replace(empty, tails=tails.fit(corpus, public, stages, config))
    stages = windows.with_tails(chunks, dataclasses.replace(detector, classifier=calibrated), logits, stages)
    # The encoder judged a part of the rows only; what the score means is measured on all, without it.
    before = fusion.fuse(calibrated, dataclasses.replace(stages, deep=None)).p_value
    weights = tails.benign_weights(corpus, public & (corpus.label == 0) & ~stages.untrusted, config)
    calibration = tails.calibrate(corpus, public, before, weights, config.prevalence)
    if stages.deep is not None:
        more = tails.fit_joint(corpus, public, stages, before, config)
        calibrated = dataclasses.replace(calibrated, tails={**calibrated.tails, **more})
    judged = public & (np.isfinite(stages.deep) if stages.deep is not None else True)
    report = outcome.out_of_fold(corpus, public, judged, calibrated, stages, config)
    say("out of fold by source, at p <= 0.01 and 0.001: " + str(report["macro"]["detection"]))

    int8, scale = quantise(final.weights)
    card = outcome.card(corpus, config, calibration, report, bank, rules) | {"concepts": seen.lexicon.counts()}
    if earlier:
        same = earlier.card.get("aside") == put_aside
        card["deep_from"], card["deep_same_aside"] = earlier.version, same
        if not same:
            say("the earlier encoder may have learnt from text that was put aside now: its figures may be too good")
    model = dataclasses.replace(calibrated, weights=int8, scale=scale, bias=final.bias, card=card, concepts=meaning)
    unseen = None if stages.deep is None else np.isfinite(stages.deep)
    say("ordinary texts, to hold what is taught later against")
    return Trained(model, bank, _reference(corpus, public, unseen, model, deep, config), deep)


def _earlier(folder: Path | None, config: TrainConfig) -> Deep | None:
    if folder is None or (file := file_of(folder)).name != DEEP:
        if folder is not None and not config.deep_steps:
            raise ConfigError("deep_steps", 0, "at least 1: there is no earlier encoder to keep")
        return None
    found = Deep.load(file)
    layers = found.card.get("layers")
    if layers != config.layers:
        raise ConfigError("layers", config.layers, f"{layers}, as the encoder in {folder} has")
    if MASK not in found.tokenizer.vocabulary.decode().split("\n"):
        raise ArtefactError(file, f"has a vocabulary without {MASK}; it cannot learn further")
    return found


def write(trained: Trained, folder: Path) -> None:
    """Write the artefacts, the model card and their manifest into ``folder``; each appears whole or not."""
    contents = {
        MODEL: data.pack(trained.model.pack()),
        BANK: thresholds.pack(trained.bank.limits, trained.bank.version),
        REFERENCE: trained.reference.pack(),
        "model_card.md": model_card.render(trained.model.card).encode(),
    }
    if trained.deep is not None:
        contents[DEEP] = trained.deep
    data.write(folder, contents)


def _reference(
    corpus: Corpus,
    public: npt.NDArray[np.bool_],
    unseen: npt.NDArray[np.bool_] | None,
    model: Classifier,
    deep: bytes | None,
    config: TrainConfig,
) -> Reference:
    # Texts that the encoder never saw, where there are enough.
    rng = np.random.default_rng(config.seed + 3)
    rows = _ordinary(corpus, public, config, rng)
    if unseen is not None and len(fresh := _ordinary(corpus, public & unseen, config, rng)) >= FEWEST_BENIGN:
        rows = fresh
    texts = [corpus.texts.raw(int(row)).decode("utf-8", "replace") for row in rng.permutation(rows)]
    encoder = None if deep is None else Deep.unpack(DEEP, deep)
    return Reference.of(texts, model, encoder, threads=os.cpu_count() or 1)


def _ordinary(
    corpus: Corpus, public: npt.NDArray[np.bool_], config: TrainConfig, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    return selection.by_source(corpus.source, np.flatnonzero(public & (corpus.label == 0)), config.reference_texts, rng)


def _check_public(corpus: Corpus, config: TrainConfig) -> None:
    # What the calibration and the reference need at the very end, after hours of fitting.
    public = ~synthesis.is_own(corpus.source)
    if not (public & (corpus.label == 1) & (corpus.threat != "harmful_request")).any():
        raise DataError(corpus.name, "holds no attack but harmful requests; the score is calibrated on manipulations")
    benign = int((public & (corpus.label == 0)).sum())
    if benign < FEWEST_BENIGN:
        raise DataError(corpus.name, f"holds {benign} public benign texts; at least {FEWEST_BENIGN} are needed")
    drawn = len(_ordinary(corpus, public, config, np.random.default_rng(config.seed)))
    if drawn < FEWEST_BENIGN:  # small sources give all they have, and large ones no more for it
        raise ConfigError("reference_texts", config.reference_texts, f"more: {drawn} are drawn, {FEWEST_BENIGN} needed")
