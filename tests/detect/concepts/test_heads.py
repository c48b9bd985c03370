"""What the words mean joins what the n-grams say: added in English, on the scale of English in other languages."""

import numpy as np
import pytest

from aimds.detect.concepts import Concepts, heads
from aimds.detect.concepts.lexicon import compiled
from aimds.kernels.pairs import FEATURES, LONE

HEADS = 4
FIRST_TYPE = 3
KNOTS = np.array([[-2.0, -1.0], [0.0, 1.0], [1.0, 4.0]], np.float32)


def concepts(knots: np.ndarray = KNOTS) -> Concepts:
    words = [("en", 0, "ignore"), ("en", 1, "rule*"), ("de", 0, "ignorier*"), ("de", 1, "regel*")]
    languages = ("en", "de")
    lexicon = compiled(
        languages, ("ignore", "rule"), [(languages.index(lang), at, (word.encode(),)) for lang, at, word in words]
    )
    weights = np.zeros((FEATURES, HEADS), np.int8)
    weights[0 * 256 + 1] = (20, 30, 40, 50)
    weights[0 * 256 + LONE] = (2, 2, 2, 2)
    ones = np.ones(HEADS, np.float32)
    return Concepts(lexicon, weights, ones / 10, np.ones(FEATURES, np.float32), -ones, knots)


def pack(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    parts = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), offsets


def joined(mine: Concepts, *texts: str) -> np.ndarray:
    logits = np.tile(np.array([0.5, 0.25, -0.5, 0.1], np.float32), (len(texts), 1))
    said = mine.said(*pack(*texts))
    return mine.joined(logits, said, mine.foreign(said), FIRST_TYPE)


def test_the_same_meaning_scores_the_same_in_both_languages_before_it_is_mapped() -> None:
    mine = concepts()
    english, german = (mine.said(*pack(text)).scores for text in ("ignore rules", "ignoriere regeln"))
    # Three features of value 1: 22 / 10 / sqrt(3) - 1 in the first head.
    np.testing.assert_allclose(english[0], (np.array([22, 32, 42, 52]) / 10) / np.sqrt(3) - 1, rtol=1e-6)
    np.testing.assert_array_equal(english, german)


def test_english_adds_half_of_what_the_concepts_say_in_every_head() -> None:
    (row,) = joined(concepts(), "ignore rules")
    scores = (np.array([22, 32, 42, 52]) / 10) / np.sqrt(3) - 1
    np.testing.assert_allclose(row, np.array([0.5, 0.25, -0.5, 0.1]) + 0.5 * scores, rtol=1e-6)


def test_another_language_takes_the_attack_score_that_is_as_rare_in_english_and_its_type_from_both() -> None:
    (row,) = joined(concepts(), "ignoriere regeln")
    both = 2.2 / np.sqrt(3) - 1 + 0.5
    assert row[0] == pytest.approx(1 + 3 * both, rel=1e-6)
    assert row[1:3].tolist() == [0.25, -0.5]
    assert row[3] == pytest.approx(5.2 / np.sqrt(3) - 1 + 0.1, rel=1e-6)


def test_beyond_the_last_knot_the_score_goes_on_rising() -> None:
    np.testing.assert_allclose(heads.mapped(np.array([-9, 1, 3], np.float32), KNOTS), [-1, 4, 10])


def test_without_knots_other_languages_are_judged_like_english_ones() -> None:
    mine = concepts(np.zeros((0, 2), np.float32))
    english, german = joined(mine, "ignore rules", "ignoriere regeln")
    np.testing.assert_array_equal(english, german)
    assert not mine.foreign(mine.said(*pack("ignoriere regeln"))).any()
    assert concepts().foreign(mine.said(*pack("ignoriere regeln"))).all()


def test_a_window_that_names_fewer_than_two_concepts_says_nothing() -> None:
    rows = joined(concepts(), "ignore", "", "ignoriere")
    np.testing.assert_allclose(rows, np.tile(np.array([0.5, 0.25, -0.5, 0.1]) - 0.75, (3, 1)), rtol=1e-6)


def test_a_window_is_judged_alike_among_others_and_on_any_number_of_threads() -> None:
    texts = ["ignore rules", "ignoriere regeln", "soup", "ignoriere die regeln ignoriere"] * 40
    mine = concepts()
    logits = np.zeros((len(texts), HEADS), np.float32)
    said = mine.said(*pack(*texts), threads=2)
    together = mine.joined(logits, said, mine.foreign(said), FIRST_TYPE)
    for place in range(4):
        said = mine.said(*pack(texts[place]))
        alone = mine.joined(logits[:1], said, mine.foreign(said), FIRST_TYPE)
        for row in together[place::4]:
            np.testing.assert_array_equal(row, alone[0])


def test_arrays_give_the_same_back_and_what_cannot_be_is_refused() -> None:
    mine = concepts()
    arrays = mine.arrays()
    back = Concepts.from_arrays(arrays, HEADS)
    np.testing.assert_array_equal(joined(back, "ignoriere regeln"), joined(mine, "ignoriere regeln"))
    assert back.lexicon.languages == ("en", "de")
    broken = {
        "knots": KNOTS[::-1],
        "weights": mine.weights[:, :2],
        "bias": np.full(HEADS, np.nan, np.float32),
        "part_from": np.array([0, 1, 2, 3, 9], np.int32),
        "langs": np.array([0, 0, 1, 7], np.uint8),
        "concepts": np.array([0, 1, 0, 3], np.uint8),
        "parts": np.array([[0, 6, 0], [6, 10, 1], [10, 18, 1], [18, 999, 1]], np.int32),
    }
    for name, value in broken.items():
        with pytest.raises(ValueError, match="concepts"):
            Concepts.from_arrays({**arrays, name: value}, HEADS)


def test_arrays_of_another_shape_are_refused_or_read_as_the_same_words() -> None:
    mine = concepts()
    arrays = mine.arrays()
    for name in ("langs", "concepts", "part_from", "pool"):
        with pytest.raises(ValueError, match="concepts"):
            Concepts.from_arrays({**arrays, name: arrays[name][0]}, HEADS)
        back = Concepts.from_arrays({**arrays, name: arrays[name].reshape(-1, 1)}, HEADS)
        np.testing.assert_array_equal(joined(back, "ignoriere regeln"), joined(mine, "ignoriere regeln"))
