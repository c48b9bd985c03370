"""A service with a screener that costs nothing: texts with ATTACK are blocked, BOOM breaks it, time is a number."""

from __future__ import annotations

import functools
import json
from typing import Any

import pyarrow as pa

from aimds import assembly
from aimds.detect.evidence import Evidence, Span
from aimds.detect.stages import P_VALUE, SCORE, SEVERITY, STATUS, THREAT, Scores
from aimds.detect.texts import Texts
from aimds.gateway.batching import BatchConfig, Batcher
from aimds.gateway.exchange import Exchange
from aimds.gateway.hooks import Hooks
from aimds.gateway.identity import Peer
from aimds.gateway.judging import judge
from aimds.gateway.protocol import Service
from aimds.respond.policy import Policy
from aimds.taxonomy import CODES

ATTACK, BOOM, SECRET = "ATTACK", "BOOM", "4111 1111 1111 1111"
VERSIONS = {"engine": "0", "model": "m", "signatures": "s", "policy": "p"}
JSON = [(b"content-type", b"application/json")]
NDJSON = [(b"content-type", b"application/x-ndjson")]
ARROW = [(b"content-type", b"application/vnd.apache.arrow.stream")]
PEER = Peer("127.0.0.1")


@functools.cache
def policy() -> Policy:
    return Policy.load()


def forwards(action: str) -> bool:
    """What the shipped playbook passes on."""
    return policy().playbook.forwards(action)


class Fake:
    """Has the methods of a Screener that the gateway uses; ``batches`` holds the sizes it was asked for."""

    policy = policy()

    def __init__(self) -> None:
        self.batches: list[int] = []

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        self.batches.append(len(texts))
        if any(text is not None and BOOM in text for text in texts):
            raise ValueError("a kernel broke")
        scores = Scores.empty(len(texts))
        numbers = scores.numbers
        numbers[:] = 0.0
        numbers[:, P_VALUE] = 0.9
        for row, text in enumerate(texts):
            at = -1 if text is None else text.encode().find(ATTACK.encode())
            if at >= 0:
                numbers[row, [P_VALUE, SCORE, SEVERITY]] = 1e-9, 0.99, 0.9
                numbers[row, THREAT] = CODES["direct_injection"]
                scores.evidence[row] = (Evidence(row, "rules", "t.attack", "direct_injection", at, at + 6, 0.99),)
            at = -1 if text is None else text.encode().find(SECRET.encode())
            if at >= 0:
                scores.spans[row] = (Span(row, at, at + len(SECRET), "CREDIT_CARD", 1.0),)
        numbers[:, STATUS] = 0
        return self._verdicts(batch, scores)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        return self._verdicts(batch, Scores.failed(batch.num_rows, reason))

    def _verdicts(self, batch: pa.RecordBatch, scores: Scores) -> pa.RecordBatch:
        texts = Texts.from_arrow(batch.column("text"))
        return assembly.verdicts(batch, texts, scores, self.policy, "fast", "cpu", VERSIONS)


class Desk:
    """A service, its fake screener and its clock."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.screener = Fake()
        self.denied: list[dict[str, Any]] = []
        batch = options.pop("batch", BatchConfig())
        hooks = Hooks(lambda: None, self.screener.unjudged, forwards, denied=self.denied.append)
        self.service = Service(options.pop("batcher", None) or Batcher(batch), hooks, **options)

    def open(
        self, target: str, headers: list[tuple[bytes, bytes]] = JSON, method: str = "POST", peer: Peer = PEER
    ) -> Exchange:
        return self.service.open(method, target, headers, peer, self.now)

    def step(self) -> int:
        """Judge one batch; its rows, 0 if there was none."""
        batch = self.service.poll(self.now)
        if batch is None:
            return 0
        self.now += 0.001
        pieces = [job.payload for job in batch.jobs]
        self.service.complete(batch, judge(self.screener.screen_batch, self.screener.unjudged, pieces), self.now)
        return batch.rows

    def run(self) -> None:
        """Judge all there is."""
        while self.step():
            pass

    def ask(self, target: str, body: bytes, headers: list[tuple[bytes, bytes]] = JSON, **more: Any) -> Exchange:
        """A whole request, answered."""
        exchange = self.open(target, headers, **more)
        feed(self, exchange, body)
        self.run()
        return exchange


def feed(desk: Desk, exchange: Exchange, body: bytes, size: int = 1 << 16) -> None:
    """Send ``body`` in pieces as fast as they are wanted, and judge while they are not."""
    for start in range(0, len(body), size):
        while not exchange.wants_data and not exchange.ended and desk.step():
            pass
        exchange.receive(body[start : start + size], desk.now)
    exchange.end(desk.now)


def taken(exchange: Exchange) -> bytes:
    """All of the answer's body that is there."""
    parts = []
    while exchange.unsent:
        parts.append(exchange.take())
        exchange.sent(0.0)
    return b"".join(parts)


def document(exchange: Exchange) -> Any:
    return json.loads(taken(exchange))


def documents(exchange: Exchange) -> list[Any]:
    return [json.loads(line) for line in taken(exchange).splitlines()]


def ndjson(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def ipc(table: pa.Table | pa.RecordBatch, **options: Any) -> bytes:
    """``table`` as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(table)
    return bytes(sink.getvalue())
