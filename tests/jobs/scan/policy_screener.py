"""A screener whose texts say what is found in them, with a real policy: "0.001 jailbreak …" has that p-value and threat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.respond import recorded
from aimds.respond.policy import Policy
from aimds.schema import ACTIONS, REQUESTS, SESSION_ACTIONS, STATUSES, VERDICTS, constant, enum
from aimds.taxonomy import THREATS


class PolicyScreener:
    """Decides by the policy in the file ``policy``, else by the shipped one."""

    profile = "fast"

    def __init__(self, policy: str | None = None) -> None:
        self.policy = Policy.load(None if policy is None else Path(policy))
        self.versions = {"engine": "0", "model": "said", "signatures": "1", "policy": self.policy.version}
        self.config_hash = f"said-{self.policy.version}"

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        n = batch.num_rows
        words = [(text or "1 none").split() for text in batch.column("text").to_pylist()]
        threats = [THREATS.index(said[1] if said[1] in THREATS else "none") for said in words]
        given: dict[str, Any] = {
            "action": enum(ACTIONS, np.zeros(n, np.int8)),
            "session_action": enum(SESSION_ACTIONS, np.zeros(n, np.int8)),
            "threat_type": enum(THREATS, np.array(threats, np.int8)),
            "p_value": pa.array([float(said[0]) for said in words], pa.float64()),
            "severity": pa.array(np.full(n, 0.99), pa.float32()),
            "harmful_score": pa.array(np.zeros(n), pa.float32()),
            "status": enum(STATUSES, np.zeros(n, np.int8)),
            "profile": constant("fast", n),
            "backend": constant("cpu", n),
        }
        given |= {f"{name.removesuffix('s')}_version": constant(value, n) for name, value in self.versions.items()}
        arrays = []
        for field in VERDICTS:
            if field.name in REQUESTS.names:
                arrays.append(batch.column(field.name))
            elif field.name in given:
                arrays.append(given[field.name])
            elif pa.types.is_list(field.type) or pa.types.is_map(field.type):
                arrays.append(pa.array([[]] * n, field.type))
            else:
                arrays.append(pa.nulls(n, field.type))
        made = pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)
        decided = self.policy.decide(recorded.scored(made, self.policy))
        place = VERDICTS.get_field_index("action")
        return made.set_column(place, VERDICTS.field(place), enum(ACTIONS, decided.action))
