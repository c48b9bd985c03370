"""Asking the process that writes an audit log to erase a subject, and waiting for its answer."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aimds.record.subject import Subject

HEARD_S = 15.0
"""A writer that listens takes a question within a second or two, if nothing else keeps it busy."""
LOOK_S = 0.1


def asked(log: Path, subject: Subject, key: Path | None, wait_s: float) -> int:
    """Have the writer of ``log`` erase ``subject``; how many records it were. ``key``: file of the key of the log.

    Raises:
        DataError: it does not listen, refuses, fails, or takes longer than ``wait_s``.
    """
    from aimds.errors import DataError
    from aimds.record.keys import load_key
    from aimds.record.wanted import answered, ask, withdraw

    name = secrets.token_hex(16)
    ask(log, subject, load_key(key) if key else None, now=datetime.now(UTC), name=name)
    try:
        begun = time.monotonic()
        while (found := answered(log, name)) is None:
            waited = time.monotonic() - begun
            if waited > min(HEARD_S, wait_s) and withdraw(log, name):
                problem = "is being written by another process, which does not take questions: stop it, and erase again"
                raise DataError(log, problem)
            if waited > wait_s:
                raise DataError(log, f"no answer from its writer within {wait_s:g} s; it may still be at work")
            time.sleep(LOOK_S)
    finally:
        # Also with Ctrl-C: what was not taken yet is not to happen later.
        withdraw(log, name)
    if "problem" in found:
        raise DataError(log, f"its writer refused: {found['problem']}")
    return int(found["records"])
