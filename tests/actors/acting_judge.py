"""A judge in an actor: its verdicts say the name of the policy as their version; some words make it fail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fake_judge import Fake

from aimds.errors import ConfigError
from aimds.schema import enum


class Acting(Fake):
    """HANG keeps it for a minute, ONCE<path> ends it as long as the file is there, SLOW takes a moment."""

    def __init__(self, policy: str) -> None:
        self.versions = {"policy": policy}

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for text in batch.column("text").to_pylist():
            if "HANG" in text:
                time.sleep(60)
            if "SLOW" in text:
                time.sleep(0.2)
            _, once, path = text.partition("ONCE")
            if once and Path(path).exists():
                Path(path).unlink()
                self.die()
        verdicts = super().screen_batch(batch)
        at = verdicts.schema.get_field_index("policy_version")
        version = enum((self.versions["policy"],), np.zeros(batch.num_rows, np.int8))
        return verdicts.set_column(at, verdicts.schema.field(at), version.cast(verdicts.schema.field(at).type))

    def die(self) -> None:
        import os

        os._exit(3)


def build(screening: Any) -> Acting:
    name = "none" if screening.policy is None else screening.policy.name
    if name == "refused":
        raise ConfigError("policy", name, "another one")
    return Acting(name)
