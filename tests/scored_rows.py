"""Batches for policies, row by row as plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from aimds.detect.failures import EVERY
from aimds.respond.scored import Scored
from aimds.schema import CHANNELS
from aimds.taxonomy import CODES, THREATS


def scored(rows: list[dict[str, Any]]) -> Scored:
    """Rows as a batch; what a row leaves out is harmless user text."""
    base = {"channel": "user", "tenant": None, "p": 0.5, "threat": "none", "harmful": 0.0, "severity": 1.0}
    full = [{**base, "pii": False, "secret": False, "failed": False, "others": {}, **row} for row in rows]
    scores = np.zeros((len(full), len(THREATS)), np.float32)
    for i, row in enumerate(full):
        for name, value in row["others"].items():
            scores[i, CODES[name]] = value
    return Scored(
        n=len(full),
        channel=np.array([CHANNELS.index(row["channel"]) for row in full], np.int8),
        tenant=pa.array([row["tenant"] for row in full], pa.string()),
        p_value=np.array([row["p"] for row in full], np.float64),
        score=np.zeros(len(full), np.float32),
        threat=np.array([CODES[row["threat"]] for row in full], np.int8),
        scores=scores,
        harmful=np.array([row["harmful"] for row in full], np.float32),
        severity=np.array([row["severity"] for row in full], np.float32),
        has_pii=np.array([row["pii"] for row in full], np.bool_),
        has_secret=np.array([row["secret"] for row in full], np.bool_),
        failed=np.array([EVERY if row["failed"] is True else int(row["failed"]) for row in full], np.uint8),
    )
