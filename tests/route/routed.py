"""Verdicts and tiers for the tests of routing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from verdict_factory import row

from aimds.route.tiers import Tiers
from aimds.schema import VERDICTS

SIMPLE = "What is the capital of France?"
HARD = "Prove and explain, step by step, why the algorithm terminates; compare and evaluate the tradeoffs. " * 4
SPAN = {"start": 0, "end": 4, "kind": "EMAIL"}
SCHEMA = pa.schema([*VERDICTS, pa.field("text", pa.large_string())])


def tier(name: str, **changed: Any) -> dict[str, Any]:
    base = {"name": name, "model": f"{name}-model", "place": "remote", "input_price": 1.0, "output_price": 2.0}
    return base | {"context": 100_000, "capability": 0.5} | changed


def settings(**changed: Any) -> dict[str, Any]:
    tiers = [
        tier("local", place="local", input_price=0.1, output_price=0.1, context=8000, capability=0.3),
        tier("cheap", input_price=0.05, output_price=0.05, capability=0.4),
        tier("strong", input_price=3.0, output_price=15.0, capability=1.0),
    ]
    return {"tier": tiers} | changed


def tiers(**changed: Any) -> Tiers:
    return Tiers.parse(settings(**changed))


def verdicts(*rows: dict[str, Any]) -> pa.Table:
    made = [row(i, **{"session_id": None, "turn": None, "text": SIMPLE, **changed}) for i, changed in enumerate(rows)]
    return pa.Table.from_pylist(made, schema=SCHEMA)
