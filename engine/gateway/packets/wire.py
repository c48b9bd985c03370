"""Numbers and frames of QUIC as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SMALL: Final = tuple(bytes([one]) for one in range(64))
MASKS: Final = (0x3F, 0x3FFF, 0x3FFF_FFFF, 0x3FFF_FFFF_FFFF_FFFF)
MOST: Final = MASKS[3]


def varint(value: int) -> bytes:
    """``value`` in the shortest form (RFC 9000, section 16)."""
    if value < 64:
        return SMALL[value]
    if value < 1 << 14:
        return (value | 1 << 14).to_bytes(2, "big")
    if value < 1 << 30:
        return (value | 2 << 30).to_bytes(4, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def pulled(content: bytes, at: int) -> tuple[int, int]:
    """The number that begins ``at`` (RFC 9000, section 16), and where it ends.

    Raises:
        IndexError: ``content`` ends before.
    """
    first = content[at]
    if first < 64:
        return first, at + 1
    if first < 128:
        return (first & 63) << 8 | content[at + 1], at + 2
    form = first >> 6
    stop = at + (1 << form)
    if stop > len(content):
        raise IndexError(stop)
    return int.from_bytes(content[at:stop], "big") & MASKS[form], stop


def acknowledgement(ranges: Sequence[range], delay: int) -> bytes:
    """The frame ACK (RFC 9000, section 19.3) for packets of these ``ranges``, rising; ``delay`` as it is encoded."""
    last, more = ranges[-1], len(ranges) - 1
    parts = [b"\x02", varint(last.stop - 1), varint(delay), varint(more), varint(last.stop - 1 - last.start)]
    start = last.start
    for at in range(more - 1, -1, -1):
        one = ranges[at]
        parts += (varint(start - one.stop - 1), varint(one.stop - one.start - 1))
        start = one.start
    return b"".join(parts)
