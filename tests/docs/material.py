"""What pages take for given: files of a user's that no command of theirs makes. `python -m material NAME [FILE]`."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feedback_factory import row, table
from teaching_material import ATTACKS, BENIGN


def audit() -> None:
    """An audit log of March 2026, by the keys in the folder."""
    from aimds.record.audit import AuditLog
    from aimds.record.keys import load_key, load_signing_key

    signing = load_signing_key(Path("sign.pem")) if Path("sign.pem").exists() else None
    times = _minutes(datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC))
    with AuditLog(Path("audit.log"), key=load_key(Path("audit.key")), signing=signing, now=lambda: next(times)) as log:
        for number in range(6):
            session = "s-11b6f9329c16" if number < 3 else f"s-{number}"
            log.append("verdict", {"request_id": f"r-{number}", "session_id": session, "tenant": "acme", "score": 0.9})


def _minutes(start: datetime.datetime) -> Iterator[datetime.datetime]:
    while True:
        yield start
        start += datetime.timedelta(minutes=1)


def feedback(path: Path) -> None:
    """What people decided about some attacks."""
    pq.write_table(table([row(number, text) for number, text in enumerate(ATTACKS)]), path)


def benign(path: Path) -> None:
    """Ordinary texts."""
    pq.write_table(pa.table({"text": BENIGN}), path)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(Path, sys.argv[2:]))
