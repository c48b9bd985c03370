"""A canary share: a session is on one side all the way, and verdicts come back in the order of the requests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from verdict_factory import row

from aimds import trial
from aimds.schema import VERDICTS, constant, requests


def batch(sessions: list[str | None]) -> pa.RecordBatch:
    texts = [f"text {number}" for number in range(len(sessions))]
    return requests(pa.table({"text": texts, "session_id": pa.array(sessions, pa.string())}))


def test_about_the_share_of_the_sessions_is_on_trial_and_all_rows_of_each() -> None:
    sessions = [f"s{number // 3}" for number in range(6000)]
    chosen = trial.chosen(batch(sessions), 0.1)
    assert 0.08 < chosen.mean() < 0.12
    assert (chosen.reshape(-1, 3).sum(1) % 3 == 0).all()


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_who_is_in_at_a_share_is_in_at_every_larger_one(sessions: list[str | None], one: float, two: float) -> None:
    small, large = sorted((one, two))
    rows = batch(sessions)
    assert (trial.chosen(rows, small) <= trial.chosen(rows, large)).all()
    assert not trial.chosen(rows, 0.0).any()
    assert trial.chosen(rows, 1.0).all()


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_verdicts_come_in_the_order_of_the_requests_whatever_the_sides(sides: list[bool]) -> None:
    rows = batch([None] * len(sides))

    def judge(part: pa.RecordBatch, tried: bool) -> pa.RecordBatch:
        rows = [{name: value for name, value in row(k).items() if name in VERDICTS.names} for k in range(len(part))]
        made = pa.RecordBatch.from_pylist(rows, schema=VERDICTS)
        made = made.set_column(0, made.schema.field(0), part.column("request_id"))
        place = made.schema.get_field_index("signature_version")
        return made.set_column(place, made.schema.field(place), constant("new" if tried else "old", part.num_rows))

    found = trial.joined(rows, np.array(sides), judge)
    assert found.column("request_id").to_pylist() == rows.column("request_id").to_pylist()
    assert found.column("signature_version").to_pylist() == ["new" if side else "old" for side in sides]
