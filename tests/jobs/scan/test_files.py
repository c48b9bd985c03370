from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scan_data import fingerprint, log, scan, texts

from aimds.errors import ConfigError, DataError
from aimds.jobs.scan import Counts, Factory, Files, Kind, Limits, ScanConfig, Summary
from aimds.jobs.scan.reading import Chunk
from aimds.jobs.scan.rows import add_counts
from aimds.jobs.scan.tasks import Job

LENGTHS = pa.schema([("row", pa.int64()), ("length", pa.int32())])
KIND = Kind("measuring", "lengths", LENGTHS, add_counts)


class Lengths:
    """Lengths of the texts that hold a word: fewer rows than are read."""

    def __init__(self, word: str) -> None:
        self.config_hash = word
        self.seconds: dict[str, float] = {}

    def rows(self, job: Job, chunk: Chunk, counts: Counts) -> Iterator[pa.RecordBatch]:
        column = chunk.batch.column(job.used["text"])
        kept = pc.indices_nonzero(pc.match_substring(column, self.config_hash))
        add_counts(counts, {"rows": {"read": len(column), "kept": len(kept)}})
        if len(kept):
            lengths = pc.binary_length(column.take(kept)).cast(pa.int32())
            columns = [chunk.numbers.take(kept), lengths, *(chunk.batch.column(name).take(kept) for name in job.carry)]
            yield pa.RecordBatch.from_arrays(columns, schema=job.output_schema)


def measure(inputs: Path, output: Path, word: str = "ignore", **settings: int) -> tuple[Summary, Counts]:
    config = ScanConfig(
        (str(inputs),), output, carry=("label",), unit_rows=32, limits=Limits(batch_rows=10), **settings
    )
    return Files(config, KIND, Factory("test_files:Lengths", {"word": word})).run()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_other_work_makes_other_rows_of_the_same_files(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 250)
    log(tmp_path / "logs/b.parquet", 60)
    summary, counts = measure(tmp_path / "logs", tmp_path / "one")
    kept = [row for row, text in enumerate(texts(250)) if "ignore" in text]
    table = pq.read_table(tmp_path / "one/a.parquet")
    assert table["row"].to_pylist() == table["label"].to_pylist() == kept
    assert table["length"].to_pylist() == [len(texts(250)[row]) for row in kept]
    assert counts["rows"] == {"read": 310, "kept": summary.rows}
    assert (summary.rows_screened, summary.rows) == (310, len(kept) + len(kept[: 60 // 7 + 1]))
    measure(tmp_path / "logs", tmp_path / "two", workers=2)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
    again, same = measure(tmp_path / "logs", tmp_path / "one")
    assert again.nothing_to_do
    assert same == counts


def test_the_outputs_of_different_work_are_not_mixed(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 50)
    measure(path, tmp_path / "out")
    with pytest.raises(DataError, match=r"does not hold lengths of this measuring \(different: the settings\)"):
        measure(path, tmp_path / "out", "hello")
    with pytest.raises(DataError, match=r"does not hold verdicts of this scan \(different: the command"):
        scan(path, tmp_path / "out")


def test_work_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 5)
    config = ScanConfig((str(path),), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"work = 'test_files:Nothing': expected module:callable"):
        Files(config, KIND, Factory("test_files:Nothing", {})).run()
