"""A state that counts: the turns of each session and the sum of their numbers."""

from __future__ import annotations

import json
import os
from typing import Any


class Counting:
    """Answers with how many turns of the session there were, and their sum. A turn END ends the process if the file
    ``flag`` exists, and deletes it."""

    def __init__(self, flag: str = "") -> None:
        self._flag = flag
        self.counts: dict[str, list[int]] = {}

    def observe(self, turns: Any) -> list[int]:
        session, number = turns
        if number == "END" and os.path.exists(self._flag):
            os.unlink(self._flag)
            os._exit(1)
        found = self.counts.setdefault(session, [0, 0])
        found[0] += 1
        found[1] += number if isinstance(number, int) else 0
        return list(found)

    def snapshot(self) -> bytes:
        return json.dumps(self.counts).encode()

    def restore(self, snapshot: bytes) -> None:
        self.counts = json.loads(snapshot)
