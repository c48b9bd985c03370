from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.analyze.slots import SlotTable
from aimds.errors import ConfigError


def key(number: int) -> np.ndarray:
    # Few different homes, so that they meet in the index.
    return np.array([[number % 3, number]], np.uint64)


@settings(max_examples=80)
@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60))
def test_it_does_what_an_ordered_dictionary_does(capacity, steps):
    table, known = SlotTable(capacity), OrderedDict()
    for now, (number, forget) in enumerate(steps):
        if forget and number in known:
            table.drop(int(table.find(key(number))[0]))
            del known[number]
            continue
        slots, fresh = table.admit(key(number), float(now))
        assert (len(fresh) == 0) == (number in known)
        known[number] = now
        known.move_to_end(number)
        if len(known) > capacity:
            known.popitem(last=False)
        assert slots[0] == table.find(key(number))[0]
        assert len(table) == len(known)
    assert table.keys[table.oldest_first(), 1].tolist() == list(known)
    missing = set(range(13)) - set(known)
    assert all(table.find(key(number))[0] < 0 for number in missing)


def test_sessions_are_forgotten_by_age_from_the_oldest_on():
    table = SlotTable(8)
    for number in range(5):
        table.admit(key(number), float(number))
    assert table.expire(2.0) == 2
    assert table.keys[table.oldest_first(), 1].tolist() == [2, 3, 4]


def test_a_capacity_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match="capacity = 0"):
        SlotTable(0)
