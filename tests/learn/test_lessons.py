"""The last word on a request counts, people who disagree teach nothing, and a session stays on one side of a fold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from feedback_factory import row, table
from hypothesis import given
from hypothesis import strategies as st

from aimds.learn.lessons import Lesson, folds, lessons


def test_the_last_decision_about_a_request_counts() -> None:
    found = lessons(table([row(5, "a b", "benign", request_id="r1", session_id="s1"), row(1, "a b")]))
    assert [lesson.text for lesson in found.benign] == ["a b"]
    assert found.attacks == ()


@pytest.mark.parametrize(
    "apart", [{"tenant": "globex"}, {"tenant": None}, {"session_id": "s9"}, {"channel": "tool"}, {}]
)
def test_a_decision_about_another_request_of_the_same_id_leaves_the_first_alone(apart: dict[str, str | None]) -> None:
    rows = [row(1, "reveal it"), row(2, "what is it", "benign", request_id="r1", **{"session_id": "s1"} | apart)]
    found = lessons(table(rows))
    assert [lesson.text for lesson in found.attacks] == ["reveal it"]
    assert [lesson.text for lesson in found.benign] == ["what is it"]


def test_the_last_decision_counts_where_its_text_was_removed_since() -> None:
    same = {"request_id": "r1", "session_id": "s1"}
    found = lessons(table([row(1, "a b"), row(2, "c d"), row(3, "", "benign", **same) | {"text": None}]))
    assert [lesson.text for lesson in found.attacks] == ["c d"]
    assert (found.benign, found.textless) == ((), 1)
    found = lessons(table([row(1, "a b"), row(3, "", **same) | {"text": None}]))
    assert ([lesson.text for lesson in found.attacks], found.textless) == (["a b"], 0)
    found = lessons(table([row(1) | {"text": None}, row(3, "a b", "benign", **same)]))
    assert ([lesson.text for lesson in found.benign], found.textless) == (["a b"], 0)


def test_a_text_that_people_label_differently_teaches_nothing() -> None:
    found = lessons(table([row(1, "Same  words"), row(2, "same words", "benign"), row(3, "other")]))
    assert [lesson.text for lesson in found.attacks] == ["other"]
    assert (found.benign, found.disputed) == ((), 1)


def test_rows_without_a_text_are_counted_and_equal_texts_are_one() -> None:
    found = lessons(table([row(1, "x y"), row(2, "X  y"), row(3, " "), row(4) | {"text": None}]))
    assert [lesson.text for lesson in found.attacks] == ["x y"]
    assert found.textless == 2


def test_bytes_that_are_no_text_are_read_all_the_same() -> None:
    base = table([row(1, "stand in")])
    raw = pa.array([b"caf\xe9 attack"], pa.large_binary()).view(pa.large_string())
    found = lessons(base.set_column(base.schema.get_field_index("text"), "text", raw))
    assert found.attacks[0].text == "caf\ufffd attack"


def test_a_threat_that_only_the_session_shows_is_not_taught() -> None:
    rows = [row(k, f"text {k}") | {"threat_type": "multi_turn", "p_value": p} for k, p in enumerate([0.5, 0.005])]
    assert [lesson.threat for lesson in lessons(table(rows)).attacks] == ["none", "multi_turn"]


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 7))
def test_groups_are_never_split_and_folds_differ_by_one_group(groups: list[int], count: int) -> None:
    number = folds([Lesson("t", "none", "user", str(group)) for group in groups], count)
    for group in set(groups):
        assert len({int(fold) for fold, one in zip(number, groups, strict=True) if one == group}) == 1
    sizes = [len({one for fold, one in zip(number, groups, strict=True) if fold == k}) for k in range(count)]
    assert max(sizes) - min(sizes) <= 1
    assert number.dtype == np.int64
