"""Sessions as bytes: a header of JSON, the packed arrays of the slots in use, and a hash over both. No pickle.

What is restored goes on as if it had never stopped; a smaller capacity keeps the sessions seen last.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.analyze.sessions import Sessions
from aimds.errors import DataError

MAGIC: Final = b"AIMDSS1\n"
_LENGTH: Final = struct.Struct("<Q")
_HASH_BYTES: Final = 32


def take(sessions: Sessions) -> bytes:
    """The state of ``sessions``; `restore` is the reverse."""
    slots = sessions.table.oldest_first()
    kept: dict[str, npt.NDArray[Any]] = {"keys": sessions.table.keys[slots], "seen": sessions.table.seen[slots]}
    kept |= {name: array[slots] for name, array in sessions.arrays.items()}
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in kept.items()]
    header = json.dumps({"arrays": listed, "window": sessions.window, "sessions": len(slots)}).encode()
    body = b"".join([MAGIC, _LENGTH.pack(len(header)), header, *(array.tobytes() for array in kept.values())])
    return body + hashlib.sha256(body).digest()


def restore(sessions: Sessions, content: bytes) -> int:
    """Put the state in ``content`` into ``sessions``, which must be empty and have the same window; how many there are.

    Raises:
        DataError: damaged, no snapshot, of another window, or ``sessions`` is not empty.
    """
    kept, window = _read(content)
    if len(sessions):
        raise DataError("snapshot", f"{len(sessions)} sessions are going on; restore into a new Sessions")
    if window != sessions.window:
        raise DataError(
            "snapshot", f"holds {window} turns a session, these keep {sessions.window}; set window={window}"
        )
    for name, array in sessions.arrays.items():
        if name in kept and (kept[name].dtype != array.dtype or kept[name].shape[1:] != array.shape[1:]):
            raise DataError("snapshot", f"its array {name!r} holds {kept[name].dtype} {kept[name].shape[1:]}")
    rows = slice(max(0, len(kept["keys"]) - sessions.table.capacity), None)
    slots, _ = sessions.table.admit(np.ascontiguousarray(kept["keys"][rows]), 0.0)
    sessions.table.seen[slots] = kept["seen"][rows]
    for name, array in sessions.arrays.items():
        if name in kept:
            array[slots] = kept[name][rows]
    return len(slots)


def _read(content: bytes) -> tuple[dict[str, npt.NDArray[Any]], int]:
    start = len(MAGIC) + _LENGTH.size
    if len(content) < start + _HASH_BYTES or not content.startswith(MAGIC):
        raise DataError("snapshot", "is not a snapshot of sessions")
    body = memoryview(content)[:-_HASH_BYTES]
    if hashlib.sha256(body).digest() != content[-_HASH_BYTES:]:
        raise DataError("snapshot", "is damaged: its hash is not that of its content")
    (size,) = _LENGTH.unpack(content[len(MAGIC) : start])
    try:
        header = json.loads(bytes(body[start : start + size]))
        place, out = start + size, {}
        for name, dtype, shape in header["arrays"]:
            kind = np.dtype(dtype)
            if kind.hasobject or shape[0] != header["sessions"]:
                raise DataError("snapshot", f"its array {name!r} cannot be")
            count = int(np.prod(shape, dtype=np.int64))
            out[name] = np.frombuffer(body, kind, count, place).reshape(shape)
            place += count * kind.itemsize
        if out["keys"].dtype != np.uint64 or out["keys"].shape[1:] != (2,) or out["seen"].dtype != np.float64:
            raise DataError("snapshot", "its keys cannot be")
        return out, int(header["window"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("snapshot", f"is damaged: {error}") from error
