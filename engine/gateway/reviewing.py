"""From verdicts into the review queue, beside the way of a request: a thread writes, and no verdict waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.errors import AimdsError
from aimds.gateway.pieces import Piece
from aimds.printable import counted
from aimds.respond.review import Case, Queue, Turn
from aimds.respond.review.items import cases, turns
from aimds.respond.review.retention import remove_texts

WHO = "gateway"
MOST_WAITING = 4096
"""Batches with something to review that may wait for the disk; beyond that they are counted as lost, and said."""
PAUSE_S = 1.0
TRIES = 600
"""So often a batch is tried where the queue cannot be written: for ten minutes. Others wait behind it."""
NAMED = 8
"""Request ids that are said where rows are lost."""
_END = None
Work = tuple[list[Case], list[Turn]]


class Reviewing:
    """Puts rows that people shall see into ``target``.

    Args:
        target: the queue; closed by `close`.
        actions: whose rows these are; may be replaced.
        keep: how long texts stay in the queue; None: for ever.
        wall: seconds since 1970.
        counted: told how many rows were queued, known, lost, or were tried and have to be again (retried).
        say: told what a person should know.
    """

    def __init__(
        self,
        target: Queue,
        actions: Collection[str],
        *,
        keep: timedelta | None = None,
        wall: Callable[[], float],
        counted: Callable[[str, int], None] = lambda outcome, rows: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.target, self.actions = target, actions
        self._keep, self._wall, self._counted, self._say = keep, wall, counted, say
        self._waiting: queue.Queue[Work | None] = queue.Queue(MOST_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="aimds-review", daemon=True)
        self._thread.start()

    def record(self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, pieces: list[Piece]) -> None:
        """Take note of ``verdicts``; nothing is written here, and nothing that goes wrong here keeps a verdict back."""
        errors: list[Exception] = []
        self._note_all(requests, verdicts, errors)
        if errors:
            self._counted("lost", len(errors))
            why = f"{type(errors[0]).__name__}: {errors[0]}"
            self._say(f"review: {counted(len(errors), 'row')} of a batch cannot be queued: {why}")

    def _note_all(self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, errors: list[Exception]) -> None:
        """Note every row that can be; ``errors`` gains why, for each that cannot."""
        try:
            self._note(requests, verdicts)
        except Exception as error:  # a row that nobody foresaw takes no other with it
            n = verdicts.num_rows
            if n < 2:
                errors.append(error)
                return
            for start, stop in ((0, n // 2), (n // 2, n)):
                self._note_all(requests.slice(start, stop - start), verdicts.slice(start, stop - start), errors)

    def _note(self, requests: pa.RecordBatch, verdicts: pa.RecordBatch) -> None:
        column = verdicts.column("action")
        wanted = [code for code, name in enumerate(column.dictionary.to_pylist()) if name in self.actions]
        chosen = np.isin(column.indices.to_numpy(zero_copy_only=False), wanted)
        if not chosen.any():
            return
        texts = requests.column("text")
        mask = pa.array(chosen)
        found = cases(verdicts.filter(mask), texts.filter(mask))
        sessions = {(case.tenant, case.session_id) for case in found if case.session_id is not None}
        around: list[Turn] = []
        if sessions:
            rest = pa.array(~chosen)
            listed = turns(verdicts.filter(rest), texts.filter(rest))
            around = [one for one in listed if (one.tenant, one.session_id) in sessions]
        try:
            self._waiting.put_nowait((found, around))
        except queue.Full:
            self._lose(found, f"{MOST_WAITING} batches wait for the disk already", around)

    def _write(self) -> None:
        while (work := self._waiting.get()) is not _END:
            self._add(*work)

    def _add(self, found: list[Case], around: list[Turn]) -> None:
        try:
            self._keep_trying(found, around)
        except Exception as error:  # one row that cannot be queued takes neither its neighbours nor the thread with it
            parts: list[Work] = [*(([case], []) for case in found), *(([], [turn]) for turn in around)]
            if len(parts) == 1:
                self._lose(found, error, around)
                return
            for part in parts:
                self._add(*part)

    def _keep_trying(self, found: list[Case], around: list[Turn]) -> None:
        for tries in range(1, TRIES + 1):
            try:
                added = self.target.add(found, around, self._now(), WHO)
            except AimdsError as error:
                if tries == 1:
                    what = counted(len(found), "row") if found else counted(len(around), "turn")
                    self._say(f"review: {what} cannot be queued yet: {error}")
                self._counted("retried", len(found))
                if tries == TRIES or self._ending.wait(PAUSE_S):
                    self._lose(found, error, around)
                    return
                continue
            self._counted("queued", len(added.ids))
            self._counted("known", added.known)
            return

    def _lose(self, found: list[Case], why: Exception | str, around: list[Turn]) -> None:
        listed: list[Case] | list[Turn] = found or around
        if found:
            self._counted("lost", len(found))
        names = ", ".join(repr(one.request_id) for one in listed[:NAMED])
        more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        self._say(f"review: not queued, {'' if found else 'turns of '}requests {names}{more}: {reason}")

    def prune(self) -> None:
        """Remove the texts that are older than they may be."""
        if self._keep is None:
            return
        try:
            remove_texts(self.target.store, self._now() - self._keep, self._now(), WHO)
        except AimdsError as error:
            self._say(f"review: old texts cannot be removed: {error}")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._ending.set()
        self._waiting.put(_END)
        self._thread.join()
        self.target.close()


def reviewed(playbook: Any) -> tuple[str, ...]:
    """The actions of ``playbook`` that have the step review."""
    return tuple(action for action, steps in playbook.steps.items() if "review" in steps)
