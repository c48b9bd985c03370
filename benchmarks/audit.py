"""The audit log: `python -m benchmarks.audit [--smoke] [NAME…]`.

Verdicts in micro-batches, each durable before the next: ours chains, seals the head, keeps whom a record is about apart
under a salt, and can sign. The peer is what one writes in an afternoon: json, hashlib, one chain over whole lines, one
fsync a batch; it has no head, nothing can be taken out of it, and a cut at its end is not seen. `each`: the peer makes
an fsync for every verdict. What a verdict costs, and the share of a core at 20,000 a second, is told on stderr.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.record.audit import AuditLog
from aimds.record.chain import decode
from aimds.record.verification import verify
from benchmarks.harness import Case, main

KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RATE = 20_000
ROWS, SMOKE_ROWS = 20_000, 2_000
_HELD: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def folder() -> Path:
    """Where the logs lie until the run ends."""
    held = tempfile.TemporaryDirectory(prefix="aimds-audit-")
    _HELD.append(held)
    return Path(held.name)


@functools.cache
def bodies(count: int) -> list[dict[str, Any]]:
    """What the gateway records of ``count`` verdicts."""
    rng = np.random.default_rng(4)
    return [
        {
            "request_id": f"r-{k:09}",
            "session_id": f"s-{k // 7:012x}",
            "tenant": f"t{k % 50}",
            "identity": f"client-{k % 90}",
            "text": hashlib.sha256(b"%d" % k).hexdigest(),
            "channel": "user",
            "action": "allow" if k % 50 else "block",
            "threat_type": "none" if k % 50 else "direct_injection",
            "score": float(score),
            "status": "ok",
            "policy_version": "0123456789abcdef",
        }
        for k, score in enumerate(rng.random(count).astype(np.float32))
    ]


def fresh(name: str) -> Path:
    """An empty place for a log."""
    path = folder() / name
    for file in folder().glob(f"{name}*"):
        file.unlink()
    return path


def ours(count: int, batch: int, signing: Ed25519PrivateKey | None = None) -> Path:
    path, rows = fresh("ours"), bodies(count)
    with AuditLog(path, key=KEY, signing=signing) as log:
        for first in range(0, count, batch):
            log.append_many("verdict", rows[first : first + batch])
            log.flush()
    return path


def naive(count: int, batch: int) -> Path:
    path, rows, prev = fresh("naive"), bodies(count), "0" * 64
    with path.open("wb") as file:
        for first in range(0, count, batch):
            for seq, body in enumerate(rows[first : first + batch], first):
                record = {"seq": seq, "time": datetime.now(UTC).isoformat(), "kind": "verdict", "body": body}
                text = json.dumps({**record, "prev": prev}, sort_keys=True)
                prev = hashlib.sha256(text.encode()).hexdigest()
                file.write(json.dumps({**record, "prev": prev, "hash": prev}, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return path


def checked(path: Path) -> int:
    """The naive log, checked: how many records it has, -1 where one is wrong."""
    prev, count = "0" * 64, 0
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        digest = record.pop("hash")
        text = json.dumps({**record, "prev": prev}, sort_keys=True)
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return -1
        prev, count = digest, count + 1
    return count


def same(one: Path, two: Path) -> bool:
    """Whether both logs hold the same verdicts, and are whole."""
    records = [decode(line) for line in one.read_bytes().splitlines(keepends=True)]
    mine = [{**record.body, **(record.private or {})} for record in records if record.kind == "verdict"]
    for body in mine:
        del body["salt"]
    theirs = [json.loads(line)["body"] for line in two.read_bytes().splitlines()]
    return mine == theirs and verify(one, key=KEY).ok and checked(two) == len(theirs)


def told(name: str, count: int, batch: int, signing: Ed25519PrivateKey | None = None) -> None:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        ours(count, batch, signing)
        best = min(best, time.process_time() - started)
    share = best / count * RATE
    cost = f"{best / count * 1e6:.1f} us of CPU time a verdict"
    print(f"{name}: {cost}, {share:.0%} of a core at {RATE:,} a second", file=sys.stderr)


def appended(smoke: bool, batch: int, signing: Ed25519PrivateKey | None = None, each: int = 0) -> Iterator[Case]:
    count = SMOKE_ROWS if smoke else ROWS
    few = count // 10 if each else count
    name = f"append_{batch}" + ("_signed" if signing else "") + ("_each" if each else "")
    told(name, count, batch, signing)
    yield Case(
        name,
        "verdict",
        count,
        lambda: ours(count, batch, signing),
        lambda: naive(few, each or batch),
        f"json + hashlib, fsync every {each or batch}",
        lambda one, two: same(one, two) if few == count else checked(two) == few,
        floor=0.15,
        peer_work=few,
    )


def verified(smoke: bool) -> Iterator[Case]:
    """The check of a whole log."""
    count = SMOKE_ROWS if smoke else ROWS
    mine, theirs = ours(count, 256, PAIR), naive(count, 256)
    yield Case(
        "verify",
        "record",
        count,
        lambda: verify(mine, key=KEY, public=[PAIR.public_key()]),
        lambda: checked(theirs),
        "json + hashlib",
        lambda one, two: one.ok and two == count,
        floor=0.15,
    )


MAKERS = {
    "append_64": lambda smoke: appended(smoke, 64),
    "append_256": lambda smoke: appended(smoke, 256),
    "append_1024": lambda smoke: appended(smoke, 1024),
    "append_256_signed": lambda smoke: appended(smoke, 256, PAIR),
    "append_256_each": lambda smoke: appended(smoke, 256, PAIR, each=1),
    "verify": verified,
}

if __name__ == "__main__":
    sys.exit(main(MAKERS))
