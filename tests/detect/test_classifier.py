"""What the classifier takes of a GPU's memory: never more than its rows are cut by, and not far less where it is dear."""

from __future__ import annotations

import string
from dataclasses import replace

import naive
import numpy as np
import pytest
from host import missing
from standin import room_of

from aimds.detect.classifier import HEADS, Classifier
from aimds.detect.concepts import Concepts
from aimds.detect.concepts.lexicon import compiled
from aimds.errors import KernelError
from aimds.kernels.pairs import FEATURES

BITS = 19
LETTERS = string.ascii_lowercase + string.digits
RNG = np.random.default_rng(0)


def classifier() -> Classifier:
    """Heads over n-grams, and over concepts of which every letter is one."""
    ones, features = np.ones(len(HEADS), np.float32), 1 << BITS
    lexicon = compiled(("en",), tuple(LETTERS), [(0, at, (one.encode(),)) for at, one in enumerate(LETTERS)])
    weights = RNG.integers(-9, 9, (FEATURES, len(HEADS))).astype(np.int8)
    concepts = Concepts(lexicon, weights, ones, np.ones(FEATURES, np.float32), ones, np.zeros((0, 2), np.float32))
    ngrams = RNG.integers(-9, 9, (features, len(HEADS))).astype(np.int8)
    return Classifier(BITS, ngrams, ones, np.ones(features, np.float32), ones, {}, {}, "test", concepts)


BOTH = classifier()
NGRAMS = replace(BOTH, concepts=None)
APART = [" ".join(RNG.permutation(list(LETTERS))).encode() for _ in range(120)]
"""Texts with a concept in every second byte, and no pair of them twice."""
ORDINARY = [b"the letters of a cat, and 7 of a dog: what would they write to each other if they could"] * 120

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")


@pytest.mark.parametrize(
    ("mine", "rows", "least"),
    [
        (BOTH, APART, 0.85),
        (BOTH, [b"a"] * 400, 0.2),
        (BOTH, [b"a b"] * 400, 0.2),
        (BOTH, [b""] * 400, 0.2),
        (BOTH, ORDINARY, 0.2),
        (NGRAMS, APART, 0.9),
        (NGRAMS, [b"a"] * 400, 0.2),
        (NGRAMS, [b""] * 400, 0.2),
        (NGRAMS, ORDINARY, 0.6),
    ],
)
def test_no_more_memory_of_a_gpu_is_taken_than_rows_are_cut_by(monkeypatch, mine, rows, least) -> None:
    batch = naive.ragged(rows[:1], np.uint8), naive.ragged(rows, np.uint8)
    asked, taken = room_of(monkeypatch, lambda place, rows: mine.score(*rows, place=place), *batch)
    assert least * asked < taken < asked


def test_weights_that_are_not_those_of_the_features_are_refused_before_they_are_read() -> None:
    for wrong in (replace(NGRAMS, weights=NGRAMS.weights[:-1]), replace(NGRAMS, idf=NGRAMS.idf[:1])):
        with pytest.raises(KernelError, match="2 \\*\\* 19"):
            wrong.score(*naive.ragged([b"a text"], np.uint8))
