from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimds.jobs.scan.schedule import Schedule, Unit

GROUPS = st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(0, 14))), max_size=5)


def planned(groups: list[tuple[int, set[int]]]) -> tuple[Schedule, set[Unit]]:
    schedule, expected = Schedule(), set()
    for group, (units, done) in enumerate(groups):
        schedule.add(0, group, units, done)
        expected |= {(0, group, slice_) for slice_ in range(units) if slice_ not in done}
    return schedule, expected


@given(GROUPS, st.data())
def test_every_unit_is_handed_out_once_whoever_asks_and_whoever_dies(
    groups: list[tuple[int, set[int]]], data: st.DataObject
) -> None:
    schedule, expected = planned(groups)
    assert schedule.left() == len(expected)
    taken: list[Unit] = []
    while True:
        worker = data.draw(st.integers(0, 3))
        if data.draw(st.integers(0, 9)) == 0:
            schedule.release(worker)
        unit = schedule.take(worker)
        if unit is None:
            break
        taken.append(unit)
        assert schedule.left() == len(expected) - len(taken)
    assert sorted(taken) == sorted(expected)


@given(GROUPS, st.integers(0, 12), st.integers(0, 8), st.data())
def test_what_is_dropped_is_never_handed_out_and_all_else_is(
    groups: list[tuple[int, set[int]]], first: int, before: int, data: st.DataObject
) -> None:
    schedule, expected = planned(groups)
    taken = [unit for _ in range(before) if (unit := schedule.take(data.draw(st.integers(0, 2)))) is not None]
    dropped = {(0, 0, slice_) for start, stop in schedule.drop(0, 0, first) for slice_ in range(start, stop)}
    assert all(slice_ >= first for _, _, slice_ in dropped)
    while (unit := schedule.take(0)) is not None:
        taken.append(unit)
    assert sorted([*taken, *dropped]) == sorted(expected)
    assert not any(unit in dropped for unit in taken)


def test_a_worker_goes_on_where_it_stopped_and_an_idle_one_takes_half_of_what_is_left() -> None:
    schedule = Schedule()
    schedule.add(0, 0, 10, set())
    assert [schedule.take(1) for _ in range(2)] == [(0, 0, 0), (0, 0, 1)]
    assert schedule.take(2) == (0, 0, 6)
    assert schedule.take(1) == (0, 0, 2)
    assert schedule.take(2) == (0, 0, 7)


def test_a_file_that_declares_an_absurd_number_of_rows_costs_nothing() -> None:
    schedule = Schedule()
    schedule.add(0, 0, 10**15, {5})
    assert schedule.take(0) == (0, 0, 0)
    assert schedule.drop(0, 0, 0) == [(6, 10**15), (1, 5)]
    assert schedule.take(0) is None
