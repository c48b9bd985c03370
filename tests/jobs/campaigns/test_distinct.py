from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aimds.jobs.campaigns.distinct import Distinct


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 12), st.randoms())
def test_what_is_kept_does_not_depend_on_the_order(numbers: list[int], most: int, random: object) -> None:
    once, again = Distinct(most), Distinct(most)
    for n in numbers:
        once.add(b"%d" % n, b"as %d" % n)
    random.shuffle(numbers)  # type: ignore[attr-defined]
    for n in numbers:
        again.add(b"%d" % n, b"as %d" % n)
    one, other = once.chosen(), again.chosen()
    assert one.keys.tolist() == other.keys.tolist()
    assert one.rows.tolist() == other.rows.tolist()
    assert one.left_out == other.left_out
    assert len(one.keys) == min(most, len(set(numbers)))
    assert int(one.rows.sum()) + one.left_out == len(numbers)


def test_texts_come_by_rows_and_keys_lead_to_them() -> None:
    texts = Distinct()
    keys = [texts.add(said, written) for said, written in ((b"a", b"B"), (b"b", b"b"), (b"a", b"A"))]
    chosen = texts.chosen()
    assert chosen.rows.tolist() == [2, 1]
    assert chosen.written == [b"A", b"b"]
    assert chosen.values.tobytes() == b"ab"
    assert chosen.places(np.array([*keys, 12345])).tolist() == [0, 1, 0, -1]


def test_nothing_is_nothing() -> None:
    chosen = Distinct().chosen()
    assert chosen.offsets.tolist() == [0]
    assert chosen.places(np.array([7])).tolist() == [-1]
