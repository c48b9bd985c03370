"""The same traffic to a follower in this process and to one on shards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from followed import HOLDING, POLICIES, rows
from local_way import LocalWay
from policy_screener import PolicyScreener

from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.gateway.following import Follower
from aimds.gateway.rounds import CHANGED
from aimds.gateway.sharded import ShardedFollower
from aimds.gateway.sharded_holds import ShardedResponder
from aimds.ltl.policies import TracePolicies
from aimds.respond.carry_out import Responder
from aimds.schema import requests

OWING = """
[policies.answered]
says = "Threats are answered."
formula = "G (threat_detected -> F[1us,1h] released)"
holds = ["threat_detected; released"]
fails = ["threat_detected"]
[policies.answered_in_time]
says = "What is detected is released within the limit, however many wait."
formula = "G (injection_detected -> F released)"
holds = ["injection_detected flagged; released"]
fails = ["injection_detected flagged"]
"""
SEEN = [*CHANGED, "mitigated_text"]
FIELDS = [pa.field(name, pa.string()) for name in ("request_id", "session_id", "tenant", "channel", "text")]
SCHEMA = pa.schema([*FIELDS, pa.field("ts", pa.timestamp("us", tz="UTC")), pa.field("events", pa.list_(pa.string()))])


MADE = ("aimds.gateway.session_shard:SessionShard", {"capacity": 1000, "max_age_s": 3600.0})


class Pair:
    """The same batches to a follower in this process and to one with shards."""

    def __init__(self, folder: Path, shards: int = 3, way: Any = None, **options: Any) -> None:
        (folder / "policies.toml").write_text(POLICIES + OWING)
        (folder / "policy.toml").write_text(HOLDING)
        self.folder, self.policies = folder, TracePolicies.load(folder / "policies.toml")
        self.screener = PolicyScreener(str(folder / "policy.toml"))
        self.way = way or LocalWay(*MADE)
        self.said: list[str] = []
        self.wall = 1.0e9
        self.sharded = self.another(shards, "me", **options)
        self.held = Responder()
        watch = Watch(self.policies, capacity=1000, max_age_s=3600.0)
        inside = Sessions(capacity=1000, max_age_s=3600.0)
        self.inside = Follower(inside, watch, self.held, clock=lambda: self.wall, wall=lambda: self.wall)

    def another(self, shards: int, sender: str, **options: Any) -> ShardedFollower:
        self.responder = ShardedResponder()
        made = ShardedFollower(
            *(self.way, shards, sender, self.responder, self.policies),
            outlives=False,
            clock=getattr(self.way, "clock", time.monotonic),
            wall=lambda: self.wall,
            say=self.said.append,
            **options,
        )
        made.begin(60.0)
        return made

    def both(self, given: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What each says of ``given``."""
        return self.told(self.inside, given), self.told(self.sharded, given)

    def told(self, follower: Any, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked = requests(pa.Table.from_pylist(given, SCHEMA))
        senders = [f"sender {len(row['request_id']) % 2}" for row in given]
        made = follower.respond(self.screener.policy, asked, self.screener.screen_batch(asked), senders)
        return made.select(SEEN).to_pylist()  # type: ignore[no-any-return]

    def same(self, given: list[dict[str, Any]], seed: int, between: Callable[[int], None] = lambda step: None) -> Any:
        """All of ``given`` in batches of any size; ``between`` them something happens. What was said."""
        rng, at, step, out = random.Random(seed), 0, 0, []
        while at < len(given):
            size = rng.choice([1, 3, 17, 60])
            between(step)
            expected, found = self.both(given[at : at + size])
            assert found == expected, step
            out += found
            at, step, self.wall = at + size, step + 1, self.wall + rng.choice([0.1, 30.0])
        expected, found = (owed(one.forget(over=True)) for one in (self.inside, self.sharded))
        assert found == expected
        return out


def traffic(n: int, who: int = 12) -> list[dict[str, Any]]:
    given, rng = rows(n, who), random.Random(9)
    for row in given:
        row["ts"] = rng.choice([None, datetime.fromisoformat(row["ts"])])
        row["tenant"] = rng.choice([None, "one", "two"])
    return given


def owed(listed: Any) -> list[Any]:
    return sorted((one.tenant or "", one.session_id, one.request_id, one.policies) for one in listed)
