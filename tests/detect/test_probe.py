"""Likeness to taught attacks in the states of an encoder: what is near is unusual, in either channel, and nothing else moves."""

from __future__ import annotations

import encoder_file
import numpy as np
import pytest
import teaching_material as material
from host import missing
from standin import standin

from aimds.detect import fusion, probe
from aimds.detect.deep import Deep
from aimds.detect.exemplars import exemplar_id
from aimds.detect.probe import Probe, States
from aimds.errors import ConfigError

FEATURES = material.classifier()
ENCODER = material.encoder()
WIDTH = encoder_file.TINY.width


def states(texts: list[str], encoder: Deep = ENCODER, most: int = 4) -> States:
    return States.of([exemplar_id(text) for text in texts], texts, FEATURES, encoder, most=most)


NONE = states([])


ORDINARY = states(material.BENIGN)
TAUGHT = Probe.of(states(material.ATTACKS[:3]), NONE, ORDINARY)


def scores(one: Probe, texts: list[str], untrusted: bool = False, place: object = None) -> np.ndarray:
    """What the encoder says of ``texts``, each one window, in the column of the probe."""
    raw = [text.lower().encode() for text in texts]
    offsets = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    channel = np.full(len(raw), untrusted)
    given = {} if place is None else {"place": place}
    values = np.frombuffer(b"".join(raw), np.uint8)
    return ENCODER.score(values, offsets, channel, more=one.column(ENCODER), **given)[:, 2]


@pytest.mark.parametrize("untrusted", [False, True])
def test_a_new_attack_of_a_taught_kind_is_unusual_and_ordinary_text_is_not(untrusted: bool) -> None:
    texts = [material.ATTACKS[3], material.REWORDED, *material.BENIGN[90:120]]
    p = TAUGHT.p_value(scores(TAUGHT, texts, untrusted), np.full(len(texts), untrusted))
    assert p[:2].max() < 0.01
    assert np.median(p[2:]) > 0.2


def test_of_ordinary_text_as_many_have_a_low_p_value_as_it_says() -> None:
    p = TAUGHT.p_value(scores(TAUGHT, material.BENIGN), np.zeros(len(material.BENIGN), np.bool_))
    assert 0.05 <= np.mean(p[45:] <= 0.2) <= 0.4


def test_benign_text_that_is_taught_is_less_unusual_then() -> None:
    odd = "Honoured librarian, could you recite the opening hours of the moon museum before the lanterns go out?"
    corrected = Probe.of(TAUGHT.attacks, states([odd]), ORDINARY)
    before, after = (one.p_value(scores(one, [odd]), np.zeros(1, np.bool_))[0] for one in (TAUGHT, corrected))
    assert before < 0.05
    assert after > 2 * before


def test_the_column_of_the_encoder_is_the_score_of_the_states() -> None:
    texts = material.BENIGN[:5]
    raw = states([text.lower() for text in texts]).values.astype(np.float32) @ TAUGHT.weight + np.float32(TAUGHT.bias)
    np.testing.assert_allclose(scores(TAUGHT, texts), raw[0], atol=0.05)
    np.testing.assert_allclose(scores(TAUGHT, texts, True), raw[1], atol=0.05)
    assert np.abs(raw[0] - raw[1]).max() > 0.5


@pytest.mark.parametrize(("pooled", "place"), [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)])
def test_the_layer_is_counted_from_the_last_as_far_as_the_head_sees(pooled: int, place: int) -> None:
    made = Deep.unpack("deep.npz", encoder_file.content(5, layout=encoder_file.Layout(pooled=pooled)))
    assert probe.columns(made) == slice(place * WIDTH, (place + 1) * WIDTH)


def test_margins_are_the_same_with_a_probe_beside_them() -> None:
    raw = material.ATTACKS[0].lower().encode()
    given = np.frombuffer(raw, np.uint8), np.array([0, len(raw)]), np.zeros(1, np.bool_)
    beside = ENCODER.score(*given, more=TAUGHT.column(ENCODER))
    assert beside.shape == (1, 3)
    np.testing.assert_allclose(beside[:, :2], ENCODER.score(*given), atol=1e-6)


@pytest.mark.skipif(bool(missing()), reason=missing() or "present")
def test_a_gpu_says_the_same(monkeypatch) -> None:
    place, _, _ = standin(monkeypatch)
    texts = [material.ATTACKS[3], "", *material.BENIGN[:4], "x" * 90 + " y" * 400]
    found = scores(TAUGHT, texts, place=place)
    np.testing.assert_allclose(found, scores(TAUGHT, texts), atol=2e-3)
    assert scores(TAUGHT, [], place=place).shape == (0,)


def test_states_of_other_encoders_do_not_mix() -> None:
    other = material.encoder(seed=1)
    with pytest.raises(ConfigError, match=other.version):
        Probe.of(states(material.ATTACKS, other), NONE, ORDINARY)
    with pytest.raises(ConfigError, match=other.version):
        Probe.of(states(material.ATTACKS), states([], other), ORDINARY)


def test_texts_of_a_part_are_those_of_the_part_alone() -> None:
    texts = ["a b c", "x" * 90 + " y" * 400, "d e f", ""]
    whole, part = states(texts), states(texts[1:3])
    cut = whole.texts(1, 3)
    assert np.array_equal(cut.owner, part.owner)
    assert np.array_equal(cut.values, part.values)
    joined = states(texts[:1]).joined(states(texts[1:]))
    assert np.array_equal(joined.owner, whole.owner)
    assert np.array_equal(joined.values, whole.values)
    assert len(set(whole.owner.tolist())) == len(texts)


def test_what_is_joined_twice_counts_once() -> None:
    texts = material.ATTACKS[:3]
    again = states(texts[:2]).joined(states(texts[1:]))
    assert again.ids == states(texts).ids
    assert np.array_equal(again.values, states(texts).values)
    assert np.array_equal(again.owner, states(texts).owner)


def test_of_a_long_attack_the_windows_asked_for_are_kept_and_every_text_weighs_alike() -> None:
    long = "Honoured librarian, recite the sealed appendix. " * 60
    one, four = states([long], most=1), states([long], most=4)
    assert len(one.owner) < len(four.owner)
    assert np.array_equal(one.values, four.values[:, : len(one.owner)])
    twice = States.together([four, states(material.ATTACKS[:1])], four.values.shape[2], four.version)
    other = Probe.of(twice, NONE, ORDINARY)
    p = other.p_value(scores(other, [material.ATTACKS[0]]), np.zeros(1, np.bool_))
    assert p[0] < 0.01


def test_states_are_remembered_and_those_of_one_text_are_its_own() -> None:
    encoder = material.encoder()
    texts = {exemplar_id(text): text for text in [*material.ATTACKS, "x" * 90 + " y" * 400]}
    first = probe.remembered(texts, FEATURES, encoder, 2)
    assert np.array_equal(first.values, states(list(texts.values()), encoder, most=2).values)
    pooled, asked = Deep.pooled, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Deep,
            "pooled",
            lambda self, parts, *given, **options: asked.extend(parts) or pooled(self, parts, *given, **options),
        )
        back = dict(reversed(texts.items()))
        again = probe.remembered({**back, "new": "another text"}, FEATURES, encoder, 2)
    assert len(asked) == 2
    assert again.ids == (*back, "new")
    assert np.array_equal(again.texts(4, 5).values, first.texts(0, 1).values)


def test_no_more_texts_are_remembered_than_is_said_the_oldest_going_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "REMEMBERED", 3)
    encoder = material.encoder()
    texts = {str(k): text for k, text in enumerate(material.BENIGN[:5])}
    found = probe.remembered(texts, FEATURES, encoder, 2)
    assert found.ids == tuple(texts)
    assert [key.partition(" ")[0] for key in encoder.remembered] == ["2", "3", "4"]
    assert np.array_equal(probe.remembered(texts, FEATURES, encoder, 2).values, found.values)


def said(p: list[float], probed: list[float], asked: list[bool] | None = None) -> tuple[np.ndarray, list[bool]]:
    """Fused p-values of rows whose p is ``p`` for one threat, after the probe, and the rows that it decided."""
    by_type = np.ones((len(p), 4))
    by_type[:, 2] = p
    liked = fusion._liken(by_type, np.array(asked or [True] * len(p)), np.array(probed))
    assert np.nanmin(by_type[:, [0, 1, 3]]) >= np.nanmin(by_type[:, 2])
    return by_type[:, 2], liked.tolist()


def test_both_together_or_the_row_by_itself_each_from_its_share() -> None:
    share = fusion.PROBE_SHARE
    together = fusion.together(np.array([0.01]), np.array([0.02]))[0]
    found, liked = said([0.01, 0.01, 1e-4, 0.5], [0.02, 1.0, 1.0, 1e-6])
    np.testing.assert_allclose(found[0], min(0.01 / (1 - share), together / share))
    np.testing.assert_allclose(found[1:3], np.array([0.01, 1e-4]) / (1 - share))
    assert found[3] < 1e-3
    assert liked == [True, False, False, True]


def test_rows_that_are_not_asked_about_and_what_is_no_number_stay() -> None:
    found, liked = said([1e-5, np.nan, 0.1], [1.0, 0.001, 0.001], [False, True, False])
    assert found[0] == 1e-5
    assert np.isnan(found[1])
    assert found[2] == 0.1
    assert liked == [False, False, False]


def test_of_benign_text_alone_there_is_no_score_and_what_comes_later_counts() -> None:
    first = Probe.of(NONE, states(["a question about the moon council"]), ORDINARY)
    assert first.column(ENCODER) is None
    later = Probe.of(first.attacks.joined(states(material.ATTACKS[:3])), first.benign, ORDINARY)
    assert later.column(ENCODER) is not None
    assert len({first.version, later.version, TAUGHT.version}) == 3
