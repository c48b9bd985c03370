"""Sequence numbers, snapshots and replays, without a cluster: the state is as if nothing had happened."""

from __future__ import annotations

import random

import pytest
from counting_state import Counting
from hypothesis import given
from hypothesis import strategies as st

from aimds.actors.keeper import Journal, Keeper, SequenceGap, Slot, packed, unpacked
from aimds.errors import DataError


def keeper() -> Keeper:
    return Keeper("counting_state:Counting", {})


def test_what_is_sent_twice_is_counted_once_and_answered_as_before() -> None:
    slot = Slot(Counting())
    first = slot.observe(0, "a", 1, ("s", 5))
    assert slot.observe(0, "a", 1, ("s", 5)) == first == [1, 5]
    assert slot.observe(0, "a", 2, ("s", 1)) == [2, 6]
    assert slot.observe(0, "b", 1, ("s", 1)) == [3, 7]


def test_a_gap_is_refused_and_says_what_comes_next() -> None:
    with pytest.raises(SequenceGap, match="slot 7: a sent number 3 where 1 comes next") as caught:
        Slot(Counting()).observe(7, "a", 3, ("s", 1))
    assert caught.value.expected == 1


def test_a_slot_goes_to_another_keeper_with_all_it_knows() -> None:
    old, new = keeper(), keeper()
    old.observe("a", [(3, 1, ("s", 5)), (3, 2, ("s", 6)), (4, 1, ("t", 1))])
    [(had, snapshot)] = old.snapshot([3])
    assert had == {"a": 2}
    new.restore({3: snapshot})
    old.drop([3])
    assert (old.about(), new.about()) == (1, 1)
    assert new.observe("a", [(3, 2, ("s", 6)), (3, 3, ("s", 1))]) == [None, [3, 12]]


def test_a_journal_keeps_what_no_snapshot_covers() -> None:
    journal = Journal()
    assert [journal.add(turn) for turn in "abcd"] == [1, 2, 3, 4]
    journal.covered(2)
    assert (len(journal), journal.after(3)) == (2, [(4, "d")])
    assert journal.add("e") == 5


@given(st.integers(0, 2**32))
def test_a_state_that_is_lost_again_and_again_counts_every_turn_once(seed: int) -> None:
    rng = random.Random(seed)
    journal, snapshot, covered = Journal(), b"", 0
    kept = keeper()
    for turn in range(60):
        number = journal.add(("s", turn))
        if rng.random() < 0.2:
            # It was counted, and the answer was lost with the process.
            kept.observe("a", [(0, number, ("s", turn))])
            kept = keeper()
            kept.recover("a", [0], {0: snapshot} if snapshot else {}, [(0, n, t) for n, t in journal.after(covered)])
        assert kept.observe("a", [(0, number, ("s", turn))]) == [[turn + 1, turn * (turn + 1) // 2]]
        if rng.random() < 0.1:
            [(had, snapshot)] = kept.snapshot([0])
            covered = had["a"]
            journal.covered(covered)


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 2**40), max_size=4), st.binary(max_size=50))
def test_a_snapshot_is_read_as_it_was_written(had: dict[str, int], content: bytes) -> None:
    assert unpacked(packed(had, content)) == (had, content)


@pytest.mark.parametrize(
    "damaged", [b"", b"AIMDSK0\n\0\0\0\0{}", packed({"a": 1}, b"")[:-2], packed({}, b"")[:8] + b"\1\0\0\0[]"]
)
def test_a_damaged_snapshot_is_refused(damaged: bytes) -> None:
    with pytest.raises(DataError, match="snapshot"):
        unpacked(damaged)
