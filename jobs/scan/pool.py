"""Where tasks are done: in this process, or by worker processes that may die without taking the job along."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Protocol

from aimds.jobs.scan.executor import Executor
from aimds.jobs.scan.tasks import Answer, Factory, Task
from aimds.kernels import placement

_READ_BYTES = 1 << 16
# Each worker is one thread of work: libraries that start their own would fight over the same cores.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "RAYON_NUM_THREADS",
    ),
    "1",
)


class Pool(Protocol):
    """Workers known by number."""

    def start(self) -> int:
        """Start a worker; its first answer is ``ready`` or ``fatal``."""

    def submit(self, worker: int, task: Task) -> None:
        """Give an idle worker a task."""

    def wait(self, timeout_s: float) -> list[tuple[int, Answer]]:
        """Answers that have come; waits for one."""

    def stop(self, worker: int) -> None:
        """End a worker at once."""

    def close(self) -> None:
        """End all workers at once."""


class InProcess:
    """A single worker that is this process."""

    def __init__(self, factory: Factory, on_rows: Callable[[int], None]) -> None:
        self._factory, self._on_rows = factory, on_rows
        self._executor: Executor | None = None
        self._task: Task | None = None

    def start(self) -> int:
        return 0

    def submit(self, worker: int, task: Task) -> None:
        self._task = task

    def wait(self, timeout_s: float) -> list[tuple[int, Answer]]:
        if self._executor is None:
            self._executor = Executor(self._factory, self._on_rows)
            return [(0, Answer("ready", {"config_hash": self._executor.config_hash}))]
        task, self._task = self._task, None
        return [(0, self._executor.run(task))] if task else []

    def stop(self, worker: int) -> None:
        pass

    def close(self) -> None:
        self._executor = None


class Processes:
    """Worker processes, spoken to in lines of JSON over pipes."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._unread: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._next = 0

    def start(self) -> int:
        worker, self._next = self._next, self._next + 1
        path = os.pathsep.join(path for path in sys.path if path)
        # A process group of its own: Ctrl-C in the terminal reaches the scan only, which then ends its workers itself.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "aimds.jobs.scan.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ) | _ONE_THREAD | {placement.VARIABLE: str(worker), "PYTHONPATH": path},
            process_group=0,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._workers[worker], self._unread[worker] = process, b""
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._send(worker, {"factory": asdict(self._factory), "path": sys.path})
        return worker

    def submit(self, worker: int, task: Task) -> None:
        self._send(worker, task.to_json())

    def _send(self, worker: int, value: object) -> None:
        pipe = self._workers[worker].stdin
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.write(json.dumps(value).encode() + b"\n")
            pipe.flush()

    def wait(self, timeout_s: float) -> list[tuple[int, Answer]]:
        answers: list[tuple[int, Answer]] = []
        for key, _ in self._selector.select(timeout_s):
            worker = key.data
            data = os.read(key.fd, _READ_BYTES)
            *lines, self._unread[worker] = (self._unread[worker] + data).split(b"\n")
            answers += [(worker, Answer(**json.loads(line))) for line in lines]
            if not data:
                answers.append((worker, Answer("died", {"problem": self._end(worker)})))
        return answers

    def _end(self, worker: int) -> str:
        """Close everything of ``worker``, killing it if need be; how it ended."""
        process = self._workers.pop(worker)
        del self._unread[worker]
        assert process.stdout is not None
        assert process.stdin is not None
        self._selector.unregister(process.stdout)
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return (
            f"the worker process was killed by {signal.Signals(-code).name}"
            if code < 0
            else f"the worker process exited ({code})"
        )

    def stop(self, worker: int) -> None:
        if worker in self._workers:
            self._workers[worker].kill()
            self._end(worker)

    def close(self) -> None:
        for process in self._workers.values():
            process.kill()
        for worker in list(self._workers):
            self._end(worker)
        self._selector.close()
