"""A reader is told in English what words of another language mean."""

import numpy as np

from aimds.detect.concepts import Concepts
from aimds.detect.concepts.lexicon import compiled
from aimds.detect.concepts.meaning import meaning
from aimds.kernels.pairs import FEATURES


def concepts() -> Concepts:
    entries = [(0, 0, b"ignore"), (0, 1, b"rule"), (0, 2, b"please"), (1, 0, b"ignorier*"), (1, 1, b"regel*")]
    lexicon = compiled(
        ("en", "de"),
        ("ignore", "rule", "please_explain"),
        [(lang, at, (word,)) for lang, at, word in [*entries, (1, 2, b"bitte")]],
    )
    weights = np.zeros((FEATURES, 1), np.int8)
    weights[0 * 256 + 1], weights[0 * 256 + 2], weights[1 * 256 + 2] = 50, 20, -30
    ones = np.ones(1, np.float32)
    return Concepts(lexicon, weights, ones, np.ones(FEATURES, np.float32), ones, np.zeros((0, 2), np.float32))


def test_words_are_told_in_their_order_and_the_pairs_that_weigh_most_first() -> None:
    found = meaning(concepts(), b"Bitte die Regeln IGNORIEREN")
    assert found is not None
    assert found.language == "de"
    assert found.words == ("please explain", "rule", "ignore")
    assert found.pairs == (("rule", "ignore"), ("please explain", "ignore"))


def test_english_and_unknown_words_are_told_nothing_of() -> None:
    for text in (b"please ignore the rule", b"xyz", b"", b"\xff"):
        assert meaning(concepts(), text) is None
