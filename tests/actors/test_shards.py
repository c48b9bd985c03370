from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.actors.shards import SLOTS, Move, Shards, slot_of
from aimds.errors import ConfigError

NAMES = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=1, max_size=12, unique=True)


def owners(shards: Shards) -> list[str]:
    return [shards.owner(slot) for slot in range(SLOTS)]


@given(NAMES, st.text("xyz", min_size=1, max_size=4))
def test_a_shard_more_takes_its_part_and_moves_nothing_between_the_others(names: list[str], more: str) -> None:
    shards = Shards(names)
    before = owners(shards)
    moves = shards.change([*names, more])
    after = owners(shards)
    assert {move.target for move in moves} <= {more}
    assert [before[slot] for slot in range(SLOTS) if after[slot] != more] == [name for name in after if name != more]


@given(NAMES.filter(lambda names: len(names) > 1))
def test_a_shard_less_moves_only_what_it_kept(names: list[str]) -> None:
    shards = Shards(names)
    before = owners(shards)
    moves = shards.change(names[1:])
    assert {move.slot for move in moves} == {slot for slot in range(SLOTS) if before[slot] == names[0]}
    assert owners(shards) == owners(Shards(names[1:]))


def test_slots_spread_evenly_and_about_one_in_n_moves() -> None:
    shards = Shards([str(i) for i in range(8)], slots=4096)
    counts = Counter(shards.owner(slot) for slot in range(4096))
    assert min(counts.values()) > 4096 / 8 * 0.8
    assert max(counts.values()) < 4096 / 8 * 1.2
    moved = len(shards.change([str(i) for i in range(9)]))
    assert 0.8 * 4096 / 9 < moved < 1.2 * 4096 / 9


def test_a_session_has_the_same_slot_everywhere() -> None:
    assert [slot_of(name) for name in ("a", "session-1", "Füße", "\ud800")] == [47, 172, 15, 104]


def test_the_first_members_have_everything_from_nowhere() -> None:
    shards = Shards(["a"], slots=2)
    assert shards.change(["a"]) == []
    assert shards.change(["b"]) == [Move(0, "a", "b"), Move(1, "a", "b")]


def test_members_that_cannot_be_are_refused() -> None:
    for members in ([], ["a", "a"]):
        with pytest.raises(ConfigError, match="each once"):
            Shards(members)
    with pytest.raises(ConfigError, match="slots = 0"):
        Shards(["a"], slots=0)
