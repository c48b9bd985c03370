"""The file in which sessions outlive a restart: written from time to time and at the end, read at the beginning.

Format 1 is what `packed.pack` makes of `Follower.copied`: arrays, JSON and a hash over both. No pickle; no text of a
user, and names of sessions only while something is owed to them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aimds.analyze.packed import encoded, pack, unpack
from aimds.errors import DataError
from aimds.gateway.following import POLICIES, Follower
from aimds.printable import counted
from aimds.record.disk import replace, sync_folder

MARK: Final = b"AIMDSG1\n"
FORMAT: Final = 1
MOST_BYTES: Final = 256 << 20
"""Of the arrays; of more, the sessions seen last are kept. Names have what is left of MOST_READ."""
MOST_READ: Final = 2 * MOST_BYTES


class SessionFile:
    """Keeps the sessions of ``follower``, which has followed none yet, in ``path``; what is there is restored now.

    A file that cannot be used is put aside as ``<name>.bad`` and all sessions begin anew: ``say`` is told.
    """

    def __init__(self, path: Path, follower: Follower, say: Callable[[str], None]) -> None:
        self._path, self._follower, self._say = path, follower, say
        self._lock, self._written = threading.Lock(), (-1, -1)
        self._restore()

    def _restore(self) -> None:
        try:
            size = self._path.stat().st_size
            if size > MOST_READ:
                raise DataError(self._path, f"has {size} bytes, more than {MOST_READ}")
            header, arrays = unpack(MARK, self._path.read_bytes())
            if header.get("format") != FORMAT:
                raise DataError(self._path, f"is of format {header.get('format')!r}, not {FORMAT}")
            scores, policies = self._follower.put(header, arrays)
        except FileNotFoundError:
            return
        except (DataError, OSError) as error:
            aside = self._path.with_name(self._path.name + ".bad")
            with contextlib.suppress(OSError):
                self._path.replace(aside)
            self._say(f"sessions begin anew, {self._path} cannot be used and was put aside as {aside.name}: {error}")
            return
        self._say(f"sessions go on from {self._path}: {scores} with their scores, {policies} with their policies")

    def write(self) -> bool:
        """Write how sessions stand, unless nothing has come or ended since; whether it is on the disk. ``say`` is told
        why not."""
        with self._lock:
            progress = self._follower.progress
            if progress == self._written:
                return True
            try:
                header, arrays = self._follower.copied(MOST_BYTES)
                content = pack(MARK, {"format": FORMAT, **header}, arrays)
                if len(content) > MOST_READ and (count := _unname(header, len(content) - MOST_READ)):
                    self._say(
                        f"{self._path} has no room for the names of {counted(count, 'session')}; what they owe is lost"
                    )
                    content = pack(MARK, {"format": FORMAT, **header}, arrays)
                if len(content) > MOST_READ:
                    self._say(f"sessions cannot be kept in {self._path}: {len(content)} bytes, more than {MOST_READ}")
                    return False
                replace(self._path, content)
                sync_folder(self._path.parent)
            except (MemoryError, OSError) as error:
                why = "there is not enough memory" if isinstance(error, MemoryError) else error.strerror or error
                self._say(f"sessions cannot be kept in {self._path}: {why}")
                return False
            self._written = progress
            return True


def _unname(header: dict[str, Any], excess: int) -> int:
    """Leave out of ``header``, as `Follower.copied` gives it, the names of sessions that owe something, those first
    that began to owe longest ago, until ``excess`` bytes are saved; how many. The sessions themselves go on."""
    policies = header.get(POLICIES, {})
    owing, count = policies.get("owing", []), 0
    while excess > 0 and count < len(owing):
        excess -= len(encoded(owing[count]))
        count += 1
    header[POLICIES] = {**policies, "owing": owing[count:], "owed": policies.get("owed", [])[count:]}
    return count
