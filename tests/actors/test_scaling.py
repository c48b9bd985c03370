from __future__ import annotations

import pytest

from aimds.actors.scaling import Bounds, Scaling
from aimds.errors import ConfigError

BOUNDS = Bounds(least=1, most=6, up_s=2.0, down_s=10.0)


def test_a_queue_that_stays_deep_starts_workers_and_one_that_was_deep_for_a_moment_does_not() -> None:
    scaling = Scaling(BOUNDS)
    assert scaling.look(5.0, 1, 1, 0.0) == 1
    assert scaling.look(0.5, 1, 1, 1.0) == 1
    assert scaling.look(5.0, 1, 1, 2.0) == 1
    assert scaling.look(5.0, 1, 1, 4.0) == 2


def test_nothing_more_is_started_while_those_asked_for_are_starting() -> None:
    scaling = Scaling(BOUNDS)
    scaling.look(50.0, 1, 1, 0.0)
    assert scaling.look(50.0, 1, 1, 2.0) == 2
    for now in range(3, 60):
        assert scaling.look(50.0, 1, 1, float(now)) == 2
    scaling.look(50.0, 2, 2, 60.0)
    assert scaling.look(50.0, 2, 2, 62.0) == 4
    scaling.look(50.0, 4, 4, 63.0)
    assert scaling.look(50.0, 4, 4, 65.0) == 6


def test_idle_workers_are_let_go_one_after_the_other_down_to_the_least() -> None:
    scaling = Scaling(BOUNDS)
    scaling.wanted = 3
    wanted = [scaling.look(0.0, 0, 3, float(now)) for now in range(0, 41, 5)]
    assert wanted == [3, 3, 2, 2, 1, 1, 1, 1, 1]


def test_busy_workers_are_kept() -> None:
    scaling = Scaling(BOUNDS)
    scaling.wanted = 4
    assert {scaling.look(1.0, 3, 4, float(now)) for now in range(100)} == {4}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"least": 0}, "least = 0"),
        ({"least": 3, "most": 2}, "most = 2: expected at least 3"),
        ({"low": -1.0}, "low = -1"),
    ],
)
def test_bounds_that_cannot_be_are_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Bounds(**wrong)  # type: ignore[arg-type]
