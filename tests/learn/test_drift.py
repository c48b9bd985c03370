"""The drift alarm is the plain sum of Page and Hinkley, whatever parts the stream comes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.errors import ConfigError, SchemaError
from aimds.learn.drift import Limits, PageHinkley

LIMITS = Limits(0.01, 3.0, 5)


def naive(values: list[float], limits: Limits) -> list[bool]:
    out, seen = [], []
    for value in values:
        seen.append(value)
        sums, total = [0.0], 0.0
        for k, one in enumerate(seen):
            total += one - sum(seen[: k + 1]) / (k + 1) - limits.slack
            sums.append(total)
        alarm = len(seen) >= limits.least and total - min(sums) > limits.threshold
        out.append(alarm)
        if alarm:
            seen = []
    return out


@given(st.lists(st.floats(0, 1).map(lambda value: round(value, 3)), max_size=40), st.integers(0, 40))
def test_alarms_are_those_of_the_definition_in_any_parts(values: list[float], cut: int) -> None:
    limits = Limits(0.0, 0.777, 3)
    watch = PageHinkley(limits)
    found = [*watch.update(values[:cut]).tolist(), *watch.update(values[cut:]).tolist()]
    assert found == naive(values, limits)


def test_a_rise_gives_an_alarm_soon_and_a_steady_rate_none() -> None:
    rng = np.random.default_rng(0)
    steady, risen = rng.random(5000) < 0.02, rng.random(1000) < 0.2
    watch = PageHinkley(Limits(0.02, 12.0, 100))
    assert not watch.update(steady).any()
    assert int(np.flatnonzero(watch.update(risen))[0]) < 300


def test_what_is_no_number_is_refused_and_leaves_no_trace() -> None:
    watch = PageHinkley(LIMITS)
    with pytest.raises(SchemaError, match="row 1"):
        watch.update([0.1, np.nan])
    assert watch.state.tolist() == [0.0] * 4
    with pytest.raises(ConfigError):
        Limits(threshold=0.0)
