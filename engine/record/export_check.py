"""The check of an exported audit log by itself: every row has its hash, the rows are one chain, somebody signed it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import DataError
from aimds.record.chain import FORMAT, Record, digest_of, hash_of, is_number, sha256
from aimds.record.checking import Check, Proof
from aimds.record.checkpoints import Checkpoint
from aimds.record.export import EASY, META, SCHEMA, easy
from aimds.record.verification import Report

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ROWS = 5000


def verify_export(
    path: Path,
    *,
    public: Sequence[Ed25519PublicKey] = (),
    points: Sequence[tuple[int, str, str]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check the export ``path``.

    Args:
        public: keys of those who may have signed the log; only with one does the result bind who made the export.
        points: number and hash of records that are known from elsewhere, and who knows them.

    Raises:
        DataError: it cannot be read, or is no export of an audit log.
    """
    hidden = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as source:
            head: Checkpoint | None = _meta(path, source.schema_arrow)["head"]
            known = [*points, *([(head.seq, head.hash, "the head")] if head else [])]
            check = Check(Proof(None, public, known), part=True)
            total = source.metadata.num_rows
            for number, row in enumerate(_rows(source), 1):
                problem = _wrong(row)
                if problem:
                    check.bad_line(number, problem)
                    continue
                hidden += row["body"] is None
                check.record(_record(row), number, hidden=row["body"] is None)
                if progress is not None and number % ROWS == 0:
                    progress(number, total)
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error
    # A head of later records says nothing of these.
    if head is not None and check.first <= head.seq <= check.last.seq and head.signed_by(public):
        check.signed_to = max(check.signed_to, head.seq)
    check.finish()
    proved, unproved = _claims(check, hidden)
    last = check.last
    return Report(
        str(path),
        check.chain,
        check.records,
        last.seq,
        last.hash,
        tuple(check.problems),
        check.count,
        proved,
        unproved,
        1,
        max(check.first, 0),
        check.signed,
        len(check.tombs),
    )


def is_export(path: Path) -> bool:
    """Whether ``path`` is a Parquet file by how it begins."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def _meta(path: Path, schema: pa.Schema) -> dict[str, Any]:
    try:
        found = json.loads((schema.metadata or {})[META])
        head = found["head"]
        if head is not None:
            del head["seal"]
            found["head"] = Checkpoint(**head)
    except (ValueError, RecursionError, TypeError, KeyError):
        raise DataError(path, "is no export of an audit log; aimds audit export makes one") from None
    if found.get("format") != FORMAT:
        raise DataError(path, f"is an export of format {found.get('format')}, this version reads format {FORMAT}")
    if not schema.remove_metadata().equals(SCHEMA):
        raise DataError(path, "does not have the columns of an exported audit log")
    return dict(found)


def _rows(source: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in source.iter_batches(ROWS):
        yield from batch.to_pylist()


def _wrong(row: dict[str, Any]) -> str:
    row["time"] = row["time"].astimezone(UTC).isoformat(timespec="microseconds")
    body, private, commit = row["body"], row["private"], row["commit"]
    if not is_number(row["seq"]):
        return "the row is not a record"
    if row["hash"] != hash_of(row["digest"], row["kind"], row["prev"], row["seq"], row["time"]):
        return "the content does not have the hash that the row states"
    if body is None and (private is not None or commit is not None):
        return "the row has a part of its content only"
    if body is not None and row["digest"] != digest_of(body.encode(), commit):
        return "the content does not have the hash that the row states"
    if private is not None and (commit is None or sha256(private) != commit):
        return "the private part is not the one that the record commits to"
    try:
        row["read"] = tuple({} if one is None else json.loads(one) for one in (body, private))
        if not all(isinstance(one, dict) for one in row["read"]):
            return "the content is not a record's"
        told = easy(*row["read"])
    except (ValueError, RecursionError, OverflowError):
        return "the content is not JSON that a record holds"
    differing = [name for name in EASY if row[name] != told[name]]
    return f"the column {differing[0]} says something else than the record" if differing else ""


def _record(row: dict[str, Any]) -> Record:
    body, private = row["read"]
    held = None if row["private"] is None else private
    return Record(row["seq"], row["time"], row["kind"], body, row["prev"], row["hash"], row["commit"], held)


def _claims(check: Check, hidden: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    proved, unproved = [], []
    if check.count == 0:
        proved.append(f"records {check.first} to {check.last.seq} are in order, without a gap, as they were written")
        if check.signed_to >= 0:
            proved.append(
                f"records {check.first} to {check.signed_to} are those that a holder of the signing key wrote"
            )
    if not check.proof.public:
        unproved.append("without a public key: that nobody who could write the export made it up")
    elif check.last.seq > check.signed_to + 1:
        unproved.append(f"who wrote records {check.signed_to + 1} to {check.last.seq}: no checkpoint after them")
    if hidden:
        unproved.append(f"what {hidden} records without content say, and that none of them was asked for")
    if len(check.tombs):
        unproved.append(
            f"why {len(check.tombs)} records have no private part: it was erased, or left out of the export"
        )
    unproved.append(f"that the log did not go on after record {check.last.seq}, or begin before {check.first}")
    return tuple(proved), tuple(unproved)
