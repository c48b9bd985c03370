"""The state of learning: rounds that were proposed, which one is in force, and the candidates they made.

Built on the signed events of the folder; candidates lie beside them, named by their SHA-256, which the signed proposal
names. `Learned` is what a screener reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aimds.detect.patterns.keys import PublicKey, SigningKey
from aimds.errors import ArtefactError, ConfigError, DataError
from aimds.learn import events
from aimds.learn.candidate import Candidate
from aimds.learn.events import Event, Stamp
from aimds.learn.proposal import Proposal
from aimds.record import disk

FOLDER = "learning"
CANDIDATES, FEEDBACK = "candidates", "feedback"
OPENED = events.OPENED
PROPOSED, PROMOTED, ROLLED_BACK = "proposed", "promoted", "rolled_back"
KEPT = 25
"""Rounds whose candidates are kept, so that one can go back to them; what was found out about older ones stays."""


Moved = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Round:
    """One proposal; ``passed`` whether the gate let it through. ``report``: as in `Proposal`."""

    number: int
    time: str
    by: str
    note: str
    candidate: str
    passed: bool
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """The rounds, numbered from 1. ``current`` is in force, 0 for none; ``trial`` is judged by on ``share`` of the
    sessions, 0 for none; ``earlier``: what was in force before, newest last. ``moved``: the thresholds that were
    promoted with a round, flag and block each, ``from`` what the policy says ``to`` something else."""

    events: tuple[Event, ...]
    rounds: tuple[Round, ...]
    current: int
    trial: int
    share: float
    earlier: tuple[int, ...]
    moved: Mapping[int, Moved]

    @classmethod
    def of(cls, found: tuple[Event, ...]) -> State:
        """The state that the events ``found`` make."""
        rounds: list[Round] = []
        current, trial, share = 0, 0, 0.0
        earlier: list[int] = []
        moved: dict[int, Moved] = {}
        for event in found:
            body = event.body
            if event.kind == PROMOTED:
                moved.pop(body["round"], None)
                if body.get("moved") is not None:
                    moved[body["round"]] = body["moved"]
            if event.kind == PROPOSED:
                rounds.append(
                    Round(
                        body["round"],
                        event.time,
                        event.by,
                        event.note,
                        body["candidate"],
                        all(check["passed"] for check in body["report"]["checks"]),
                        body["report"],
                    )
                )
            elif event.kind == PROMOTED and body["share"] < 1:
                trial, share = body["round"], body["share"]
            elif event.kind == PROMOTED:
                earlier.append(current)
                current, trial, share = body["round"], 0, 0.0
            elif event.kind == ROLLED_BACK:
                if body["round"] != current:
                    while earlier and earlier.pop() != body["round"]:
                        pass
                current, trial, share = body["round"], 0, 0.0
        return cls(found, tuple(rounds), current, trial, share, tuple(earlier), moved)

    def round(self, number: int) -> Round:
        """Round ``number``.

        Raises:
            ConfigError: there is none.
        """
        if not 1 <= number <= len(self.rounds):
            there = f"a round from 1 to {len(self.rounds)}" if self.rounds else "a round; none has been proposed yet"
            raise ConfigError("round", number, there)
        return self.rounds[number - 1]


def load(folder: Path, trusted: Mapping[str, PublicKey] | None = None) -> State:
    """The state in ``folder``; raises as `events.load`."""
    return State.of(events.load(folder, trusted))


def candidate(folder: Path, chosen: Round) -> Candidate:
    """What round ``chosen`` made.

    Raises:
        ArtefactError: it is not kept any more, or not the one that the round names.
    """
    file = _file(folder, chosen.candidate)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(file, f"the candidate of round {chosen.number} is not kept any more") from None
    except OSError as error:
        raise ArtefactError(file, f"cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != chosen.candidate:
        raise ArtefactError(file, f"is not the candidate that round {chosen.number} names: it was changed")
    return Candidate.unpack(file, content)


def record(folder: Path, made: Proposal, *, key: SigningKey, now: datetime, by: str = "", note: str = "") -> Round:
    """Keep ``made`` as the next round; candidates of rounds before the last KEPT are taken away.

    Raises:
        ConfigError, ArtefactError, DataError: as `events.append`.
    """
    content = made.candidate.pack()
    digest = hashlib.sha256(content).hexdigest()

    def body(before: tuple[Event, ...]) -> dict[str, Any]:
        events.put(_file(folder, digest), content)
        return {"round": len(State.of(before).rounds) + 1, "candidate": digest, "report": made.report}

    events.append(folder, PROPOSED, body, key=key, now=now, by=by, note=note)
    with disk.locked(folder, events.SHARED):
        state = load(folder)
        _prune(folder, state)
    return state.rounds[-1]


def promote(
    folder: Path,
    number: int,
    *,
    share: float = 1.0,
    thresholds: bool = False,
    key: SigningKey,
    now: datetime,
    by: str,
    note: str = "",
) -> State:
    """Put round ``number`` in force, on ``share`` of the sessions; a person, ``by``, answers for it. With
    ``thresholds``, those of the policy move the step that the round bears out.

    Raises:
        ConfigError: no such round, no name, a share that cannot be, the gate did not let the round through, or not with
            its thresholds.
        ArtefactError: the candidate is not kept any more, or the state is damaged.
        DataError: it cannot be written.
    """
    if not by.strip():
        raise ConfigError("by", by, "the name of the person who answers for it")
    if not 0 < share <= 1:
        raise ConfigError("share", share, "a share of the sessions above 0, at most 1")

    def body(before: tuple[Event, ...]) -> dict[str, Any]:
        state = State.of(before)
        chosen = state.round(number)
        if not chosen.passed:
            failed = [check["says"] for check in chosen.report["checks"] if not check["passed"]]
            raise ConfigError("round", number, "one that passed the gate; this one did not: " + "; ".join(failed))
        if number == state.current:
            raise ConfigError("round", number, "one that is not in force already")
        candidate(folder, chosen)
        made: dict[str, Any] = {"round": number, "share": float(share)}
        return made | {"moved": _moves(chosen)} if thresholds else made

    events.append(folder, PROMOTED, body, key=key, now=now, by=by, note=note)
    return load(folder)


def _moves(chosen: Round) -> Moved:
    found = chosen.report.get("moved")
    if found is None:
        raise ConfigError("--thresholds", chosen.number, "a round whose benign texts bear out other thresholds")
    failed = [check["says"] for check in found["checks"] if not check["passed"]]
    if failed:
        expected = "a round that passes the gate with its thresholds too; with these it does not: " + "; ".join(failed)
        raise ConfigError("--thresholds", chosen.number, expected)
    return {"from": chosen.report["policy"], "to": found["to"]}


def rollback(
    folder: Path, number: int | None = None, *, key: SigningKey, now: datetime, by: str, note: str = ""
) -> State:
    """End a trial, or go back to what was in force before: round ``number``, 0 for nothing learnt, else the last one.

    Raises:
        ConfigError: no name, nothing to go back from, or ``number`` was never in force.
        ArtefactError, DataError: as `promote`.
    """
    if not by.strip():
        raise ConfigError("by", by, "the name of the person who answers for it")

    def body(before: tuple[Event, ...]) -> dict[str, Any]:
        state = State.of(before)
        if number is None:
            if not state.trial and not state.earlier:
                raise ConfigError("rollback", "nothing", "a round in force or on trial; none has been promoted")
            target = state.current if state.trial else state.earlier[-1]
        elif number and number not in (*state.earlier, state.current):
            there = sorted({0, *state.earlier, state.current})
            raise ConfigError("round", number, "one that was in force: " + ", ".join(map(str, there)))
        else:
            target = number
        if target == state.current and not state.trial:
            raise ConfigError("round", target, "another one than that in force")
        if target:
            candidate(folder, state.round(target))
        return {"round": target}

    events.append(folder, ROLLED_BACK, body, key=key, now=now, by=by, note=note)
    return load(folder)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a screener takes from the state in ``folder``: the candidate in force and the one on trial for ``share`` of
    the sessions, each with its round and the thresholds that moved with it, where there are any; ``hashes`` of all
    events."""

    folder: Path
    current: Candidate | None
    trial: Candidate | None
    share: float
    numbers: tuple[int, int]
    moved: tuple[Moved | None, Moved | None]
    hashes: tuple[str, ...]
    trusted: Mapping[str, PublicKey] | None
    stamp: Stamp | None

    @classmethod
    def load(cls, folder: Path, *, trusted: Mapping[str, PublicKey] | None = None) -> Learned:
        """The state in ``folder``; ``trusted`` as for `events.load`.

        Raises:
            ArtefactError: it is damaged, or a candidate in force is missing.
        """
        seen = events.stamp(folder)
        state = load(folder, trusted)
        pair = [candidate(folder, state.round(n)) if n else None for n in (state.current, state.trial)]
        hashes = tuple(event.hash for event in state.events)
        numbers = (state.current, state.trial)
        moved = (state.moved.get(state.current), state.moved.get(state.trial))
        return cls(folder, pair[0], pair[1], state.share, numbers, moved, hashes, trusted, seen)

    def changed(self) -> bool:
        """Whether the state has been written since it was loaded; costs one stat.

        Raises:
            ArtefactError: it cannot be looked at.
        """
        return events.stamp(self.folder) != self.stamp

    def reload(self) -> Learned:
        """The state as it is now.

        Raises:
            ArtefactError: as `load`, or the events known so far are not all there any more.
        """
        now = Learned.load(self.folder, trusted=self.trusted)
        if now.hashes[: len(self.hashes)] != self.hashes:
            raise ArtefactError(self.folder, f"does not go on from event {len(self.hashes) - 1}; events never change")
        return now


def _file(folder: Path, digest: str) -> Path:
    return folder / CANDIDATES / f"{digest}.npz"


def _prune(folder: Path, state: State) -> None:
    wanted = {chosen.candidate for chosen in state.rounds[-KEPT:]}
    wanted |= {state.round(number).candidate for number in (state.current, state.trial, *state.earlier[-1:]) if number}
    for file in (folder / CANDIDATES).glob("*.npz"):
        if file.stem not in wanted:
            try:
                file.unlink()
            except OSError as error:
                raise DataError(file, f"cannot be removed: {error.strerror}") from error
