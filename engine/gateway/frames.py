"""What a gateway and the processes that judge for it say to each other: a head in MessagePack, a body in Arrow IPC.

Both sides are of one version and start together, so nothing of this is kept or read from strangers.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pyarrow as pa

from aimds.gateway.settings import Screening

SIZES = struct.Struct("<II")
"""Bytes of the head and of the body, before both."""


class Setup(msgspec.Struct):
    """The first message: how the screener is built, and texts that make it ready to work."""

    screening: Screening
    warm: tuple[str, ...] = ()


class Ready(msgspec.Struct):
    """The answer to it; with ``error``, the process ends."""

    error: str | None = None


class Asked(msgspec.Struct):
    """A batch, the body: rows and form of each piece; with ``whole``, the verdicts come back as a table too. Without a
    body it only asks whether the process is there."""

    counts: list[int]
    forms: list[str]
    whole: bool = False


class Found(msgspec.Struct):
    """Its verdicts: an answer for each piece, None where it is its rows of the body."""

    answers: list[Any]
    actions: list[tuple[str, int]]
    threats: list[tuple[str, int]]
    unjudged: int


def packed(head: msgspec.Struct, batch: pa.RecordBatch | None = None) -> list[Any]:
    """``head`` and ``batch`` as buffers to write one after the other."""
    encoded = msgspec.msgpack.encode(head, enc_hook=str)
    if batch is None:
        return [SIZES.pack(len(encoded), 0), encoded]
    content = body(batch)
    return [SIZES.pack(len(encoded), content.size), encoded, memoryview(content)]


def body(batch: pa.RecordBatch) -> pa.Buffer:
    """``batch`` as an Arrow IPC stream; `unpacked` is the reverse."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def unpacked(body: bytes | pa.Buffer) -> pa.RecordBatch | None:
    """The batch in ``body``, which it keeps alive; None where there is none."""
    if not body:
        return None
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_next_batch()
