"""Terms, places, snapshots and replays, without a cluster: the state is as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_way import LocalLog

from aimds.actors.keeper import Entry, Fenced, Keeper, Ledger, Said


def keeper(ledger: Ledger, shard: str = "0") -> Keeper:
    return Keeper("counting_state:Counting", {}, LocalLog(shard, ledger), lambda: 0.0)


def test_what_is_sent_twice_is_counted_once_and_answered_as_before() -> None:
    one = keeper(Ledger())
    assert one.do("a", 1, "observe", ("s", 5)) == Said([1, 5])
    assert one.do("a", 1, "observe", ("s", 5)) == Said([1, 5])
    assert one.do("a", 2, "observe", ("s", 1)) == Said([2, 6])
    assert one.do("b", 1, "observe", ("s", 1)) == Said([3, 7])


def test_an_answer_that_was_lost_with_its_process_is_given_by_the_next() -> None:
    ledger = Ledger()
    first = keeper(ledger).do("a", 1, "observe", ("s", 5))
    other = keeper(ledger)
    assert (other.replayed, other.do("a", 1, "observe", ("s", 5))) == (1, first)
    assert other.do("a", 2, "observe", ("s", 1)) == Said([2, 6])


def test_what_fails_fails_again_and_leaves_the_state_as_it_left_it() -> None:
    ledger = Ledger()
    failed = keeper(ledger).do("a", 1, "observe", 3)
    assert failed.failed is not None
    assert failed.failed.startswith("TypeError")
    assert keeper(ledger).do("a", 1, "observe", 3) == failed


def test_calls_after_some_that_are_not_known_are_not_done() -> None:
    one = keeper(Ledger())
    assert one.do("a", 3, "observe", ("s", 1)) == Said(gap=True)
    assert one.do("b", 1, "observe", ("s", 1)) == Said([1, 1])


def test_a_keeper_that_was_replaced_cannot_write() -> None:
    ledger = Ledger()
    old = keeper(ledger)
    old.do("a", 1, "observe", ("s", 5))
    new = keeper(ledger)
    with pytest.raises(Fenced, match="shard 0"):
        old.do("a", 2, "observe", ("s", 9))
    # Asked again, as a sender does that got no answer, it does not answer from what it remembers.
    with pytest.raises(Fenced):
        old.do("a", 2, "observe", ("s", 9))
    assert new.do("a", 2, "observe", ("s", 1)) == Said([2, 6])
    made, arguments = Fenced("0").__reduce__()
    assert str(made(*arguments)) == "shard 0 is kept by another process now"


class CutLog(LocalLog):
    cut = False

    def add(self, term: int, place: int, entry: Entry) -> Callable[[], bool]:
        def lost() -> bool:
            raise OSError("the ledger is gone")

        return lost if self.cut else super().add(term, place, entry)


def test_what_could_not_be_written_down_is_before_it_is_answered() -> None:
    ledger = Ledger()
    log = CutLog("0", ledger)
    one = Keeper("counting_state:Counting", {}, log, lambda: 0.0)
    log.cut = True
    with pytest.raises(OSError, match="gone"):
        one.do("a", 1, "observe", ("s", 5))
    log.cut = False
    assert one.do("a", 1, "observe", ("s", 5)) == Said([1, 5])
    assert keeper(ledger).do("a", 2, "observe", ("s", 1)) == Said([2, 6])


def test_a_ledger_that_knows_nothing_asks_for_a_snapshot() -> None:
    ledger = Ledger()
    one = keeper(ledger)
    one.do("a", 1, "observe", ("s", 5))
    ledger._shards.clear()
    one.do("a", 2, "observe", ("s", 1))
    assert ledger._shards["0"].snapshot is not None
    assert keeper(ledger).do("a", 3, "observe", ("s", 1)) == Said([3, 7])


def test_a_ledger_keeps_an_entry_once_and_no_hole() -> None:
    ledger, entry = Ledger(), Entry("a", 1, "observe", ())
    term, place, _, _ = ledger.begin("0")
    assert (term, place) == (1, 0)
    assert [ledger.add("0", term, at, entry) for at in (1, 1, 3, 2)] == [True, True, False, True]
    assert ledger.begin("0") == (2, 0, None, [entry, entry])
    ledger.drop("0")
    assert ledger.begin("0") == (1, 0, None, [])


def test_who_comes_first_says_what_all_agree_on() -> None:
    ledger = Ledger()
    assert ledger.agree({"shards": 2}) == {"shards": 2}
    assert ledger.agree({"shards": 3}) == {"shards": 2}


@given(st.integers(0, 2**32))
def test_a_state_that_is_lost_again_and_again_counts_every_turn_once(seed: int) -> None:
    rng, ledger = random.Random(seed), Ledger()
    one, numbers, expected = keeper(ledger), {"a": 0, "b": 0}, [0, 0]
    for turn in range(60):
        sender = rng.choice("ab")
        numbers[sender] += 1
        expected = [expected[0] + 1, expected[1] + turn]
        if rng.random() < 0.2:
            # It was counted, and the answer was lost with the process.
            one.do(sender, numbers[sender], "observe", ("s", turn))
            one = keeper(ledger)
        elif rng.random() < 0.2:
            one = keeper(ledger)
        assert one.do(sender, numbers[sender], "observe", ("s", turn)) == Said(expected)
        if rng.random() < 0.1:
            one._cover()
