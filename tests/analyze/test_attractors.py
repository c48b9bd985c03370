from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_traffic import batch, ramp
from test_dynamics import logistic

from aimds import data
from aimds.analyze.attractors import LEAST, MODEL, TYPES, Attractors, Kind
from aimds.analyze.sessions import Sessions
from aimds.errors import ArtefactError
from aimds.kernels import ragged

NOTHING = Kind("insufficient_data", 0.0, None)
RNG = np.random.default_rng(3)
WAVE = np.sin(0.7 * np.arange(120))


def kinds(*rows) -> list[Kind]:
    return Attractors.load().kinds(*ragged.joined([np.asarray(row, float) for row in rows]))


def test_textbook_series_have_their_types():
    found = kinds(0.8 ** np.arange(60), WAVE, np.sin(0.7 * np.arange(120)) + np.sin(0.7 * 2**0.5 * np.arange(120)))
    found += kinds(logistic(120), RNG.normal(size=120))
    assert [kind.name for kind in found] == list(TYPES[:5])
    assert found[3].beats


def test_what_is_too_short_or_holds_no_number_has_no_type():
    assert kinds([], [1.0], np.ones(LEAST - 1), [*WAVE[:50], math.nan], [math.inf, *WAVE[:50]]) == [NOTHING] * 5


def test_a_series_that_does_not_move_is_a_fixed_point():
    assert [kind.name for kind in kinds(np.zeros(LEAST), np.full(LEAST, 0.1 + 0.2))] == ["fixed_point"] * 2


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([WAVE, logistic(64), np.random.default_rng(5).normal(size=50)]), st.integers(-20, 20))
def test_a_scale_or_a_shift_changes_no_type(series, power):
    plain = kinds(series)[0].name
    assert kinds(series * 2.0**power)[0].name == plain
    assert kinds(series + power)[0].name == plain
    assert kinds(series * 3.7)[0].name == plain


def test_a_type_does_not_depend_on_the_other_series():
    rows = [WAVE, logistic(64), RNG.normal(size=40), WAVE[:10], [math.nan] * 40, np.zeros(40)]
    assert kinds(*rows) == [kinds(row)[0] for row in rows]


def test_nothing_is_called_chaotic_that_does_not_beat_its_surrogates():
    rows = [RNG.normal(size=n) for n in (32, 50, 100)] * 30 + [np.cumsum(RNG.normal(size=300)) for _ in range(20)]
    found = kinds(*rows)
    assert all(kind.beats for kind in found if kind.name == "chaotic")
    assert sum(kind.name == "chaotic" for kind in found) <= 6
    asked = [kind for kind in found if kind.beats is False]
    assert len(asked) > 5
    assert all(kind.name != "chaotic" for kind in asked)


def test_the_column_of_followed_sessions_is_filled():
    rows = [{"p": 0.5}, *ramp("a", LEAST)]
    out = Sessions(attractor=Attractors.load().column).observe(*batch(rows), 0.0)
    found = out.column("attractor").to_pylist()
    assert found[:2] == [None, "insufficient_data"]
    assert found[-1] in TYPES[:5]


def test_the_column_is_one_of_strings():
    assert Attractors.load().column(np.empty(0), np.zeros(1, np.int64)).equals(pa.array([], pa.string()))


def test_a_model_survives_packing():
    model = Attractors.load()
    again = Attractors.unpack(MODEL, model.pack())
    assert again.kinds(*ragged.joined([logistic(64)])) == kinds(logistic(64))
    assert again.version == model.version


@pytest.mark.parametrize(
    "change",
    [{"left": 0}, {"right": 30000}, {"feature": 17 + 1}, {"shares": math.nan}],
)
def test_trees_that_lead_nowhere_are_refused(change):
    model = Attractors.load()
    ((name, value),) = change.items()
    array = getattr(model, name).copy()
    array[0, 0] = value
    with pytest.raises(ArtefactError, match="lead nowhere"):
        Attractors.unpack(MODEL, dataclasses.replace(model, **{name: array}).pack())


def test_a_model_of_other_settings_is_refused():
    model = Attractors.load()
    wrong = dataclasses.replace(model, card={**model.card, "settings": {"dim": 9}})
    with pytest.raises(ArtefactError, match="train it anew"):
        Attractors.unpack(MODEL, wrong.pack())
    with pytest.raises(ArtefactError, match="holds no trees"):
        Attractors.unpack(MODEL, data.pack({"card": np.frombuffer(json.dumps(model.card).encode(), np.uint8)}))


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e308])
def test_numbers_of_any_size_have_a_type(size):
    assert [kind.name for kind in kinds([size, -size] * 20, [size, 0.0] * 20)] == ["periodic"] * 2
