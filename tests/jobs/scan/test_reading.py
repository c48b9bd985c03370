from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_data import log, texts

from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.reading import Chunk, ParquetTable, ReadError, Slice, gather

N = 250


def source(path: Path) -> Source:
    return Source(str(path), "", path.name, "parquet")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ParquetTable:
    path = tmp_path_factory.mktemp("reading") / "a.parquet"
    return ParquetTable(source(log(path, N, group_rows=N)))


def read(table: ParquetTable, group: int, start: int, stop: int, columns: list[str]) -> tuple[list[Any], list[int]]:
    chunks = list(table.chunks(Slice(group, start, stop, 1000), columns))
    return (
        [value for chunk in chunks for value in chunk.batch.column(0).to_pylist()],
        [number for chunk in chunks for number in chunk.numbers.to_pylist()],
    )


@settings(max_examples=40)
@given(slices=st.lists(st.tuples(st.integers(0, N), st.integers(0, N)), max_size=6))
def test_any_slice_in_any_order_is_the_rows_it_names(table: ParquetTable, slices: list[tuple[int, int]]) -> None:
    expected = texts(N)
    for a, b in slices:
        start, stop = min(a, b), max(a, b)
        values, numbers = read(table, 0, start, stop, ["text"])
        assert values == expected[start:stop]
        assert numbers == list(range(1000 + start, 1000 + stop))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view()])
@pytest.mark.parametrize("encoding", ["dictionary", "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_every_text_type_and_encoding_reads_the_same(tmp_path: Path, kind: pa.DataType, encoding: str) -> None:
    settings = {} if encoding == "dictionary" else {"use_dictionary": False, "column_encoding": {"text": encoding}}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(texts(90)).cast(kind)}), path, **settings)
    values, _ = read(ParquetTable(source(path)), 0, 7, 81, ["text"])
    assert [value.decode() if isinstance(value, bytes) else value for value in values] == texts(90)[7:81]


def test_a_dictionary_column_is_read_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(texts(600) + ["x"] * 600).dictionary_encode()}), path)
    chunks = list(ParquetTable(source(path)).chunks(Slice(0, 100, 1100, 0), ["text"]))
    assert [value for chunk in chunks for value in chunk.batch.column(0).to_pylist()] == (texts(600) + ["x"] * 600)[
        100:1100
    ]
    assert all(chunk.batch.column(0).type == pa.string() for chunk in chunks)


def test_a_row_group_with_fewer_rows_than_asked_for_is_an_error(table: ParquetTable) -> None:
    with pytest.raises(ReadError, match=r"row group 0 ends after 250 rows"):
        read(table, 0, 0, N + 1, ["text"])
    assert read(table, 0, 0, 3, ["text"])[0] == texts(3)


def test_what_is_no_parquet_file_says_so(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1", b"text\n" * 20):
        path = tmp_path / "a.parquet"
        path.write_bytes(content)
        with pytest.raises(ReadError, match=r"a\.parquet: is not a readable Parquet file"):
            ParquetTable(source(path))


@given(
    sizes=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9), max_size=6),
    max_rows=st.integers(1, 12),
    max_bytes=st.integers(1, 120),
)
def test_gathered_pieces_keep_all_rows_and_the_bounds(sizes: list[list[int]], max_rows: int, max_bytes: int) -> None:
    chunks, number = [], 0
    for group in sizes:
        batch = pa.RecordBatch.from_pydict({"t": pa.array(["x" * size for size in group])})
        numbers = pa.array(range(number, number + len(group)), pa.int64())
        chunks.append(Chunk(batch, numbers, {row: str(number + row) for row in range(0, len(group), 2)}))
        number += len(group)
    pieces = list(gather(iter(chunks), max_rows, max_bytes))
    assert [n for piece in pieces for n in piece.numbers.to_pylist()] == list(range(number))
    assert [len(v) for piece in pieces for v in piece.batch.column(0).to_pylist()] == [
        s for group in sizes for s in group
    ]
    expected = {n for chunk in chunks for n in map(int, chunk.problems.values())}
    assert {piece.numbers[row].as_py() for piece in pieces for row in piece.problems} == expected
    for piece in pieces:
        assert all(piece.numbers[row].as_py() == int(text) for row, text in piece.problems.items())
        assert piece.batch.num_rows <= max_rows
        assert piece.batch.num_rows == 1 or sum(c.nbytes for c in piece.batch.columns) <= max_bytes + 8 * len(sizes)


BOMB = """
import resource, sys
from pathlib import Path
from scan_data import scan
from aimds.jobs.scan import Limits
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
summary = scan(Path(sys.argv[1]), Path(sys.argv[2]), limits=Limits(), unit_rows=65536, with_text=True)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(summary.rows, (after - before) // 1024)
"""


@pytest.mark.parametrize("how", ["one long value", "many short rows"])
def test_a_file_of_a_few_bytes_that_expands_to_hundreds_of_megabytes_stays_within_bounds(
    tmp_path: Path, how: str
) -> None:
    value, rows = ("a" * 60_000, 4_000) if how == "one long value" else ("a" * 8, 400_000)
    path = tmp_path / "bomb.parquet"
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value])).dictionary_decode()
    pq.write_table(
        pa.table({"text": repeated}),
        path,
        compression="zstd",
        store_schema=False,
        write_statistics=False,
        row_group_size=rows,
    )
    assert path.stat().st_size < 2000
    # Decoded as the file declares it, the first one is 240 MB at once.
    run = subprocess.run(
        [sys.executable, "-c", BOMB, str(path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    scanned, grown_mb = map(int, run.stdout.split())
    assert scanned == rows
    assert grown_mb < 120, run.stdout
