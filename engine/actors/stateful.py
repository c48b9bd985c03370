"""Shards of state in actors: turns go to the shard of their session, and none is lost or counted twice when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from aimds.actors.crew import ANSWER, FAILED, LOST, READY, UNFIT, Crew
from aimds.actors.keeper import Journal
from aimds.actors.shards import SLOTS, Move, Shards
from aimds.actors.topology import Share
from aimds.errors import AimdsError

SNAPSHOT_EVERY = 1000
"""Turns a slot may have had since its last snapshot; so many are sent again after a loss."""
WAIT_S = 120.0


class ShardError(AimdsError):
    """A shard cannot be used: names it and the problem."""

    def __init__(self, shard: str, problem: str) -> None:
        self.shard, self.problem = shard, problem
        super().__init__(f"shard {shard}: {problem}")


class Stateful:
    """``shards`` actors with the states that ``target`` makes; the one sender to them is this process.

    Args:
        role: part of the actors' names.
        target, arguments: make the state of a slot (`aimds.actors.keeper.State`).
        share: what each takes of a machine.
        sender: name of this process among all that ever sent to these states.
        every: turns between two snapshots of a slot.
    """

    def __init__(
        self,
        role: str,
        target: str,
        arguments: dict[str, Any],
        share: Share,
        *,
        shards: int = 1,
        slots: int = SLOTS,
        sender: str = "gateway",
        every: int = SNAPSHOT_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        made = {"target": target, "arguments": arguments}
        self._crew = Crew(role, "aimds.actors.keeper:Keeper", made, share)
        self._sender, self._every, self._clock = sender, every, clock
        self._journals = [Journal() for _ in range(slots)]
        self._snapshots: dict[int, tuple[int, bytes]] = {}
        self._workers: dict[str, int] = {}
        self._ready: set[int] = set()
        self._recovering: set[int] = set()
        for _ in range(shards):
            self._new()
        self._shards = Shards(self._workers, slots)
        # Where the state of a slot is; while slots move, not yet where it will be.
        self._at = [self._workers[self._shards.owner(slot)] for slot in range(slots)]
        self.replayed = 0
        """Turns that were sent again after a loss or a move."""

    def _new(self) -> None:
        worker = self._crew.start()
        self._workers[str(worker)] = worker

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the shards that are ready."""
        return self._crew.pids

    def observe(self, turns: Sequence[tuple[str, Any]]) -> list[Any]:
        """Tell the shards of ``turns``, (session id, what to observe) in order; the answers, in the same order.

        Raises:
            ShardError: a state raised, or a shard does not come back.
        """
        asked: dict[int, list[tuple[int, int, Any]]] = {}
        places: dict[int, list[int]] = {}
        for place, (session_id, turn) in enumerate(turns):
            slot = self._shards.slot(session_id)
            worker = self._at[slot]
            asked.setdefault(worker, []).append((slot, self._journals[slot].add(turn), turn))
            places.setdefault(worker, []).append(place)
        answers: list[Any] = [None] * len(turns)
        for worker, found in self._all({worker: ("observe", self._sender, parts) for worker, parts in asked.items()}):
            for place, answer in zip(places[worker], found, strict=True):
                answers[place] = answer
        self._snapshot([slot for parts in asked.values() for slot, _, _ in parts])
        return answers

    def resize(self, shards: int) -> list[Move]:
        """From now on there are so many shards; slots that move are taken over as they stand."""
        while len(self._workers) < shards:
            self._new()
        leaving = list(self._workers)[shards:]
        kept = {name: worker for name, worker in self._workers.items() if name not in leaving}
        moves = self._shards.change(kept)
        self._hand_over(moves)
        self._workers = kept
        for name in leaving:
            self._crew.end(int(name))
        return moves

    def _hand_over(self, moves: list[Move]) -> None:
        sources: dict[int, list[int]] = {}
        targets: dict[int, list[int]] = {}
        for move in moves:
            assert move.source is not None
            sources.setdefault(int(move.source), []).append(move.slot)
            targets.setdefault(int(move.target), []).append(move.slot)
        for worker, found in self._all({worker: ("snapshot", slots) for worker, slots in sources.items()}):
            self._took(sources[worker], found)
        for worker, slots in targets.items():
            self._all({worker: ("restore", {slot: self._snapshots[slot][1] for slot in slots})})
            for slot in slots:
                self._at[slot] = worker
        self._all({worker: ("drop", slots) for worker, slots in sources.items()})

    def _snapshot(self, slots: list[int]) -> None:
        due: dict[int, list[int]] = {}
        for slot in dict.fromkeys(slots):
            if len(self._journals[slot]) >= self._every:
                due.setdefault(self._at[slot], []).append(slot)
        for worker, found in self._all({worker: ("snapshot", due[worker]) for worker in due}):
            self._took(due[worker], found)

    def _took(self, slots: list[int], found: list[tuple[dict[str, int], bytes]]) -> None:
        for slot, (had, snapshot) in zip(slots, found, strict=True):
            number = had.get(self._sender, 0)
            self._snapshots[slot] = (number, snapshot)
            self._journals[slot].covered(number)

    # -- asking, and asking again -----------------------------------------------------------------------------------

    def _all(self, calls: dict[int, tuple[Any, ...]]) -> list[tuple[int, Any]]:
        """Each worker's answer to its call; a worker that is lost is brought to where it was, and asked again."""
        waiting = dict(calls)
        answers: list[tuple[int, Any]] = []
        for worker in waiting.keys() & self._ready:
            self._crew.ask(worker, *waiting[worker])
        last = self._clock()
        while waiting:
            if self._clock() - last > WAIT_S:
                raise ShardError(str(next(iter(waiting))), f"has not answered for {WAIT_S:.0f} s")
            for event in self._crew.wait(WAIT_S):
                worker, last = event.worker, self._clock()
                if event.kind in (FAILED, UNFIT):
                    raise ShardError(str(worker), str(event.value))
                if event.kind == LOST:
                    self._ready.discard(worker)
                    self._recovering.discard(worker)
                elif event.kind == READY:
                    self._came(worker, waiting)
                elif event.kind == ANSWER and worker in self._recovering:
                    self._recovering.discard(worker)
                    self._serve(worker, waiting)
                elif event.kind == ANSWER:
                    answers.append((worker, event.value))
                    del waiting[worker]
        return answers

    def _serve(self, worker: int, waiting: dict[int, tuple[Any, ...]]) -> None:
        self._ready.add(worker)
        if worker in waiting:
            self._crew.ask(worker, *waiting[worker])

    def _came(self, worker: int, waiting: dict[int, tuple[Any, ...]]) -> None:
        """``worker`` has started, or started again: bring it to where it was before what it is to be asked."""
        slots = [slot for slot, keeper in enumerate(self._at) if keeper == worker]
        call = waiting.get(worker, ("", "", ()))
        asked: dict[int, int] = {}
        for slot, number, _ in call[2] if call[0] == "observe" else ():
            asked.setdefault(slot, number)
        known = {slot: self._snapshots[slot][1] for slot in slots if slot in self._snapshots}
        again = [
            (slot, number, turn)
            for slot in slots
            for number, turn in self._journals[slot].after(self._snapshots.get(slot, (0, b""))[0])
            if number < asked.get(slot, number + 1)
        ]
        if not known and not again:
            self._serve(worker, waiting)
            return
        self.replayed += len(again)
        self._recovering.add(worker)
        self._crew.ask(worker, "recover", self._sender, slots, known, again)

    def close(self) -> None:
        """End all of them."""
        self._crew.close()
