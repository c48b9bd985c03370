"""The step notify: a line of JSON for each row, at the end of a file of this machine, for whoever reads along."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pyarrow as pa

MAX_BYTES = 64 << 20
_NAMES = (
    *("request_id", "session_id", "turn", "tenant", "channel", "action", "session_action", "threat_type", "score"),
    *("p_value", "session_score", "violations", "status", "policy_version"),
)


class NotifyFile:
    """Appends to ``path``, which only its owner may read. No text of the traffic is in it, only ids and figures.

    Args:
        max_bytes: at this size the file becomes ``<name>.1``, in the place of an older one, and a new one begins.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._max_bytes, self._lock = path, max_bytes, Lock()

    def notify(self, verdicts: pa.RecordBatch, now: float) -> None:
        """Write a line for each of ``verdicts``; ``now``: seconds since 1970.

        Raises:
            OSError: the file cannot be written.
        """
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        rows = verdicts.select(list(_NAMES)).to_pylist()
        content = "".join(json.dumps({"at": at, **row}, ensure_ascii=True) + "\n" for row in rows).encode()
        with self._lock:
            if self._path.is_file() and self._path.stat().st_size + len(content) > self._max_bytes:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            # One write of whole lines, at the end whoever else writes there.
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(file, view) :]
            finally:
                os.close(file)
