"""The same tasks done by actors of a Ray cluster: a pool whose workers are seats, and whose actors come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aimds.actors.dispatch import Dispatch, Ended, Patience
from aimds.actors.topology import Share
from aimds.errors import ConfigError
from aimds.jobs.scan import durable, manifest
from aimds.jobs.scan.executor import Executor
from aimds.jobs.scan.tasks import Answer, Factory, Task

STALL_S = 600.0
"""How long a job waits for an actor when none is left; a cluster may be starting machines."""
SEEN = ".seen"


class Seat:
    """What an actor does for a job over files; runs there.

    Args:
        factory: of the work.
        folder, token: a file of this name stands in the output folder, if that is the one which the job writes to.
    """

    def __init__(self, target: str, arguments: dict[str, Any], folder: str, token: str) -> None:
        import pyarrow as pa

        if not os.path.exists(os.path.join(folder, token)):
            raise ConfigError("output", folder, f"a folder that all machines share; {os.uname().nodename} has another")
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        self._executor = Executor(Factory(target, arguments), self._on_rows)
        self._rows = 0

    def _on_rows(self, rows: int) -> None:
        self._rows += rows

    def about(self) -> str:
        """The hash of the configuration, the same in all actors."""
        return self._executor.config_hash

    def pulse(self) -> int:
        """Rows of the present task that are done."""
        return self._rows

    def run(self, task: dict[str, Any]) -> dict[str, Any]:
        """Do a task (JSON); the answer (JSON)."""
        import pyarrow as pa

        self._rows = 0
        answer = asdict(self._executor.run(Task.from_json(task)))
        pa.default_memory_pool().release_unused()
        return answer


class Actors:
    """A `Pool` of actors. A seat holds one task until it is answered, whichever actors are at it meanwhile.

    A machine that is lost costs its units a second start and nothing else; an actor that ends by itself makes its unit
    a suspect, as a worker process would.

    Args:
        factory: of the work.
        output: folder of the job, which all machines share.
        workers, share: how many actors, and what each takes of a machine.
    """

    def __init__(
        self,
        factory: Factory,
        output: Path,
        workers: int,
        share: Share,
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from aimds.actors.crew import Crew

        self._clock, self._workers = clock, workers
        folder = output.absolute() / manifest.FOLDER
        self._seen = folder / f"{SEEN}-{os.uname().nodename}-{os.getpid()}"
        made = {"target": factory.target, "arguments": factory.arguments}
        self._crew = Crew(
            "scan", f"{__name__}:Seat", {**made, "folder": str(folder), "token": self._seen.name}, share, clock=clock
        )
        self.dispatch = Dispatch(patience)
        self._hash: str | None = None
        self._seats = 0
        self._ready: list[int] = []
        self._tasks: dict[int, dict[str, Any]] = {}
        self._seat: dict[int, int] = {}
        self._shown: dict[int, int] = {}
        self._best: dict[int, int] = {}
        self._tickets = 0
        self._heard = clock()

    @property
    def restarts(self) -> int:
        """Actors that ended and were started again."""
        return self._crew.restarts

    @property
    def machines(self) -> dict[int, str]:
        """Ids of the machines that actors are on."""
        return self._crew.machines

    def start(self) -> int:
        seat, self._seats = self._seats, self._seats + 1
        if seat == 0:
            durable.make_folder(self._seen.parent)
            for stale in self._seen.parent.glob(f"{SEEN}-*"):
                stale.unlink(missing_ok=True)
            durable.write_json(self._seen, {})
        if seat < self._workers:
            self._crew.start()
        self._ready.append(seat)
        return seat

    def submit(self, worker: int, task: Task) -> None:
        ticket, self._tickets = self._tickets, self._tickets + 1
        self._tasks[ticket], self._seat[ticket], self._shown[ticket] = _placed(task).to_json(), worker, 0
        rows = 1 if task.where is None else task.where.stop - task.where.start
        # Two that assemble one file could see each other's parts go; two that do one unit write the same part.
        self.dispatch.submit(ticket, size=rows, prefer=self._best.get(worker), again=task.where is not None)

    def wait(self, timeout_s: float) -> list[tuple[int, Answer]]:
        answers: list[tuple[int, Answer]] = []
        if self._hash is not None and self._ready:
            answers = [(seat, Answer("ready", {"config_hash": self._hash})) for seat in self._ready]
            self._ready.clear()
            return answers
        self._send()
        for event in self._crew.wait(timeout_s):
            self._heard = self._clock()
            answers += self._became(event)
        self._send()
        if not self.dispatch.workers and self._clock() - self._heard > STALL_S:
            problem = f"no worker of the cluster has answered for {STALL_S:.0f} s"
            answers.append((0, Answer("fatal", {"problem": problem})))
        return answers

    def _send(self) -> None:
        for worker, ticket in self.dispatch.due(self._clock()):
            self._best[self._seat[ticket]] = worker
            self._crew.ask(worker, "run", self._tasks[ticket])

    def _became(self, event: Any) -> list[tuple[int, Answer]]:
        worker, now = event.worker, self._clock()
        if event.kind == "ready":
            if self._hash is not None and event.value != self._hash:
                problem = f"workers disagree about the configuration: {event.value} and {self._hash}"
                return [(0, Answer("fatal", {"problem": problem}))]
            self._hash = event.value
            self.dispatch.joined(worker)
            return []
        if event.kind == "unfit":
            return [(0, Answer("fatal", {"problem": event.value}))]
        if event.kind == "pulse":
            ticket = self.dispatch.at(worker)
            return [] if ticket is None else self._progress(ticket, event.value or 0)
        if event.kind == "lost":
            ticket = self.dispatch.at(worker)
            ended = self.dispatch.lost(worker, blamed=event.blamed)
            if ended is None:
                return []
            return self._over(ended, Answer("broken", {"problem": event.value, "trace": ""}))
        if event.kind == "failed":
            answer = Answer("broken", {"problem": event.value, "trace": ""})
        else:
            answer = Answer(**event.value)
        ended = self.dispatch.finished(worker, now, good=answer.kind == "done")
        return [] if ended is None else self._over(ended, answer)

    def _over(self, ended: Ended, answer: Answer) -> list[tuple[int, Answer]]:
        for loser in ended.losers:
            self.dispatch.lost(loser, blamed=False)
            self._crew.stop(loser)
        seat = self._seat[ended.ticket]
        more = self._progress(ended.ticket, answer.value["read"]) if "read" in answer.value else []
        del self._tasks[ended.ticket], self._seat[ended.ticket], self._shown[ended.ticket]
        return [*more, (seat, answer)]

    def _progress(self, ticket: int, rows: int) -> list[tuple[int, Answer]]:
        more = rows - self._shown[ticket]
        if more <= 0:
            return []
        self._shown[ticket] = rows
        return [(self._seat[ticket], Answer("rows", {"rows": more}))]

    def stop(self, worker: int) -> None:
        """Seats need not be ended."""

    def close(self) -> None:
        self._crew.close()
        with suppress(OSError):
            self._seen.unlink()


def _placed(task: Task) -> Task:
    """``task`` with paths that mean the same in every folder."""
    source, job = task.job.source, task.job
    if not source.uri:
        source = replace(source, path=os.path.abspath(source.path))
    placed = replace(job, source=source, folder=os.path.abspath(job.folder), output=os.path.abspath(job.output))
    return replace(task, job=placed)
