"""What follows from sessions, batch after batch: scores, policies that are broken, and sessions that are held.

A row is judged in this order: the action that its session's score leads to, whether its session is held, then the
policies over sessions, which see it as it would go out without them; what they lead to comes last.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze import snapshot
from aimds.analyze.owing import Owed
from aimds.analyze.packed import Arrays
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.errors import DataError
from aimds.gateway.rounds import joined, waves
from aimds.respond.carry_out import Responder
from aimds.respond.policy import Policy
from aimds.respond.scored import codes
from aimds.respond.violations import with_broken
from aimds.schema import SESSION_ACTIONS

Rows = npt.NDArray[np.int64]
SCORES: Final = "scores"
POLICIES: Final = "policies"
"""What is kept of sessions, by name."""


class Follows(Protocol):
    """Follows sessions for a gateway: in its own process (`Follower`), or elsewhere."""

    @property
    def failed(self) -> Mapping[str, int]:
        """Calls to shards that came to nothing, by method."""

    def has_work(self, policy: Policy | None) -> bool:
        """As `Follower.has_work`."""

    def respond(
        self, policy: Policy | None, requests: pa.RecordBatch, verdicts: pa.RecordBatch, senders: Sequence[str]
    ) -> pa.RecordBatch:
        """As `Follower.respond`."""

    def forget(self, *, over: bool = False) -> list[Owed]:
        """As `Follower.forget`."""

    def owe(self, owed: list[Owed]) -> None:
        """As `Follower.owe`."""

    def counts(self) -> dict[str, dict[str, int]]:
        """As `Follower.counts`."""


class Follower:
    """Follows sessions for a gateway. Safe to use from several threads; batches are followed one after the other.

    Args:
        sessions: gives each row the score of its session.
        watch: finds the policies that a session breaks; `use` puts another in its place.
        responder: holds sessions, and hands rows to people and hooks.
        clock: monotonic seconds; ``wall``: seconds since 1970.
        rows: those that were given a score before.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        watch: Watch | None,
        responder: Responder | None,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rows: int = 0,
    ) -> None:
        self.watch, self.failed = watch, dict[str, int]()
        self._sessions, self._responder, self._clock, self._wall = sessions, responder, clock, wall
        self._lock, self._rows, self._ended = threading.Lock(), rows, 0
        self._left: list[Owed] = []
        """What was owed by policies with which nothing goes on."""

    def has_work(self, policy: Policy | None) -> bool:
        """Whether `respond` could do anything under ``policy``; where not, nobody needs to call it."""
        return self._sessions is not None or self.watch is not None or self._holder(policy) is not None

    def forget(self, *, over: bool = False) -> list[Owed]:
        """Forget the sessions that have not been seen for long, though nothing comes in; ``over``: all have ended.

        Returns those that ended since this was last called and break a policy by that."""
        with self._lock:
            if self._sessions is not None:
                self._sessions.forget(self._clock())
            left, self._left, watch = self._left, [], self.watch
            if watch is None:
                return self._told(left)
            watch.forget(self._clock())
            return self._told(left + watch.owed(over=over))

    def use(self, watch: Watch | None) -> list[Owed]:
        """Go on with ``watch``; where it is another one sessions begin anew by its policies. What `forget` would say
        if all had ended then."""
        with self._lock:
            old, self.watch = self.watch, watch
            return [] if old is None or old is watch else self._told(old.owed(over=True))

    def owe(self, owed: list[Owed]) -> None:
        """Take back what could not be told, for the next `forget`."""
        with self._lock:
            self._left += owed

    def _told(self, owed: list[Owed]) -> list[Owed]:
        self._ended += len(owed)
        return owed

    def copied(self, most_bytes: int) -> tuple[dict[str, Any], Arrays]:
        """All that is remembered of sessions, for `put`: values of JSON and arrays of ``most_bytes`` at most, so that
        the sessions seen longest ago may be missing."""
        caught: list[tuple[str, Callable[[], snapshot.Copied]]] = []
        with self._lock:
            header: dict[str, Any] = {"clock": self._clock(), "wall": self._wall(), "rows": self._rows}
            followed = [one for one in (self._sessions, self.watch) if one is not None]
            for one in followed:
                most = most_bytes * one.table.capacity // (len(followed) * one.nbytes)
                if isinstance(one, Sessions):
                    caught.append((SCORES, snapshot.caught(one, most, texts=False)))
                else:
                    caught.append((POLICIES, snapshot.caught_watch(one, most)))
        # What followed from a policy that is broken is on the disk before it is written that it was told of.
        header["held"] = self._responder is not None and self._responder.lasting and self._responder.settle()
        arrays: Arrays = {}
        for name, copied in caught:
            header[name], found = copied()
            arrays |= {f"{name}.{key}": array for key, array in found.items()}
        return header, arrays

    def put(self, header: Mapping[str, Any], arrays: Arrays) -> tuple[int, int]:
        """Go on where the follower stood that gave `copied`, at another time and maybe on another machine: how many
        sessions have their scores again, and how many their policies. Nothing may have been followed yet.

        Time since then counts. What the other did not follow, or by other policies, begins anew; what was owed by
        those is told by the next `forget`.

        Raises:
            DataError: it cannot be; everything begins anew.
        """
        with self._lock:
            now, watch, sessions = self._clock(), self.watch, self._sessions
            try:
                gone = max(0.0, self._wall() - float(header["wall"]))
                shift, rows = now - gone - float(header["clock"]), int(header["rows"])
                if not math.isfinite(shift):
                    raise ValueError("its clock")
            except (KeyError, OverflowError, TypeError, ValueError) as error:
                raise DataError("snapshot", f"its header cannot be: {error}") from error
            for name in (SCORES, POLICIES):
                if not isinstance(header.get(name, {}), dict):
                    raise DataError("snapshot", f"its {name} cannot be")
            going = watch is not None and header.get(POLICIES, {}).get("policies") == watch.policies.version
            left = [] if going else _left(header.get(POLICIES, {}))
            # The policies first: where they cannot be gone on with, nothing was changed yet.
            if watch is not None and going:
                # Where holds were kept, what broke a policy is held still, or was let go: it is not told of again.
                kept = header.get("held") is True and self._responder is not None and self._responder.lasting
                snapshot.put_watched(watch, _part(header, arrays, POLICIES, shift, now), told=kept)
            try:
                if sessions is not None and SCORES in header:
                    snapshot.put(sessions, _part(header, arrays, SCORES, shift, now))
            except DataError:
                if watch is not None:
                    watch.owing.sessions.clear()
                    watch.owing.taken()
                    watch.table.expire(math.inf)
                raise
            self._rows, self._left = rows, left
            for one in (sessions, watch):
                if one is not None:
                    one.forget(now)
            return (0 if sessions is None else len(sessions)), (0 if watch is None else len(watch))

    def counts(self) -> dict[str, dict[str, int]]:
        """By policy over sessions: how often it was ``broken``, could not be judged to the end (``unjudged``), and was
        broken by the end of a session (``owed``)."""
        watch = self.watch
        if watch is None:
            return {}
        kinds = {"broken": watch.broken, "unjudged": watch.unjudged, "owed": watch.owing.counts}
        return {name: {kind: counts[name] for kind, counts in kinds.items()} for name in watch.names}

    @property
    def rows(self) -> int:
        """Rows that were given a score, over restarts too."""
        return self._rows

    @property
    def progress(self) -> tuple[int, int]:
        """Goes on whenever rows come, or sessions have ended and were told of."""
        return self._rows, self._ended

    def _holder(self, policy: Policy | None) -> Responder | None:
        responder = self._responder
        return responder if responder is not None and policy is not None and responder.has_work(policy) else None

    def respond(
        self, policy: Policy | None, requests: pa.RecordBatch, verdicts: pa.RecordBatch, senders: Sequence[str]
    ) -> pa.RecordBatch:
        """``verdicts`` of B ``requests`` with all that follows from their sessions; the step notify is done.

        ``senders``: B names, for rows without a session.
        """
        responder, now = self._holder(policy), self._wall()
        watch = self.watch
        if self._sessions is not None or watch is not None:
            with self._lock:
                # One watch for the whole batch. A reload that came before has told what was owed in the one before it,
                # and nobody would ask that one again.
                watch = self.watch
                if self._sessions is not None:
                    verdicts, signs = self._scored(self._sessions, requests, verdicts)
                    verdicts = verdicts if policy is None else policy.with_sessions(verdicts, signs)
                if watch is not None:
                    verdicts = self._watched(watch, policy, responder, requests, verdicts, now, senders)
        if responder is None or policy is None:
            return verdicts
        if watch is None:
            verdicts = responder.held(policy, verdicts, now, senders)
        responder.settle()
        responder.notify(policy, verdicts, now)
        return verdicts

    def _scored(
        self, sessions: Sessions, requests: pa.RecordBatch, verdicts: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, npt.NDArray[np.int8]]:
        place = verdicts.schema.get_field_index("request_id")
        # A client chooses its request ids and may repeat them: by them it could hide turns from its session.
        first, self._rows = self._rows, self._rows + verdicts.num_rows
        ids = pa.array([str(number) for number in range(first, self._rows)], pa.string())
        named = verdicts.set_column(place, verdicts.schema.field(place), ids)
        seen, signs = sessions.observed(requests, named, self._clock())
        return seen.set_column(place, seen.schema.field(place), verdicts.column(place)), signs

    def _watched(
        self,
        watch: Watch,
        policy: Policy | None,
        responder: Responder | None,
        requests: pa.RecordBatch,
        verdicts: pa.RecordBatch,
        now: float,
        senders: Sequence[str],
    ) -> pa.RecordBatch:
        def step(part: pa.RecordBatch, events: pa.Array, names: Sequence[str]) -> pa.RecordBatch:
            if responder is not None and policy is not None:
                part = responder.held(policy, part, now, names)
            found = watch.observe(part, events, self._clock(), int(now * 1e6))
            after = with_broken(part, found.broken, found.unjudged, watch.policies, policy)
            if responder is not None and policy is not None and after is not part:
                before, held = (
                    codes(one.column("session_action"), SESSION_ACTIONS, "session_action") for one in (part, after)
                )
                responder.hold(policy, after, np.flatnonzero(held > before), now, names)
            return after

        events = requests.column("events")
        rounds = (
            waves(verdicts, senders) if responder is not None and policy is not None and policy.holds_sessions else []
        )
        if len(rounds) < 2:
            return step(verdicts, events, senders)
        parts = []
        for rows in rounds:
            chosen = pa.array(rows)
            names = [senders[row] for row in rows.tolist()]
            parts.append(step(verdicts.take(chosen), events.take(chosen), names))
        return joined(verdicts, rounds, parts)


def _left(header: Mapping[str, Any]) -> list[Owed]:
    """What was owed to the sessions that `Follower.copied` gave as ``header``, which end by that."""
    try:
        both = list(zip(header.get("owing", ()), header.get("owed", ()), strict=False))
        return [Owed(tenant, str(session), last, tuple(map(str, names))) for (_, tenant, session, last), names in both]
    except (TypeError, ValueError) as error:
        raise DataError("snapshot", f"what is owed in it cannot be: {error}") from error


def _part(
    header: Mapping[str, Any], arrays: Arrays, name: str, shift: float, now: float
) -> tuple[dict[str, Any], Arrays]:
    """What `Follower.copied` gave of ``name``, with clocks of this process: ``shift`` seconds on, ``now`` at most."""
    start = f"{name}."
    kept = {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
    if "seen" in kept and kept["seen"].dtype == np.float64:
        kept["seen"] = np.minimum(kept["seen"] + shift, now)
    return header[name], kept
