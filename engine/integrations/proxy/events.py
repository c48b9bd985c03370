"""Server-sent events (WHATWG HTML, section 9.2) cut out of a stream, each with the bytes that it came as."""

from __future__ import annotations

from dataclasses import dataclass

from aimds.integrations.proxy.texts import BodyError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """``raw`` is all of it with its empty line; ``data`` its data lines joined, None where there are none."""

    raw: bytes
    data: bytes | None

    def having(self, data: bytes) -> bytes:
        """The event with ``data``, which has no line end, instead of its own; its other lines as they came."""
        out, placed = [], False
        for line in self.raw.splitlines(keepends=True):
            if _field(line) == b"data":
                if not placed:
                    out.append(b"data: " + data + b"\n")
                placed = True
            else:
                out.append(line)
        return b"".join(out)


class Events:
    """Bytes in, whole events out. An event longer than ``max_bytes`` is refused."""

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._raw: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = self._begun = False

    def feed(self, content: bytes) -> list[Event]:
        """The events that are complete now.

        Raises:
            BodyError: one is too long.
        """
        out = []
        # Of bytes, splitlines knows the line ends \n, \r and \r\n and no others.
        for piece in content.splitlines(keepends=True):
            if self._after_cr and piece == b"\n" and not self._line:
                # The second half of a line end that was cut in two.
                self._after_cr = False
                if self._raw:
                    self._raw.append(piece)
                else:
                    out.append(Event(piece, None))
                continue
            self._after_cr = False
            self._line += piece
            self._size += len(piece)
            if self._size > self._max_bytes:
                raise BodyError(f"an event of the stream is longer than {self._max_bytes} bytes")
            if piece.endswith((b"\n", b"\r")):
                self._after_cr = piece.endswith(b"\r")
                if (event := self._ended()) is not None:
                    out.append(event)
        return out

    def end(self) -> list[Event]:
        """What is left: an event that the stream ended in."""
        if self._line:
            self._take()
        return [] if not self._raw else [self._made()]

    def _ended(self) -> Event | None:
        blank = bytes(self._line) in (b"\n", b"\r", b"\r\n")
        self._take()
        return self._made() if blank else None

    def _take(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._raw.append(line)
        if not self._begun:
            self._begun, line = True, line.removeprefix(BOM)
        if _field(line) == b"data":
            value = line.rstrip(b"\r\n").partition(b":")[2]
            self._data.append(value.removeprefix(b" "))

    def _made(self) -> Event:
        event = Event(b"".join(self._raw), b"\n".join(self._data) if self._data else None)
        self._raw, self._data, self._size = [], [], 0
        return event


def _field(line: bytes) -> bytes:
    return line.rstrip(b"\r\n").partition(b":")[0].removeprefix(BOM)
