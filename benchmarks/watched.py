"""`aimds` in this process, noting what a gateway in it holds: `python -m benchmarks.watched FILE serve -c aimds.toml`.

Every second a line of JSON goes to FILE: tasks of the loop, threads, open files, connections, and streams that the QUIC
machines keep, also those that only wait for an acknowledgement, and answers kept under an Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aimds.__main__ import main
from aimds.gateway import server

EVERY_S = 1.0


def held(one: Any) -> dict[str, int]:
    """What the process and its server ``one`` hold now."""
    connections = set(one._known.values())
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "connections": len(connections),
        "streams": sum(len(each.quic._streams) for each in connections),
        "answers": len(one._service.answers),
    }


async def note(one: Any, path: Path) -> None:
    """Write lines until the loop ends."""
    with path.open("a", encoding="utf-8", buffering=1) as file:
        while True:
            file.write(json.dumps({"at": time.time(), **held(one)}) + "\n")
            await asyncio.sleep(EVERY_S)


def watch(path: Path) -> None:
    """Every server begun from now on is noted in ``path``."""
    begin, kept = server.Server.__init__, set()

    def begun(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        kept.add(asyncio.get_running_loop().create_task(note(self, path)))

    server.Server.__init__ = begun  # type: ignore[method-assign]


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv = ["aimds", *sys.argv[2:]]
    main()
