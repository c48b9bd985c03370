"""Judges in actors: every request has exactly one verdict, whatever becomes of actors, and it says what made it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from desk import ATTACK

from aimds.actors.scaling import Bounds
from aimds.actors.topology import Share
from aimds.gateway.cluster_judges import ClusterJudges
from aimds.gateway.frames import Setup
from aimds.gateway.identity import LOCAL
from aimds.gateway.judges import JudgeError
from aimds.gateway.pieces import ARROW, BRIEF, FULL, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.rows import Row
from aimds.gateway.settings import Screening

pytestmark = pytest.mark.usefixtures("machines")
SMALL = Share(0.1, 0.0)


def piece(form: str, *texts: str) -> Piece:
    rows = [Row(text, request_id=f"{text}-{i}") for i, text in enumerate(texts)]
    return Piece("screen", LOCAL, form, lambda *_: None, lambda *_: None, rows=rows)


def setup(policy: str = "first") -> Setup:
    return Setup(Screening(policy=Path(policy)), ("warm",))


def running(test: Callable[[ClusterJudges], Awaitable[None]], count: int = 2, **more: Any) -> None:
    async def run() -> None:
        bounds = more.pop("bounds", Bounds(count, count))
        judges = ClusterJudges(setup(), bounds, SMALL, build="acting_judge:build", **more)
        await judges.start()
        try:
            await until(lambda: judges.hands.ready == count)
            await test(judges)
        finally:
            await judges.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool], patience_s: float = 40.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.02)


async def all_judged(judges: ClusterJudges, batches: list[list[Piece]], at_once: int = 2) -> list[str]:
    """One word for each request: its action, or what kept it from having a verdict."""
    slots = asyncio.Semaphore(at_once)

    async def one(pieces: list[Piece]) -> list[str]:
        async with slots:
            judged, _ = await judges.judge(pieces)
        assert len(judged.answers) == len(pieces)
        return [one.kind if isinstance(one, Problem) else json.loads(one[0])["action"] for one in judged.answers]

    return [word for words in await asyncio.gather(*map(one, batches)) for word in words]


def test_actors_that_end_or_hang_take_no_verdict_with_them(tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.touch()

    async def test(judges: ClusterJudges) -> None:
        answered, _ = await judges.judge([piece(FULL, ATTACK), piece(ARROW, "a", "b")])
        assert json.loads(answered.answers[0][0])["policy_version"] == "first"
        assert answered.answers[1].column("request_id").to_pylist() == ["a-0", "b-1"]
        # In the middle of a batch, by itself: asked again, everybody has a verdict.
        # A poisoned one, that ends any actor it meets, and one that keeps its actor, are alone with that.
        batches = [[piece(BRIEF, f"SLOW {batch} {i}") for i in range(3)] for batch in range(12)]
        batches[2][1] = piece(BRIEF, f"ONCE{once}")
        batches[5][0] = piece(BRIEF, "DIE")
        batches[7][2] = piece(BRIEF, "HANG")
        batches[9][1] = piece(BRIEF, ATTACK)
        counting = asyncio.ensure_future(all_judged(judges, batches))
        await asyncio.sleep(0.5)
        os.kill(judges.hands.pids[0], signal.SIGKILL)
        words = await counting
        assert Counter(words) == {"allow": 33, "block": 1, "internal": 2}
        assert [words[15], words[23], words[28]] == ["internal", "internal", "block"]
        assert judges.restarts >= 5
        await until(lambda: judges.hands.ready == 2)

    running(test, hung_s=4.0)


def test_an_actor_that_loses_its_device_is_replaced_and_a_request_that_takes_it_from_two_is_alone_with_that() -> None:
    async def test(judges: ClusterJudges) -> None:
        words = await all_judged(judges, [[piece(BRIEF, "a"), piece(BRIEF, "LOST"), piece(BRIEF, ATTACK)]])
        assert words == ["allow", "internal", "block"]
        assert judges.restarts >= 2
        await until(lambda: judges.hands.ready == 2)

    running(test)


def test_actors_are_renewed_while_they_serve_and_verdicts_say_what_made_them() -> None:
    async def test(judges: ClusterJudges) -> None:
        seen: list[str] = []
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                judged, _ = await judges.judge([piece(FULL, "a")])
                seen.append(json.loads(judged.answers[0][0])["policy_version"])

        asking = asyncio.ensure_future(ask())
        with pytest.raises(JudgeError, match="another one"):
            await judges.replace(setup("refused"))
        assert judges.hands.ready == 2
        await judges.replace(setup("second"))
        await until(lambda: judges.hands.ready == 2)
        assert judges.versions == [{"policy": "second"}] * 2
        judged, _ = await judges.judge([piece(FULL, "a")])
        assert json.loads(judged.answers[0][0])["policy_version"] == "second"
        stop.set()
        await asking
        assert set(seen) <= {"first", "second"}
        assert seen[0] == "first"
        assert judges.restarts == 0

    running(test)


def test_actors_come_with_the_queue_and_go_with_it() -> None:
    waiting, told = [9.0], []
    bounds = Bounds(1, 3, up_s=0.0, down_s=1.0)

    async def test(judges: ClusterJudges) -> None:
        await until(lambda: judges.hands.ready == 3)
        waiting[0] = 0.0
        await until(lambda: judges.hands.ready == 1)
        assert max(told) == 3
        assert told[-1] == 1

    running(test, 1, bounds=bounds, waiting=lambda: waiting[0], on_change=told.append)


def test_batches_larger_than_the_room_in_the_object_store_are_judged_or_refused() -> None:
    import numpy as np
    import ray

    held = [ray.put(np.zeros(10 << 20, np.uint8)) for _ in range(10)]

    async def test(judges: ClusterJudges) -> None:
        batches = [[piece(BRIEF, "x" * (1 << 20), ATTACK)] for _ in range(20)]
        words = await all_judged(judges, batches)
        assert len(words) == 20
        assert set(words) <= {"allow", "overloaded"}

    running(test, 1)
    del held
