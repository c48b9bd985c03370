"""The sessions of one shard: what a gateway's `Follower` does, on a state that is asked by messages and can be moved.

Time comes with each message, and answers depend on what came before and on nothing else: a shard that is asked again
the same things says the same.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aimds.actors.shards import SLOTS
from aimds.analyze import snapshot
from aimds.analyze.attractors import Attractors
from aimds.analyze.owing import Owed
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.errors import DataError
from aimds.gateway.following import Follower
from aimds.gateway.frames import body, unpacked
from aimds.gateway.rounds import CHANGED
from aimds.gateway.session_parts import chosen, merged, slot_of
from aimds.ltl.policies import TracePolicies
from aimds.respond.carry_out import Responder
from aimds.respond.policy import Policy
from aimds.schema import VERDICTS

KNOWN: Final = 16
"""Policies that a shard remembers, those used last: several gateways may be in the middle of a reload."""
ASKED: Final = (
    *("request_id", "session_id", "turn", "tenant", "ts", "channel", "action", "session_action", "threat_type"),
    *("p_value", "severity", "spans", "session_score", "violations", "status", "error"),
)
"""Columns of verdicts that a shard is sent, beside `mitigated` (whether there is such a text), text, events, sender."""


def question(requests: pa.RecordBatch, verdicts: pa.RecordBatch, senders: Sequence[str]) -> pa.RecordBatch:
    """What a shard has to know of B rows."""
    columns = {name: verdicts.column(name) for name in ASKED}
    columns |= {"mitigated": verdicts.column("mitigated_text").is_valid()}
    columns |= {name: requests.column(name) for name in ("text", "events")}
    return pa.RecordBatch.from_pydict({**columns, "sender": pa.array(senders, pa.string())})


def _verdicts(asked: pa.RecordBatch) -> pa.RecordBatch:
    n = asked.num_rows
    given = {name: asked.column(name) for name in ASKED}
    # Whether there is one is all that policies over sessions ask of a mitigated text.
    given["mitigated_text"] = pc.if_else(asked.column("mitigated"), pa.scalar("", pa.large_string()), None)
    arrays = [given.get(field.name) for field in VERDICTS]
    arrays = [pa.nulls(n, f.type) if a is None else a for f, a in zip(VERDICTS, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


class SessionShard:
    """A state for `aimds.actors.keeper.Keeper`. ``now``, wherever it is asked for: seconds since 1970; a clock that
    goes back is taken to stand still.

    Args:
        capacity, max_age_s: as `Sessions` and `Watch` take them.
        attractor: fill that column.
    """

    def __init__(self, capacity: int, max_age_s: float, attractor: bool = False) -> None:
        self._capacity, self._max_age_s = capacity, max_age_s
        self._attractor = Attractors.load().column if attractor else None
        self._now, self._holds = 0.0, 1
        self._known: OrderedDict[str, Policy] = OrderedDict()
        self._responder = Responder()
        self._watch: Watch | None = None
        self._build(None, 0)

    def _build(self, policies: TracePolicies | None, rows: int) -> None:
        self._sessions = Sessions(capacity=self._capacity, max_age_s=self._max_age_s, attractor=self._attractor)
        self._watch = self._watching(policies)
        self._follower = Follower(
            self._sessions, self._watch, self._responder, clock=self._time, wall=self._time, rows=rows
        )

    def _watching(self, policies: TracePolicies | None) -> Watch | None:
        return None if policies is None else Watch(policies, capacity=self._capacity, max_age_s=self._max_age_s)

    def _time(self) -> float:
        return self._now

    def know(self, version: str, values: Mapping[str, Any]) -> None:
        """Batches may name the policy ``version`` from now on, which is made of ``values``."""
        self._known[version] = self._known.get(version) or Policy(values)
        self._known.move_to_end(version)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def use(self, now: float, values: Mapping[str, Any] | None) -> list[Owed]:
        """Go on with the policies over sessions of ``values``; where they are others sessions begin anew by them. What
        was owed by the old ones."""
        self._now = max(self._now, now)
        made = None if values is None else TracePolicies.of(values)
        before = None if self._watch is None else self._watch.policies.version
        if before == (None if made is None else made.version):
            return []
        self._watch = self._watching(made)
        return self._follower.use(self._watch)

    def observe(self, now: float, version: str | None, asked: pa.Buffer) -> pa.Buffer:
        """What follows from the sessions of the rows in ``asked`` (`question`) under the policy ``version``: the
        columns CHANGED of the same rows, with the evidence that sessions add and no other."""
        self._now = max(self._now, now)
        batch = unpacked(asked)
        assert batch is not None
        policy = None if version is None else self._known[version]
        if version is not None:
            self._known.move_to_end(version)
        before = self._responder.counts
        made = self._follower.respond(policy, batch, _verdicts(batch), batch.column("sender").to_pylist())
        if before != self._responder.counts or any(before.values()):
            self._holds += 1
        return body(made.select(list(CHANGED)))

    def forget(self, now: float, over: bool) -> list[Owed]:
        """As `Follower.forget`."""
        self._now = max(self._now, now)
        return self._follower.forget(over=over)

    def release(self, now: float, tenant: str | None, session_id: str) -> bool:
        """As `Responder.release`."""
        self._now, self._holds = max(self._now, now), self._holds + 1
        return self._responder.release(tenant, session_id, self._now)

    def tick(self, now: float, seen: int) -> dict[str, Any]:
        """What a gateway shows: ``ended``: holds whose time is over, each told once · ``counts`` by policy · ``holds``:
        number of this listing, and ``listed``, None where that is the one that was ``seen``."""
        self._now = max(self._now, now)
        ended = self._responder.ended(self._now)
        self._holds += any(ended.values())
        listed = None if seen == self._holds else self._responder.listed(self._now)
        return {"ended": ended, "counts": self._follower.counts(), "holds": self._holds, "listed": listed}

    # -- moving ----------------------------------------------------------------------------------------------------

    def lend(self, slots: Sequence[int]) -> dict[str, Any]:
        """All that is known of the sessions in ``slots``, for `take`; here they are until `leave`."""
        out = np.isin(np.arange(SLOTS), slots)
        whole = self.snapshot()
        return {**self._cut(whole, out), "rows": whole["rows"], "held": self._part(whole["held"], out)}

    def leave(self, slots: Sequence[int]) -> None:
        """Forget the sessions in ``slots``, which are elsewhere now."""
        out = np.isin(np.arange(SLOTS), slots)
        whole = self.snapshot()
        self._put({**whole, **self._cut(whole, ~out)})
        self._responder.let_go(lambda key: bool(out[slot_of(key)]))
        self._holds += 1

    def take(self, given: Mapping[str, Any]) -> None:
        """Go on with the sessions that another shard lent, which has the same policies over sessions."""
        whole = self.snapshot()
        joint = {name: merged(whole[name], given[name]) for name in ("scores", "watched") if whole[name] is not None}
        self._put({**whole, **joint, "rows": max(whole["rows"], given["rows"])})
        self._responder.keep(given["held"])
        self._holds += 1

    @staticmethod
    def _cut(whole: Mapping[str, Any], slots: Any) -> dict[str, Any]:
        parts = {name: whole[name] for name in ("scores", "watched")}
        return {name: None if part is None else chosen(part, slots) for name, part in parts.items()}

    @staticmethod
    def _part(held: Sequence[Sequence[Sequence[Any]]], slots: Any) -> list[list[list[Any]]]:
        return [[[one for one in listed if slots[slot_of(one[0])]] for listed in kind] for kind in held]

    def snapshot(self) -> dict[str, Any]:
        """Everything it knows: plain values and arrays."""
        watch = self._watch
        return {
            "now": self._now,
            "rows": self._follower.rows,
            "known": {version: policy.values for version, policy in self._known.items()},
            "policies": None if watch is None else watch.policies.values,
            "counts": self._follower.counts(),
            "ended": [] if watch is None else list(watch.owing.ended),
            "scores": snapshot.copied(self._sessions),
            "watched": None if watch is None else snapshot.watched(watch),
            "held": self._responder.kept(),
            "holds": self._holds,
        }

    def restore(self, whole: Mapping[str, Any]) -> None:
        """Know what ``whole`` says.

        Raises:
            DataError: it cannot be.
        """
        self._now, self._holds = whole["now"], whole["holds"] + 1
        self._known = OrderedDict((version, Policy(values)) for version, values in whole["known"].items())
        self._responder = Responder()
        self._responder.keep(whole["held"])
        self._put(whole)

    def _put(self, whole: Mapping[str, Any]) -> None:
        values = whole["policies"]
        same = self._watch is not None and self._watch.policies.values == values
        policies = (
            None if values is None else self._watch.policies if same and self._watch else TracePolicies.of(values)
        )
        self._build(policies, whole["rows"])
        snapshot.put(self._sessions, whole["scores"])
        watch = self._watch
        if watch is not None:
            if whole["watched"] is None:
                raise DataError("snapshot", "has policies over sessions and nothing of how far they are")
            snapshot.put_watched(watch, whole["watched"], told=True)
            for kind, counts in (("broken", watch.broken), ("unjudged", watch.unjudged), ("owed", watch.owing.counts)):
                counts.update(Counter({name: counted[kind] for name, counted in whole["counts"].items()}))
            watch.owing.ended.extend(whole["ended"])
