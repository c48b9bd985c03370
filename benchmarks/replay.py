"""A policy over recorded verdicts: `python -m benchmarks.replay [--smoke] [NAME…]`.

`replay_file` reads a Parquet file of verdicts, decides them and counts the changes; its peer is the thresholding alone,
as polars expressions over the same file on one thread: the rules of one tenant, and nothing of secrets, failures, rules
or sessions, no intervals and no samples. `decide` is the policy on scores in memory; its peer applies the same rules in
Python, row by row.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.jobs.replay import replay
from aimds.respond.policy import Policy
from aimds.respond.scored import RANK, Scored
from aimds.schema import ACTIONS, CHANNELS, VERDICTS, constant, enum
from aimds.taxonomy import CODES, THREATS
from benchmarks.harness import Case, Maker, main

TODAY = date(2026, 1, 1)
START_US = 1_760_000_000_000_000
PLAIN = [CODES[name] for name in ("direct_injection", "jailbreak", "prompt_leak")]


@functools.cache
def drawn(n: int) -> dict[str, Any]:
    """Scores of ``n`` rows: one in fifty dangerous, the others harmless."""
    rng = np.random.default_rng(0)
    danger = rng.random(n) < 0.02
    p_value = np.where(danger, 10.0 ** -rng.uniform(1, 7, n), rng.random(n))
    threat = np.where(p_value <= 0.01, rng.choice(PLAIN, n), CODES["none"]).astype(np.int8)
    return {
        "p_value": p_value,
        "threat": threat,
        "severity": np.where(threat == 0, 0, rng.random(n)).astype(np.float32),
        "harmful": (rng.random(n) ** 8).astype(np.float32),
        "channel": rng.integers(0, len(CHANNELS), n).astype(np.int8),
        "tenant": pa.array([f"t{k}" for k in range(50)], pa.string()).take(pa.array(rng.integers(0, 50, n))),
    }


def verdicts(n: int) -> pa.Table:
    """The same rows as a table of VERDICTS, decided by the shipped policy."""
    rows = drawn(n)
    action = Policy.load().decide(scored(n)).action
    given: dict[str, Any] = {
        "request_id": pa.array(np.arange(n)).cast(pa.string()),
        "tenant": rows["tenant"],
        "ts": pa.array(np.arange(n, dtype=np.int64) * 1_000_000 + 1_760_000_000_000_000).cast(
            VERDICTS.field("ts").type
        ),
        "channel": enum(CHANNELS, rows["channel"]),
        "action": enum(ACTIONS, action),
        "session_action": constant("none", n),
        "threat_type": enum(THREATS, rows["threat"]),
        "p_value": pa.array(rows["p_value"]),
        "harmful_score": pa.array(rows["harmful"]),
        "severity": pa.array(rows["severity"]),
        "violations": pa.array([[]] * n, VERDICTS.field("violations").type),
        "spans": pa.array([[]] * n, VERDICTS.field("spans").type),
        "status": constant("ok", n),
        "policy_version": constant("1", n),
    }
    names = [field.name for field in VERDICTS if field.name in given]
    return pa.table([given[name] for name in names], names=names)


def scored(n: int) -> Scored:
    """The same rows as scores."""
    rows, none = drawn(n), np.zeros(n, np.bool_)
    empty = np.zeros((n, len(THREATS)), np.float32)
    return Scored(
        n=n,
        scores=empty,
        score=np.zeros(n, np.float32),
        has_pii=none,
        has_secret=none,
        failed=np.zeros(n, np.uint8),
        **{name: rows[name] for name in ("channel", "tenant", "p_value", "threat", "harmful", "severity")},
    )


@functools.cache
def candidate() -> Policy:
    """Other thresholds than the shipped ones, and tenants of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "p.toml"
        file.write_text(
            'format = 1\nversion = "candidate"\n[thresholds]\nblock = 0.0002\nflag = 0.02\n'
            '[threats.default]\nat_block = "block"\nat_flag = "flag"\nmin_severity = 0.1\n'
        )
        return Policy.load(file)


def replay_file(smoke: bool) -> Iterator[Case]:
    """Rows of a file replayed, against polars."""
    n = 50_000 if smoke else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "v.parquet"
        pq.write_table(verdicts(n), file, row_group_size=1 << 16)

        def ours() -> list[int]:
            return list(replay([file], candidate(), today=TODAY, samples=12).whole.kinds)

        def peer() -> list[int]:
            p, least = pl.col("p_value"), pl.col("severity") >= pl.lit(0.1, pl.Float32)
            action = (
                pl.when((p <= 0.0002) & least)
                .then(pl.lit("block"))
                .when((p <= 0.02) | (pl.col("harmful_score") >= pl.lit(0.9, pl.Float32)))
                .then(pl.lit("flag"))
                .otherwise(pl.lit("allow"))
            )
            before = pl.col("action").cast(pl.String)
            stopped, stops = before.is_in(["block", "escalate"]), action == "block"
            kind = pl.when(~stopped & stops).then(1).when(stopped & ~stops).then(2)
            kind = kind.when(before != action).then(3).otherwise(0)
            columns = ["p_value", "severity", "harmful_score", "action", "tenant", "threat_type", "channel"]
            frame = pl.read_parquet(file, columns=columns).with_columns(kind=kind)
            for key in ("tenant", "threat_type", "channel"):
                frame.group_by(key, "kind").len()
            counts = dict(frame.group_by("kind").len().iter_rows())
            return [counts.get(k, 0) for k in range(4)]

        yield Case("replay_file", "rows", n, ours, peer, "polars, thresholds only", lambda a, b: a == b, floor=0.05)


def row_by_row(policy: Policy, rows: dict[str, Any], n: int) -> np.ndarray:
    """The rules of ``policy`` for everybody, one row at a time."""
    settings, out = policy.settings[0], np.empty(n, np.int8)
    columns = [rows[name][:n].tolist() for name in ("p_value", "threat", "severity", "harmful", "channel")]
    for row, (p, threat, severity, harmful, channel) in enumerate(zip(*columns, strict=True)):
        limits = settings.thresholds[CHANNELS[channel]]
        response = settings.responses.get(THREATS[threat], settings.responses["default"])
        action = "allow"
        if p <= limits.block and severity >= np.float32(response.min_severity):
            action = response.at_block
        elif p <= limits.flag:
            action = response.at_flag
        code = ACTIONS.index(action)
        if harmful >= np.float32(settings.harmful.threshold):
            other = ACTIONS.index(settings.harmful.action)
            code = other if RANK[other] > RANK[code] else code
        out[row] = code
    return out


def decide(smoke: bool) -> Iterator[Case]:
    """Actions of a batch of scores in memory, against Python row by row; batches of 256 and of 65,536 rows."""
    for n, name in ((256, "decide_256"), (65_536, "decide_65536")):
        batch, policy, rows = scored(n), candidate(), drawn(n)
        few = min(n, 4096)

        def ours(policy: Policy = policy, batch: Scored = batch) -> np.ndarray:
            return policy.decide(batch, TODAY).action

        def peer(policy: Policy = policy, rows: dict[str, Any] = rows, few: int = few) -> np.ndarray:
            return row_by_row(policy, rows, few)

        def same(a: Any, b: Any, few: int = few) -> bool:
            return bool((a[:few] == b).all())

        yield Case(name, "rows", n, ours, peer, "Python, row by row", same, floor=2.0, peer_work=few)


CASES: dict[str, Maker] = {"replay_file": replay_file, "decide": decide}

if __name__ == "__main__":
    sys.exit(main(CASES))
