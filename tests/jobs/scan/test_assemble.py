from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_screener import FakeScreener
from scan_data import texts

from aimds.jobs.scan import assemble, parts
from aimds.schema import VERDICTS, check_verdicts, requests


def batches(n: int, size: int) -> list[pa.RecordBatch]:
    asked = requests(pa.RecordBatch.from_pydict({"text": texts(n)}))
    return [FakeScreener().screen_batch(asked.slice(start, size)) for start in range(0, n, size)]


def written(folder: Path, split: list[list[pa.RecordBatch]]) -> Path:
    folder.mkdir()
    paths = []
    for index, some in enumerate(split):
        paths.append(folder / parts.name(0, index))
        parts.write(paths[-1], VERDICTS, iter(some), {"key": "k"})
    rows, size = assemble.assemble(paths, VERDICTS, folder / "deep" / "out.parquet", folder)
    assert (rows, size) == (
        sum(b.num_rows for some in split for b in some),
        (folder / "deep" / "out.parquet").stat().st_size,
    )
    return folder / "deep" / "out.parquet"


def test_the_output_has_all_rows_in_order_and_the_types_of_the_contract(tmp_path: Path) -> None:
    given = batches(95, 10)
    found = pq.read_table(written(tmp_path / "a", [given[:3], given[3:]]), page_checksum_verification=True)
    check_verdicts(found)
    assert found.to_pylist() == pa.Table.from_batches(given).to_pylist()


def test_where_parts_end_leaves_no_trace_in_the_bytes(tmp_path: Path) -> None:
    given = batches(95, 10)
    one = written(tmp_path / "a", [given])
    many = written(tmp_path / "b", [[batch] for batch in given])
    assert one.read_bytes() == many.read_bytes()


def test_row_groups_are_bounded_by_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "GROUP_ROWS", 25)
    metadata = pq.read_metadata(written(tmp_path / "a", [batches(95, 10)]))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [20, 20, 20, 20, 15]
    monkeypatch.setattr(assemble, "GROUP_BYTES", 1)
    assert pq.read_metadata(written(tmp_path / "b", [batches(95, 10)])).num_row_groups == 10


def test_no_parts_make_an_empty_file_of_verdicts(tmp_path: Path) -> None:
    found = pq.read_table(written(tmp_path / "a", []))
    check_verdicts(found)
    assert found.num_rows == 0


def test_a_flipped_bit_in_an_output_is_found_by_its_page_checksum(tmp_path: Path) -> None:
    path = written(tmp_path / "a", [batches(95, 10)])
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    data[start + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OSError, match=r"checksum|CRC"):
        pq.read_table(path, columns=["request_id"], page_checksum_verification=True)
