"""Which texts and windows the deep stage sees."""

import numpy as np
import pytest

from aimds.detect import gray
from aimds.detect.classifier import ATTACK, HEADS, INDIRECT
from aimds.detect.features import Windows

P = np.array([1.0, 0.06, 0.05, 0.01, 2e-4, 1e-4, 1e-9])


def test_cascade_sees_the_unusual_but_not_the_certain() -> None:
    assert gray.rows("cascade", P, 0.05).tolist() == [2, 3, 4]
    assert gray.rows("cascade", P, 1.0).tolist() == [0, 1, 2, 3, 4]


def test_full_sees_all_and_fast_none() -> None:
    assert gray.rows("full", P, 0.05).tolist() == list(range(7))
    assert gray.rows("fast", P, 0.05).tolist() == []


def pieces(row: list[int]) -> Windows:
    owner = np.array(row, np.int32)
    offsets = np.arange(len(row) + 1, dtype=np.int64)
    return Windows(np.zeros(len(row), np.uint8), offsets, owner, owner, np.zeros(len(row), np.int64))


@pytest.mark.parametrize(("untrusted", "expected"), [(False, [4, 1, 0, 2, 6]), (True, [3, 4, 1, 0, 6])])
def test_the_highest_windows_of_each_chosen_row_are_seen_best_first(untrusted: bool, expected: list[int]) -> None:
    logits = np.full((7, len(HEADS)), -9.0, np.float32)
    logits[:5, ATTACK] = [1.0, 2.0, 0.5, 0.0, 3.0]
    logits[3, INDIRECT] = 4.0
    chosen = gray.windows(pieces([0, 0, 0, 0, 0, 1, 2]), logits, np.array([0, 2]), np.full(3, untrusted))
    assert chosen.tolist() == expected
