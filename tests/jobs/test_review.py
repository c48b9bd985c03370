"""From verdict files into the queue: every chosen row once, and the turns around it."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import verdict_factory
from review_cases import ADA, START

from aimds.jobs import review
from aimds.jobs.review import Result, add
from aimds.respond.review import Queue


def put(queue: Queue, *paths: Path) -> Result:
    return add(queue, paths, {"block"}, START, "scan")


def beside(queue: Queue) -> list[int]:
    """Numbers of the turns beside the first item, itself among them."""
    return [int(turn.request_id[1:]) for turn in queue.session(ADA, 1)]


def rows(number: int, **changed: Any) -> list[dict[str, Any]]:
    """So many rows of files without ids: a row has its place for one; the second is blocked."""
    made = [verdict_factory.row(k, request_id=str(k), session_id=None, turn=None, **changed) for k in range(number)]
    blocked = verdict_factory.attack(1, request_id="1", session_id=None, turn=None, **changed)
    return [blocked if k == 1 else one for k, one in enumerate(made)]


@pytest.mark.parametrize("names", [("a.parquet", "b.parquet"), ("day=01/part.parquet", "day=02/part.parquet")])
def test_rows_without_texts_and_ids_are_told_apart_by_their_files(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        verdict_factory.write(tmp_path / name, rows(3), text=False)
    queue = Queue(tmp_path / "review.db", create=True)
    first = put(queue, tmp_path)
    assert (first.chosen, first.new, first.known, first.without_text) == (2, 2, 0, 2)
    again = put(queue, tmp_path)
    assert (again.new, again.known, again.without_text) == (0, 2, 0)


def test_a_row_without_text_and_id_is_the_same_one_whichever_files_are_named_beside_its_own(tmp_path: Path) -> None:
    days = [tmp_path / "logs" / day for day in ("day=01", "day=02")]
    for day in days:
        day.mkdir(parents=True)
        verdict_factory.write(day / "part.parquet", rows(3), text=False)
    queue = Queue(tmp_path / "review.db", create=True)
    found = [put(queue, path) for path in (days[0], days[1], tmp_path / "logs", days[0] / "part.parquet")]
    assert [(one.new, one.known) for one in found] == [(1, 0), (1, 0), (0, 2), (0, 1)]


def test_a_file_of_one_name_with_rows_of_another_day_is_not_taken_for_the_first(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "review.db", create=True)
    for day in range(2):
        ts = START + timedelta(days=day)
        file = verdict_factory.write(tmp_path / "v.parquet", rows(3, ts=ts), text=False)
        assert put(queue, file).new == 1
    assert put(queue, file).known == 1


def test_only_new_rows_are_counted_as_without_text(tmp_path: Path) -> None:
    blocked = [verdict_factory.attack(k, session_id=None, text=None) for k in range(3)]
    queue = Queue(tmp_path / "review.db", create=True)
    put(queue, verdict_factory.write(tmp_path / "v.parquet", blocked[:2]))
    found = put(queue, verdict_factory.write(tmp_path / "v.parquet", blocked))
    assert (found.new, found.known, found.without_text) == (1, 2, 1)


@pytest.mark.parametrize("by", ["turn", "ts", "row"])
def test_the_turns_that_are_kept_are_those_nearest_to_the_chosen_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(review, "MAX_TURNS", 4)
    monkeypatch.setattr(review, "ROWS", 7)
    made = []
    for k in range(60):
        order = {"turn": k if by == "turn" else None, "ts": START + timedelta(minutes=k) if by == "ts" else None}
        make = verdict_factory.attack if k in (40, 50) else verdict_factory.row
        made.append(make(k, **{"session_id": "long"} | order))
        # The same id is a session of another tenant, in which nothing was chosen.
        made.append(verdict_factory.row(100 + k, **{"session_id": "long", "tenant": "other"} | order))
    if by != "row":
        random.Random(3).shuffle(made)
    for name, part in (("a", made[:50]), ("b", made[50:])):
        verdict_factory.write(tmp_path / f"{name}.parquet", part)
    queue = Queue(tmp_path / "review.db", create=True)
    assert put(queue, tmp_path).turns == 4
    assert sorted(beside(queue)) == [39, 40, 41, 49, 50, 51]


def test_a_short_session_is_kept_whole_and_nothing_of_others(tmp_path: Path) -> None:
    made = [verdict_factory.row(k, session_id="s", turn=k) for k in range(6)]
    made[2] = verdict_factory.attack(2, session_id="s", turn=2)
    made += [verdict_factory.row(k, session_id=None) for k in range(6, 9)]
    made += [verdict_factory.row(k, session_id="calm") for k in range(9, 12)]
    queue = Queue(tmp_path / "review.db", create=True)
    assert put(queue, verdict_factory.write(tmp_path / "v.parquet", made)).turns == 5
    assert beside(queue) == list(range(6))
