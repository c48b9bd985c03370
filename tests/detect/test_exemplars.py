"""What is taught is found again, what is like benign text is not, and nothing taught costs and says nothing."""

from __future__ import annotations

import math
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import teaching_material as material
from host import missing
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import room_of

from aimds import kernels
from aimds.detect import gray, reference
from aimds.detect.classifier import ATTACK
from aimds.detect.exemplars import NOTHING, Exemplars, exemplar_id
from aimds.detect.features import Windows, windows
from aimds.detect.normalize import normalize
from aimds.detect.reference import Reference
from aimds.detect.stages import Detector
from aimds.errors import ConfigError

FEATURES = material.classifier()
REFERENCE = material.reference(FEATURES)
TAUGHT = Exemplars.of(material.ATTACKS[:3], features=FEATURES, reference=REFERENCE)
NEW = material.ATTACKS[3]
PIECES = ("moon council", "the sealed appendix", "a wooden boat", "", "…", "lanterns " * 90, "My sister")


def pieces_of(texts: list[str]) -> Windows:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return windows(normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets))


def row_p_values(exemplars: Exemplars, texts: list[str], attack: np.ndarray | None = None) -> np.ndarray:
    """What the stage says of whole rows; ``attack`` are the attack scores of their windows, by default all the same."""
    nothing = cast(Any, None)
    detector = Detector(rules=nothing, pii=nothing, bank=nothing, classifier=FEATURES, exemplars=exemplars)
    pieces = pieces_of(texts)
    logits = np.zeros((len(pieces), FEATURES.weights.shape[1]), np.float32)
    if attack is not None:
        logits[:, ATTACK] = attack
    stages = cast(Any, SimpleNamespace(attack=np.zeros(len(texts)), exemplars=None))
    taught = detector._taught(pieces, logits, stages, 1)
    assert taught is not None
    assert (pieces.row[taught.window] == np.arange(len(texts))).all()
    return np.asarray(stages.exemplars)


def test_a_new_attack_of_a_taught_kind_is_unusual_and_benign_text_is_not() -> None:
    scores, nearest = TAUGHT.score(pieces_of([NEW, "My sister is looking for a wooden boat."]))
    p = TAUGHT.p_value(scores)
    assert p[0] < 1e-4
    assert p[1] > 0.05
    assert nearest[0] in range(3)


def test_the_nearest_attack_is_named_by_its_hash() -> None:
    scores, nearest = TAUGHT.score(pieces_of([material.ATTACKS[1]]))
    assert TAUGHT.attacks.ids[nearest[0]] == exemplar_id(material.ATTACKS[1])
    assert "librarian" not in "".join(TAUGHT.attacks.ids)
    assert scores[0] > 0.3


def test_a_score_is_the_mean_cosine_to_the_three_nearest_less_the_cosine_to_benign_text() -> None:
    def unit(text: str) -> dict[int, float]:
        folded = np.frombuffer(text.encode(), np.uint8)
        _, indices, counts = kernels.ngram_hash(folded, np.array([0, len(folded)], np.int64), bits=16)
        length = math.sqrt(sum((1 + math.log(n)) ** 2 for n in counts.tolist()))
        return {i: (1 + math.log(n)) / length for i, n in zip(indices.tolist(), counts.tolist(), strict=True)}

    def cosine(one: str, other: str) -> float:
        near = unit(other.lower())
        return sum(part * near.get(i, 0.0) for i, part in unit(one).items())

    taught = ["moon council", "moon lantern", "moon appendix", "silver council", "council of cats"]
    benign = ["moon and stars", "a council house"]
    exemplars = Exemplars.of(taught, benign, features=FEATURES, reference=REFERENCE)
    text = "the moon council"
    cosines = sorted((cosine(text, one) for one in taught), reverse=True)
    against = max(cosine(text, one) for one in [*benign, *material.BENIGN[:60]])
    scores, _ = exemplars.score(pieces_of([text]))
    assert scores[0] == pytest.approx(sum(cosines[:3]) / 3 - against, abs=1e-3)


def test_a_confirmed_benign_text_takes_its_likes_out() -> None:
    lookalike = (
        "The museum asks its honoured librarian to recite the sealed appendix before the lanterns go out at nine"
    )
    before = TAUGHT.score(pieces_of([lookalike]))[0][0]
    told = Exemplars.of(material.ATTACKS[:3], [lookalike], features=FEATURES, reference=REFERENCE)
    after = told.score(pieces_of([lookalike, NEW]))[0]
    assert before > 0.2
    assert after[0] < 0
    assert told.p_value(after)[1] < 0.01


def test_nothing_taught_scores_nothing_and_has_p_value_one() -> None:
    nothing = Exemplars.empty()
    scores, nearest = nothing.score(pieces_of([NEW, ""]))
    assert (scores == NOTHING).all()
    assert (nearest == -1).all()
    assert (nothing.p_value(scores) == 1).all()
    assert (len(nothing), nothing.version) == (0, "none")


def test_benign_texts_alone_teach_no_attack() -> None:
    only = Exemplars.of([], material.BENIGN[:2], features=FEATURES, reference=REFERENCE)
    assert (only.p_value(only.score(pieces_of([NEW]))[0]) == 1).all()
    joined = only.joined(TAUGHT)
    assert len(joined) == 3
    assert joined.p_value(joined.score(pieces_of([NEW]))[0])[0] < 1e-3


def test_texts_without_a_word_and_texts_that_come_twice_are_left_out() -> None:
    made = Exemplars.of(["...", NEW, "", NEW], features=FEATURES, reference=REFERENCE)
    assert made.attacks.ids == (exemplar_id(NEW),)


def test_teaching_in_two_steps_is_teaching_at_once() -> None:
    first = Exemplars.of(material.ATTACKS[:2], [material.BENIGN[0]], features=FEATURES, reference=REFERENCE)
    second = Exemplars.of(material.ATTACKS[1:3], [material.BENIGN[1]], features=FEATURES, reference=REFERENCE)
    whole = Exemplars.of(material.ATTACKS[:3], material.BENIGN[:2], features=FEATURES, reference=REFERENCE)
    steps = Exemplars.empty().joined(first).joined(second)
    assert steps.version == whole.version
    assert steps.version != first.version
    text = pieces_of([NEW, "a wooden boat"])
    assert np.array_equal(steps.score(text)[0], whole.score(text)[0])
    assert steps.tail is not None
    assert whole.tail is not None
    assert np.array_equal(steps.tail.values, whole.tail.values)


def test_exemplars_cannot_be_changed() -> None:
    for field in fields(Exemplars):
        with pytest.raises(AttributeError):
            setattr(TAUGHT, field.name, None)


def test_a_reference_of_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="reference"):
        Exemplars.of(material.ATTACKS, features=material.classifier(bits=12), reference=REFERENCE)


def test_a_row_is_as_near_as_the_windows_with_the_highest_attack_score() -> None:
    text = " ".join(material.BENIGN[:60]) + f" {NEW}. " + " ".join(material.BENIGN[60:120])
    pieces = pieces_of([text, "", NEW])
    assert len(pieces) > 20
    contrast = TAUGHT.score(pieces)[0]
    nearest = contrast * (pieces.row == 0)
    p = row_p_values(TAUGHT, [text, "", NEW], nearest)
    assert p[0] < 1e-3
    assert p[1] == 1
    assert p[2] < 1e-4
    assert row_p_values(TAUGHT, [text, "", NEW], -nearest)[0] > 0.05


def test_long_benign_documents_are_not_nearer_than_the_benign_tail_says() -> None:
    assert reference.WINDOWS == gray.MAX_WINDOWS
    rng = np.random.default_rng(5)
    words = sorted({word for text in material.ATTACKS for word in text.lower().replace(",", "").split()})
    ordinary = [
        f"{text[:-1]}, {' '.join(rng.choice(words, rng.integers(1, 6)))}."
        for text in rng.permutation(material.BENIGN * 2)
    ]
    known = Reference.of([" ".join(rng.choice(ordinary, 20)) for _ in range(400)], FEATURES, beside=100)
    taught = Exemplars.of(material.ATTACKS, features=FEATURES, reference=known)
    documents = [" ".join(rng.choice(ordinary, 200)) for _ in range(60)]
    assert (row_p_values(taught, documents) <= 0.01).mean() <= 0.05
    pieces = pieces_of(documents)
    highest = np.full(len(documents), NOTHING, np.float32)
    np.maximum.at(highest, pieces.row, taught.score(pieces)[0])
    assert (taught.p_value(highest) <= 0.01).mean() > 0.15


@settings(max_examples=15)
@given(st.lists(st.sampled_from([*PIECES, NEW, material.BENIGN[3]]), min_size=1, max_size=6), st.randoms())
def test_a_window_does_not_depend_on_its_neighbours_or_on_threads(texts: list[str], random) -> None:
    order = random.sample(range(len(texts)), len(texts))
    whole = pieces_of([texts[k] for k in order])
    scores, nearest = TAUGHT.score(whole, threads=2)
    for place, k in enumerate(order):
        alone_scores, alone_nearest = TAUGHT.score(pieces_of([texts[k]]))
        assert np.array_equal(scores[whole.row == place], alone_scores)
        assert np.array_equal(nearest[whole.row == place], alone_nearest)


@pytest.mark.skipif(bool(missing()), reason=missing() or "present")
@pytest.mark.parametrize("texts", [material.ATTACKS * 20, ["w"] * 200])
def test_no_more_memory_of_a_gpu_is_taken_than_rows_are_cut_by(
    monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    asked, taken = room_of(
        monkeypatch, lambda place, pieces: TAUGHT.score(pieces, place=place), pieces_of(texts[:1]), pieces_of(texts)
    )
    assert 0.3 * asked < taken < asked
