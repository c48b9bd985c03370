"""An Arrow IPC stream that comes in pieces from a stranger: batches out, with every size checked before it is believed.

A compressed buffer states how large it becomes, and 271 bytes may state 600 MB; a dictionary lets four bytes stand for
a megabyte. So sizes are summed from the message's metadata before Arrow allocates anything, only plain types are taken,
and who reads decides of each batch whether there is room for it before it is decompressed. Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import SchemaError
from aimds.gateway.arrow_metadata import BATCH, DICTIONARY, SCHEMA, expanded, summary
from aimds.gateway.problem import Problem, too_large
from aimds.printable import counted
from aimds.schema import CHANNELS, VERDICTS, requests

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
CONTINUATION = 0xFFFFFFFF
MAX_METADATA = 1 << 20
MAX_WORD = 256
"""Longest entry of a dictionary, in bytes: channels are short."""
MAX_WORDS = 256
"""Entries of a dictionary; more are read again with each batch, and there are five channels."""
MAX_DICTIONARY = 2 * MAX_WORDS * MAX_WORD
"""Bytes of a dictionary, expanded, and of the messages that it came in."""
MAX_ROWS = 1 << 16
"""Rows of a message: a million empty ones have some hundred bytes, and each is to have an id and a verdict."""
ROW_BYTES = 128
"""What a row counts for at least."""
END = struct.pack("<II", CONTINUATION, 0)
BUFFER_BYTES = 8 << 10
MAX_TOLD = 200
"""Characters of what Arrow says: it may quote a value."""
_PLAIN = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null)


@dataclass(frozen=True, slots=True)
class Coming:
    """A batch that is there but was not read yet: its rows, its bytes as they came, and those that it expands to, of
    each row `ROW_BYTES` at least."""

    rows: int
    size: int
    expanded: int


class Reader:
    """Bytes of one stream in, batches of REQUESTS out: `coming` says what the next one takes, `batch` reads it.

    Args:
        max_message_bytes: largest message, as it comes.
        max_expanded_bytes: largest message, decompressed.
        max_row_bytes: what the rows of a message may expand to on average.
    """

    def __init__(
        self,
        max_message_bytes: int = 16 << 20,
        max_expanded_bytes: int = 64 << 20,
        max_row_bytes: int = 2 << 20,
    ) -> None:
        self._max, self._max_expanded, self._max_row = max_message_bytes, max_expanded_bytes, max_row_bytes
        self._held = bytearray()
        self._needed = 8
        """Bytes without which there is nothing to look at."""
        self._prefix = self._dictionary = b""
        """The messages without which a batch cannot be read: of dictionaries there is one, for the channel."""
        self._words = 0
        self._schema: pa.Schema | None = None
        self._next: tuple[Coming, bytes] | None = None
        """The batch that is to be read, and its message."""
        self.rows = 0
        self.ended = False

    @property
    def needed_bytes(self) -> int:
        """Bytes of the next message, as far as it has told; not of those that came whole behind it."""
        return max(len(self._held), self._needed) if self._next is None else self._next[0].size

    def feed(self, content: bytes) -> None:
        """More of the stream came."""
        self._held += content

    def coming(self) -> Coming | None:
        """The next batch with rows; None while none is whole. Nothing is decompressed for it.

        Raises:
            Problem: damaged, too large or not the data contract.
        """
        while self._next is None and not self.ended and (framed := self._frame()) is not None:
            metadata, body, whole = framed
            told = _guarded(self._message, metadata, body, whole)
            if told is not None:
                self._next = told, whole
        if self.ended and self._held:
            raise Problem("malformed", "there are bytes behind the end of the Arrow stream")
        return None if self._next is None else self._next[0]

    def batch(self) -> pa.RecordBatch:
        """The batch that is `coming`.

        Raises:
            Problem: as `coming`.
        """
        assert self._next is not None
        (_, whole), self._next = self._next, None
        return _guarded(self._decoded, whole)

    def end(self) -> None:
        """The client has sent all.

        Raises:
            Problem: ``malformed``: the stream is cut off, or never began.
        """
        if self._held:
            raise Problem("malformed", f"the Arrow stream is cut off: {len(self._held)} bytes of a message are there")
        if self._schema is None:
            raise Problem("malformed", "the Arrow stream is empty: it has no schema")
        if not self.ended:
            # The format lets it be left out; then nobody could tell a whole stream from one that lost its last rows.
            raise Problem("malformed", "the Arrow stream is cut off: its end-of-stream marker is missing")

    def _frame(self) -> tuple[bytes, memoryview, bytes] | None:
        held = self._held
        if len(held) < self._needed:
            return None
        mark, size = struct.unpack_from("<II", held, 0)
        if mark != CONTINUATION:
            raise Problem("malformed", "this is not an Arrow IPC stream")
        if size == 0:
            self.ended = True
            del held[:8]
            return None
        if size > MAX_METADATA:
            raise too_large(f"the metadata of a message has {size} bytes", MAX_METADATA)
        if len(held) < 8 + size:
            return None
        metadata = bytes(held[8 : 8 + size])
        length = summary(metadata).body_bytes
        if not 0 <= length <= self._max:
            raise too_large(f"a message has {length} bytes", self._max, "limits.max_message_bytes")
        end = 8 + size + length
        if len(held) < end:
            self._needed = end
            return None
        self._needed = 8
        with memoryview(held) as view, view[:end] as first:
            whole = bytes(first)
        del held[:end]
        return metadata, memoryview(whole)[8 + size :], whole

    def _message(self, metadata: bytes, body: memoryview, whole: bytes) -> Coming | None:
        told = summary(metadata)
        size = expanded(metadata, body)
        if size > self._max_expanded:
            raise too_large(f"a message expands to {size} bytes", self._max_expanded, "limits.max_expanded_bytes")
        # Every row has at least the offset of its text.
        if not 0 <= told.rows <= size:
            raise Problem("malformed", f"{told.rows} rows do not fit into {size} bytes")
        if told.rows > MAX_ROWS:
            raise too_large(f"a message has {told.rows} rows", MAX_ROWS, unit="rows")
        if told.kind == SCHEMA:
            if self._schema is not None:
                raise Problem("malformed", "the Arrow stream has a second schema")
            schema = pa.ipc.open_stream(whole + END).schema
            _check_types(schema)
            # Types that are not the contract's are refused here, since a batch without rows is not looked at.
            self._checked(pa.RecordBatch.from_pylist([], schema))
            self._schema = schema
            self._prefix = whole
            return None
        if self._schema is None:
            raise Problem("malformed", "the Arrow stream does not begin with its schema")
        if told.kind == DICTIONARY:
            if not told.adds:
                self._words, self._dictionary = 0, b""
            self._words += told.rows
            self._dictionary += whole
            if self._words > MAX_WORDS:
                raise too_large(f"a dictionary has {self._words} entries", MAX_WORDS, unit="entries")
            if max(size, len(self._dictionary)) > MAX_DICTIONARY:
                raise too_large("a dictionary is larger", MAX_DICTIONARY)
            return None
        if told.kind != BATCH:
            raise Problem("malformed", f"the Arrow stream has a message of kind {told.kind}")
        # Nothing counts against rates or admission without rows, so nothing is decompressed for them.
        if not told.rows:
            return None
        if size > told.rows * self._max_row:
            rows = counted(told.rows, "row")
            raise too_large(
                f"{rows} expand to {size} bytes", self._max_row, "limits.max_body_bytes", unit="bytes for each"
            )
        return Coming(told.rows, len(whole), max(size, ROW_BYTES * told.rows))

    def _decoded(self, whole: bytes) -> pa.RecordBatch:
        batch = pa.ipc.open_stream(self._prefix + self._dictionary + whole + END).read_next_batch()
        batch.validate(full=False)
        _check_words(batch)
        batch.cast(_as_binary(batch.schema)).validate(full=True)
        for name in batch.schema.names:
            # A text may hold invalid UTF-8, which its verdict tells; a name may not.
            if name != "text":
                batch.column(name).validate(full=True)
        out = self._checked(batch)
        self.rows += batch.num_rows
        return out

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """``batch`` as REQUESTS."""
        try:
            return requests(batch, first_row=self.rows)
        except SchemaError as error:
            row = None if error.row is None else self.rows + error.row
            problem = Problem("unprocessable", str(error)[:MAX_TOLD], column=error.column, row=row)
            if error.column == "channel":
                problem.extra["known"] = list(CHANNELS)
            raise problem from None


def _as_binary(schema: pa.Schema) -> pa.Schema:
    binary = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    return pa.schema([field.with_type(binary.get(field.type, field.type)) for field in schema])


def _guarded(read: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except Problem:
        raise
    except Exception as error:  # Arrow and Python raise many kinds on bytes made to break them
        reason = " ".join(str(error)[:MAX_TOLD].split()) or type(error).__name__
        raise Problem("malformed", f"the Arrow stream is damaged: {reason}") from None


def _check_types(schema: pa.Schema) -> None:
    """Raise a Problem unless the columns of the contract in ``schema`` have types of bounded size; others may have any
    such type too.

    Raises:
        Problem: ``unprocessable``.
    """
    if "text" not in schema.names:
        raise Problem("unprocessable", f"column 'text': missing; the columns are {', '.join(schema.names) or '(none)'}")
    for field in schema:
        kind = field.type
        if pa.types.is_dictionary(kind) and field.name == "channel":
            kind = kind.value_type
        if pa.types.is_list(kind) and field.name == "events":
            kind = kind.value_type
        primitive = pa.types.is_primitive(kind) or any(test(kind) for test in _PLAIN)
        if not primitive:
            raise Problem("unprocessable", f"column {field.name!r}: type {field.type} is not taken over the network")


def _check_words(batch: pa.RecordBatch) -> None:
    """Raise a Problem where a dictionary of ``batch`` holds a long entry.

    Raises:
        Problem: ``unprocessable``.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_dictionary(column.type) or pa.types.is_primitive(column.type.value_type):
            continue
        column.dictionary.validate(full=True)
        if (pc.max(pc.binary_length(column.dictionary)).as_py() or 0) > MAX_WORD:
            raise Problem(
                "unprocessable", f"column {name!r}: its dictionary holds entries longer than {MAX_WORD} bytes"
            )


class Writer:
    """Batches of VERDICTS in, bytes of one Arrow IPC stream out."""

    def __init__(self) -> None:
        self._parts = io.BytesIO()
        # Arrow writes each buffer of each column by itself.
        self._sink = pa.BufferedOutputStream(pa.PythonFile(self._parts, mode="w"), BUFFER_BYTES)
        self._stream = pa.ipc.new_stream(self._sink, VERDICTS)

    def batch(self, verdicts: pa.RecordBatch) -> bytes:
        """The bytes to send for ``verdicts``, with the schema before the first."""
        self._stream.write_batch(verdicts)
        return self._taken()

    def end(self) -> bytes:
        """The bytes that end the stream."""
        self._stream.close()
        return self._taken()

    def _taken(self) -> bytes:
        self._sink.flush()
        out = self._parts.getvalue()
        self._parts.seek(0)
        self._parts.truncate()
        return out


__all__ = ["MEDIA_TYPE", "Reader", "Writer"]
