"""The state of `Sessions` and of `Watch`, copied out and put back: packed arrays, and what is no array as JSON.

What is restored goes on as if it had never stopped, but that policies which are broken are told of once more where what
followed from them was not kept; a smaller capacity keeps the sessions seen last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.analyze.joins import STITCH_BYTES
from aimds.analyze.packed import Arrays, fitting, pack, unpack
from aimds.analyze.sessions import Sessions
from aimds.analyze.slots import SlotTable
from aimds.analyze.watch import Watch
from aimds.errors import DataError

MAGIC: Final = b"AIMDSS1\n"
TEXTS: Final = ("tails", "tail_sizes")
"""Arrays of what users wrote."""
Copied = tuple[dict[str, Any], Arrays]
"""Values of JSON, and arrays with a row for each session, the one seen longest ago first."""


def take(sessions: Sessions) -> bytes:
    """The state of ``sessions``; `restore` is the reverse."""
    return pack(MAGIC, *copied(sessions))


def restore(sessions: Sessions, content: bytes) -> int:
    """Put the state in ``content`` into ``sessions``, which must be empty and have the same window; how many there are.

    Raises:
        DataError: damaged, no snapshot, of another window, or ``sessions`` is not empty.
    """
    return put(sessions, unpack(MAGIC, content))


def copied(sessions: Sessions, most: int | None = None) -> Copied:
    """The state of ``sessions``, of the ``most`` seen last."""
    return caught(sessions, most)()


def caught(sessions: Sessions, most: int | None = None, *, texts: bool = True) -> Callable[[], Copied]:
    """As `copied`; what is called later may be called while ``sessions`` go on, and says how they stand now. Without
    ``texts`` nothing is joined to the next turn of each."""
    own = {name: array for name, array in sessions.arrays.items() if texts or name not in TEXTS}
    slots, arrays = _caught(sessions.table, own, most)
    header = {"window": sessions.window, "sessions": len(slots)}
    return lambda: (header, {name: array[slots] for name, array in arrays.items()})


def _caught(table: SlotTable, own: Arrays, most: int | None) -> tuple[npt.NDArray[np.int64], Arrays]:
    # Whole stretches are copied several times faster than rows in the order of their use.
    slots = table.oldest_first()
    slots = slots if most is None else slots[max(0, len(slots) - most) :]
    top = int(slots.max(initial=-1)) + 1
    arrays = {"keys": table.keys, "seen": table.seen, **own}
    return slots, {name: array[:top].copy() for name, array in arrays.items()}


def put(sessions: Sessions, state: Copied) -> int:
    """Put what `copied` gave into ``sessions``; as `restore`."""
    header, kept = state
    if len(sessions):
        raise DataError("snapshot", f"{len(sessions)} sessions are going on; restore into a new Sessions")
    if header.get("window") != sessions.window:
        window = header.get("window")
        raise DataError(
            "snapshot", f"holds {window} turns a session, these keep {sessions.window}; set window={window}"
        )
    count = fitting(kept, sessions.arrays)
    for name, most in (("counts", sessions.window), ("tail_sizes", STITCH_BYTES), ("printed", 1 << 30), ("scales", 2)):
        if name in kept and count and not 0 <= int(kept[name].min()) <= int(kept[name].max()) <= most:
            raise DataError("snapshot", f"its array {name!r} holds numbers that cannot be")
    rows = slice(max(0, count - sessions.table.capacity), None)
    slots, _ = sessions.table.admit(np.ascontiguousarray(kept["keys"][rows]), 0.0)
    sessions.table.seen[slots] = kept["seen"][rows]
    for name, array in sessions.arrays.items():
        if name in kept:
            array[slots] = kept[name][rows]
    return len(slots)


def watched(watch: Watch, most: int | None = None) -> Copied:
    """The state of ``watch``, of the ``most`` sessions seen last."""
    return caught_watch(watch, most)()


def caught_watch(watch: Watch, most: int | None = None) -> Callable[[], Copied]:
    """As `watched`, and as `caught`."""
    slots, arrays = _caught(watch.table, watch.arrays, most)
    header = {"policies": watch.policies.version, "sessions": len(slots), **watch.loose(slots.tolist())}
    return lambda: (header, {name: array[slots] for name, array in arrays.items()})


def put_watched(watch: Watch, state: Copied, *, told: bool = False) -> int:
    """Put what `watched` gave into ``watch``, which must be empty and have the same policies; how many sessions.

    ``told``: what was told of is not told of again.

    Raises:
        DataError: it cannot be, is of other policies, or ``watch`` is not empty.
    """
    header, kept = state
    if len(watch):
        raise DataError("snapshot", f"{len(watch)} sessions are going on; restore into a new Watch")
    if header.get("policies") != watch.policies.version:
        raise DataError("snapshot", f"is of the policies {header.get('policies')}, not {watch.policies.version}")
    fitting(kept, watch.arrays)
    missing = [name for name in watch.arrays if name not in kept]
    if missing:
        raise DataError("snapshot", f"its array {missing[0]!r} is missing")
    return watch.resume(header, kept, told=told)
