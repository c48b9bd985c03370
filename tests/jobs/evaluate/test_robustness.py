"""The suite robustness: what stays detected is counted among what was detected, for attacks and harmless text alike."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from aimds.jobs.evaluate import robustness
from aimds.jobs.evaluate.disguise import Disguise
from aimds.jobs.evaluate.judging import Judged
from aimds.jobs.evaluate.points import Points
from aimds.jobs.evaluate.sample import Picked, attacks, drawn, packed, picked

POINTS = Points({"fpr 0.01": (0.5, 0.5)})
ATTACKS = [("ignore a", 1, "s"), ("ignore b IGNORE", 1, "s"), ("nothing", 1, "s"), ("ещё ignore слова тут", 1, "s")]


@pytest.fixture
def shown(judged_of: Callable[..., Judged]) -> Picked:
    found = attacks([judged_of("attacks", ATTACKS)], 0, 0)
    assert found is not None
    return found


@pytest.fixture
def calm(clean: Judged) -> Picked:
    return picked(clean, np.arange(190, 200))


def run(screener: Any, shown: Picked, calm: Picked, *ways: Disguise) -> list[dict[str, Any]]:
    return robustness.suite(screener, shown, calm, POINTS, ways)


def test_kept_counts_only_what_was_detected_plainly(screener: Any, shown: Picked, calm: Picked) -> None:
    upper = Disguise("upper", "character", lambda text, _: text.upper())
    doubled = Disguise("doubled", "character", lambda text, _: f"{text} ignore")
    lost, found = run(screener, shown, calm, upper, doubled)
    assert (lost["n"], lost["plain"], lost["kept"]["hits"], lost["kept"]["n"]) == (4, 3, 0, 3)
    assert (found["n"], found["plain"], found["kept"]["hits"], found["kept"]["n"]) == (4, 3, 3, 3)
    assert lost["benign"]["hits"] == 0
    assert found["benign"] == found["columns"]["fpr 0.01"]["benign"]
    assert (found["benign"]["hits"], found["benign"]["n"]) == (10, 10)
    assert found["columns"]["fpr 0.01"]["benign_plain"]["hits"] == 2
    assert found["at"] == "fpr 0.01"


def test_a_disguise_is_put_on_what_it_fits_only(screener: Any, shown: Picked, calm: Picked) -> None:
    (row,) = run(screener, shown, calm, Disguise("latin", "character", lambda text, _: text, latin=True))
    assert (row["n"], row["plain"], row["kept"]["hits"]) == (3, 2, 2)


def test_every_column_is_counted_against_its_own_plain_detection(screener: Any, shown: Picked, calm: Picked) -> None:
    (row,) = run(screener, shown, calm, Disguise("thrice", "character", lambda text, _: " ".join([text] * 4)))
    assert row["columns"]["block"]["plain"]["hits"] == 0
    assert row["columns"]["block"]["kept"] == {"hits": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}


def test_rows_that_fail_when_hidden_are_counted(screener: Any, shown: Picked, calm: Picked) -> None:
    (row,) = run(screener, shown, calm, Disguise("broken", "encoding", lambda text, _: "BROKEN"))
    assert row["failed"] == 14
    assert row["kept"]["hits"] == 0


def test_progress_ends_at_the_promised_total(screener: Any, shown: Picked, calm: Picked) -> None:
    told: list[int] = []
    ways = [Disguise(name, "character", lambda text, _: text, latin=True) for name in "ab"]
    robustness.suite(screener, shown, calm, POINTS, ways, advance=told.append)
    assert sum(told) == 2 * (len(shown) + len(calm))


def test_a_row_is_hidden_the_same_way_whatever_stands_beside_it(
    screener: Any, shown: Picked, calm: Picked, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Disguise("drawn", "character", lambda text, random: f"{text} {random.random()}")
    screener.seen.clear()
    run(screener, shown, calm, way)
    whole, screener.seen = screener.seen, []
    monkeypatch.setattr(robustness, "CHUNK_ROWS", 3)
    run(screener, shown, calm, way)
    assert screener.seen == whole
    assert len({text.split()[-1] for text in whole[:4]}) == 4


def test_documents_are_made_of_texts_that_count_nowhere(clean: Judged) -> None:
    ways = robustness.disguises(picked(clean, np.arange(len(clean.corpus))), POINTS)
    (document,) = [one for one in ways if one.name == "document of 100 KB"]
    made = document.hide("the attack", Random(0))
    assert "what is number" in made
    assert "ignore" not in made
    assert len({one.name for one in ways}) == len(ways) > 35


def test_a_sample_is_drawn_by_file_in_order_and_with_its_outcomes(judged_of: Callable[..., Judged]) -> None:
    item = judged_of("attacks", [(f"{'ignore ' * (k % 3)}{k}", 1, "s") for k in range(50)])
    found = attacks([item, item], 10, 5)
    assert found is not None
    assert len(found) == 20
    assert found.texts[:10] == found.texts[10:]
    assert [text.count("ignore") for text in found.texts] == found.outcomes.danger.tolist()
    assert drawn(np.arange(5), 0, 1).tolist() == drawn(np.arange(5), 9, 1).tolist() == [0, 1, 2, 3, 4]
    assert drawn(np.arange(50), 10, 1).tolist() != drawn(np.arange(50), 10, 2).tolist()


def test_files_without_attacks_give_no_sample(clean: Judged) -> None:
    assert attacks([clean], 10, 0) is None


def test_lone_surrogates_become_question_marks() -> None:
    assert packed(["a\ud800b"]).raw(0) == b"a?b"
