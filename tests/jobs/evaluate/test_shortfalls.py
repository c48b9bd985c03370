"""Where an evaluation falls short: each kind is named with its figures, and what holds is not named."""

from __future__ import annotations

from typing import Any

from aimds.jobs.evaluate.shortfalls import Shortfall, shortfalls


def rate(hits: int, n: int, low: float = 0.0) -> dict[str, Any]:
    return {"hits": hits, "n": n, "rate": hits / n if n else None, "low": low, "high": 1.0}


def found(**result: Any) -> dict[str, tuple[str, ...]]:
    return {one.what: one.where for one in shortfalls(result)}


def attack(source: str, hits: int, n: int) -> dict[str, Any]:
    return {"source": source, "group": "attack", "n": n, "fpr 0.01": rate(hits, n), "fpr 0.001": rate(n, n)}


def test_weak_sources_are_named_lowest_first_and_tiny_ones_are_not() -> None:
    sources = [attack("fine", 95, 100), attack("weak", 80, 100), attack("weaker", 9, 100), attack("tiny", 0, 19)]
    (only,) = shortfalls({"sources": sources})
    assert only.what == "Under 85 % of attacks found at a true 1 %: 2 of 4 sources"
    assert [name.partition(" ")[0] for name in only.where] == ["weaker", "weak"]
    assert only.where[0] == "weaker 9.0 % of 100 (0.0–100.0)"


def test_files_stand_in_where_there_are_no_sources() -> None:
    row = {**attack("", 1, 100), "file": "wild"}
    assert [one.where[0].partition(" ")[0] for one in shortfalls({"rows": [row]})] == ["wild"]


def test_disguises_that_lose_a_tenth_are_named_and_those_that_lose_less_are_not() -> None:
    rows = [
        {"name": "hex", "kept": rate(89, 100), "benign": rate(9, 100, 0.02)},
        {"name": "url", "kept": rate(90, 100), "benign": rate(2, 100, 0.005)},
        {"name": "none", "kept": rate(0, 0), "benign": rate(0, 0)},
    ]
    whats = found(robustness=rows)
    assert whats["Less than 90 % of the detection kept: 1 of 3 disguises"] == ("hex 89.0 % of 100 (0.0–100.0)",)
    assert whats["Disguised benign text flagged above 1 %"] == ("hex 9.0 % of 100 (2.0–100.0)",)
    assert len(whats) == 2


def test_benign_sets_above_the_nominal_rate_say_whether_it_may_be_chance() -> None:
    rows = [
        {"file": "sure", "group": "benign", "flag": rate(50, 1000, 0.03), "block": rate(0, 1000)},
        {"file": "maybe", "group": "benign", "flag": rate(2, 100, 0.002), "block": rate(0, 100)},
        {"file": "fine", "group": "benign", "flag": rate(1, 100, 0.0), "block": rate(0, 100)},
    ]
    assert found(rows=rows) == {
        "Benign text flagged above the nominal 1 % at the shipped threshold": (
            "sure 5.0 % of 1,000 (3.0–100.0)",
            "maybe 2.0 % of 100 (0.2–100.0), may be chance",
        )
    }


def test_over_defence_teaching_entities_and_stages_are_named() -> None:
    whats = found(
        overdefence=[{"set": "a", "flag": rate(94, 100)}, {"set": "b", "flag": rate(95, 100)}],
        fewshot=[
            {"source": "s", "exemplars": k, "fpr 0.001": rate(hits, 100)} for k, hits in ((0, 10), (10, 60), (30, 84))
        ],
        pii=[
            {"source": "s", "entity": "PHONE", "recall": 0.8, "n": 50, "precision": 1.0, "predicted": 40},
            {"source": "s", "entity": "EMAIL", "recall": 1.0, "n": 50, "precision": 0.5, "predicted": 100},
            {"source": "s", "entity": "IBAN", "recall": 0.1, "n": 5, "precision": None, "predicted": 0},
            {"source": "s", "entity": "PERSON", "recall": None, "n": 500, "precision": None, "predicted": 0},
        ],
        out_of_fold={
            "ablation": [
                {"stages": "classifier", "detection": {"0.01": 0.6, "0.001": 0.4}},
                {"stages": "+ patterns", "detection": {"0.01": 0.7, "0.001": 0.39}},
                {"stages": "encoder alone", "detection": {"0.01": 0.1, "0.001": 0.1}},
            ]
        },
        could_not_judge=2,
        removal={"n": 9, "unexplained": 1},
        left_out={"fewshot": "no source holds 80 attacks"},
    )
    assert list(whats) == [
        "2 rows could not be judged",
        "1 flagged attacks whose verdict names no evidence",
        "After 30 exemplars still under 85 % at 0.1 %: 1 of 1 sources",
        "Over-defence: less than 95 % of harmless text left alone",
        "Personal data: recall under 90 %",
        "Personal data: precision under 90 %",
        "Stages that cost detection out of fold",
        "Asked for but not measured",
    ]
    assert whats["Over-defence: less than 95 % of harmless text left alone"][0].startswith("a 94.0 %")
    assert whats["Personal data: recall under 90 %"] == ("PHONE in s 80.0 % of 50",)
    assert whats["Stages that cost detection out of fold"] == ("patterns: 1.0 points at 0.1 %",)


def test_nothing_is_named_where_nothing_falls_short() -> None:
    assert shortfalls({}) == []
    assert shortfalls({"sources": [attack("fine", 85, 100)]}) == []
    assert Shortfall("x", ()).where == ()
