"""Refused, then asked again: whether the assistant said no, and how alike two turns of the user are.

A turn is kept as its fingerprint: the count sketch of its hashed n-grams, as 64 bytes. The inner product of two
estimates the cosine of the texts, give or take an eighth.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from ahocorasick_rs import AhoCorasick

from aimds import data, kernels
from aimds.detect.classifier import Classifier
from aimds.detect.normalize.fold import fold
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.detect.texts import Texts
from aimds.errors import ArtefactError

PHRASES: Final = "refusals.toml"
FORMAT: Final = 1
OPENING_BYTES: Final = 240
"""So much of an answer is looked at for a refusal: what comes later is about something."""
DIMS: Final = 64
MOST_BYTES: Final = 4096
"""So much of a turn makes its fingerprint."""

Prints = npt.NDArray[np.int8]


def refused(texts: Sequence[bytes | None]) -> npt.NDArray[np.bool_]:
    """Whether each of ``texts``, what an assistant said as UTF-8, opens with a refusal, bool (B,); None is none."""
    search = _phrases()
    out = np.zeros(len(texts), np.bool_)
    for row, text in enumerate(texts):
        if text:
            opening = text[:OPENING_BYTES].decode("utf-8", "replace").lower().replace("’", "'")
            out[row] = bool(search.find_matches_as_indexes(opening))
    return out


@functools.cache
def _phrases() -> AhoCorasick:
    content = tomllib.loads(data.read_bytes(PHRASES).decode())
    if content.get("format") != FORMAT or not content.get("phrases"):
        raise ArtefactError(PHRASES, f"is of format {content.get('format')!r}, this version reads format {FORMAT}")
    return AhoCorasick([phrase for spoken in content["phrases"].values() for phrase in spoken])


def fingerprints(texts: Texts) -> Prints:
    """The fingerprint of each of B texts, int8 (B, 64); zeros for a text without a word."""
    sizes = np.minimum(np.diff(texts.offsets), MOST_BYTES)
    values, offsets = texts.values, texts.offsets
    if (sizes < np.diff(offsets)).any():
        cut = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        values = values[np.arange(cut[-1]) + np.repeat(offsets[:-1] - cut[:-1], sizes)]
        offsets = cut
    folded = fold(values, offsets, Vocabulary.load())
    features = _features()
    grams = kernels.ngram_hash(folded.values, folded.offsets, bits=features.bits)
    unit = kernels.sketch(*grams, features.idf, dim=DIMS)
    return np.asarray(np.rint(unit * 127.0), np.int8)


@functools.cache
def _features() -> Classifier:
    return Classifier.load()
