"""Windows go to the encoder in runs, and those of a row stay together: their number counts."""

import numpy as np
import pytest

from aimds.jobs.train import encoder


@pytest.mark.parametrize("count", [0, 1, 7, 8, 60])
def test_no_row_is_torn_apart_and_no_window_is_lost(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(encoder, "BATCH_WINDOWS", 8)
    rng = np.random.default_rng(count)
    row = np.repeat(np.arange(count), rng.integers(1, 5, count))
    window = rng.permutation(len(row))
    parts = list(encoder._whole_rows(window, row))
    assert np.array_equal(np.concatenate([np.zeros(0, np.int64), *parts]), window)
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)[:-1]
    assert (row[ends] != row[ends - 1]).all()
    assert all(len(part) <= 8 + 4 for part in parts)
