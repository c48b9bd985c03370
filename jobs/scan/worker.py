"""A worker process: ``python -m aimds.jobs.scan.worker`` reads tasks as JSON lines on stdin and answers on stdout.

It ends when stdin ends, and on Linux the kernel ends it with its parent, however the parent dies.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; exit now if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Serve tasks until stdin ends."""
    die_with_parent(int(sys.argv[1]))
    # Whatever a library prints goes to stderr: stdout carries answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    first = json.loads(sys.stdin.readline())
    sys.path[:] = first["path"]

    import pyarrow as pa

    from aimds.errors import AimdsError
    from aimds.jobs.scan.executor import Executor
    from aimds.jobs.scan.tasks import Answer, Factory, Task

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)

    def say(answer: Answer) -> None:
        answers.write(json.dumps(asdict(answer)) + "\n")

    def progress(rows: int) -> None:
        say(Answer("rows", {"rows": rows}))

    try:
        executor = Executor(Factory(**first["factory"]), progress)
    except AimdsError as error:
        say(Answer("fatal", {"problem": str(error)}))
        return
    say(Answer("ready", {"config_hash": executor.config_hash}))
    for line in sys.stdin:
        value: dict[str, Any] = json.loads(line)
        say(executor.run(Task.from_json(value)))
        pa.default_memory_pool().release_unused()


if __name__ == "__main__":
    main()
