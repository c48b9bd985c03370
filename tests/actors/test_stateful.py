"""Shards of state on a cluster: no turn is lost or counted twice, whatever becomes of their actors."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from aimds.actors.topology import Share

pytestmark = pytest.mark.usefixtures("machines")
SESSIONS = [f"session-{i}" for i in range(20)]


def test_state_outlives_its_actors_and_its_shards(tmp_path: Path) -> None:
    from aimds.actors.stateful import Stateful

    flag = tmp_path / "flag"
    shards = Stateful(
        "counting", "counting_state:Counting", {"flag": str(flag)}, Share(0.1, 0.0), shards=2, slots=16, every=10
    )
    rng = random.Random(5)
    expected: dict[str, list[int]] = {}
    try:
        for step in range(40):
            if step == 10:
                # Killed between two batches.
                os.kill(shards.pids[0], signal.SIGKILL)
            if step == 20:
                # Ends itself in the middle of one.
                flag.touch()
            if step == 30:
                moves = shards.resize(3)
                assert {move.target for move in moves} == {"2"}
            if step == 35:
                assert {move.source for move in shards.resize(1)} == {"1", "2"}
            turns = [(session, (session, rng.randint(0, 9))) for session in rng.choices(SESSIONS, k=30)]
            if step == 20:
                turns.insert(15, (SESSIONS[0], (SESSIONS[0], "END")))
            answers = shards.observe(turns)
            for (session, (_, number)), answer in zip(turns, answers, strict=True):
                found = expected.setdefault(session, [0, 0])
                found[0] += 1
                found[1] += number if isinstance(number, int) else 0
                assert answer == found
        assert shards.replayed > 0
        assert not flag.exists()
    finally:
        shards.close()
