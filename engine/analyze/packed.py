"""Arrays as bytes: a mark, a header of JSON, the arrays one after another, and a hash over all of it. No pickle."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.errors import DataError

Arrays = dict[str, npt.NDArray[Any]]
_LENGTH: Final = struct.Struct("<Q")
_HASH_BYTES: Final = 32
_LISTED: Final = "arrays"


def pack(mark: bytes, header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """``arrays`` and the JSON values of ``header``, which has no key "arrays"; `unpack` is the reverse."""
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    head = encoded({_LISTED: listed, **header})
    hashed = hashlib.sha256()
    pieces = [mark, _LENGTH.pack(len(head)), head, *(array.tobytes() for array in arrays.values())]
    for piece in pieces:
        hashed.update(piece)
    return b"".join([*pieces, hashed.digest()])


def encoded(value: Any) -> bytes:
    """``value`` as JSON that takes no more than the bytes of its texts, but for what has to be escaped."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def unpack(mark: bytes, content: bytes) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays in ``content``, which begins with ``mark``.

    Raises:
        DataError: damaged, or of another kind.
    """
    start = len(mark) + _LENGTH.size
    if len(content) < start + _HASH_BYTES or not content.startswith(mark):
        raise DataError("snapshot", "is not a snapshot of sessions")
    body = memoryview(content)[:-_HASH_BYTES]
    if hashlib.sha256(body).digest() != content[-_HASH_BYTES:]:
        raise DataError("snapshot", "is damaged: its hash is not that of its content")
    (size,) = _LENGTH.unpack(content[len(mark) : start])
    try:
        header = json.loads(bytes(body[start : start + size]))
        place, out = start + size, Arrays()
        for name, dtype, shape in header.pop(_LISTED):
            kind = np.dtype(dtype)
            if kind.hasobject or min(shape, default=0) < 0:
                raise DataError("snapshot", f"its array {name!r} cannot be")
            count = int(np.prod(shape, dtype=np.int64))
            out[name] = np.frombuffer(body, kind, count, place).reshape(shape)
            place += count * kind.itemsize
        return header, out
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise DataError("snapshot", f"is damaged: {error}") from error


def fitting(kept: Arrays, expected: Arrays) -> int:
    """How many sessions are in ``kept``, once it has all of ``expected`` that every session has a row of.

    Raises:
        DataError: an array is missing or of another shape or kind.
    """
    keys, seen = kept.get("keys"), kept.get("seen")
    if keys is None or seen is None or keys.dtype != np.uint64 or keys.shape[1:] != (2,) or seen.dtype != np.float64:
        raise DataError("snapshot", "its keys cannot be")
    if seen.ndim != 1 or not np.isfinite(seen).all():
        raise DataError("snapshot", "its times cannot be")
    for name, array in kept.items():
        if array.shape[:1] != keys.shape[:1]:
            raise DataError("snapshot", f"its array {name!r} has {array.shape[:1]} rows, not {len(keys)}")
        like = expected.get(name)
        if like is not None and (array.dtype != like.dtype or array.shape[1:] != like.shape[1:]):
            raise DataError("snapshot", f"its array {name!r} holds {array.dtype} {array.shape[1:]}")
    return len(keys)
