from __future__ import annotations

from local_way import LocalWay

from aimds.gateway.shared_drift import SharedDrift
from aimds.learn.drift import Traffic

COUNTS = [(200, 4)] * 60 + [(200, 40)] * 6


def test_gateways_that_share_a_detector_hear_of_a_rise_once_and_as_soon_as_one_would() -> None:
    alone, way = Traffic(), LocalWay("aimds.learn.drift:Traffic", {})
    both = [SharedDrift(way, name, clock=way.clock, say=lambda line: None) for name in ("a", "b")]
    expected, found = [], []
    for step, (rows, caught) in enumerate(COUNTS):
        if step % 7 == 0:
            way.die(0)
        if step % 7 == 3:
            way.lose[0] = 0
        expected.append(alone.seen(rows, caught))
        found.append(both[step % 2].seen(rows, caught))
    assert found == expected
    assert sum(found) > 0
    assert sum(found[:60]) == 0


def test_an_alarm_that_is_answered_late_is_given_with_the_next() -> None:
    way, said = LocalWay("aimds.learn.drift:Traffic", {}), []  # type: ignore[var-annotated]
    one, alone = SharedDrift(way, "a", clock=way.clock, say=said.append), Traffic()
    expected = sum(alone.seen(*counts) for counts in COUNTS)
    found = [one.seen(*counts) for counts in COUNTS[:60]]
    way.silent.add(0)
    found += [one.seen(*counts) for counts in COUNTS[60:]]
    assert sum(found) == 0
    way.silent.clear()
    assert said == ["shard 0 of drift does not answer; it is waited for no more until it does"]
    assert one.seen(0, 0) == expected > 0
    assert said[1] == "shard 0 of drift answers again"
