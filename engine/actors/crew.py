"""Numbered actors of one kind, asked one thing at a time: started, listened to, and started again when they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from aimds.actors.cell import Cell
from aimds.actors.topology import Share

PULSE_S = 1.0
READY, ANSWER, FAILED, LOST, UNFIT, PULSE = "ready", "answer", "failed", "lost", "unfit", "pulse"


@dataclass(frozen=True, slots=True)
class Event:
    """What became of ``worker``.

    ``kind``: ``ready`` (``value`` is what its object says of itself) · ``answer`` (``value`` is it) · ``failed`` (the
    method raised; ``value`` says what) · ``lost`` (the actor ended, and is started again; ``value`` says how,
    ``blamed`` is False where its machine ended too) · ``unfit`` (its object cannot be made; ``value`` says why) ·
    ``pulse`` (``value`` is it).
    """

    worker: int
    kind: str
    value: Any = None
    blamed: bool = True


class _Cell(Cell):
    """A `Cell` that knows its machine, and that answers `pulse` while it works."""

    def ready(self) -> Any:
        return ray.get_runtime_context().get_node_id(), *super().ready()

    @ray.method(concurrency_group="pulse")
    def pulse(self) -> Any:
        return super().pulse()


class Crew:
    """Actors that hold what ``target`` called with ``arguments`` gives; see `Cell`.

    Args:
        role: part of the actors' names in the cluster, ``aimds-<role>-<job>-<number>``.
        share: what each takes of a machine.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        role: str,
        target: str,
        arguments: dict[str, Any],
        share: Share,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._role, self._share, self._clock = role, share, clock
        self._made = (target, arguments, [path for path in sys.path if path], max(1, int(share.cpus)))
        self._actors: dict[int, Any] = {}
        self.machines: dict[int, str] = {}
        """Of the actors that are ready, by number: the id of their machine."""
        self._refs: dict[Any, tuple[int, str]] = {}
        self._asked: set[int] = set()
        self._beating: set[int] = set()
        self._beat = clock()
        self._job = ray.get_runtime_context().get_job_id()
        self.pids: dict[int, int] = {}
        self.restarts = 0
        """Actors that ended and were started again."""

    def start(self) -> int:
        """Start another; it says ``ready`` when it can be asked."""
        worker = len(self._actors)
        self._actors[worker] = self._actor(worker)
        self._greet(worker)
        return worker

    def _actor(self, worker: int) -> Any:
        # A call that was lost is given to another actor by those who ask: Ray would wait for this one to come back.
        kind = ray.remote(concurrency_groups={"pulse": 1})(_Cell).options(
            name=f"aimds-{self._role}-{self._job}-{worker}-{self.restarts}",
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        return kind.remote(*self._made)

    def _greet(self, worker: int) -> None:
        ready = self._actors[worker].ready.options(max_task_retries=-1).remote()
        self._refs[ready] = (worker, READY)

    def ask(self, worker: int, method: str, *arguments: Any) -> None:
        """Call ``method`` of its object. It must be ready, and at nothing."""
        self._asked.add(worker)
        self._refs[self._actors[worker].call.remote(method, *arguments)] = (worker, ANSWER)

    def wait(self, timeout_s: float) -> list[Event]:
        """What has come; waits for one thing at most so long."""
        self._pulses()
        if not self._refs:
            time.sleep(timeout_s)
            return []
        refs = list(self._refs)
        if not ray.wait(refs, num_returns=1, timeout=timeout_s)[0]:
            return []
        return [event for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0] for event in self._heard(ref)]

    def _pulses(self) -> None:
        now = self._clock()
        # A thousand actors are not asked faster than they can be listened to.
        if now - self._beat < max(PULSE_S, len(self._actors) / 200):
            return
        self._beat = now
        for worker in self._asked - self._beating:
            self._beating.add(worker)
            self._refs[self._actors[worker].pulse.remote()] = (worker, PULSE)

    def _heard(self, ref: Any) -> list[Event]:
        if ref not in self._refs:
            # Of an actor that was stopped by an event before this one.
            return []
        worker, kind = self._refs.pop(ref)
        if kind == PULSE:
            self._beating.discard(worker)
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            if kind == PULSE:
                return []
            self._asked.discard(worker)
            return [Event(worker, UNFIT if kind == READY else FAILED, _reason(error))]
        except RayError as error:
            return [] if kind == PULSE else [self._lost(worker, error)]
        if kind == READY:
            self.machines[worker], self.pids[worker], about, problem = value
            return [Event(worker, READY, about) if problem is None else Event(worker, UNFIT, problem)]
        if kind == ANSWER:
            self._asked.discard(worker)
        return [Event(worker, kind, value)]

    def _lost(self, worker: int, error: Exception) -> Event:
        self._asked.discard(worker)
        node = self.machines.pop(worker, None)
        alive = any(one["NodeID"] == node and one["Alive"] for one in ray.nodes())
        self._again(worker, dead=isinstance(error, RayActorError) and type(error).__name__ == "ActorDiedError")
        how = "the worker process ended" if alive else "its machine was lost"
        return Event(worker, LOST, how, blamed=alive)

    def _again(self, worker: int, *, dead: bool) -> None:
        self.restarts += 1
        self.pids.pop(worker, None)
        if dead:
            self._actors[worker] = self._actor(worker)
        self._greet(worker)

    def stop(self, worker: int) -> None:
        """End what it is at, whatever that is; it is ``ready`` again later."""
        self._forget(worker)
        ray.kill(self._actors[worker], no_restart=False)
        self._again(worker, dead=False)

    def end(self, worker: int) -> None:
        """End it for good; its number is not given again."""
        self._forget(worker)
        ray.kill(self._actors[worker])
        self.pids.pop(worker, None)
        self.machines.pop(worker, None)

    def _forget(self, worker: int) -> None:
        for ref in [ref for ref, (whose, _) in self._refs.items() if whose == worker]:
            del self._refs[ref]
        self._asked.discard(worker)
        self._beating.discard(worker)

    def close(self) -> None:
        """End all of them."""
        self._refs.clear()
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[-1] if str(cause).strip() else ''}"


__all__: Sequence[str] = ("ANSWER", "FAILED", "LOST", "PULSE", "READY", "UNFIT", "Crew", "Event")
