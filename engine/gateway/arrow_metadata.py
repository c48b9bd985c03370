"""What an Arrow IPC message says of itself, read from its FlatBuffer, every access checked before it is believed.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from aimds.gateway.problem import Problem

SCHEMA, DICTIONARY, BATCH = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What the metadata of a message says: ``kind``, bytes of its body, rows; ``adds``: it goes on with the dictionary
    before it. The rows of a dictionary are those of its longest column, which Arrow does not hold to the others."""

    kind: int
    body_bytes: int
    rows: int = 0
    adds: bool = False


class Flat:
    """A table of a FlatBuffer (https://flatbuffers.dev/internals/); every access is checked against the buffer."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self.buffer, self.at = buffer, at
        self._fields = at - struct.unpack_from("<i", buffer, at)[0]
        if self._fields < 0:
            raise ValueError("a table lies outside")
        self._size = struct.unpack_from("<H", buffer, self._fields)[0]

    @classmethod
    def root(cls, buffer: bytes) -> Flat:
        """The outermost table."""
        return cls(buffer, struct.unpack_from("<I", buffer, 0)[0])

    def place(self, field: int) -> int:
        """Where the value of ``field`` lies, 0 if it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return 0
        offset = struct.unpack_from("<H", self.buffer, self._fields + entry)[0]
        return self.at + offset if offset else 0

    def number(self, field: int, form: str) -> int:
        """A scalar, 0 if it is absent."""
        place = self.place(field)
        return int(struct.unpack_from(form, self.buffer, place)[0]) if place else 0

    def table(self, field: int) -> Flat | None:
        """A table inside."""
        place = self.place(field)
        return Flat(self.buffer, place + struct.unpack_from("<I", self.buffer, place)[0]) if place else None

    def vector(self, field: int) -> tuple[int, int]:
        """Start and length of a vector."""
        place = self.place(field)
        if not place:
            return 0, 0
        start = place + struct.unpack_from("<I", self.buffer, place)[0]
        return start + 4, struct.unpack_from("<I", self.buffer, start)[0]


def summary(metadata: bytes) -> Summary:
    """The kind and body of a message; sizes of a batch need its body, see `expanded`.

    Raises:
        Problem: ``malformed``.
    """
    try:
        message = Flat.root(metadata)
        body = message.number(3, "<q")
        kind, header, batch = message.number(1, "<B"), message.table(2), _batch(message)
        if batch is None:
            return Summary(kind, body)
        rows = batch.number(0, "<q")
        if kind != DICTIONARY or header is None:
            return Summary(kind, body, rows)
        start, count = batch.vector(1)
        nodes = range(start, start + 16 * min(count, len(metadata)), 16)
        longest = max((struct.unpack_from("<q", metadata, place)[0] for place in nodes), default=0)
        return Summary(kind, body, max(rows, longest), header.number(2, "<B") != 0)
    except (struct.error, ValueError):
        raise Problem("malformed", "the metadata of an Arrow message is damaged") from None


def _batch(message: Flat) -> Flat | None:
    kind, header = message.number(1, "<B"), message.table(2)
    if kind == DICTIONARY and header is not None:
        return header.table(1)
    return header if kind == BATCH else None


def expanded(metadata: bytes, body: memoryview) -> int:
    """Bytes that the buffers of a batch or dictionary take once decompressed, as they state it themselves.

    Raises:
        Problem: ``malformed``: a buffer lies outside the body, or states an impossible size.
    """
    try:
        batch = _batch(Flat.root(metadata))
        if batch is None:
            return 0
        start, count = batch.vector(2)
        compressed, total = batch.place(3) != 0, 0
        for place in range(start, start + 16 * min(count, len(metadata)), 16):
            offset, length = struct.unpack_from("<qq", metadata, place)
            if offset < 0 or length < 0 or offset + length > len(body):
                raise ValueError("a buffer lies outside")
            size = length
            if compressed and length:
                size = struct.unpack_from("<q", body, offset)[0]
                size = length if size == -1 else size
                if size < 0:
                    raise ValueError("a buffer has a negative size")
            total += size
        return total
    except (struct.error, ValueError):
        raise Problem("malformed", "the buffers of an Arrow message do not fit its body") from None
