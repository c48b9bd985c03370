"""The file in which holds outlive their process: a line for each change, durable before the verdict that made it.

Format 1: the mark, then lines of a hash and JSON, in the order of the changes. A line holds a session, ``[kind, tenant,
session, sender, since, until, request_id]`` with null for a hold that only a person ends, or lets one go, ``[kind,
tenant, session, sender]``. The last line on a session counts. For the longer names in files of
earlier versions stands what `aimds.ids` puts in their place.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Final

from aimds.errors import DataError
from aimds.record import disk
from aimds.record.journal import Journal
from aimds.respond import hold_lines
from aimds.respond.hold_lines import KINDS, Change, Held, line

MARK: Final = b"AIMDSH1\n"
PORTION: Final = 1 << 20
"""Bytes of lines that are read at once."""
SLACK: Final = 64
"""So many lines that no longer count may stand in the file, and as many again as there are holds."""


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
            with _uncollected():
                self.found, self._lines, sound = self._read()
            if not sound or self._lines != sum(map(len, self.found.values())):
                holds = ((kind, key, hold) for kind, held in self.found.items() for key, hold in held.items())
                self._replace(list(map(line, holds)))
        except OSError as error:
            self._journal.close()
            raise DataError(path, f"cannot be written: {error.strerror or error}") from error
        except DataError:
            self._journal.close()
            raise

    def _read(self) -> tuple[Held, int, bool]:
        # What is held, lines in the file, and whether it may be added to as it stands.
        found: Held = {kind: {} for kind in KINDS}
        if not self._journal.size:
            return found, 0, False
        count = damaged = 0
        torn = False
        # The file has no limit: who makes it long must not end its holds.
        with self._path.open("rb") as file:
            if file.read(len(MARK)) != MARK:
                self._aside("it is no file of holds, or of another format")
                return found, 0, False
            while content := file.read(PORTION):
                rest = b"" if content.endswith(b"\n") else file.readline(hold_lines.MOST_LINE)
                lines = (content + rest).split(b"\n")
                last = lines.pop()
                torn = bool(last) and len(rest) < hold_lines.MOST_LINE
                if last and not torn:
                    lines.append(last)
                count += len(lines)
                damaged += hold_lines.take(lines, found)
        if damaged:
            held = sum(map(len, found.values()))
            self._aside(f"{damaged} of its {count} lines are damaged; {held} holds are in the others")
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
            self._add(taken())

    def _add(self, changes: list[Change]) -> None:
        if not changes or self._closed:
            return
        lines = list(map(line, changes))
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

    def rewrite(self, taken: Callable[[], tuple[list[Change], list[Change]]]) -> None:
        """Put all holds in place of what is in the file; where it fails all stays as it is.

        ``taken`` gives the changes that are not in the file, which are added to it as it stands, and all holds after
        them. Changes go on being added meanwhile: they stand in both files.
        """
        with self._rewriting:
            with self._lock:
                if self._closed:
                    return
                changes, holds = taken()
                # Of no use in the new file, where they would change the order once more.
                self._add(changes)
                self._since = []
            lines: list[bytes] | None = None
            try:
                # What takes long is done where nobody waits for it.
                lines = list(map(line, holds))
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
        made: list[Journal] = []
        try:
            # Locked before it has its name, or another process could open it in between.
            disk.replace(self._path, b"".join([MARK, *lines]), ready=lambda partial: made.append(Journal(partial)))
        except BaseException:
            for one in made:
                one.close()
            raise
        disk.sync_folder(self._path.parent)
        self._journal.close()
        (self._journal,) = made
        self._journal.path, self._lines = self._path, len(lines)

    def close(self) -> None:
        """Let others open the file, once it is whole: a `rewrite` under way is waited for."""
        with self._rewriting, self._lock:
            self._closed = True
            self._journal.close()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    # All that is made stays and has no cycles: the collector would come by for nothing, and over all models each time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
