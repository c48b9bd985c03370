from __future__ import annotations

import itertools

import numpy as np
import pytest

from aimds import data, kernels
from aimds.analyze.series import FEATURES, MOST, prefixes, surprise
from aimds.analyze.session_model import MODEL, SHARES, Parts, SessionModel, buckets
from aimds.errors import ArtefactError
from aimds.kernels import ragged


def parts(rows, rephrase=None, split=None) -> Parts:
    values, offsets = ragged.joined([np.asarray(row, np.float64) for row in rows])
    text = [None if found is None else np.full(len(rows), found) for found in (rephrase, split)]
    return Parts(kernels.session_series(values, offsets), np.diff(offsets), *text)


def p_of(row, **text) -> float:
    return float(SessionModel.load().p_values(parts([row], **text))[0])


def test_the_columns_are_those_of_the_kernel():
    found = kernels.session_series(np.array([1.0, 3.0]), np.array([0, 2]))[0]
    assert dict(zip(FEATURES, found.tolist(), strict=True))["last"] == 3.0
    assert len(FEATURES) == found.size


def test_surprise_is_bounded_and_what_nobody_judged_stays_unknown():
    got = surprise([1.0, 0.01, 0.0, 1e-300, np.nan])
    assert np.array_equal(got[:4], [0.0, 2.0, MOST, MOST])
    assert np.isnan(got[4])


def test_prefixes_end_with_each_value_and_reach_back_so_far():
    values, offsets = prefixes(np.arange(5.0), np.array([0, 4, 5]), window=3)
    rows = [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == [[0.0], [0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [4.0]]


def test_the_shares_are_a_whole_and_every_length_has_a_bucket():
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert buckets(np.array([0, 1, 2, 7, 8, 25, 1000])).tolist() == [0, 0, 1, 5, 6, 9, 9]


@pytest.mark.parametrize("turns", [2, 3, 5, 8, 20, 32])
def test_a_worse_last_turn_never_makes_a_session_less_suspicious(turns):
    calm = [0.3, 0.5] * (turns // 2) + [0.4] * (turns % 2)
    found = [p_of([*calm[:-1], last], rephrase=0.0, split=0.0) for last in (0.5, 1.0, 2.0, 4.0, 8.0)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] < 1e-3


def test_one_turn_alone_says_what_its_verdict_says():
    for last in (3.0, 5.0):
        assert p_of([last]) == pytest.approx(10**-last, rel=8)


def test_what_the_texts_show_makes_a_session_more_suspicious():
    row = [0.4, 0.3, 0.6]
    assert p_of(row, rephrase=0.7, split=0.0) < p_of(row, rephrase=0.0, split=0.0)
    assert p_of(row, rephrase=0.0, split=3.0) < p_of(row, rephrase=0.0, split=0.0)


def test_an_empty_session_is_not_suspicious():
    assert p_of([]) == 1.0


def test_scores_rise_as_p_falls_and_stay_inside():
    model = SessionModel.load()
    found = model.scores(10.0 ** -np.linspace(0, 12, 50))
    assert (np.diff(found) > 0).all()
    assert 0 < found[0] < found[-1] < 1
    assert model.threshold(0.01) == pytest.approx(float(model.scores(np.array([0.01]))[0]))


def test_a_model_is_read_back_as_it_was_written_and_another_is_refused():
    model = SessionModel.load()
    again = SessionModel.unpack(MODEL, model.pack())
    row = parts([[0.1, 0.2, 3.0]], rephrase=0.4, split=0.5)
    assert np.array_equal(again.p_values(row), model.p_values(row))
    other = data.pack({"card": np.frombuffer(b'{"format": 9, "shares": {}}', np.uint8)})
    for content in (b"", data.pack({"x": np.zeros(1)}), other):
        with pytest.raises(ArtefactError, match=MODEL):
            SessionModel.unpack(MODEL, content)


def test_the_shipped_model_says_what_it_was_made_from():
    card = SessionModel.load().card
    assert card["simulator"] == 1
    assert set(card["benign"]) <= set(card["licenses"])


def test_a_score_says_which_part_it_rests_on_most():
    model, calm = SessionModel.load(), [0.4, 0.3, 0.6, 0.2, 0.5]
    rows = [[0.2, 6.0, 0.3, 6.0, 0.1, 5.0, 0.2], [0.1, 0.7, 1.5, 2.2, 3.0, 3.7, 4.5, 5.2], [9.0]]
    scores, signs = model.judged(parts(rows, rephrase=0.0, split=0.0))
    assert scores.tolist() == model.float_scores(parts(rows, rephrase=0.0, split=0.0)).tolist()
    assert [list(SHARES)[sign] for sign in signs] == ["spread", "rise", "peak"]
    assert list(SHARES)[model.judged(parts([calm], rephrase=0.9, split=0.0))[1][0]] == "rephrase"
    # Without parts that nobody looked at the others keep their places.
    assert model.judged(parts(rows))[1].tolist() == signs.tolist()
