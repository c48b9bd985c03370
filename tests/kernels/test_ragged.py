from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.errors import KernelError
from aimds.kernels import ragged

LENGTHS = st.lists(st.integers(0, 50), max_size=30)


def offsets_of(lengths: list[int], first: int = 0) -> np.ndarray:
    return np.cumsum([first, *lengths]).astype(np.int64)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 5))
def test_runs_cover_every_row_once_and_in_order(lengths, parts, first):
    runs = ragged.split(offsets_of(lengths, first), parts)
    assert len(runs) <= parts
    assert [row for begin, end in runs for row in range(begin, end)] == list(range(len(lengths)))
    assert all(begin < end for begin, end in runs)


@given(LENGTHS.filter(lambda lengths: len(lengths) > 1), st.integers(2, 6))
def test_no_run_holds_more_than_its_share_and_one_row(lengths, parts):
    offsets = offsets_of(lengths)
    share = (sum(lengths) + len(lengths)) / min(parts, len(lengths))
    for begin, end in ragged.split(offsets, parts):
        assert offsets[end] - offsets[begin] + end - begin <= share + max(lengths) + 1


def test_rows_of_no_values_are_shared_out_too():
    assert ragged.split(np.zeros(101, np.int64), 4) == [(0, 25), (25, 50), (50, 75), (75, 100)]


def test_answers_come_in_row_order_from_several_threads():
    meet = threading.Barrier(2, timeout=30)

    def work(first: int, last: int) -> list[int]:
        meet.wait()
        return list(range(first, last))

    assert ragged.each(work, offsets_of([3, 3, 3, 3]), 2) == [[0, 1], [2, 3]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_gets_threads_of_its_own():
    offsets, meet = offsets_of([1, 1]), threading.Barrier(2, timeout=30)
    # Both threads exist when the process forks.
    ragged.each(lambda first, last: meet.wait(), offsets, 2)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(len(ragged.each(lambda first, last: None, offsets, 2)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_no_rows_give_no_answers():
    assert ragged.each(lambda first, last: (first, last), np.zeros(1, np.int64), 4) == []


def test_what_goes_wrong_in_a_thread_is_raised():
    def work(first: int, last: int) -> None:
        raise ValueError(f"rows {first} to {last}")

    with pytest.raises(ValueError, match="rows"):
        ragged.each(work, offsets_of([1, 1, 1]), 2)


@pytest.mark.parametrize(
    ("offsets", "problem"),
    [([0, 5], "there are 4 values"), ([-1, 4], "runs from -1"), ([0, 3, 2, 4], "falls at row 1")],
)
def test_offsets_that_leave_the_values_are_refused(offsets, problem):
    with pytest.raises(KernelError, match=problem) as caught:
        ragged.check("dtw", "offsets", np.array(offsets, np.int64), 4)
    assert (caught.value.kernel, caught.value.argument) == ("dtw", "offsets")


def test_offsets_may_use_a_part_of_the_values():
    ragged.check("dtw", "offsets", np.array([2, 2, 3], np.int64), 4)
