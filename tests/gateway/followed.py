"""Traffic, policies over sessions and a screener for gateways that follow sessions."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from policy_screener import PolicyScreener

NO_TOOL = """
format = 1
version = "1"
[policies.no_tool_after_injection]
says = "After an injection no tool is called until a person has released the session."
formula = "G (injection_detected & !blocked -> N (!tool_called W released))"
holds = ["injection_detected flagged; allowed"]
fails = ["injection_detected flagged; tool_called"]
"""
POLICIES = (
    NO_TOOL
    + """[policies.threat_rate]
says = "Two threats within a minute slow the session down."
formula = "G (threat_detected & O[1us,1min] threat_detected -> rate_limited)"
holds = ["threat_detected @0; threat_detected @2min"]
fails = ["threat_detected @0; threat_detected @30s"]
"""
)
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
