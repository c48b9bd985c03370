"""An audit log as Parquet: what was asked for is in it, and the file alone shows that nothing of it was changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.errors import ConfigError, DataError
from aimds.record import erasure, export
from aimds.record.audit import AuditLog
from aimds.record.chain import digest_of, hash_of
from aimds.record.checking import Problem
from aimds.record.export import Choice, moment
from aimds.record.export_check import is_export, verify_export
from aimds.record.head import head_path, read_checkpoint
from aimds.record.rotation import Rotation

PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = [PAIR.public_key()]
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


def filled(path: Path, rows: int = 40, signing: Ed25519PrivateKey | None = PAIR) -> Path:
    """A record a minute from noon on, of two tenants and of none, over several files."""
    minutes = iter(range(100_000))
    at = NOON

    rotation = Rotation(segment_bytes=4000, checkpoint_records=8, checkpoint_s=1e9, segment_s=1e9)
    with AuditLog(path, signing=signing, rotation=rotation, now=lambda: at) as log:
        for i in range(rows):
            at = NOON + timedelta(minutes=next(minutes))
            body = {"i": i, "action": "block", "score": i / 64, "request_id": f"r{i}", "session_id": f"s{i % 3}"}
            log.append("verdict", {**body, "tenant": ("acme", "globex", None)[i % 3]})
            log.flush()
    return path


def written(tmp_path: Path, choice: Choice = Choice(), **options: Any) -> tuple[Path, pa.Table]:  # noqa: B008
    export.export(filled(tmp_path / "log", **options), tmp_path / "out.parquet", choice)
    return tmp_path / "out.parquet", pq.read_table(tmp_path / "out.parquet")


def numbers(table: pa.Table) -> list[int]:
    found = [json.loads(body) for body in table.column("body").to_pylist() if body is not None]
    return [body["i"] for body in found if "i" in body]


def kinds(problems: tuple[Problem, ...]) -> set[str]:
    return {problem.kind for problem in problems}


def test_whole_log_is_exported_and_verifies_with_the_public_key_alone(tmp_path: Path) -> None:
    out, table = written(tmp_path)
    assert numbers(table) == list(range(40))
    assert table.column("seq").to_pylist() == list(range(1, table.num_rows + 1))
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["request_id"], first["tenant"], first["action"], first["score"]) == ("r0", "acme", "block", 0.0)
    assert first["time"] == NOON
    report = verify_export(out, public=PUBLIC)
    assert report.ok, report.problems
    assert (report.records, report.first) == (table.num_rows, 1)
    assert any("signing key" in sentence for sentence in report.proved)
    assert out.stat().st_mode & 0o777 == 0o600
    assert kinds(verify_export(out, public=[OTHER.public_key()]).problems) == {"signature"}
    assert any("made it up" in sentence for sentence in verify_export(out).unproved)
    assert is_export(out)
    assert not is_export(tmp_path / "log")


def test_time_from_until_before_and_on_to_the_next_signature(tmp_path: Path) -> None:
    choice = Choice(NOON + timedelta(minutes=10), NOON + timedelta(minutes=20))
    out, table = written(tmp_path, choice)
    assert numbers(table) == list(range(10, 20))
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    assert last["kind"] == "checkpoint"
    hidden = table.filter(pc.is_null(table.column("body")))
    assert 0 < hidden.num_rows < 9
    for name in ("private", "commit", "request_id", "session_id", "tenant", "action", "score"):
        assert hidden.column(name).null_count == hidden.num_rows
    assert verify_export(out, public=PUBLIC).ok


def test_nothing_of_other_tenants_is_in_the_file_and_the_chain_holds(tmp_path: Path) -> None:
    out, table = written(tmp_path, Choice(tenant="globex"))
    assert numbers(table) == list(range(1, 38, 3))
    assert set(table.column("tenant").to_pylist()) == {"globex", None}
    assert b"acme" not in b"".join(str(row).encode() for row in table.to_pylist())
    report = verify_export(out, public=PUBLIC)
    assert report.ok
    assert any("without content" in sentence for sentence in report.unproved)
    (tmp_path / "none.parquet").unlink(missing_ok=True)
    export.export(tmp_path / "log", tmp_path / "none.parquet", Choice(tenant=""))
    assert numbers(pq.read_table(tmp_path / "none.parquet")) == list(range(2, 40, 3))


def test_private_parts_can_be_left_out(tmp_path: Path) -> None:
    out, table = written(tmp_path, Choice(private=False))
    assert numbers(table) == list(range(40))
    for name in ("private", "request_id", "session_id", "tenant"):
        assert table.column(name).null_count == table.num_rows
    assert verify_export(out, public=PUBLIC).ok


def other(value: Any) -> list[Any]:
    if value is None:
        return ["x"]
    if isinstance(value, int):
        return [value + 1, value - 1, -1]
    if isinstance(value, float):
        return [value + 0.5, None]
    if isinstance(value, datetime):
        return [value + timedelta(microseconds=1)]
    return [value + " ", value[:-1], value.swapcase() if value.swapcase() != value else value * 2]


def test_any_other_value_in_any_column_of_any_row_is_found(tmp_path: Path) -> None:
    out, table = written(tmp_path, Choice(tenant="acme"), rows=14)
    meta, rows, tried = table.schema, table.to_pylist(), 0
    for k, row in enumerate(rows):
        for name, value in row.items():
            for changed in other(value):
                if name == "score" and isinstance(changed, str):
                    changed = 0.5
                new = [*rows[:k], {**row, name: changed}, *rows[k + 1 :]]
                pq.write_table(pa.Table.from_pylist(new, meta), out)
                assert not verify_export(out, public=PUBLIC).ok, (k, name, value, changed)
                tried += 1
    assert tried > 400


def test_rows_removed_doubled_or_moved_are_found(tmp_path: Path) -> None:
    out, table = written(tmp_path, rows=14)
    rows, last = table.to_pylist(), table.num_rows - 1
    for k in range(table.num_rows):
        changes = [[*rows[:k], rows[k], *rows[k:]]]
        if 0 < k < last:
            changes += [[*rows[:k], *rows[k + 1 :]], [*rows[:k], rows[k + 1], rows[k], *rows[k + 2 :]]]
        for new in changes:
            pq.write_table(pa.Table.from_pylist(new, table.schema), out)
            assert not verify_export(out, public=PUBLIC).ok, k
    pq.write_table(pa.Table.from_pylist(rows[:5], table.schema), out)
    assert kinds(verify_export(out, public=PUBLIC).problems) == {"signature"}


def test_checkpoint_from_elsewhere_binds_an_export_of_an_unsigned_log(tmp_path: Path) -> None:
    out, table = written(tmp_path, signing=None)
    head = read_checkpoint(head_path(tmp_path / "log")).point
    assert verify_export(out, points=[(head.seq, head.hash, "the note")]).ok
    assert not verify_export(out, points=[(head.seq, "0" * 64, "the note")]).ok
    assert kinds(verify_export(out, public=PUBLIC).problems) == {"signature"}
    assert table.column("kind").to_pylist()[-1] == "verdict"


def test_erased_records_are_said_to_have_no_private_part(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    with AuditLog(path, signing=PAIR) as log:
        erasure.erase(log, erasure.Subject(session="s1"))
    export.export(path, tmp_path / "out.parquet", Choice())
    report = verify_export(tmp_path / "out.parquet", public=PUBLIC)
    assert report.ok
    assert report.erased == 13
    assert any("no private part" in sentence for sentence in report.unproved)
    assert b"s1" not in str(pq.read_table(tmp_path / "out.parquet").to_pylist()).encode()


def test_parts_are_written_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "GROUP", 7)
    told: list[tuple[int, int]] = []
    path = filled(tmp_path / "log")
    done = export.export(path, tmp_path / "out.parquet", Choice(), lambda at, total: told.append((at, total)))
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups > 5
    assert done.signed
    assert verify_export(tmp_path / "out.parquet", public=PUBLIC).ok


def test_what_cannot_be_exported_leaves_no_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    out = tmp_path / "out.parquet"
    with pytest.raises(DataError, match="no record of that time"):
        export.export(path, out, Choice(since=NOON + timedelta(days=9)))
    (tmp_path / "text").write_text("not a log")
    with pytest.raises(DataError, match="is not an audit log"):
        export.export(tmp_path / "text", out, Choice())
    with pytest.raises(DataError, match="no such log"):
        export.export(tmp_path / "none", out, Choice())
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"i":39', b'"i":38'))
    with pytest.raises(DataError, match="damaged"):
        export.export(path, out, Choice())
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be written"):
        export.export(path, tmp_path / "no folder" / "out.parquet", Choice())
    assert not [file for file in tmp_path.iterdir() if "parquet" in file.name]
    export.export(path, out, Choice())
    with pytest.raises(DataError, match="exists already"):
        export.export(path, out, Choice())


def test_file_that_is_no_export_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no export"):
        verify_export(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="Parquet"):
        verify_export(tmp_path / "y.parquet")


def test_times_are_read_as_utc_and_what_is_none_is_named() -> None:
    assert moment("2025-03-03", "--since") == datetime(2025, 3, 3, tzinfo=UTC)
    assert moment("2025-03-03T13:00:00+01:00", "--since") == NOON
    with pytest.raises(ConfigError, match="--since"):
        moment("yesterday", "--since")
    with pytest.raises(ConfigError, match="until"):
        Choice(NOON, NOON)


def test_content_that_no_record_can_hold_is_a_problem_and_no_fault(tmp_path: Path) -> None:
    out, table = written(tmp_path, signing=None, rows=6)
    for body in ("[1]", "1", "{", '{"score":' + "9" * 400 + "}", "[" * 50_000):
        row = table.slice(0, 1).to_pylist()[0]
        digest = digest_of(body.encode(), row["commit"])
        hashed = hash_of(digest, row["kind"], row["prev"], row["seq"], "2025-03-03T12:00:00.000000+00:00")
        forged = {**row, "body": body, "digest": digest, "hash": hashed}
        pq.write_table(pa.Table.from_pylist([forged, *table.to_pylist()[1:]], table.schema), out)
        problem = verify_export(out).problems[0]
        assert problem.line == 1
        assert "content" in problem.message
