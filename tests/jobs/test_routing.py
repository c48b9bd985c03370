from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_screener import FakeScreener
from routed import HARD, SIMPLE, SPAN, tiers, verdicts

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.routing import Routing, route_files
from aimds.jobs.scan import Columns
from aimds.jobs.scan.progress import Silent
from aimds.route.cache import AnswerCache
from aimds.route.choices import CHOICES
from aimds.route.router import Router


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def embed(texts: pa.Array) -> Any:
    return np.ones((len(texts), 4), np.float32) / 2


def routing(cached: bool = False, **settings: Any) -> Routing:
    made = tiers(**settings)
    return Routing(Router(made), AnswerCache(embed, made.cache, bytes(16)) if cached else None, now=0.0)


def run(paths: list[Path], made: Routing, out: Path | None = None) -> int:
    def screener() -> Any:
        raise AssertionError("verdicts are not screened again")

    return route_files(paths, made, screener, columns=Columns(), out=out, progress=Silent())


def test_choices_of_all_files_are_written_in_order_and_added_up(tmp_path: Path) -> None:
    rows = [{}, {"text": HARD, "tenant": "b"}, {"action": "block"}, {"spans": [SPAN]}]
    for name in ("a", "b"):
        pq.write_table(verdicts(*rows), tmp_path / f"{name}.parquet")
    made, out = routing(), tmp_path / "out" / "choices.parquet"
    out.parent.mkdir()
    assert run([tmp_path / "a.parquet", tmp_path / "b.parquet"], made, out) == 8
    written = pq.read_table(out)
    assert written.schema.equals(CHOICES)
    assert written.column("reason").to_pylist() == ["cheapest", "cheapest", "blocked", "kept_local"] * 2
    told = made.totals.as_dict()
    assert (told["rows"], told["answered"], told["private"]) == (8, 6, 2)
    assert told["cost"] == pytest.approx(sum(written.column("cost").to_pylist()))
    assert told["strongest_cost"] == pytest.approx(sum(written.column("strongest_cost").to_pylist()))
    assert sum(group["cost"] for group in told["tiers"].values()) == pytest.approx(told["cost"])
    assert sum(group["cost"] for group in told["tenants"].values()) == pytest.approx(told["cost"])
    assert 0 < told["saved"] < 1
    assert told["reasons"] == {"blocked": 2, "cheapest": 4, "kept_local": 2}


def test_cache_serves_what_came_before_in_other_pieces(tmp_path: Path) -> None:
    table = verdicts(*([{}] * 200), *([{"spans": [SPAN]}] * 10))
    pq.write_table(table, tmp_path / "a.parquet")
    made = routing(cached=True, cache={"ttl_s": 1e6})
    run([tmp_path / "a.parquet"], made)
    assert made.totals.cache == {"miss": 64, "exact": 136, "barred": 10}
    assert made.totals.tiers["cheap"].rows == 64


def test_budgets_begin_anew_with_the_period_of_the_rows(tmp_path: Path) -> None:
    days = [datetime(2025, 3, 3 + i // 2, 12, tzinfo=UTC) for i in range(4)]
    pq.write_table(verdicts(*({"ts": day} for day in days)), tmp_path / "a.parquet")
    one = Router(tiers()).route(verdicts({}), now=0.0).to_pylist()[0]["cost"]
    made = routing(budget={"default": one * 1.5})
    run([tmp_path / "a.parquet"], made)
    assert made.totals.reasons == {"cheapest": 2, "budget": 2}


def test_no_rows_and_an_output_over_an_input_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(verdicts(), path)
    with pytest.raises(DataError, match="no rows"):
        run([path], routing())
    pq.write_table(verdicts({}), path)
    with pytest.raises(ConfigError, match="another file"):
        run([path], routing(), path)
    assert pq.read_table(path).column("text").to_pylist() == [SIMPLE]


def test_verdicts_without_their_texts_say_how_to_keep_them(tmp_path: Path) -> None:
    pq.write_table(verdicts({}).drop_columns(["text"]), tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match="--with-text"):
        run([tmp_path / "a.parquet"], routing())


def test_logs_are_screened_as_a_scan_does_it(tmp_path: Path) -> None:
    texts = ["a" * (1 << 20)] * 8 + ["b"] * 2500 + ["c" * ((64 << 20) + 1)]
    pq.write_table(pa.table({"text": texts, "role": ["admin"] * len(texts)}), tmp_path / "a.parquet")
    screener, made, notes = FakeScreener(), routing(), Notes()
    rows = route_files(
        [tmp_path / "a.parquet"],
        made,
        lambda: screener,
        columns=Columns(),
        out=tmp_path / "out.parquet",
        progress=notes,
    )
    assert (rows, sum(screener.seen)) == (2509, 2508)
    assert max(screener.seen) <= 2048
    assert screener.seen[0] <= 4
    assert pq.read_table(tmp_path / "out.parquet").column("request_id").to_pylist() == [str(i) for i in range(2509)]
    [said] = notes.said
    assert "column 'role' is not used as channel (unknown channel 'admin')" in said


def test_file_that_is_no_parquet_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"a\.parquet"):
        run([tmp_path / "a.parquet"], routing(), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
