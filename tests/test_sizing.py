"""The arithmetic of the page on sizing."""

from __future__ import annotations

import math
import re
from pathlib import Path

from aimds.record.audit import AuditLog

TEXT = (Path(__file__).parent.parent / "docs" / "sizing.md").read_text("utf-8")
ROWS = re.findall(r"^\| [^|]+ \| ([\d,]+) \| (\d\.\d{3}) \| (\d\.\d{3}) \|$", TEXT, re.MULTILINE)
CORES = 2


def core_hours(rate: float, used: float) -> str:
    return f"{1e6 / (rate * used) / 3600 * CORES:.3f}"


def test_core_hours_follow_from_the_rates() -> None:
    assert len(ROWS) == 5
    for rate, whole, planned in ROWS:
        number = float(rate.replace(",", ""))
        assert (whole, planned) == (core_hours(number, 1.0), core_hours(number, 0.7)), rate


def test_examples_come_out_as_they_say() -> None:
    assert f"0.061 / 2 · 0.10 = {0.061 / 2 * 0.10:.3f}" in TEXT
    assert f"0.202 / 2 · 0.10 = {0.202 / 2 * 0.10:.3f}" in TEXT
    assert f"take {1e6 * 5000 / 1.843e6 / 3600:.3f} core-hours" in TEXT
    machines = 20_000 / (3929 * 0.7)
    assert f"ceil({machines:.2f}) + 1 = {math.ceil(machines) + 1}" in TEXT


def test_a_record_has_the_size_that_is_said(tmp_path: Path) -> None:
    body = {
        "request_id": "3f0c9a52-7d34-4a53-9d6e-1f6f3f0a2b11",
        "session_id": "conv-0123456789abcdef",
        "tenant": "acme",
        "channel": "user",
        "action": "block",
        "threat_type": "direct_injection",
        "score": 0.9987654,
        "status": "ok",
        "policy_version": "1+95cccd808ddb",
        "identity": "client.example",
        "text": "0" * 64,
    }
    with AuditLog(tmp_path / "audit.log", key=bytes(32)) as log:
        log.append("verdict", body)
    (line,) = [one for one in (tmp_path / "audit.log").read_bytes().splitlines(True) if b'"verdict"' in one]
    assert f"| about {round(len(line), -1)} bytes |" in TEXT
