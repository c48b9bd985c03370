"""Heads of requests and answers in HTTP/3, by the static table of QPACK alone (RFC 9204): nothing to keep in step with
the other end.

The same heads go out again and again, so what was encoded once is kept: of requests, which may hold a token, with the
connection alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from aimds.gateway.packets.kept import LINE_BYTES, Kept
from aimds.gateway.packets.wire import varint

STATUSES: Final = {103: 24, 200: 25, 304: 26, 404: 27, 503: 28, 100: 63, 204: 64, 206: 65, 302: 66, 400: 67, 403: 68,
                   421: 69, 425: 70, 500: 71}  # fmt: skip
"""Static table: index of ``:status`` with its value."""
PAIRS: Final = {
    ("content-type", "application/json"): 46,
    ("content-type", "text/plain"): 53,
    ("content-length", "0"): 4,
    ("cache-control", "no-cache"): 39,
    ("cache-control", "no-store"): 40,
    (":method", "GET"): 17,
    (":method", "POST"): 20,
    (":scheme", "https"): 23,
    ("accept", "*/*"): 29,
}
NAMES: Final = {"content-length": 4, "content-type": 44, "cache-control": 36, "location": 12, "set-cookie": 14,
                "date": 6, "etag": 7, "last-modified": 10, ":authority": 0, ":path": 1, ":method": 15, ":scheme": 22,
                "accept": 29, "authorization": 84}  # fmt: skip
"""Static table: index of a name."""
STATUS_NAME: Final = 24
HEADERS: Final = b"\x01"
MOST_KEPT: Final = 1024
MOST_BYTES: Final = 64 << 10
"""Of the heads of requests that a connection keeps."""


def head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """A HEADERS frame with ``status`` and ``headers``, names in lower case."""
    for name, _ in headers:
        if name == "set-cookie":
            # It holds a secret, which is not to outlive its use.
            return _head(status, headers)
    return _alike(status, headers)


def _head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    return _framed(_status(status) + _fields(headers, "latin-1"))


_alike = lru_cache(maxsize=MOST_KEPT)(_head)


class Heads:
    """Heads of the requests of one connection. `clear` them when it ends."""

    def __init__(self) -> None:
        self._kept = Kept[tuple[tuple[str, str], ...], bytes](MOST_BYTES)

    def request(self, headers: Sequence[tuple[str, str]], more: Sequence[tuple[str, str]] = ()) -> bytes:
        """A HEADERS frame with ``headers`` and ``more``, names in lower case; what comes of ``headers`` is kept."""
        key = tuple(headers)
        lines = self._kept.get(key)
        if lines is None:
            lines = _fields(key, "utf-8")
            self._kept.put(key, lines, 2 * len(lines) + LINE_BYTES * len(key))
        return _framed(lines + _fields(more, "utf-8"))

    def clear(self) -> None:
        """Let go of what is kept."""
        self._kept.clear()


def _fields(headers: Sequence[tuple[str, str]], encoding: str) -> bytes:
    """The lines of ``headers`` (RFC 9204, section 4.5)."""
    parts: list[bytes] = []
    for name, value in headers:
        pair, index = PAIRS.get((name, value)), NAMES.get(name)
        if pair is not None:
            parts.append(_prefixed(0xC0, 6, pair))
            continue
        raw = value.encode(encoding)
        if index is not None:
            parts.append(_prefixed(0x50, 4, index))
        else:
            parts += (_prefixed(0x20, 3, len(name)), name.encode("latin-1"))
        parts += (_prefixed(0x00, 7, len(raw)), raw)
    return b"".join(parts)


def _framed(lines: bytes) -> bytes:
    return HEADERS + varint(2 + len(lines)) + b"\0\0" + lines


def _status(status: int) -> bytes:
    index = STATUSES.get(status)
    if index is not None:
        return _prefixed(0xC0, 6, index)
    return _prefixed(0x50, 4, STATUS_NAME) + b"\x03%d" % status


def _prefixed(flags: int, bits: int, value: int) -> bytes:
    """``value`` with a prefix of ``bits`` bits behind ``flags`` (RFC 7541, section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out = bytearray([flags | most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
