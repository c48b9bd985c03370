"""What was followed until a snapshot goes on from it as if nothing had happened; what is no snapshot is refused."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import numpy as np
import pytest
from naive_ltl import random_formula
from test_watch import NAMES, batch, cut, ended, live, nothing, policies, talk
from verdict_factory import attack

from aimds.analyze import snapshot
from aimds.analyze.packed import pack, unpack
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.errors import DataError
from aimds.ltl.policies import TracePolicies

MARK = b"test\n"


def moved(watch: Watch, **options: Any) -> Watch:
    """Another watch that goes on from the bytes of a snapshot of ``watch``."""
    header, arrays = unpack(MARK, pack(MARK, *snapshot.watched(watch)))
    other = Watch(watch.policies, **options)
    assert snapshot.put_watched(other, (header, arrays)) == len(other)
    return other


@pytest.mark.parametrize("seed", range(3))
def test_policies_go_on_as_if_nothing_had_happened(seed: int) -> None:
    rng = random.Random(seed)
    formulas = [random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True, timed=True) for _ in range(8)]
    given = policies(*formulas, "G (threat_detected & O[1us,1min] threat_detected -> blocked)", "F[1us,1h] blocked")
    rows, events = talk(seed, 160, 15)
    whole, first = Watch(given), Watch(given)
    expected = live(whole, rows, events, cut(seed, len(rows)))
    found = live(first, rows[:80], events[:80], cut(seed, 80))
    later = moved(first)
    assert len(later._running) == len(first._running) > 0
    found += live(later, rows[80:], events[80:], cut(seed, 80))
    broken: dict[tuple[Any, Any], set[str]] = {}
    for one, names in zip(rows[:80], expected, strict=False):
        if one["session_id"] is not None:
            broken.setdefault((one["tenant"], one["session_id"]), set()).update(names)
    assert sum(map(len, broken.values()))
    for place in range(80, len(rows)):
        # What was broken is told once more: what followed from it is not in a snapshot.
        again = broken.pop((rows[place]["tenant"], rows[place]["session_id"]), set())
        expected[place] = sorted({*expected[place], *again})
    assert [sorted(one) for one in found] == [sorted(one) for one in expected]
    assert ended(later, over=True) == ended(whole, over=True) != []


def test_less_room_keeps_the_sessions_seen_last_and_fewer_monitors_say_who_is_lost() -> None:
    given = policies("G (threat_detected -> F[1us,1h] tool_called)")
    watch = Watch(given)
    for place in range(5):
        one = attack(place, session_id=f"s{place}", tenant=None, turn=None, channel="user")
        watch.observe(batch([one]), nothing(1), place, 0)
    small = moved(watch, capacity=3)
    assert [one[1] for one in ended(small, over=True)] == ["s0", "s1", "s2", "s3", "s4"]
    few = moved(watch, most_monitors=2)
    assert len(few._running) == 2
    again = [attack(9, session_id="s0", tenant=None, turn=None, channel="user")]
    assert few.observe(batch(again), nothing(1), 9, 0).unjudged != {}


def test_other_policies_a_watch_that_goes_on_and_states_that_cannot_be_are_refused() -> None:
    given = TracePolicies.load()
    rows, events = talk(0, 100, 10)
    watch = Watch(given)
    live(watch, rows, events, [])
    header, arrays = snapshot.watched(watch)
    wild = arrays["records"] | np.int64(0x7000_7000_7000_7000)
    for state, problem in (
        (({**header, "policies": "x"}, arrays), "of the policies x"),
        ((header, arrays | {"records": wild}), "cannot be"),
        ((header, {name: array for name, array in arrays.items() if name != "told"}), "missing"),
        ((header, arrays | {"clock": arrays["clock"][:3]}), "rows"),
        (({**header, "monitors": [[], []]}, arrays), "gone on"),
        (({**header, "owing": [[1]]}, arrays), "owed"),
    ):
        other = Watch(given)
        with pytest.raises(DataError, match=problem):
            snapshot.put_watched(other, state)
        assert len(other) == 0
    with pytest.raises(DataError, match="going on"):
        snapshot.put_watched(watch, (header, arrays))


def test_monitors_of_another_formula_are_refused() -> None:
    given = policies("G (threat_detected -> F[1us,1h] tool_called)")
    watch = Watch(given)
    watch.observe(batch([attack(session_id="s", tenant=None, turn=None)]), nothing(1), 0, 0)
    header, arrays = snapshot.watched(watch)
    [[[place, packed]]] = header["monitors"]
    for at, value in (
        (0, "x"),
        (3, [[[99, True, 0]]]),
        (3, [[[0, True, 5]]]),
        (4, [[0, True]]),
        (5, [[1, [2]]]),
        (3, 7),
    ):
        changed = json.loads(json.dumps(packed))
        changed[at] = value
        with pytest.raises(DataError, match="gone on"):
            snapshot.put_watched(Watch(given), ({**header, "monitors": [[[place, changed]]]}, arrays))


def test_no_bytes_with_a_good_hash_do_harm() -> None:
    rng = random.Random(1)
    whole = pack(MARK, {"a": 1}, {"keys": np.zeros((3, 2), np.uint64), "seen": np.zeros(3)})
    for _ in range(300):
        changed = bytearray(whole[:-32])
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(MARK), len(changed))] = rng.randrange(256)
        body = bytes(changed)
        try:
            header, arrays = unpack(MARK, body + hashlib.sha256(body).digest())
        except DataError:
            continue
        assert isinstance(header, dict)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_counts_beyond_the_window_are_refused() -> None:
    sessions = Sessions()
    header, arrays = snapshot.copied(sessions)
    arrays = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in arrays.items()}
    with pytest.raises(DataError, match="counts"):
        snapshot.put(sessions, (header, arrays | {"counts": np.array([33], np.int32)}))
