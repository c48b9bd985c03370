"""What follows from sessions that live in shards: each batch is one call to each shard that keeps a session of it."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.actors.lines import PATIENCE_S, Call, Lines, Way
from aimds.actors.shards import owners
from aimds.analyze.owing import Owed
from aimds.errors import AimdsError
from aimds.gateway.frames import body, unpacked
from aimds.gateway.rounds import CHANGED, joined
from aimds.gateway.session_parts import slot_of, slots_of
from aimds.gateway.session_shard import KNOWN, question
from aimds.gateway.shard_failures import ShardFailures
from aimds.gateway.sharded_holds import KINDS, ShardedResponder
from aimds.ltl.policies import TracePolicies
from aimds.respond import session_findings
from aimds.respond.held import Hold, Key
from aimds.respond.policy import Policy
from aimds.respond.sessions import QUARANTINED
from aimds.respond.violations import noted
from aimds.schema import UNFOLLOWED, VERDICTS

TICK_S: Final = 0.5
MOVE_S: Final = 120.0
LATE: Final = f"{UNFOLLOWED}and its score: the shard that keeps this session did not answer in time"
ANEW: Final = f"{UNFOLLOWED}and its score: what the shard knew of this session was lost, it begins anew"


class ShardError(AimdsError):
    """Sessions could not be moved to other shards; ``shard`` did not answer, or failed."""

    def __init__(self, shard: int, problem: str) -> None:
        self.shard, self.problem = shard, problem
        super().__init__(f"shard {shard} of sessions: {problem}")


class ShardedFollower:
    """As `Follower`, on ``shards`` shards behind ``way``. Safe to use from several threads; one batch after the other.

    Args:
        sender: a name that no other gateway has or had.
        responder: shows what is held, and tells the hook.
        policies: over sessions; `use` puts others in their place.
        outlives: the shards go on when this process ends.
        clock: monotonic seconds; ``wall``: seconds since 1970.
        say: told what a person should know.
        patience_s: how long a shard is waited for before its rows are partial.
    """

    def __init__(
        self,
        way: Way,
        shards: int,
        sender: str,
        responder: ShardedResponder,
        policies: TracePolicies | None,
        *,
        outlives: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
        say: Callable[[str], None] = lambda line: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.policies, self.outlives = policies, outlives
        self._way, self._responder, self._wall, self._say = way, responder, wall, say
        self._lock = threading.Lock()
        self._lines = Lines(way, sender, shards, clock=clock, anew=self._anew, say=say, patience_s=patience_s)
        self._owner, self._failures = owners(shards), ShardFailures(say)
        self.failed = self._failures.counts
        self._versions: OrderedDict[str, Policy] = OrderedDict()
        self._told: dict[int, str | None] = {}
        self._lost: set[int] = set()
        self._open: list[tuple[int, Call]] = []
        self._left: list[Owed] = []
        self._releases: deque[tuple[str | None, str]] = deque()
        self._seen: dict[int, int] = {}
        self._counts: dict[int, dict[str, dict[str, int]]] = {}
        self._gone: dict[str, Counter[str]] = {}
        responder.look, responder.released = self._look, lambda *who: self._releases.append(who)
        self._room(shards)

    def __len__(self) -> int:
        return len(self._lines)

    def _room(self, shards: int) -> None:
        known = self._responder.known
        known.extend({kind: {} for kind in KINDS} for _ in range(shards - len(known)))
        del known[shards:]

    def begin(self, patience_s: float) -> None:
        """Hand the policies over sessions to the shards; wait until they have them.

        Raises:
            ShardError: one does not answer in time.
        """
        with self._lock:
            self._ask({shard: [self._use()] for shard in range(len(self))}, patience_s, strict=True)

    def _use(self) -> Call:
        return Call("use", (self._wall(), None if self.policies is None else self.policies.values), due=True)

    def _anew(self, shard: int) -> Iterable[Call]:
        self._lost.add(shard)
        self._seen.pop(shard, None)
        return [self._use(), *(Call("know", (name, one.values), due=True) for name, one in self._versions.items())]

    def has_work(self, policy: Policy | None) -> bool:
        """Whether `respond` could do anything: always."""
        return True

    def respond(
        self, policy: Policy | None, requests: pa.RecordBatch, verdicts: pa.RecordBatch, senders: Sequence[str]
    ) -> pa.RecordBatch:
        """As `Follower.respond`. Rows whose shard does not answer in time are partial; they are counted later."""
        if not verdicts.num_rows:
            return verdicts
        with self._lock:
            now = self._wall()
            shards = self._owner[slots_of(verdicts, list(senders))]
            asked = question(requests, verdicts, senders)
            rows = {shard: np.flatnonzero(shards == shard) for shard in np.unique(shards).tolist()}
            calls = {}
            for shard, some in rows.items():
                part = asked if len(some) == asked.num_rows else asked.take(pa.array(some))
                version = None if policy is None else policy.version
                calls[shard] = [*self._knows(shard, policy), Call("observe", (now, version, body(part)))]
            self._ask(calls)
            out = self._put_in(verdicts, rows, {shard: listed[-1] for shard, listed in calls.items()}, policy, now)
        if policy is not None:
            self._responder.notify(policy, out, now)
        return out

    def _knows(self, shard: int, policy: Policy | None) -> list[Call]:
        if policy is None or self._told.get(shard) == policy.version:
            return []
        self._versions[policy.version] = policy
        self._versions.move_to_end(policy.version)
        if len(self._versions) > KNOWN:
            self._versions.popitem(last=False)
        self._told[shard] = policy.version
        return [Call("know", (policy.version, policy.values), due=True)]

    def _put_in(
        self,
        verdicts: pa.RecordBatch,
        rows: dict[int, npt.NDArray[np.int64]],
        calls: dict[int, Call],
        policy: Policy | None,
        now: float,
    ) -> pa.RecordBatch:
        parts: list[pa.RecordBatch] = []
        notes: dict[int, str] = {}
        for shard, call in calls.items():
            if call.said is None:
                parts.append(verdicts.take(pa.array(rows[shard])).select(list(CHANGED)))
                notes |= dict.fromkeys(rows[shard].tolist(), LATE)
                continue
            if call.said.failed is not None:
                # It may know the policy no more.
                self._told.pop(shard, None)
                raise ShardError(shard, call.said.failed)
            part = unpacked(call.said.value)
            assert part is not None
            place, own = part.schema.get_field_index("evidence"), verdicts.column("evidence")
            known = session_findings.joined(own.take(pa.array(rows[shard])), part.column(place))
            parts.append(part.set_column(place, VERDICTS.field("evidence"), known))
            if shard in self._lost:
                self._lost.discard(shard)
                notes |= dict.fromkeys(rows[shard].tolist(), ANEW)
        out = joined(verdicts, list(rows.values()), parts)
        late = [row for row, note in notes.items() if note == LATE]
        return noted(self._held(out, late, policy, now), notes)

    def _held(self, verdicts: pa.RecordBatch, late: Sequence[int], policy: Policy | None, now: float) -> pa.RecordBatch:
        # What was in quarantine when its shard was last heard of stays in it.
        holds = {key for one in self._responder.known for key, hold in one["quarantine"].items() if hold.until > now}
        if policy is None or not (late and holds):
            return verdicts
        who = [verdicts.column(name).to_pylist() for name in ("tenant", "session_id")]
        marked = [row for row in late if (who[0][row], who[1][row], None) in holds]
        if not marked:
            return verdicts
        place = verdicts.schema.get_field_index("violations")
        listed = [list(one or ()) for one in verdicts.column(place).to_pylist()]
        for row in marked:
            listed[row].append(QUARANTINED)
        field = VERDICTS.field(place)
        return policy.with_sessions(verdicts.set_column(place, field, pa.array(listed, field.type)))

    # -- beside batches --------------------------------------------------------------------------------------------

    def _ask(self, calls: dict[int, list[Call]], patience_s: float | None = None, *, strict: bool = False) -> None:
        while self._releases:
            tenant, session_id = self._releases.popleft()
            shard = int(self._owner[slot_of((tenant, session_id, None))])
            calls.setdefault(shard, []).insert(0, Call("release", (self._wall(), tenant, session_id), due=True))
        self._lines.ask(calls, patience_s)
        for shard, listed in calls.items() if strict else ():
            said = listed[-1].said
            if said is None or said.failed is not None:
                raise ShardError(shard, "did not answer in time" if said is None else str(said.failed))

    def forget(self, *, over: bool = False) -> list[Owed]:
        """As `Follower.forget`; what a shard says later is among what the next call gives."""
        with self._lock:
            left, self._left = self._left, []
            return left + self._owed("forget", (self._wall(), over))

    def owe(self, owed: list[Owed]) -> None:
        """As `Follower.owe`."""
        with self._lock:
            self._left += owed

    def use(self, policies: TracePolicies | None) -> list[Owed]:
        """Go on with ``policies`` over sessions; as `Follower.use`."""
        with self._lock:
            self.policies = policies
            return self._owed("use", self._use().arguments)

    def _owed(self, method: str, arguments: tuple[Any, ...]) -> list[Owed]:
        fresh = [(shard, Call(method, arguments, due=method == "use")) for shard in range(len(self))]
        self._open += fresh
        self._ask({shard: [call] for shard, call in fresh})
        over = [one for one in self._open if one[1].method in ("forget", "use") and one[1].over]
        self._open = [one for one in self._open if one not in over]
        done = [call for shard, call in over if self._failures.heard(shard, call)]
        return [one for call in done if call.said is not None for one in call.said.value or ()]

    def _look(self) -> dict[str, list[tuple[Key, Hold]]]:
        with self._lock:
            asked = {shard for shard, call in self._open if call.method == "tick"}
            fresh = [
                (shard, Call("tick", (self._wall(), self._seen.get(shard, 0))))
                for shard in range(len(self))
                if shard not in asked
            ]
            self._open += fresh
            self._ask({shard: [call] for shard, call in fresh}, TICK_S)
            ended: dict[str, list[tuple[Key, Hold]]] = {kind: [] for kind in KINDS}
            for shard, call in [one for one in self._open if one[1].method == "tick" and one[1].over]:
                self._open.remove((shard, call))
                if not self._failures.heard(shard, call) or call.said is None or shard >= len(self):
                    continue
                said = call.said.value
                for kind in KINDS:
                    ended[kind] += said["ended"][kind]
                self._counts[shard], self._seen[shard] = said["counts"], said["holds"]
                if said["listed"] is not None:
                    self._responder.known[shard] = {kind: dict(said["listed"][kind]) for kind in KINDS}
            return ended

    def counts(self) -> dict[str, dict[str, int]]:
        """As `Follower.counts`, as the shards said it last."""
        out: dict[str, Counter[str]] = {name: Counter(counted) for name, counted in self._gone.items()}
        for counts in list(self._counts.values()):
            for name, counted in counts.items():
                out.setdefault(name, Counter()).update(counted)
        return {name: dict(counted) for name, counted in out.items()}

    def resize(self, shards: int) -> int:
        """From now on there are so many shards; sessions that move go with all that is known of them, between two
        batches. How many slots moved.

        Raises:
            ShardError: a shard does not answer; what had moved by then has moved.
        """
        with self._lock:
            after, before = owners(shards), len(self)
            self._ask({shard: [self._use()] for shard in range(before)}, MOVE_S, strict=True)
            self._lines.resize(max(shards, before))
            self._ask({shard: [self._use()] for shard in range(before, shards)}, MOVE_S, strict=True)
            moves = [(int(a), int(b)) for a, b in zip(self._owner, after, strict=True) if a != b]
            for source, target in sorted(set(moves)):
                slots = np.flatnonzero((self._owner == source) & (after == target)).tolist()
                lent = Call("lend", (slots,))
                self._ask({source: [lent]}, MOVE_S, strict=True)
                assert lent.said is not None
                # Late or not, both are done before what comes later: rows of these sessions go to the target now.
                self._owner[slots] = target
                moving = {target: Call("take", (lent.said.value,), due=True), source: Call("leave", (slots,), due=True)}
                self._ask({shard: [call] for shard, call in moving.items()}, MOVE_S, strict=True)
            last = {shard: [Call("tick", (self._wall(), 0))] for shard in range(shards, before)}
            self._ask(last, MOVE_S, strict=True)
            for shard, (call,) in last.items():
                assert call.said is not None
                for name, counted in call.said.value["counts"].items():
                    self._gone.setdefault(name, Counter()).update(counted)
                self._counts.pop(shard, None)
                self._told.pop(shard, None)
                self._seen.pop(shard, None)
                self._way.end(shard)
            self._lines.resize(shards)
            self._room(shards)
            return len(moves)
