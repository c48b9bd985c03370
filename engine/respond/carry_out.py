"""The playbook carried out on batches: sessions held and let go, what is answered, what hooks are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.respond.held import Hold, Key, Quarantine, RateLimits
from aimds.respond.hold_file import HoldFile
from aimds.respond.hold_lines import Change
from aimds.respond.playbook import ENDINGS, Playbook
from aimds.respond.policy import Policy
from aimds.respond.scored import codes
from aimds.respond.sessions import QUARANTINED, RATE_LIMITED
from aimds.schema import ACTIONS, SESSION_ACTIONS, VERDICTS

Rows = npt.NDArray[np.int64]
HOLDING = SESSION_ACTIONS.index("quarantine")
MOST_NAME: Final = 256
"""Characters of a request id, which a client chooses, that are kept with a hold."""
LONGER_S = 1.0
"""A hold that became longer by less is not written again."""


class Notifier(Protocol):
    """What is told of rows with the step notify."""

    def notify(self, verdicts: pa.RecordBatch, now: float) -> None:
        """Tell of ``verdicts``."""


@dataclass(frozen=True, slots=True)
class Responses:
    """What becomes of B requests. ``ending``: code into ENDINGS, int8 (B,) · ``text``: what is forwarded, null where
    nothing is · the rows with the steps ``audit``, ``notify`` and ``review``, int64."""

    ending: npt.NDArray[np.int8]
    text: pa.Array
    audit: Rows
    notify: Rows
    review: Rows


def responses(playbook: Playbook, requests: pa.RecordBatch, verdicts: pa.RecordBatch) -> Responses:
    """What ``playbook`` makes of ``requests`` with their ``verdicts``; changes nothing."""
    action = verdicts.column("action").indices.to_numpy(zero_copy_only=False)
    endings = np.array([ENDINGS.index(playbook.steps[name][-1]) for name in ACTIONS], np.int8)
    ending = endings[action]
    changing = np.array([bool({"redact", "sandwich"} & set(playbook.steps[name])) for name in ACTIONS])[action]
    text = pc.if_else(pa.array(changing), verdicts.column("mitigated_text"), requests.column("text"))
    forwarded = pa.array(ending == ENDINGS.index("forward"))
    return Responses(
        ending,
        pc.if_else(forwarded, text, pa.scalar(None, text.type)),
        *(_with(playbook, action, step) for step in ("audit", "notify", "review")),
    )


def _with(playbook: Playbook, action: npt.NDArray[np.int8], step: str) -> Rows:
    return np.flatnonzero(np.array([step in playbook.steps[name] for name in ACTIONS])[action])


class Responder:
    """Keeps which sessions are held, and tells ``notifier`` of rows. Safe to use from several threads.

    Args:
        notifier: None: nobody is told.
        most: sessions held at once, in quarantine and limited each.
        file: where holds outlive this process; what is in it is held from now on, ``now`` seconds since 1970.
    """

    def __init__(
        self,
        notifier: Notifier | None = None,
        *,
        most: int = 100_000,
        file: HoldFile | None = None,
        now: float = 0.0,
    ) -> None:
        self._notifier, self._lock = notifier, Lock()
        self._quarantine = Quarantine(most, lambda key: self._note("quarantine", key, None))
        self._limits = RateLimits(most, lambda key: self._note("rate_limit", key, None))
        self._kinds: dict[str, Quarantine | RateLimits] = {"quarantine": self._quarantine, "rate_limit": self._limits}
        self._file, self._changes = file, list[Change]()
        self._filed: dict[tuple[str, Key], float] = {}
        """Until when a hold is in the file."""
        for kind, held in ({} if file is None else file.found).items():
            for key, hold in held.items():
                if kind == "quarantine":
                    self._quarantine.resume(key, hold)
                else:
                    self._limits.resume(key, hold, now)
                self._filed[kind, key] = hold.until
        self.notified = self.lost = 0
        """Rows that the hook was told of; ``lost``: rows of which the hook could not be told."""

    def has_work(self, policy: Policy) -> bool:
        """Whether `respond` could do anything under ``policy``; where not, nobody needs to call it."""
        return self._notifier is not None or policy.holds_sessions or any(self.counts.values())

    def respond(
        self,
        policy: Policy,
        verdicts: pa.RecordBatch,
        now: float,
        senders: Sequence[str] | None = None,
    ) -> pa.RecordBatch:
        """B ``verdicts`` with what follows from sessions that are held, which is on the disk; the step notify is done.

        ``now``: seconds since 1970. ``senders``: B names, for rows without a session. What the notifier raises is
        counted as ``lost``.
        """
        out = self.held(policy, verdicts, now, senders)
        self.settle()
        self.notify(policy, out, now)
        return out

    def notify(self, policy: Policy, verdicts: pa.RecordBatch, now: float) -> None:
        """Do the step notify for ``verdicts``, as `respond` has it."""
        if self._notifier is None:
            return
        action = verdicts.column("action").indices.to_numpy(zero_copy_only=False)
        rows = _with(policy.playbook, action, "notify")
        if len(rows):
            try:
                self._notifier.notify(verdicts.take(pa.array(rows)), now)
                self.notified += len(rows)
            except OSError:
                self.lost += len(rows)

    def held(
        self, policy: Policy, verdicts: pa.RecordBatch, now: float, senders: Sequence[str] | None = None
    ) -> pa.RecordBatch:
        """``verdicts`` in which each turn of a session that is held says so, and has the action that follows.

        Rows count in their order: a row with the session action quarantine holds those of its session that come later.
        """
        session = codes(verdicts.column("session_action"), SESSION_ACTIONS, "session_action")
        with self._lock:
            if not (session.any() or len(self._quarantine) or len(self._limits)):
                return verdicts
            marks = self._marks(policy, verdicts, session, now, senders)
        if not marks:
            return verdicts
        place = verdicts.schema.get_field_index("violations")
        listed = verdicts.column(place).to_pylist()
        for row, mark in marks.items():
            listed[row] = [*(listed[row] or ()), mark]
        marked = verdicts.set_column(place, VERDICTS.field(place), pa.array(listed, VERDICTS.field(place).type))
        return policy.with_sessions(marked)

    def hold(
        self, policy: Policy, verdicts: pa.RecordBatch, rows: Rows, now: float, senders: Sequence[str] | None = None
    ) -> None:
        """Hold the sessions of ``rows`` int64, whose session action came about after `held` had seen them."""
        session = codes(verdicts.column("session_action"), SESSION_ACTIONS, "session_action")
        columns = [
            verdicts.column(name).take(pa.array(rows)).to_pylist() for name in ("tenant", "session_id", "request_id")
        ]
        with self._lock:
            for row, (tenant, session_id, request_id) in zip(rows.tolist(), zip(*columns, strict=True), strict=True):
                if session_id is not None or senders is not None:
                    sender = senders[row] if session_id is None and senders is not None else None
                    self._put(policy, (tenant, session_id, sender), int(session[row]), now, request_id)

    def _put(self, policy: Policy, key: Key, session_action: int, now: float, request_id: str) -> None:
        request_id = request_id[:MOST_NAME]
        if session_action == HOLDING and key[1] is not None:
            self._note("quarantine", key, self._quarantine.put(key, now, policy.quarantine.hold_s, request_id))
        elif session_action:
            # Without a session there is only the sender, and a sender is limited, never shut out.
            self._note("rate_limit", key, self._limits.put(key, now, policy.rate_limit.hold_s, request_id))

    def _note(self, kind: str, key: Key, hold: Hold | None) -> None:
        if self._file is None:
            return
        if hold is None:
            self._filed.pop((kind, key), None)
        elif hold.until < self._filed.get((kind, key), -LONGER_S) + LONGER_S:
            return
        else:
            self._filed[kind, key] = hold.until
        self._changes.append((kind, key, hold))

    def settle(self) -> bool:
        """Put what was held and let go into the file; whether it is on the disk. True where there is no file."""
        file = self._file
        if file is None:
            return True
        file.append(self._taken)
        return not file.behind

    def tidy(self) -> None:
        """`settle`, and where the file is behind, or much of it no longer counts, write it anew."""
        file = self._file
        if file is not None:
            self.settle()
            if file.behind or file.crowded(sum(self.counts.values())):
                file.rewrite(self._everything)

    def close(self) -> None:
        """Put all holds into the file, and let others open it."""
        if self._file is not None:
            self._file.rewrite(self._everything)
            self._file.close()

    @property
    def lasting(self) -> bool:
        """Whether holds outlive this process."""
        return self._file is not None

    def _taken(self) -> list[Change]:
        with self._lock:
            changes, self._changes = self._changes, []
        return changes

    def _everything(self) -> tuple[list[Change], list[Change]]:
        with self._lock:
            changes, self._changes = self._changes, []
            held = [(kind, key, hold) for kind, holds in self._kinds.items() for key, hold in holds.held]
            self._filed = {(kind, key): hold.until for kind, key, hold in held}
        return changes, [*held]

    def _marks(
        self,
        policy: Policy,
        verdicts: pa.RecordBatch,
        session: npt.NDArray[np.int8],
        now: float,
        senders: Sequence[str] | None,
    ) -> dict[int, str]:
        marks: dict[int, str] = {}
        columns = (verdicts.column(name).to_pylist() for name in ("tenant", "session_id", "request_id"))
        for row, (tenant, session_id, request_id) in enumerate(zip(*columns, strict=True)):
            if session_id is None and senders is None:
                continue
            key: Key = (tenant, session_id, None if session_id is not None or senders is None else senders[row])
            if session_id is not None and self._quarantine.get(key, now) is not None:
                marks[row] = QUARANTINED
                continue
            if not self._limits.take(key, now, policy.rate_limit.turns_per_minute):
                marks[row] = RATE_LIMITED
            self._put(policy, key, int(session[row]), now, request_id)
        return marks

    def release(self, tenant: str | None, session_id: str, now: float) -> bool:
        """Let a session go; False where it is not held."""
        key: Key = (tenant, session_id, None)
        with self._lock:
            released = False
            for kind, holds in self._kinds.items():
                if holds.release(key, now):
                    released = True
                    self._note(kind, key, None)
        self.settle()
        return released

    def listed(self, now: float) -> dict[str, list[tuple[Key, Hold]]]:
        """What is held, by session action."""
        with self._lock:
            return {kind: holds.listed(now) for kind, holds in self._kinds.items()}

    def ended(self, now: float) -> dict[str, list[tuple[Key, Hold]]]:
        """What is held no more since its time is over, by session action, each of them once."""
        with self._lock:
            found = {kind: holds.ended(now) for kind, holds in self._kinds.items()}
            for kind, ended in found.items():
                for key, _ in ended:
                    # One that began anew since then goes on.
                    if self._kinds[kind].get(key, now) is None:
                        self._note(kind, key, None)
        return found

    def kept(self, chosen: Callable[[Key], bool] = lambda key: True) -> list[list[list[Any]]]:
        """All that is held of the keys that are ``chosen``, as plain values: for `keep`."""
        with self._lock:
            return [self._quarantine.kept(chosen), self._limits.kept(chosen)]

    def keep(self, kept: list[list[list[Any]]]) -> None:
        """Hold what another one `kept`, beside what is held."""
        with self._lock:
            quarantine, limits = kept
            self._quarantine.keep(quarantine)
            self._limits.keep(limits)

    def let_go(self, chosen: Callable[[Key], bool]) -> None:
        """Forget the keys that are ``chosen``, as if they had never been held."""
        with self._lock:
            self._quarantine.let_go(chosen)
            self._limits.let_go(chosen)

    @property
    def counts(self) -> dict[str, int]:
        """Sessions held now, by session action, those that are over but not yet forgotten included."""
        return {kind: len(holds) for kind, holds in self._kinds.items()}
