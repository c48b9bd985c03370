"""Traffic, policies over sessions and a screener for gateways that follow sessions."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from policy_screener import PolicyScreener
from trace_policies import NO_TOOL, THREAT_RATE

POLICIES = NO_TOOL + THREAT_RATE
HOLDING = """
format = 1
version = "1"
[traces.default]
action = "flag"
session_action = "none"
[traces.no_tool_after_injection]
action = "escalate"
session_action = "quarantine"
"""
START = datetime(2026, 3, 1, tzinfo=UTC)


class Served(PolicyScreener):
    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        raise AssertionError(reason)


def rows(n: int, who: int = 12) -> list[dict[str, Any]]:
    rng = random.Random(3)
    words = ["1 none", "0.005 direct_injection", "0.005 jailbreak", "0.00001 jailbreak", "1 none"]
    return [
        {
            "request_id": f"r{k}",
            "session_id": rng.choice([None, *(f"s{one}" for one in range(who))]),
            "ts": (START + timedelta(seconds=5 * k)).isoformat(),
            "channel": rng.choice(["user", "tool"]),
            "text": rng.choice(words),
            "events": rng.choice([None, [], ["released"]]),
        }
        for k in range(n)
    ]
