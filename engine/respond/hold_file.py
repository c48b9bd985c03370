"""The file in which holds outlive their process: a line for each change, durable before the verdict that made it.

Format 1: the mark, then lines of a hash and JSON, in the order of the changes. A line holds a session, ``[kind, tenant,
session, sender, since, until, request_id]`` with null for a hold that only a person ends, or lets one go, ``[kind,
tenant, session, sender]``. The last line on a session counts. For the longer names in files of
earlier versions stands what `aimds.ids` puts in their place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Final

from aimds.errors import DataError
from aimds.ids import short
from aimds.record import disk
from aimds.record.journal import Journal
from aimds.respond.held import Hold, Key

MARK: Final = b"AIMDSH1\n"
KINDS: Final = ("quarantine", "rate_limit")
MOST_LINE: Final = 64 << 20
"""Bytes of a line; a longer one is none. The file has no limit of its own: who makes it long must not end its holds."""
SLACK: Final = 64
"""So many lines that no longer count may stand in the file, and as many again as there are holds."""
_HASH: Final = 16
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
Change = tuple[str, Key, Hold | None]
"""Kind, whose hold, and the hold; None: it is over."""


class HoldFile:
    """Keeps holds in ``path``, which one process writes at a time and only its owner may read.

    What of a damaged file is sound counts; the file is put aside as ``<name>.bad`` and ``say`` is told.

    Raises:
        DataError: it cannot be opened or written, or another process writes it.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say, self._lock, self._rewriting = path, say, Lock(), Lock()
        self._since: list[bytes] | None = None
        """Lines that were added since a `rewrite` began; None: there is none under way."""
        self._journal = Journal(path)
        self.behind = self._closed = False
        """``behind``: a change is not on the disk; `rewrite` mends it."""
        try:
            self.found, self._lines, sound = self._read()
            if not sound or self._lines != len(self.found):
                self._replace([_line((kind, key, hold)) for (kind, key), hold in self.found.items()])
        except OSError as error:
            self._journal.close()
            raise DataError(path, f"cannot be written: {error.strerror or error}") from error
        except DataError:
            self._journal.close()
            raise

    def _read(self) -> tuple[dict[tuple[str, Key], Hold], int, bool]:
        # What is held, lines in the file, and whether it may be added to as it stands.
        size = self._journal.size
        if not size:
            return {}, 0, False
        found: dict[tuple[str, Key], Hold] = {}
        count = damaged = 0
        torn = False
        with self._path.open("rb") as file:
            if file.read(len(MARK)) != MARK:
                self._aside("it is no file of holds, or of another format")
                return {}, 0, False
            while line := file.readline(MOST_LINE):
                torn = not line.endswith(b"\n") and len(line) < MOST_LINE
                if torn:
                    break
                count += 1
                change = _change(line[:-1])
                if change is None:
                    damaged += 1
                    continue
                kind, key, hold = change
                # The order is that of the changes, as it is in memory: of too many, the one held longest goes.
                found.pop((kind, key), None)
                if hold is not None:
                    found[kind, key] = hold
        if damaged:
            self._aside(f"{damaged} of its {count} lines are damaged; {len(found)} holds are in the others")
        elif torn:
            self._say(f"the last line of {self._path} was torn and is cut off: that hold was not yet in force")
        return found, count, not (damaged or torn)

    def _aside(self, why: str) -> None:
        aside = self._path.with_name(self._path.name + ".bad")
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
            # It stays where it is until what is sound of it takes its place.
            aside.hardlink_to(self._path)
        self._say(f"{self._path} cannot be used as it is and was put aside as {aside.name}: {why}")

    def append(self, taken: Callable[[], list[Change]]) -> None:
        """Add the changes that ``taken`` gives, durably; where it fails ``say`` is told and the file is `behind`."""
        with self._lock:
            changes = taken()
            if not changes or self._closed:
                return
            lines = list(map(_line, changes))
            if self._since is not None:
                self._since += lines
            if self.behind:
                return
            try:
                self._journal.append(b"".join(lines))
            except DataError as error:
                self.behind = True
                self._say(f"holds would not outlive a restart: {error}")
                return
            self._lines += len(lines)

    def crowded(self, holds: int) -> bool:
        """Whether `rewrite` would make the file much shorter, where there are ``holds``."""
        return self._lines > 2 * holds + SLACK

    def rewrite(self, taken: Callable[[], list[Change]]) -> None:
        """Put all holds, which ``taken`` gives, in place of what is in the file; where it fails all stays as it is.

        Changes go on being added meanwhile: they stand in both files. One of them that ``taken`` has seen already may
        come once more, which changes nothing.
        """
        with self._rewriting:
            with self._lock:
                if self._closed:
                    return
                changes = taken()
                self._since = []
            lines: list[bytes] | None = None
            try:
                # What takes long is done where nobody waits for it.
                lines = list(map(_line, changes))
            finally:
                with self._lock:
                    since, self._since = self._since, None
                    if lines is not None:
                        self._put([*lines, *since])

    def _put(self, lines: list[bytes]) -> None:
        try:
            self._replace(lines)
        except (DataError, OSError) as error:
            if not self.behind:
                self._say(f"holds would not outlive a restart: {error}")
            self.behind = True
            return
        if self.behind:
            self._say(f"holds are in {self._path} again")
        self.behind = False

    def _replace(self, lines: list[bytes]) -> None:
        disk.replace(self._path, b"".join([MARK, *lines]))
        disk.sync_folder(self._path.parent)
        self._journal.close()
        self._journal = Journal(self._path)
        self._lines = len(lines)

    def close(self) -> None:
        """Let others open the file, once it is whole: a `rewrite` under way is waited for."""
        with self._rewriting, self._lock:
            self._closed = True
            self._journal.close()


def _line(change: Change) -> bytes:
    kind, key, hold = change
    values: list[Any] = [kind, *key]
    if hold is not None:
        values += [hold.since, None if math.isinf(hold.until) else hold.until, hold.request_id]
    text = _ENCODER.encode(values).encode()
    return _hash(text) + b" " + text + b"\n"


def _hash(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_HASH].encode()


def _change(line: bytes) -> Change | None:
    # None: damaged, or of values that cannot be.
    hashed, text = line[:_HASH], line[_HASH + 1 :]
    if line[_HASH : _HASH + 1] != b" " or _hash(text) != hashed:
        return None
    try:
        values = json.loads(text)
    except (RecursionError, ValueError):
        return None
    if not isinstance(values, list) or len(values) not in (4, 7) or values[0] not in KINDS:
        return None
    kind, tenant, session, sender = values[:4]
    if not all(one is None or isinstance(one, str) for one in (tenant, session, sender)):
        return None
    # Without a session there is only the sender, and a sender is limited, never shut out.
    if (session is None) == (sender is None) or (session is None and kind == "quarantine"):
        return None
    bounded = [None if one is None else short(one) for one in (tenant, session)]
    key: Key = (bounded[0], bounded[1], sender)
    if len(values) == 4:
        return kind, key, None
    since, until, request_id = values[4:]
    until = math.inf if until is None else until
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (since, until))
    if not numbers or not isinstance(request_id, str):
        return None
    try:
        since, until = float(since), float(until)
    except OverflowError:
        return None
    # A time that no calendar has could not be shown, and json reads NaN and Infinity.
    if not 0 <= since < 1e11 or not (0 <= until < 1e11 or values[5] is None):
        return None
    return kind, key, Hold(since, until, request_id)
