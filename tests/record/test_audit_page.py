"""The check that docs/audit.md shows, which uses nothing of ours, agrees with what the log writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from aimds.record.audit import AuditLog
from aimds.record.erasure import erase
from aimds.record.subject import Subject

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def checked(path: Path) -> None:
    code = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    assert "hashlib" in code

    def opened(name: str) -> Any:
        assert name == "audit.log.00000001"
        return io.StringIO(path.read_text("utf-8"))

    exec(compile(code, "docs/audit.md", "exec"), {"open": opened})


def test_the_check_of_the_page_passes_a_whole_file_and_finds_every_change(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        for i in range(4):
            log.append("verdict", {"i": i, "score": i / 7, "session_id": f"é{i}", "nothing": None})
        log.rotate()
    path = tmp_path / "log.00000001"
    checked(path)
    with AuditLog(tmp_path / "log") as log:
        assert erase(log, Subject(session="é2")).records == 1
    checked(path)
    content = path.read_bytes()
    for old, new in (
        (b'"i":1', b'"i":9'),
        (b"u00e91", b"u00e99"),
        (b'"kind":"v', b'"kind":"w'),
        (b'"seq":3', b'"seq":9'),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(AssertionError):
            checked(path)
