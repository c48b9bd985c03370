"""A screener that is fast and deterministic, and can be told to be slow, to raise, or to kill its process."""

from __future__ import annotations

import os
import signal
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from aimds.schema import (
    ACTIONS,
    PROFILES,
    REQUESTS,
    SESSION_ACTIONS,
    STATUSES,
    VERDICTS,
    constant,
    enum,
)
from aimds.taxonomy import THREATS


class FakeScreener:
    """Blocks texts that hold "ignore"; a text that holds "POISON" makes it raise, "CRASH" kills the process.

    ``flag``: a file; while it exists "CRASH" kills, and with ``once`` the first crash deletes it.
    """

    profile = "fast"
    versions = {"engine": "0", "model": "fake", "signatures": "1", "policy": "2"}  # noqa: RUF012

    def __init__(self, delay_s: float = 0.0, name: str = "fake", flag: str = "", once: bool = False) -> None:
        self.config_hash = f"{name}-1"
        self._delay_s, self._flag, self._once = delay_s, flag, once
        self.seen: list[int] = []
        self.seconds = {"fake": 0.0}

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").cast(pa.large_binary())
        n = len(texts)
        self.seen.append(n)
        self.seconds["fake"] += n / 64
        if self._delay_s:
            time.sleep(self._delay_s)
        for word in (b"POISON", b"CRASH"):
            if pc.any(pc.match_substring(texts, word)).as_py():
                if word == b"POISON":
                    raise ValueError("poisoned")
                if not self._flag or os.path.exists(self._flag):
                    if self._once:
                        Path(self._flag).unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
        sums = [zlib.crc32(value) if value is not None else 0 for value in texts.to_pylist()]
        bad = [bool(value and b"ignore" in value) for value in texts.to_pylist()]
        null = texts.is_null().to_pylist()
        threat = THREATS.index("direct_injection")
        evidence = [
            [{"detector": "fake", "pattern_id": f"p{s % 7}", "start": 0, "end": 6, "score": 0.5}] if hit else []
            for s, hit in zip(sums, bad, strict=True)
        ]
        given = {
            "action": enum(ACTIONS, [ACTIONS.index("block") if hit else 0 for hit in bad]),
            "session_action": enum(SESSION_ACTIONS, [0] * n),
            "threat_type": enum(THREATS, [threat if hit else 0 for hit in bad]),
            "scores": pa.MapArray.from_arrays(
                pa.array(range(n + 1), pa.int32()),
                enum(THREATS, [threat] * n),
                pa.array([(s % 1000) / 1000 for s in sums], pa.float32()),
                type=VERDICTS.field("scores").type,
            ),
            "score": pa.array([(s % 1000) / 1000 for s in sums], pa.float32()),
            "p_value": pa.array([1 - (s % 1000) / 1000 for s in sums], pa.float64()),
            "evidence": pa.array(evidence, VERDICTS.field("evidence").type),
            "status": enum(STATUSES, [STATUSES.index("error") if is_null else 0 for is_null in null]),
            "error": pa.array(["null text" if is_null else None for is_null in null], pa.string()),
            "profile": constant(PROFILES[0], n),
            "backend": constant("cpu", n),
        }
        given |= {f"{name.removesuffix('s')}_version": constant(value, n) for name, value in self.versions.items()}
        arrays = []
        for field in VERDICTS:
            if field.name in REQUESTS.names:
                arrays.append(batch.column(field.name))
            elif field.name in given:
                arrays.append(given[field.name])
            elif pa.types.is_list(field.type):
                arrays.append(pa.array([[]] * n, field.type))
            else:
                arrays.append(pa.nulls(n, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


def unfit() -> FakeScreener:
    """A factory that cannot make a screener."""
    from aimds.errors import ArtefactError

    raise ArtefactError("weights.npz", "is missing")
