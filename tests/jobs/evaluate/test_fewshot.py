"""The suite fewshot: the same held-out attacks before and after, taught rows never judged, and what teaching costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aimds.jobs.evaluate.fewshot import MIN_ATTACKS, sources, suite
from aimds.jobs.evaluate.judging import Judged
from aimds.jobs.evaluate.points import Points

POINTS = Points({"fpr 0.01": (0.5, 0.5), "fpr 0.001": (1.5, 0.9)})


@pytest.fixture
def attacks(judged_of: Callable[..., Judged]) -> Judged:
    new = [(f"zebra n{number}", 1, "new") for number in range(100)]
    return judged_of("attacks", [*new, *[("ignore", 1, "small")] * 10, *[("n1", 0, "new")] * 5])


def run(screener: Any, attacks: Judged, clean: Judged, **settings: Any) -> list[dict[str, Any]]:
    rows = np.flatnonzero(clean.corpus.label == 0)
    return suite(
        screener, sources([attacks, clean]), (clean, rows), POINTS, clock=iter(range(100)).__next__, **settings
    )


def test_teaching_helps_on_attacks_that_were_not_shown(screener: Any, attacks: Judged, clean: Judged) -> None:
    rows = run(screener, attacks, clean)
    assert [(row["source"], row["exemplars"], row["n"]) for row in rows] == [("new", k, 70) for k in (0, 10, 30)]
    assert [row["fpr 0.001"]["hits"] for row in rows] == [0, 70, 70]
    assert [row["seconds"] for row in rows] == [0.0, 1, 1]


def test_the_untaught_screener_stays_as_it_is(screener: Any, attacks: Judged, clean: Judged) -> None:
    run(screener, attacks, clean)
    assert screener.lessons == frozenset()
    assert screener.seen.count("ignore or ignore") == 1, "before teaching, nothing is judged a second time"


def test_what_teaching_costs_is_judged_on_the_reference(
    screener: Any, judged_of: Callable[..., Judged], clean: Judged
) -> None:
    attacks = judged_of("attacks", [("what is evil", 1, "new")] * 90)
    before, ten, _ = run(screener, attacks, clean)
    assert (before["benign"]["hits"], before["benign"]["n"]) == (1, 200)
    assert before["benign_at"]["fpr 0.01"]["hits"] == 2
    assert ten["benign"] == ten["benign_at"]["fpr 0.001"]
    assert ten["benign"]["hits"] == 199


def test_a_seed_picks_the_exemplars_and_a_sample_bounds_the_rest(screener: Any, attacks: Judged, clean: Judged) -> None:
    lessons: list[list[str]] = []

    class Watching(type(screener)):  # type: ignore[misc]
        def taught(self, attacks: list[str], benign: tuple[str, ...] = ()) -> Any:
            lessons.append(list(attacks))
            return super().taught(attacks)

    rows = run(Watching(), attacks, clean, most=20, seed=1)
    run(Watching(), attacks, clean, most=20, seed=2)
    assert {row["n"] for row in rows} == {20}
    assert lessons[1][:10] == lessons[0]
    assert lessons[0] != lessons[2]
    assert len(lessons[1]) == len(set(lessons[1])) == 30


def test_only_sources_with_enough_attacks_are_taught_from(attacks: Judged, clean: Judged) -> None:
    ((item, name, rows),) = sources([attacks, clean])
    assert (item.corpus.name, name, len(rows)) == ("attacks", "new", 100)
    assert len(rows) >= MIN_ATTACKS
    assert sources([clean]) == []
