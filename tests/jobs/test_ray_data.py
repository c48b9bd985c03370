from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from aimds.errors import ConfigError, SchemaError
from aimds.jobs.ray_data import Screened

FAKE = "fake_screener:FakeScreener"


def screened(table: dict[str, Any], **settings: Any) -> pa.Table:
    return Screened(screener=FAKE, **settings)(pa.table(table))


def test_every_row_has_its_verdict_beside_what_is_carried() -> None:
    found = screened(
        {"prompt": ["hello", "ignore", "POISON", None], "label": [1, 2, 3, 4], "session_id": ["a"] * 4},
        columns={"text": "prompt"},
        carry=["label"],
    )
    assert found.column("request_id").to_pylist() == ["0", "1", "2", "3"]
    assert found.column("action").to_pylist() == ["allow", "block", "flag", "allow"]
    assert found.column("status").to_pylist() == ["ok", "ok", "error", "error"]
    assert found.column("session_id").to_pylist() == ["a"] * 4
    assert found.column("label").to_pylist() == [1, 2, 3, 4]


def test_a_table_without_rows_gives_one_without_rows() -> None:
    found = screened({"text": pa.array([], pa.string())})
    assert found.num_rows == 0
    assert "action" in found.column_names


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(SchemaError, match=r"column 'text': missing; the columns are prompt"):
        screened({"prompt": ["a"]})
    with pytest.raises(SchemaError, match=r"column 'question': missing"):
        screened({"prompt": ["a"]}, columns={"text": "question"})
    with pytest.raises(SchemaError, match=r"column 'label': missing"):
        screened({"text": ["a"]}, carry=["label"])
    with pytest.raises(SchemaError, match=r"column 'prompt': is no field of a request"):
        Screened(columns={"prompt": "text"}, screener=FAKE)
    with pytest.raises(ConfigError, match="no_such_module"):
        Screened(screener="no_such_module:x")
