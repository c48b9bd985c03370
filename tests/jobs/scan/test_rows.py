from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from fake_screener import FakeScreener
from hypothesis import given as cases
from hypothesis import strategies as st

from aimds.errors import ArtefactError, SchemaError
from aimds.jobs.scan.rows import add_counts, counts, failed, screen, screen_except
from aimds.respond.violations import noted
from aimds.schema import ACTIONS, VERDICTS, check_verdicts, enum, requests


def batch(texts: list[str | None]) -> pa.RecordBatch:
    return requests(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())}))


@cases(st.lists(st.sampled_from(["hello", "ignore", "POISON", None]), min_size=1, max_size=12))
def test_only_the_rows_that_break_the_screener_are_errors(texts: list[str | None]) -> None:
    verdicts = pa.Table.from_batches(screen(FakeScreener(), batch(texts)))
    check_verdicts(verdicts)
    assert verdicts["request_id"].to_pylist() == [str(i) for i in range(len(texts))]
    expected = ["error" if text in ("POISON", None) else "ok" for text in texts]
    assert verdicts["status"].to_pylist() == expected
    for text, action, error in zip(texts, verdicts["action"].to_pylist(), verdicts["error"].to_pylist(), strict=True):
        if text == "POISON":
            assert (action, error) == ("flag", "ValueError: poisoned")


class Wrong(FakeScreener):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def screen_batch(self, batch: pa.RecordBatch) -> Any:
        verdicts = super().screen_batch(batch)
        if self.how == "fewer":
            return verdicts.slice(1)
        if self.how == "other order":
            return verdicts.take(pa.array(range(len(batch) - 1, -1, -1)))
        if self.how == "no column":
            return verdicts.drop_columns(["action"])
        if self.how == "none":
            return None
        raise ArtefactError("weights", "damaged")


@pytest.mark.parametrize("how", ["fewer", "other order", "none"])
def test_an_answer_for_other_rows_is_never_taken(how: str) -> None:
    verdicts = pa.Table.from_batches(screen(Wrong(how), batch(["a", "b", "c"])))
    assert verdicts["request_id"].to_pylist() == ["0", "1", "2"]
    if how != "other order":
        assert verdicts["status"].to_pylist() == ["error"] * 3


def test_an_unfit_screener_stops_the_job() -> None:
    with pytest.raises(ArtefactError):
        list(screen(Wrong("raise"), batch(["a", "b"])))
    with pytest.raises(SchemaError, match=r"action"):
        list(screen(Wrong("no column"), batch(["a", "b"])))


@cases(st.integers(1, 8), st.dictionaries(st.integers(0, 7), st.text(max_size=5), max_size=8))
def test_rows_with_a_problem_are_answered_without_the_screener(n: int, problems: dict[int, str]) -> None:
    problems = {row: f"!{text}" for row, text in problems.items() if row < n}
    screener = FakeScreener()
    verdicts = pa.Table.from_batches(screen_except(screener, batch(["x"] * n), problems))
    assert verdicts["request_id"].to_pylist() == [str(i) for i in range(n)]
    assert verdicts["error"].to_pylist() == [problems.get(row) for row in range(n)]
    assert sum(screener.seen) == n - len(problems)


def test_a_failed_verdict_fits_the_contract_and_carries_the_request() -> None:
    asked = requests(pa.RecordBatch.from_pydict({"text": ["a"], "session_id": ["s"], "turn": [3], "request_id": ["r"]}))
    verdict = failed(FakeScreener(), asked, "why" * 1000)
    assert verdict.schema.equals(VERDICTS)
    row = verdict.to_pylist()[0]
    assert (row["session_id"], row["turn"], row["request_id"], row["model_version"]) == ("s", 3, "r", "fake")
    assert row["score"] is None
    assert len(row["error"]) == 500


def test_a_failed_row_gets_the_action_of_the_screeners_policy() -> None:
    class Strict(FakeScreener):
        def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
            found = failed(FakeScreener(), batch, reason)
            place = found.schema.get_field_index("action")
            return found.set_column(place, VERDICTS.field(place), enum(ACTIONS, [ACTIONS.index("block")]))

    verdict = failed(Strict(), requests(pa.table({"text": ["x"]})), "too long").to_pylist()[0]
    assert (verdict["action"], verdict["status"], verdict["error"]) == ("block", "error", "too long")


def test_a_note_makes_a_verdict_partial_and_joins_its_error() -> None:
    verdicts = next(screen(FakeScreener(), batch(["a", None, "c"])))
    rows = noted(verdicts, {0: "odd", 1: "odd"}).to_pylist()
    assert [(row["status"], row["error"]) for row in rows] == [
        ("partial", "odd"),
        ("error", "null text; odd"),
        ("ok", None),
    ]


def test_counts_add_up() -> None:
    total: dict[str, dict[str, int]] = {}
    given: list[list[str | None]] = [["a", "ignore"], ["ignore", None]]
    for texts in given:
        add_counts(total, counts(next(screen(FakeScreener(), batch(texts)))))
    assert total == {
        "actions": {"allow": 2, "block": 2},
        "threats": {"none": 2, "direct_injection": 2},
        "statuses": {"ok": 3, "error": 1},
    }
