"""Shards of state in named actors, restarted by Ray where they end, and the ledger that outlives each of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from aimds.actors.cluster import NAMESPACE, ClusterError
from aimds.actors.hands import Shell
from aimds.actors.keeper import Entry, Fenced, Keeper, Said
from aimds.actors.lines import Call

AGAIN_S = 0.2
"""So long after an actor was found to be gone for good it is asked again."""
READY_S = 120.0


class RemoteLog:
    """The way from a keeper to the ledger."""

    def __init__(self, shard: str, ledger: str) -> None:
        self._shard, self._ledger = shard, ray.get_actor(ledger, NAMESPACE)

    def begin(self) -> tuple[int, int, Any, list[Entry]]:
        return ray.get(self._ledger.call.remote("begin", self._shard))  # type: ignore[no-any-return]

    def add(self, term: int, place: int, entry: Entry) -> Callable[[], bool]:
        ref = self._ledger.call.remote("add", self._shard, term, place, entry)
        return lambda: ray.get(ref)

    def cover(self, term: int, place: int, snapshot: Any) -> None:
        ray.get(self._ledger.call.remote("cover", self._shard, term, place, snapshot))


def keeper(shard: str, ledger: str, target: str, arguments: dict[str, Any]) -> Keeper:
    """The `Keeper` of ``shard``, in its actor; ``ledger`` is the name of that of the ledger."""
    return Keeper(target, arguments, RemoteLog(shard, ledger), time.monotonic)


class Stateful:
    """The actors of one group of shards; a `Way` to them.

    Args:
        role: part of the actors' names, ``aimds-<role>-<group>-<shard>``, and of that of their ledger, ``…-ledger``.
        target, arguments: make the state of a shard, see `aimds.actors.keeper.State`.
        group: gateways that name the same one use the same actors, which outlive them; None: nobody else uses these,
            and they end with this process.
        terms: what all that use the group have to agree on.

    Raises:
        ClusterError: the ledger cannot be started, or others use the group on other terms.
    """

    def __init__(
        self, role: str, target: str, arguments: dict[str, Any], *, group: str | None, terms: dict[str, Any]
    ) -> None:
        self._shared = group is not None
        self._name = f"aimds-{role}-{group if group is not None else ray.get_runtime_context().get_job_id()}"
        self._made = (target, arguments)
        self._path = [path for path in sys.path if path]
        self._actors: dict[int, Any] = {}
        self._ledger = self._keeping()
        try:
            agreed = ray.get(self._ledger.call.remote("agree", terms), timeout=READY_S)
        except RayError as error:
            raise ClusterError(None, f"{self._name}-ledger is not ready: {error}") from error
        if agreed != terms:
            other = {key: value for key, value in agreed.items() if terms.get(key) != value}
            raise ClusterError(None, f"{self._name} is used by others with {other}, here {terms}")

    def _actor(self, last: str, target: str, arguments: dict[str, Any]) -> Any:
        # A call that Ray repeats is counted once by the keeper, so that it may repeat as it likes.
        kind = ray.remote(concurrency_groups={"pulse": 1})(Shell).options(
            name=f"{self._name}-{last}",
            get_if_exists=True,
            lifetime="detached" if self._shared else None,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy="SPREAD",
        )
        return kind.remote(target, arguments, self._path, 1)

    def _keeping(self) -> Any:
        return self._actor("ledger", "aimds.actors.keeper:Ledger", {})

    def actor(self, shard: int) -> Any:
        """The actor of ``shard``, started where it is not there."""
        if shard not in self._actors:
            target, arguments = self._made
            made = {"shard": str(shard), "ledger": f"{self._name}-ledger", "target": target, "arguments": arguments}
            self._actors[shard] = self._actor(str(shard), "aimds.actors.stateful:keeper", made)
        return self._actors[shard]

    def ready(self, shards: int) -> list[int]:
        """Wait until so many shards are ready; their process ids.

        Raises:
            ClusterError: one is not, and why.
        """
        try:
            said = ray.get([self.actor(shard).ready.remote() for shard in range(shards)], timeout=READY_S)
        except RayError as error:
            raise ClusterError(None, f"a shard of sessions is not ready: {error}") from error
        for _, _, problem in said:
            if problem is not None:
                raise ClusterError(None, f"a shard of sessions cannot be made: {problem}")
        return [pid for pid, _, _ in said]

    def send(self, shard: int, sender: str, number: int, call: Call) -> Any:
        return self.actor(shard).call.remote("do", sender, number, call.method, *call.arguments)

    def heard(self, tokens: Sequence[Any], timeout_s: float) -> list[tuple[Any, Said | None]]:
        done, _ = ray.wait(list(tokens), num_returns=1, timeout=timeout_s)
        if done:
            done, _ = ray.wait(list(tokens), num_returns=len(tokens), timeout=0)
        return [(ref, self._said(ref)) for ref in done]

    def _said(self, ref: Any) -> Said | None:
        try:
            return Said(*ray.get(ref))
        except RayTaskError as error:
            if not isinstance(error.cause, Fenced):
                return Said(failed=str(error).strip().splitlines()[-1])
        except RayActorError:
            # Gone for good: whoever asks next makes others of these names.
            self._actors = {}
            self._ledger = self._keeping()
        except RayError:
            pass
        time.sleep(AGAIN_S)
        return None

    def stop(self, shard: int) -> None:
        ray.kill(self.actor(shard), no_restart=False)

    def end(self, shard: int) -> None:
        """End ``shard`` for good."""
        ray.kill(self.actor(shard))
        del self._actors[shard]
        ray.get(self._ledger.call.remote("drop", str(shard)))

    def close(self) -> None:
        """End all of them, unless others may use them."""
        if not self._shared:
            for actor in (*self._actors.values(), self._ledger):
                ray.kill(actor)
        self._actors = {}
