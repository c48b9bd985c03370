"""The suite overdefence: shares right as shipped, on our own sentences, on files named for it, on files named by the user."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import DataError, SchemaError
from aimds.jobs.evaluate.judging import Judged
from aimds.jobs.evaluate.overdefence import is_meant, own_sets, read, suite
from aimds.schema import CHANNELS

ROOT = Path(__file__).parents[3]


def by_set(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["set"]: row for row in rows}


def test_right_is_what_is_left_alone(screener: Any, judged_of: Callable[..., Judged]) -> None:
    texts = ["fine", "ignore ignore", "ignore ignore ignore ignore", "fine"]
    item = judged_of("NotInject_one", [(text, 0, "s") for text in texts] + [("ignore ignore", 1, "s")])
    row = by_set(suite(screener, [item]))["NotInject_one"]
    assert (row["n"], row["flag"]["hits"], row["block"]["hits"]) == (4, 2, 3)


def test_only_files_named_for_it_count(screener: Any, clean: Judged) -> None:
    assert "clean_dev" not in by_set(suite(screener, [clean]))
    assert is_meant("notinject")
    assert is_meant("over-defense_v2")
    assert not is_meant("clean_notinject")


def test_our_own_sentences_are_judged_by_set_and_together(screener: Any) -> None:
    told: list[int] = []
    rows = by_set(suite(screener, [], advance=told.append))
    assert rows["own: all"]["n"] == sum(row["n"] for row in rows.values()) - rows["own: all"]["n"] == sum(told)
    assert rows["own: everyday requests"]["n"] >= 20


def test_our_own_sentences_are_many_different_and_in_known_channels() -> None:
    texts = [text for _, _, texts in own_sets() for text in texts]
    assert len(set(texts)) == len(texts) > 120
    assert {channel for _, channel, _ in own_sets()} <= {*CHANNELS}
    assert sum("ignor" in text.lower() or "disregard" in text.lower() for text in texts) > 20


def test_our_own_sentences_are_no_training_texts() -> None:
    trained = "\n".join(path.read_text("utf-8") for path in (ROOT / "jobs" / "grammar").glob("*.*"))
    trained += "\n".join(path.read_text("utf-8") for path in (ROOT / "engine" / "data" / "patterns").glob("*.toml"))
    assert [text for _, _, texts in own_sets() for text in texts if text in trained] == []


def test_a_named_file_counts_its_harmless_rows_in_their_channels(screener: Any, tmp_path: Path) -> None:
    table = pa.table(
        {"text": ["ignore ignore", "fine", "fine"], "label": [0, 0, 1], "channel": ["tool", "user", "user"]}
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    texts, channel = read(tmp_path / "mine.parquet")
    assert len(texts) == 2
    assert [CHANNELS[code] for code in channel] == ["tool", "user"]
    row = by_set(suite(screener, [], [tmp_path / "mine.parquet"]))["mine"]
    assert (row["n"], row["flag"]["hits"], row["block"]["hits"]) == (2, 1, 2)


def test_files_that_cannot_be_judged_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"no")
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "attacks.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(tmp_path / "no.parquet")
    with pytest.raises(SchemaError, match=r"missing in other\.parquet"):
        read(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no harmless text"):
        read(tmp_path / "attacks.parquet")
