"""Turns of a scan judged together with those before them, as a gateway with ``joined`` does it.

What was judged is kept in a file beside the outputs, stretch by stretch, so that a scan that was killed goes on.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.analyze import joins
from aimds.analyze.joins import STITCH_BYTES
from aimds.analyze.series import surprise
from aimds.analyze.turns import p_values
from aimds.detect.texts import Texts
from aimds.jobs.scan import durable, rows
from aimds.schema import CHANNELS, enum, requests

NAME: Final = f"joined{durable.KEPT}"
TAIL: Final = pa.field("_session_tail", pa.large_binary())
"""Column of the parts, not of the output: the end of each text that comes in."""
ROWS: Final = 2_048
"""Rows that are judged together, and lost at most when a scan is killed."""
_HEAD: Final = struct.Struct("<16sII")
F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def column(texts: pa.Array, kinds: npt.NDArray[np.uint8]) -> pa.Array:
    """TAIL of rows of ``kinds``, whose ``texts`` (large_string) are given; null where nothing comes in."""
    ends = pc.binary_slice(texts.cast(pa.binary()), start=-STITCH_BYTES, stop=None).cast(TAIL.type)
    return pc.if_else(pa.array(kinds <= 1), ends, pa.scalar(None, TAIL.type))


class Joined:
    """Judges joined turns by the screener that ``screener`` gives once it is needed, and keeps what came out in
    ``path``.

    A row at which the screener fails shows nothing: its turns were judged one by one all the same.
    """

    def __init__(self, screener: Callable[[], rows.Screener], path: Path) -> None:
        self._screener, self._path = screener, path
        self._places: dict[bytes, tuple[int, int]] | None = None

    def surprises(
        self, slots: Ints, counted: npt.NDArray[np.uint8], ends: pa.Array, channels: npt.NDArray[np.uint8]
    ) -> F64:
        """As `joins.surprises`, of B rows with all rows of their sessions, which are numbered from 0.

        ``ends``: TAIL. ``channels`` uint8 (B,): places in CHANNELS.
        """
        kept = joins.tails(int(slots.max(initial=-1)) + 1)
        out = np.empty(len(slots), np.float64)
        for start in range(0, len(slots), ROWS):
            part = slice(start, start + ROWS)
            texts = Texts.from_arrow(pa.chunked_array([ends[part]]).combine_chunks())
            mine = channels[part]

            def judged(whole: pa.Array, chosen: Ints, mine: npt.NDArray[np.uint8] = mine) -> F64:
                return self._judged(whole, mine[chosen])

            out[part] = joins.surprises(kept, slots[part], counted[part], texts, judged)
        return out

    def _judged(self, whole: pa.Array, channels: npt.NDArray[np.uint8]) -> F64:
        places = self._read() if self._places is None else self._places
        name = self._name(whole, channels)
        if name in places:
            place, count = places[name]
            if count == len(whole):
                with durable.guarded(self._path, "read"), open(self._path, "rb") as file:
                    file.seek(place)
                    return np.fromfile(file, "<f8", count)
        asked = requests(pa.table({"text": whole, "channel": enum(CHANNELS, channels.tolist()).cast(pa.string())}))
        parts = [surprise(p_values(verdicts)) for verdicts in rows.screen(self._screener(), asked)]
        found = np.concatenate(parts).astype("<f8")
        self._add(name, found, places)
        return found

    def _name(self, whole: pa.Array, channels: npt.NDArray[np.uint8]) -> bytes:
        texts = Texts.from_arrow(whole)
        hashed = hashlib.blake2b(self._screener().config_hash.encode(), digest_size=16)
        for array in (texts.offsets, texts.values, channels):
            hashed.update(array.tobytes())
        return hashed.digest()

    def _read(self) -> dict[bytes, tuple[int, int]]:
        # Where what came out for each name begins, and how much it is; what a kill tore is cut off.
        found: dict[bytes, tuple[int, int]] = {}
        self._places = found
        with durable.guarded(self._path, "read"):
            if not self._path.exists():
                return found
            good = 0
            with open(self._path, "rb") as file:
                while len(head := file.read(_HEAD.size)) == _HEAD.size:
                    name, count, checked = _HEAD.unpack(head)
                    values = file.read(8 * count) if count <= ROWS else b""
                    if len(values) != 8 * count or zlib.crc32(values, zlib.crc32(name)) != checked:
                        break
                    found[name] = (good + _HEAD.size, count)
                    good = file.tell()
            os.truncate(self._path, good)
        return found

    def _add(self, name: bytes, found: F64, places: dict[bytes, tuple[int, int]]) -> None:
        values = found.tobytes()
        with durable.guarded(self._path, "write"), open(self._path, "ab") as file:
            place = file.tell()
            file.write(_HEAD.pack(name, len(found), zlib.crc32(values, zlib.crc32(name))) + values)
            file.flush()
            os.fsync(file.fileno())
        places[name] = (place + _HEAD.size, len(found))
