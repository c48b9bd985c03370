"""Processes that judge: verdicts come back whole, a process that ends is replaced and takes no verdict with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from desk import ATTACK, BOOM, Fake, ndjson
from live import INSECURE, Live, live
from waiting import until

from aimds.errors import DeviceLost
from aimds.gateway.frames import Setup
from aimds.gateway.identity import LOCAL
from aimds.gateway.judges import JudgeError, Judges
from aimds.gateway.pieces import ARROW, BRIEF, FULL, OBJECTS, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.rows import Row
from aimds.gateway.settings import Audit, Screening
from aimds.respond.policy import Policy

COMMAND = (sys.executable, str(Path(__file__).parent / "fake_judge.py"))
SETUP = Setup(Screening(), ("warm",))
SERVED = replace(INSECURE, screening=Screening(workers=1))


def piece(form: str, *texts: str) -> Piece:
    rows = [Row(text, request_id=f"{text}-{i}") for i, text in enumerate(texts)]
    return Piece("screen", LOCAL, form, lambda *_: None, lambda *_: None, rows=rows)


def running(
    test: Callable[[Judges], Awaitable[None]],
    count: int = 1,
    setup: Setup = SETUP,
    command: Sequence[str] = COMMAND,
    **more: Any,
) -> None:
    async def run() -> None:
        judges = Judges(setup, count, command, **more)
        await judges.start()
        try:
            await test(judges)
        finally:
            await judges.close()

    asyncio.run(run())


async def pids(judges: Judges, count: int = 1) -> list[int]:
    """Process ids of ``count`` of them that are free."""
    found = await asyncio.gather(*(judges.judge([piece(OBJECTS, "a")]) for _ in range(count)))
    return [int(judged.answers[0][0]["engine_version"]) for judged, _ in found]


def test_each_process_and_its_successor_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(judges: Judges) -> list[str]:
        await until(lambda: judges.ready == 2)
        found = await asyncio.gather(*(judges.judge([piece(OBJECTS, "a")]) for _ in range(2)))
        return sorted(judged.answers[0][0]["backend"] for judged, _ in found)

    async def test(judges: Judges) -> None:
        assert await taken(judges) == ["gpu 3", "gpu 4"]
        for _ in range(2):
            await judges.judge([piece(OBJECTS, "DIE")])
            assert await taken(judges) == ["gpu 3", "gpu 4"]

    monkeypatch.setenv("AIMDS_DEVICE", "3")
    running(test, 2)


def test_each_piece_gets_its_answer_in_the_form_it_asked_for() -> None:
    async def test(judges: Judges) -> None:
        pieces = [piece(BRIEF, "a", ATTACK), piece(FULL, BOOM), piece(ARROW, "b", "c"), piece(OBJECTS, ATTACK)]
        judged, whole = await judges.judge(pieces)
        brief, full, table, objects = judged.answers
        assert [json.loads(line)["action"] for line in brief] == ["allow", "block"]
        assert json.loads(full[0])["status"] == "error"
        assert table.column("request_id").to_pylist() == ["b-0", "c-1"]
        assert objects[0]["action"] == "block"
        assert (judged.unjudged, dict(judged.actions)) == (1, {"allow": 3, "block": 3})
        assert dict(judged.threats) == {"direct_injection": 3}
        assert whole.requests.num_rows == 6

    running(test)


def test_a_process_that_ends_takes_only_the_row_that_ended_it() -> None:
    async def test(judges: Judges) -> None:
        judged, whole = await judges.judge([piece(BRIEF, "a"), piece(BRIEF, "DIE"), piece(BRIEF, ATTACK)], whole=True)
        first, second, third = judged.answers
        assert json.loads(first[0])["action"] == "allow"
        assert isinstance(second, Problem)
        assert json.loads(third[0])["action"] == "block"
        assert whole.verdicts is not None
        assert whole.verdicts.column("request_id").to_pylist() == ["a-0", f"{ATTACK}-0"]
        # In the batch, by itself, and by itself once more.
        assert judges.restarts == 3

    running(test)


def test_who_meets_a_process_that_has_ended_is_judged_by_another() -> None:
    async def test(judges: Judges) -> None:
        (pid,) = await pids(judges)
        os.kill(pid, signal.SIGKILL)
        judged, _ = await judges.judge([piece(BRIEF, ATTACK)])
        assert json.loads(judged.answers[0][0])["action"] == "block"
        assert judges.restarts == 1

    running(test)


def test_a_process_that_loses_its_device_ends_and_takes_only_the_row_that_lost_it() -> None:
    async def test(judges: Judges) -> None:
        judged, _ = await judges.judge([piece(BRIEF, "a"), piece(BRIEF, "LOST", "b"), piece(BRIEF, ATTACK)])
        first, second, third = judged.answers
        assert json.loads(first[0])["action"] == "allow"
        assert isinstance(second, Problem)
        assert json.loads(third[0])["action"] == "block"
        assert judges.restarts == 3

    running(test)


def test_a_process_that_hangs_is_ended_and_its_batch_judged_by_another() -> None:
    async def test(judges: Judges) -> None:
        (pid,) = await pids(judges)
        os.kill(pid, signal.SIGSTOP)
        judged, _ = await judges.judge([piece(BRIEF, "a"), piece(BRIEF, ATTACK)])
        assert [json.loads(one[0])["action"] for one in judged.answers] == ["allow", "block"]
        assert judges.restarts == 1
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    running(test, hung_s=5.0)


def test_a_process_that_hangs_while_nobody_asks_it_is_ended_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.judges.BEAT_S", 0.05)
    monkeypatch.setattr("aimds.gateway.judges.SILENT_S", 5.0)

    async def test(judges: Judges) -> None:
        hangs, stays = await pids(judges, 2)
        os.kill(hangs, signal.SIGSTOP)
        await until(lambda: judges.restarts == 1 and judges.ready == 2)
        with pytest.raises(ProcessLookupError):
            os.kill(hangs, 0)
        found = await pids(judges, 2)
        assert stays in found
        assert hangs not in found
        assert judges.restarts == 1

    running(test, 2)


def test_processes_that_are_asked_whether_they_are_there_go_on_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.judges.BEAT_S", 0.0)

    async def test(judges: Judges) -> None:
        for _ in range(200):
            judged, _ = await judges.judge([piece(BRIEF, "a"), piece(BRIEF, ATTACK)])
            assert [json.loads(one[0])["action"] for one in judged.answers] == ["allow", "block"]
        assert (judges.ready, judges.restarts) == (1, 0)

    running(test)


def hanging(folder: Path, first: int) -> tuple[str, ...]:
    """A command that starts processes of which number ``first``, counted from 0, hangs, before it reads anything."""
    script = f"""
n=0
while ! mkdir "$0/$n" 2>/dev/null; do n=$((n+1)); done
if [ $n = {first} ]; then echo $$ > "$0/begun" && mv "$0/begun" "$0/hangs"; exec sleep 1000; fi
exec "$1" "$2"
"""
    return ("sh", "-c", script, str(folder), *COMMAND)


def gone(hangs: Path) -> bool:
    try:
        os.kill(int(hangs.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_that_hangs_while_it_starts_is_ended_and_another_takes_its_place(tmp_path: Path) -> None:
    async def test(judges: Judges) -> None:
        (pid,) = await pids(judges)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: judges.ready == 0)
        await until(lambda: judges.ready == 1)
        assert gone(tmp_path / "hangs")
        assert judges.restarts == 2

    running(test, command=hanging(tmp_path, 1), start_s=6.0)


def test_a_reload_whose_process_hangs_while_it_starts_is_given_up_and_the_old_ones_stay(tmp_path: Path) -> None:
    async def test(judges: Judges) -> None:
        with pytest.raises(JudgeError, match="not ready after 6 s"):
            await judges.replace(SETUP)
        assert gone(tmp_path / "hangs")
        judged, _ = await judges.judge([piece(BRIEF, ATTACK)])
        assert json.loads(judged.answers[0][0])["action"] == "block"
        assert (judges.ready, judges.restarts) == (1, 0)

    running(test, command=hanging(tmp_path, 1), start_s=6.0)


def test_a_process_that_still_starts_is_ended_with_the_others(tmp_path: Path) -> None:
    async def test(judges: Judges) -> None:
        (pid,) = await pids(judges)
        os.kill(pid, signal.SIGKILL)
        await until((tmp_path / "hangs").exists)
        await judges.close()
        assert gone(tmp_path / "hangs")

    running(test, command=hanging(tmp_path, 1))


def test_processes_of_a_start_that_is_broken_off_are_ended(tmp_path: Path) -> None:
    async def run() -> None:
        judges = Judges(SETUP, 1, hanging(tmp_path, 0))
        starts = asyncio.ensure_future(judges.start())
        await until((tmp_path / "hangs").exists)
        starts.cancel()
        await asyncio.gather(starts, return_exceptions=True)
        assert gone(tmp_path / "hangs")
        await judges.close()

    asyncio.run(run())


def test_processes_that_end_while_nobody_asks_them_are_replaced_and_asked_no_more() -> None:
    async def test(judges: Judges) -> None:
        for pid in await pids(judges, 2):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: judges.ready == 0)
        await until(lambda: judges.ready == 2)
        judged, _ = await judges.judge([piece(BRIEF, "a"), piece(BRIEF, ATTACK)])
        assert [json.loads(one[0])["action"] for one in judged.answers] == ["allow", "block"]
        assert judges.restarts == 2

    running(test, 2)


def test_who_waits_for_a_process_is_judged_by_one_that_a_reload_brings(tmp_path: Path) -> None:
    async def test(judges: Judges) -> None:
        (pid,) = await pids(judges)
        os.kill(pid, signal.SIGKILL)
        waits = asyncio.ensure_future(judges.judge([piece(BRIEF, "a"), piece(BRIEF, ATTACK)]))
        # The first that was to take its place has been refused.
        await until(lambda: judges.restarts == 2)
        await judges.replace(SETUP)
        judged, _ = await waits
        assert [json.loads(one[0])["action"] for one in judged.answers] == ["allow", "block"]
        assert judges.ready == 1

    running(test, setup=Setup(Screening(policy=tmp_path / "once"), ("warm",)))


def test_a_row_that_does_not_fit_the_device_is_alone_with_that() -> None:
    async def test(judges: Judges) -> None:
        judged, _ = await judges.judge([piece(BRIEF, "a", "FULL", ATTACK)])
        found = [json.loads(line) for line in judged.answers[0]]
        assert [(one["action"], one["status"]) for one in found] == [
            ("allow", "ok"),
            ("block", "error"),
            ("block", "ok"),
        ]
        assert judges.restarts == 0

    running(test)


def test_an_actor_that_loses_its_device_ends() -> None:
    asked = "Asked([1], [BRIEF]), batch_of([Row(TEXT, request_id='r')])"
    code = f"""
import sys
from aimds.gateway.frames import Asked, Setup, packed
from aimds.gateway.judge_cell import Judge, arguments
from aimds.gateway.pieces import BRIEF
from aimds.gateway.rows import Row, batch_of
from aimds.gateway.settings import Screening
judge = Judge(**arguments(Setup(Screening()), "fake_judge:build"))
for TEXT in "a", "LOST":
    _, head, body = packed({asked})
    assert b"allow" in judge.judge(head, body)[0]
    print("judged", TEXT, flush=True)
"""
    done = subprocess.run(
        (sys.executable, "-c", code),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "judged a"), done.stderr
    assert "Traceback" not in done.stderr
    assert "the process has to be started anew" in done.stderr


def test_a_gateway_that_judges_by_itself_is_neither_ready_nor_alive_once_its_device_is_lost() -> None:
    class Lost(Fake):
        def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            if "LOST" in batch.column("text").to_pylist():
                self.batches.append(batch.num_rows)
                raise DeviceLost("cuda", "CUDARuntimeError: cudaErrorIllegalAddress")
            return super().screen_batch(batch)

    screener, said = Lost(), []
    with live(INSECURE, screener, say=said.append) as server:
        assert [server.ask("GET", path)[0] for path in ("/readyz", "/healthz")] == [200, 200]
        body = ndjson(*({"text": text} for text in ("a", "LOST", "b", "c")))
        _, _, answer = server.ask("POST", "/v1/screen/batch", body, content_type="application/x-ndjson")
        assert [json.loads(line)["status"] for line in answer.splitlines()] == ["error"] * 4
        assert screener.batches == [4]
        status, _, answer = server.ask("GET", "/readyz")
        assert (status, json.loads(answer)["ready"]) == (503, False)
        status, _, answer = server.ask("GET", "/healthz")
        assert (status, json.loads(answer)["status"]) == (503, "device lost")
        assert server.screen("LOST")[0] == 500
    assert len([line for line in said if "the process has to be started anew" in line]) == 1


def test_a_setup_that_cannot_be_used_leaves_the_old_processes_at_work() -> None:
    async def test(judges: Judges) -> None:
        with pytest.raises(JudgeError, match="another one"):
            await judges.replace(Setup(Screening(policy=Path("refused"))))
        await judges.replace(Setup(Screening(policy=Path("good")), ("warm",)))
        judged, _ = await judges.judge([piece(BRIEF, ATTACK)])
        assert json.loads(judged.answers[0][0])["action"] == "block"
        assert judges.restarts == 0

    running(test)


def test_a_command_that_is_not_there_is_said() -> None:
    async def run() -> None:
        judges = Judges(SETUP, 2, ("/nowhere/at-all",))
        with pytest.raises(JudgeError, match="nowhere"):
            await judges.start()
        await judges.close()

    asyncio.run(run())


def test_a_gateway_with_processes_serves_and_records(tmp_path: Path) -> None:
    settings = replace(SERVED, audit=Audit(tmp_path / "audit.log", None, "all"))
    with live(settings, judge=COMMAND, warm=("warm",)) as server:
        assert server.screen(ATTACK)[1]["action"] == "block"
        status, _, answer = server.ask(
            "POST",
            "/v1/screen/batch?verdict=brief",
            ndjson(*({"text": text} for text in ("a", ATTACK, BOOM))),
            content_type="application/x-ndjson",
        )
        assert (status, [json.loads(line)["status"] for line in answer.splitlines()]) == (200, ["ok", "ok", "error"])
        assert server.screen("DIE")[0] == 500
        assert server.screen("still served")[0] == 200
        server.call(server.gateway.reload())
        assert server.screen("and after a reload")[0] == 200
    assert (tmp_path / "audit.log").read_bytes().count(b'"verdict"') == 6


def becomes(server: Live, status: int) -> Any:
    """What `/readyz` says once its status is ``status``."""
    deadline = time.monotonic() + 60
    while (found := server.ask("GET", "/readyz"))[0] != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return json.loads(found[2])


def test_a_gateway_is_not_ready_while_nothing_judges(tmp_path: Path) -> None:
    once = tmp_path / "once"
    settings = replace(INSECURE, screening=Screening(workers=1, policy=once))
    with live(settings, judge=COMMAND, warm=("warm",), patience_s=60) as server:
        assert becomes(server, 200) == {"ready": True, "draining": False}
        os.kill(int(server.screen("a")[1]["engine_version"]), signal.SIGKILL)
        assert becomes(server, 503) == {"ready": False, "draining": False}
        once.unlink()
        becomes(server, 200)
        assert server.screen(ATTACK)[1]["action"] == "block"


def test_a_gateway_whose_process_hangs_is_not_ready_before_anybody_asks_for_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimds.gateway.judges.BEAT_S", 0.05)
    monkeypatch.setattr("aimds.gateway.judges.SILENT_S", 5.0)
    settings = replace(INSECURE, screening=Screening(workers=1, policy=tmp_path / "once"))
    with live(settings, judge=COMMAND, warm=("warm",), patience_s=60) as server:
        os.kill(int(server.screen("a")[1]["engine_version"]), signal.SIGSTOP)
        becomes(server, 503)
        (tmp_path / "once").unlink()
        assert becomes(server, 200) == {"ready": True, "draining": False}


def test_what_follows_from_held_sessions_reaches_rows_that_other_processes_judged() -> None:
    class Known(Fake):
        policy = Policy.load()

    with live(SERVED, Known(), judge=COMMAND, warm=["warm"]) as server:
        server.gateway.responder._quarantine.put((None, "held", None), time.time(), 60.0)
        lines = [
            {"text": "hello", "request_id": "a", "session_id": "free"},
            {"text": "hello", "request_id": "b", "session_id": "held"},
            {"text": "ATTACK", "request_id": "c", "session_id": "free"},
        ]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        _, _, answer = server.ask("POST", "/v1/screen/batch", body, content_type="application/x-ndjson")
        found = [json.loads(line) for line in answer.splitlines()]
        assert [one["action"] for one in found] == ["allow", "block", "block"]
        assert found[1]["violations"] == ["session_quarantined"]
        metrics = server.ask("GET", "/metrics")[2].decode()
        assert 'aimds_rows_total{action="block"} 2.0' in metrics
