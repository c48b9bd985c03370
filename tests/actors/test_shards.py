from __future__ import annotations

from collections import Counter

import pytest

from aimds.actors.shards import SLOTS, owners
from aimds.errors import ConfigError


@pytest.mark.parametrize("shards", [1, 2, 5, 12])
def test_a_shard_more_takes_its_part_and_moves_nothing_between_the_others(shards: int) -> None:
    before, after = owners(shards), owners(shards + 1)
    assert set(after[before != after].tolist()) == {shards}


def test_slots_spread_evenly_and_about_one_in_n_moves() -> None:
    before, after = owners(8, 4096), owners(9, 4096)
    counts = Counter(before.tolist())
    assert min(counts.values()) > 4096 / 8 * 0.8
    assert max(counts.values()) < 4096 / 8 * 1.2
    assert 0.8 * 4096 / 9 < (before != after).sum() < 1.2 * 4096 / 9


def test_a_slot_has_the_same_shard_everywhere() -> None:
    assert owners(4)[:12].tolist() == [1, 2, 1, 2, 0, 3, 3, 0, 3, 1, 0, 2]
    assert len(owners(4)) == SLOTS


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="shards = 0"):
        owners(0)
    with pytest.raises(ConfigError, match="slots = 0"):
        owners(1, 0)
