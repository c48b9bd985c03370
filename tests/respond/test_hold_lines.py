"""Lines of holds that are read together give what each gives by itself."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from aimds.respond import hold_lines
from aimds.respond.held import Hold
from aimds.respond.hold_lines import KINDS, Held, line, take

NAMES = st.one_of(st.none(), st.sampled_from(["s", "t", "u" * 129, "\ud800", "é" * 300]))
HOLDS = st.builds(
    Hold, st.sampled_from([0.0, 1.5, 2e9]), st.sampled_from([3.0, math.inf, 1e11]), st.sampled_from(["", "r"])
)
CHANGES = st.tuples(st.sampled_from(KINDS), st.tuples(NAMES, NAMES, NAMES), st.one_of(st.none(), HOLDS))
LINES = st.one_of(CHANGES.map(lambda change: line(change)[:-1]), st.sampled_from([b"", b"x" * 40, b"0" * 16 + b" []"]))


def empty() -> Held:
    return {kind: {} for kind in KINDS}


@given(st.lists(LINES, max_size=12))
def test_lines_that_are_read_together_give_what_each_gives_by_itself(lines: list[bytes]) -> None:
    together, apart = empty(), empty()
    damaged = take(lines, together)
    assert damaged == sum(take([one], apart) for one in lines)
    assert [list(held.items()) for held in together.values()] == [list(held.items()) for held in apart.values()]


def test_usual_lines_are_read_without_looking_at_each() -> None:
    changes = [("quarantine", ("t", f"s{k % 50}", None), Hold(float(k), math.inf, "r")) for k in range(100)]
    found = empty()
    assert hold_lines._together(
        [line(change)[:-1] for change in [*changes, ("quarantine", changes[0][1], None)]], found
    )
    assert list(found["quarantine"]) == [("t", f"s{k}", None) for k in range(1, 50)]
