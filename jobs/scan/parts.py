"""Part files: the verdicts of one finished unit, on disk whole and fsynced or not there at all.

Layout: an Arrow IPC stream (LZ4), a JSON trailer, then 24 bytes: magic, CRC-32 of both, length of the stream, length of
the trailer. The trailer carries the key of the scan that wrote it, so a part of another configuration is
never mixed in.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from aimds.jobs.scan import durable

_TAIL = struct.Struct("<8sIQI")
_MAGIC = b"AIMDSP2\n"
_SUFFIX = ".part"
_READ_BYTES = 1 << 20


def name(group: int, slice_: int) -> str:
    """File name of the part of slice ``slice_`` of row group ``group``; names sort in row order."""
    return f"{group:010d}-{slice_:012d}{_SUFFIX}"


def listed(folder: Path) -> list[tuple[int, int, Path]]:
    """(group, slice, path) of the parts in ``folder``, in row order."""
    found = []
    for path in folder.glob("*" + _SUFFIX):
        group, _, slice_ = path.name.removesuffix(_SUFFIX).partition("-")
        if group.isdigit() and slice_.isdigit():
            found.append((int(group), int(slice_), path))
    return sorted(found)


class _Checked:
    """A file that counts and checksums what is written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.crc, self.size = file, 0, 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.crc, self.size = zlib.crc32(view, self.crc), self.size + len(view)
        self._file.write(view)
        return len(view)

    def flush(self) -> None:
        pass


def write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], trailer: dict[str, Any]) -> None:
    """Write ``batches`` one by one to ``path``; ``trailer`` is read after the last one, so it may be filled meanwhile.

    Raises:
        OutputError: the operating system refuses.
    """
    with durable.writing(path) as file:
        checked = _Checked(file)
        sink = pa.PythonFile(checked, mode="w")
        writer = pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))

        def put() -> None:
            for batch in batches:
                writer.write_batch(batch)

        durable.finish(put, writer.close)
        tail = json.dumps(trailer, sort_keys=True).encode()
        file.write(tail + _TAIL.pack(_MAGIC, zlib.crc32(tail, checked.crc), checked.size, len(tail)))


def verify(path: Path, key: str) -> dict[str, Any] | None:
    """The trailer of ``path`` if it is whole, undamaged and of the scan ``key``; else None."""
    try:
        with open(path, "rb") as file:
            found = _trailer(file)
            if found is None or found[1].get("key") != key:
                return None
            crc, left = found[0]
            file.seek(0)
            got = 0
            while left:
                data = file.read(min(left, _READ_BYTES))
                if not data:
                    return None
                got, left = zlib.crc32(data, got), left - len(data)
            return found[1] if got == crc else None
    except (OSError, ValueError):
        return None


def _trailer(file: IO[bytes]) -> tuple[tuple[int, int], dict[str, Any]] | None:
    end = file.seek(0, os.SEEK_END)
    if end < _TAIL.size:
        return None
    file.seek(end - _TAIL.size)
    magic, crc, size, length = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or size + length + _TAIL.size != end:
        return None
    file.seek(size)
    value = json.loads(file.read(length))
    return ((crc, size + length), value) if isinstance(value, dict) else None


def rows(path: Path) -> int:
    """How many rows a part known to be good has."""
    with durable.guarded(path, "read"), open(path, "rb") as file:
        found = _trailer(file)
    return 0 if found is None else int(found[1]["rows"])


def read(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a part known to be good."""
    with durable.guarded(path, "read"), open(path, "rb") as file, pa.ipc.open_stream(file) as stream:
        yield from stream
