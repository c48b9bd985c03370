"""Detectors read from their artefacts: those shipped, or the folders that `aimds train` and `aimds calibrate` wrote."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from aimds import data
from aimds.detect.calibration import Calibration
from aimds.detect.classifier import MODEL, Classifier
from aimds.detect.deep import DEEP, Deep
from aimds.detect.exemplars import Exemplars
from aimds.detect.patterns import Bank, thresholds
from aimds.detect.pii import Pii
from aimds.detect.reference import REFERENCE, Reference
from aimds.detect.rules import Rules
from aimds.detect.stages import Detector
from aimds.errors import ArtefactError, ConfigError
from aimds.schema import PROFILES

BANK = "bank.npz"


def detector(profile: str, gray: float, model: Path | None, calibration: Path | None) -> Detector:
    """The stages for ``profile``; the arguments are those of `aimds.screener.Screener.default`.

    Raises:
        ConfigError: an unknown profile, a gray zone outside (0, 1], ``full`` with a model that has no encoder, or a
            calibration made for another model, profile or gray zone.
        ArtefactError: an artefact is missing or damaged.
    """
    if profile not in PROFILES:
        raise ConfigError("profile", profile, "one of " + ", ".join(PROFILES))
    if not 0 < gray <= 1:
        raise ConfigError("gray", gray, "a p-value above 0, at most 1")
    if model is None:
        bank, classifier = Bank.load(), Classifier.load()
    else:
        bank, classifier = _trained_bank(model / BANK), Classifier.load(model / MODEL)
    deep = None
    if profile != "fast" and classifier.judges_deep:
        deep = Deep.load(None if model is None else model / DEEP)
    elif profile == "full":
        raise ConfigError("profile", profile, "fast or cascade; this model was trained without an encoder")
    running = "fast" if deep is None else profile
    if calibration is not None:
        classifier = Calibration.load(calibration).apply(classifier, profile=running, gray=gray)
    # The shipped reference is read when something is taught; that of another model has other n-grams.
    reference = None if model is None else Reference.load(model / REFERENCE)
    return Detector(
        rules=Rules.load(),
        pii=Pii.load(),
        bank=bank,
        classifier=classifier,
        deep=deep,
        profile=running,
        gray=gray,
        exemplars=Exemplars.empty(reference),
    )


def _trained_bank(file: Path) -> Bank:
    if not file.is_file():
        raise ArtefactError(file, "no such file; name a folder that `aimds train` wrote")
    bank = Bank.load(calibrated=False)
    limits = thresholds.unpack(file, data.read_file(file), bank.version, len(bank.patterns))
    return dataclasses.replace(bank, limits=limits)
