"""State that survives its process: turns carry sequence numbers, so that whatever is sent again is counted once.

The sender numbers what it sends to a slot and keeps it until a snapshot covers it (`Journal`). The side with the state
(`Keeper`) ignores numbers it has had and refuses a gap. After a loss, or a move to another shard, the last snapshot is
restored and what came after it is sent again: the state is the same as if nothing had happened.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import Any, Protocol

from aimds.actors.cell import found
from aimds.errors import AimdsError, DataError

_MAGIC = b"AIMDSK1\n"
_HEAD = struct.Struct("<8sI")
ANSWERS = 16
"""Last answers that are kept for each sender, for a question whose answer was lost on the way."""


class State(Protocol):
    """What a slot holds. Its answers depend on what it was told, in order, and on nothing else."""

    def observe(self, turns: Any) -> Any:
        """Take up ``turns``; what to say of them."""

    def snapshot(self) -> bytes:
        """Everything it knows."""

    def restore(self, snapshot: bytes) -> None:
        """Know what ``snapshot`` says, and nothing else."""


class SequenceGap(AimdsError):
    """Something before ``got`` is missing: ``expected`` comes next."""

    def __init__(self, slot: int, sender: str, expected: int, got: int) -> None:
        self.slot, self.sender, self.expected, self.got = slot, sender, expected, got
        super().__init__(f"slot {slot}: {sender} sent number {got} where {expected} comes next")

    def __reduce__(self) -> Any:
        return SequenceGap, (self.slot, self.sender, self.expected, self.got)


class Journal:
    """What one sender has sent to one slot and no snapshot covers yet."""

    def __init__(self) -> None:
        self.next = 1
        self._kept: deque[tuple[int, Any]] = deque()

    def add(self, turns: Any) -> int:
        """Keep ``turns``; their number."""
        number, self.next = self.next, self.next + 1
        self._kept.append((number, turns))
        return number

    def covered(self, number: int) -> None:
        """A snapshot holds everything up to ``number``."""
        while self._kept and self._kept[0][0] <= number:
            self._kept.popleft()

    def after(self, number: int) -> list[tuple[int, Any]]:
        """What has to be sent again to a state that holds everything up to ``number``."""
        return [entry for entry in self._kept if entry[0] > number]

    def __len__(self) -> int:
        return len(self._kept)


class Slot:
    """A state, and how far each sender has come with it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.had: dict[str, int] = {}
        self._answers: dict[str, deque[tuple[int, Any]]] = {}

    def observe(self, slot: int, sender: str, number: int, turns: Any) -> Any:
        """Count ``turns`` if they are new; the answer, or that given before (None where it is no longer kept).

        Raises:
            SequenceGap: something that came before is missing; nothing was counted.
        """
        had = self.had.get(sender, 0)
        kept = self._answers.setdefault(sender, deque(maxlen=ANSWERS))
        if number <= had:
            return next((answer for one, answer in kept if one == number), None)
        if number != had + 1:
            raise SequenceGap(slot, sender, had + 1, number)
        answer = self.state.observe(turns)
        self.had[sender] = number
        kept.append((number, answer))
        return answer


class Keeper:
    """The slots of one shard; runs in an actor.

    Args:
        target, arguments: make the state of a slot, see `State`.
    """

    def __init__(self, target: str, arguments: dict[str, Any]) -> None:
        self._make, self._arguments = found(target), arguments
        self._slots: dict[int, Slot] = {}

    def about(self) -> int:
        """Slots that are kept."""
        return len(self._slots)

    def pulse(self) -> int:
        """The same, while it works."""
        return len(self._slots)

    def _slot(self, slot: int) -> Slot:
        if slot not in self._slots:
            self._slots[slot] = Slot(self._make(**self._arguments))
        return self._slots[slot]

    def observe(self, sender: str, asked: list[tuple[int, int, Any]]) -> list[Any]:
        """Count (slot, number, turns) one after the other; the answers.

        Raises:
            SequenceGap: see `Slot.observe`; what came before it was counted.
        """
        return [self._slot(slot).observe(slot, sender, number, turns) for slot, number, turns in asked]

    def snapshot(self, slots: list[int]) -> list[tuple[dict[str, int], bytes]]:
        """For each slot: how far each sender has come, and the snapshot for `restore`."""
        return [(dict(one.had), packed(one.had, one.state.snapshot())) for one in map(self._slot, slots)]

    def restore(self, snapshots: dict[int, bytes]) -> None:
        """Take these slots over as they were.

        Raises:
            DataError: a snapshot is not whole.
        """
        for slot, snapshot in snapshots.items():
            had, content = unpacked(snapshot)
            state = self._make(**self._arguments)
            state.restore(content)
            self._slots[slot] = Slot(state)
            self._slots[slot].had = had

    def recover(
        self, sender: str, slots: list[int], snapshots: dict[int, bytes], again: list[tuple[int, int, Any]]
    ) -> None:
        """Bring ``slots`` to where they were: what the snapshots hold, then what came after them."""
        self.drop(slots)
        self.restore(snapshots)
        self.observe(sender, again)

    def drop(self, slots: list[int]) -> None:
        """Forget these: another shard keeps them now."""
        for slot in slots:
            self._slots.pop(slot, None)


def packed(had: dict[str, int], content: bytes) -> bytes:
    """A snapshot: magic, length of the head, head (JSON), the state's own bytes."""
    head = json.dumps(had, sort_keys=True).encode()
    return _HEAD.pack(_MAGIC, len(head)) + head + content


def unpacked(snapshot: bytes) -> tuple[dict[str, int], bytes]:
    """The inverse of `packed`.

    Raises:
        DataError: it is no snapshot, or one of another version.
    """
    if len(snapshot) < _HEAD.size:
        raise DataError("snapshot", f"holds {len(snapshot)} bytes, fewer than its head")
    magic, length = _HEAD.unpack_from(snapshot)
    if magic != _MAGIC:
        raise DataError("snapshot", "is none, or of another version")
    try:
        had = json.loads(snapshot[_HEAD.size : _HEAD.size + length])
    except ValueError as error:
        raise DataError("snapshot", "has a damaged head") from error
    if not isinstance(had, dict) or not all(isinstance(number, int) for number in had.values()):
        raise DataError("snapshot", "has a damaged head")
    return had, snapshot[_HEAD.size + length :]
