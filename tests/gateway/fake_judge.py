"""A process that judges by looking for ATTACK and loads no screener; DIE ends it, LOST is the end of its device, FULL
finds no room there. Its verdicts name the profile that it was set up with and, as the version of the engine, its process
id.

A policy named refused refuses; one named once does from the second time on, until its file is removed.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.errors import BackendError, ConfigError, DeviceLost
from aimds.gateway.judge_process import main
from aimds.schema import ACTIONS, STATUSES, VERDICTS, enum


class Fake:
    profile = "x"

    def screen(self, texts: list[str]) -> None:
        assert texts == ["warm"]

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        if any("DIE" in text for text in texts):
            os._exit(3)
        if any("LOST" in text for text in texts):
            raise DeviceLost("cuda", "CUDARuntimeError: cudaErrorIllegalAddress")
        if any("FULL" in text for text in texts):
            raise BackendError("cuda", "a single row does not fit")
        if any("BOOM" in text for text in texts):
            raise ValueError("a kernel broke")
        actions = [ACTIONS.index("block" if "ATTACK" in text else "allow") for text in texts]
        return verdicts(batch, actions, "ok", self.profile)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        return verdicts(batch, [ACTIONS.index("block")] * batch.num_rows, "error")


def verdicts(batch: pa.RecordBatch, actions: list[int], status: str, profile: str = "x") -> pa.RecordBatch:
    n = batch.num_rows
    columns: list[Any] = []
    for field in VERDICTS:
        if field.name in REPEATED:
            columns.append(batch.column(field.name))
        elif field.name == "action":
            columns.append(enum(ACTIONS, np.array(actions, np.int8)))
        elif field.name == "status":
            columns.append(enum(STATUSES, np.full(n, STATUSES.index(status), np.int8)))
        elif pa.types.is_map(field.type) or pa.types.is_list(field.type):
            columns.append(pa.array([[]] * n, field.type))
        elif pa.types.is_dictionary(field.type):
            words = {
                "threat_type": "direct_injection",
                "session_action": "none",
                "profile": profile,
                "engine_version": str(os.getpid()),
                "backend": "gpu " + os.environ.get("AIMDS_DEVICE", "any"),
            }
            word = words.get(field.name, "x")
            columns.append(enum((word,), np.zeros(n, np.int8)))
        else:
            columns.append(pa.nulls(n, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=VERDICTS)


REPEATED = ("request_id", "session_id", "turn", "tenant", "ts", "channel")


def build(screening: Any) -> Fake:
    policy = screening.policy
    if policy is not None and (policy.name == "refused" or (policy.name == "once" and policy.exists())):
        raise ConfigError("policy", str(policy), "another one")
    if policy is not None and policy.name == "once":
        policy.touch()
    print("what is printed does not get between the messages")
    made = Fake()
    made.profile = screening.profile
    return made


if __name__ == "__main__":
    main(build)
