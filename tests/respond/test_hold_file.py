"""Holds outlive their process: what was held or let go is so again, whatever became of the process and the file."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
import verdict_batches
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from verdict_batches import batch

from aimds import data
from aimds.errors import DataError
from aimds.ids import short
from aimds.respond import hold_file, hold_lines
from aimds.respond.carry_out import Responder
from aimds.respond.held import Hold
from aimds.respond.hold_file import MARK, HoldFile
from aimds.respond.policy import Policy

START = {"session_id": "s", "session_action": "quarantine", "request_id": "r1"}
SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
POLICY = Policy({**SHIPPED, "rate_limit": {"action": "block", "minutes": 10, "turns_per_minute": 2}})
ENDLESS = Policy({**SHIPPED, "quarantine": {"action": "block", "minutes": 0}})


def acted(responder: Responder, now: float, *rows: dict[str, Any], policy: Policy = POLICY) -> list[tuple[str, str]]:
    out = responder.respond(policy, batch(*rows), now)
    return list(zip(out.column("action").to_pylist(), out.column("session_action").to_pylist(), strict=True))


def opened(path: Path, now: float = 0.0, said: list[str] | None = None, **options: Any) -> Responder:
    return Responder(file=HoldFile(path, (said if said is not None else []).append), now=now, **options)


def crashed(responder: Responder) -> None:
    """What the end of a process leaves: nothing is written any more, and the lock is gone."""
    assert responder._file is not None
    responder._file.close()


def state(responder: Responder, now: float) -> Any:
    return responder.listed(now)


def test_what_is_held_is_held_after_a_crash_and_what_was_let_go_is_not(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    one = opened(path)
    acted(one, 100.0, START, {"session_id": "t", "session_action": "quarantine"}, policy=ENDLESS)
    acted(one, 101.0, {"session_id": "u", "tenant": "b", "session_action": "rate_limit"})
    assert one.release("acme-test", "t", 102.0)
    expected = state(one, 103.0)
    crashed(one)
    after = opened(path, 103.0)
    assert state(after, 103.0) == expected
    assert [key[1] for key, _ in expected["quarantine"]] == ["s"]
    assert math.isinf(expected["quarantine"][0][1].until)
    assert acted(after, 104.0, {"session_id": "s"}, {"session_id": "t"}) == [("block", "quarantine"), ("allow", "none")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_killed_process_has_every_hold_in_its_file_whose_verdict_it_gave(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from verdict_batches import batch\n"
        "from aimds.respond.carry_out import Responder\n"
        "from aimds.respond.hold_file import HoldFile\n"
        "from aimds.respond.policy import Policy\n"
        "one = Responder(file=HoldFile(Path(sys.argv[1]), print))\n"
        "one.respond(Policy.load(), batch({'session_id': 's', 'session_action': 'quarantine'}), 1.0)\n"
        "print('given', flush=True)\n"
        "input()\n"
    )
    folders = [str(Path(str(verdict_batches.__file__)).parent)]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path), *folders], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "given\n"
        process.send_signal(signal.SIGKILL)
    assert acted(opened(path, 2.0), 2.0, {"session_id": "s"}) == [("block", "quarantine")]


def test_a_limited_session_has_saved_up_no_turns_after_a_restart(tmp_path: Path) -> None:
    one = opened(tmp_path / "holds")
    acted(one, 0.0, {"session_id": "s", "session_action": "rate_limit"})
    crashed(one)
    after = opened(tmp_path / "holds", 10.0)
    assert acted(after, 10.0, {"session_id": "s"}) == [("block", "rate_limit")]
    assert acted(after, 41.0, {"session_id": "s"}) == [("allow", "none")]


def test_a_hold_that_ended_while_nobody_ran_is_told_of_once(tmp_path: Path) -> None:
    one = opened(tmp_path / "holds")
    acted(one, 0.0, START)
    one.close()
    after = opened(tmp_path / "holds", 1e6)
    assert [key[1] for key, _ in after.ended(1e6)["quarantine"]] == ["s"]
    after.tidy()
    crashed(after)
    assert opened(tmp_path / "holds", 1e6).ended(1e6) == {"quarantine": [], "rate_limit": []}


def test_one_process_writes_a_file_at_a_time(tmp_path: Path) -> None:
    one = opened(tmp_path / "holds")
    with pytest.raises(DataError, match="another process"):
        opened(tmp_path / "holds")
    one.close()
    opened(tmp_path / "holds")


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        opened(tmp_path / "none" / "holds")
    with pytest.raises(DataError):
        opened(tmp_path)


def lines(*values: Any) -> bytes:
    made = []
    for value in values:
        text = json.dumps(value).encode()
        made.append(hold_lines._hash(text) + b" " + text + b"\n")
    return MARK + b"".join(made)


GOOD = ["quarantine", None, "s", None, 1.0, None, "r"]


@pytest.mark.parametrize(
    "line",
    [
        3,
        [],
        ["quarantine", None, "t", None],
        ["hold", None, "t", None, 1.0, 2.0, "r"],
        ["quarantine", None, None, "me", 1.0, 2.0, "r"],
        ["quarantine", None, "t", "me", 1.0, 2.0, "r"],
        ["rate_limit", None, None, None, 1.0, 2.0, "r"],
        ["quarantine", 3, "t", None, 1.0, 2.0, "r"],
        ["quarantine", None, "t", None, math.nan, 2.0, "r"],
        ["quarantine", None, "t", None, 1.0, math.inf, "r"],
        ["quarantine", None, "t", None, 1.0, 1e300, "r"],
        ["quarantine", None, "t", None, True, 2.0, "r"],
        ["quarantine", None, "t", None, 10**400, 2.0, "r"],
        ["quarantine", None, "t", None, 1.0, 2.0, None],
    ],
)
def test_lines_that_cannot_be_are_left_out_and_the_others_hold(tmp_path: Path, line: Any) -> None:
    said: list[str] = []
    content = lines(GOOD, line)
    (tmp_path / "holds").write_bytes(content)
    found = state(opened(tmp_path / "holds", 5.0, said), 5.0)
    assert found == {"quarantine": [((None, "s", None), Hold(1.0, math.inf, "r"))], "rate_limit": []}
    # Letting go what is not held is nothing wrong.
    assert (tmp_path / "holds.bad").exists() == any("1 of its 2 lines" in one for one in said) == (line != _LET_GO)
    if line != _LET_GO:
        assert (tmp_path / "holds.bad").read_bytes() == content


_LET_GO = ["quarantine", None, "t", None]


@pytest.mark.parametrize("content", [b"torn", b"AIMDSH2\n", b"\0" * 100, MARK[:-1]])
def test_a_file_of_another_kind_is_put_aside(tmp_path: Path, content: bytes) -> None:
    said: list[str] = []
    (tmp_path / "holds").write_bytes(content)
    one = opened(tmp_path / "holds", 0.0, said)
    assert "put aside as holds.bad" in said[0]
    assert (tmp_path / "holds.bad").read_bytes() == content
    acted(one, 1.0, START)
    crashed(one)
    assert acted(opened(tmp_path / "holds"), 2.0, {"session_id": "s"}) == [("block", "quarantine")]


def test_a_line_that_is_too_long_is_left_out_and_the_others_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(hold_lines, "MOST_LINE", 200)
    long = ["quarantine", None, "t" * 500, None, 1.0, None, "r"]
    (tmp_path / "holds").write_bytes(lines(GOOD, long, ["quarantine", None, "u", None, 1.0, None, "r"]))
    found = state(opened(tmp_path / "holds", 5.0, said), 5.0)
    assert [key[1] for key, _ in found["quarantine"]] == ["s", "u"]
    assert "lines are damaged; 2 holds are in the others" in said[0]


def test_a_client_with_long_names_of_requests_does_not_make_the_file_long(tmp_path: Path) -> None:
    one = opened(tmp_path / "holds")
    acted(one, 1.0, {**START, "request_id": "x" * 100_000})
    crashed(one)
    assert (tmp_path / "holds").stat().st_size < 1000
    found = state(opened(tmp_path / "holds"), 2.0)
    assert [hold.request_id for _, hold in found["quarantine"]] == ["x" * 256]


def test_a_damaged_file_stays_until_what_is_sound_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "holds").write_bytes(lines(GOOD) + b"damaged\n")

    def full(path: Path, content: bytes, **_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(hold_file.disk, "replace", full)
        with pytest.raises(DataError, match="No space"):
            opened(tmp_path / "holds", 5.0)
    found = state(opened(tmp_path / "holds", 5.0), 5.0)
    assert [key[1] for key, _ in found["quarantine"]] == ["s"]


def test_a_session_with_a_long_name_in_a_file_of_an_earlier_version_is_held_by_its_stand_in(tmp_path: Path) -> None:
    path, name = tmp_path / "holds", "s" * 600
    key = ("acme-test", name, None)
    path.write_bytes(MARK + hold_lines.line(("quarantine", key, Hold(100.0, math.inf, "r1"))))
    one = opened(path, 101.0)
    assert [key for key, _ in state(one, 101.0)["quarantine"]] == [("acme-test", short(name), None)]
    assert one.release("acme-test", short(name), 102.0)
    crashed(one)
    assert state(opened(path, 103.0), 103.0)["quarantine"] == []


def test_a_file_that_is_closed_while_it_is_written_anew_is_whole_and_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "holds"
    one = opened(path)
    acted(one, 100.0, START)
    file, line, closing = one._file, hold_lines.line, threading.Event()
    assert file is not None

    def close() -> None:
        closing.set()
        file.close()

    others = threading.Thread(target=close)

    def slow(change: Any) -> bytes:
        others.start()
        assert closing.wait(10)
        others.join(0.2)
        return line(change)

    monkeypatch.setattr(hold_file, "line", slow)
    file.rewrite(one._everything)
    others.join(10)
    monkeypatch.undo()
    assert not others.is_alive()
    two = opened(path)
    acted(two, 101.0, {**START, "session_id": "t"})
    crashed(two)
    assert [key[1] for key, _ in state(opened(path, 102.0), 102.0)["quarantine"]] == ["s", "t"]


@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(drawn=st.data())
def test_no_mutation_of_a_file_does_more_than_lose_its_own_lines(tmp_path: Path, drawn: st.DataObject) -> None:
    path = tmp_path / "holds"
    path.unlink(missing_ok=True)
    many = [["quarantine", None, f"s{k}", None, 1.0, None, "r"] for k in range(5)]
    content = bytearray(lines(*many))
    place = drawn.draw(st.integers(len(MARK), len(content) - 1))
    byte = drawn.draw(st.integers(0, 255))
    cut = drawn.draw(st.booleans())
    path.write_bytes(
        bytes(content[:place]) if cut else bytes(content[:place]) + bytes([byte]) + bytes(content[place + 1 :])
    )
    # A line that loses its end takes the next with it.
    hurt = content[:place].count(b"\n") - 1
    one = opened(path, 5.0)
    found = {key[1] for key, _ in state(one, 5.0)["quarantine"]}
    assert found <= {f"s{k}" for k in range(5)}
    assert found >= {f"s{k}" for k in range(5) if (k < hurt if cut else k not in (hurt, hurt + 1))}
    crashed(one)
    again = opened(path, 5.0, said := [])
    assert {key[1] for key, _ in state(again, 5.0)["quarantine"]} == found
    assert said == []
    crashed(again)


def test_a_torn_last_line_is_cut_off_and_what_follows_is_whole(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "holds").write_bytes(lines(GOOD) + b"0123")
    one = opened(tmp_path / "holds", 5.0, said)
    assert "torn" in said[0]
    acted(one, 6.0, {"session_id": "t", "session_action": "quarantine"})
    crashed(one)
    said.clear()
    assert len(state(opened(tmp_path / "holds", 7.0, said), 7.0)["quarantine"]) == 2
    assert said == []


def test_a_full_disk_is_said_once_stops_nothing_and_is_caught_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    one = opened(tmp_path / "holds", 0.0, said)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("aimds.record.disk.write", full)
        assert acted(one, 1.0, START) == [("allow", "quarantine")]
        assert not one.settle()
        one.tidy()
        one.tidy()
        assert acted(one, 2.0, {"session_id": "t", "session_action": "quarantine"}) == [("allow", "quarantine")]
    assert len(said) == 1
    assert "would not outlive" in said[0]
    one.tidy()
    assert one.settle()
    assert "again" in said[1]
    crashed(one)
    assert len(state(opened(tmp_path / "holds", 3.0), 3.0)["quarantine"]) == 2


def test_a_session_that_is_held_again_and_again_does_not_make_the_file_grow(tmp_path: Path) -> None:
    one = opened(tmp_path / "holds")
    for number in range(400):
        acted(one, number / 100, {"session_id": "s", "session_action": "rate_limit"})
    assert len((tmp_path / "holds").read_bytes().splitlines()) < 8
    for number in range(400):
        acted(one, 10.0 + 2 * number, {"session_id": "s", "session_action": "rate_limit"})
        one.tidy()
    assert len((tmp_path / "holds").read_bytes().splitlines()) <= 2 + hold_file.SLACK + 2
    expected = state(one, 809.0)
    crashed(one)
    assert state(opened(tmp_path / "holds", 809.0), 809.0) == expected


def test_no_other_process_has_the_file_while_it_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = tmp_path / "holds", list[str]()
    one = opened(path)
    acted(one, 1.0, START)

    def other(folder: Path) -> None:
        with pytest.raises(DataError, match="another process") as caught:
            HoldFile(path, told.append)
        told.append(str(caught.value))

    with monkeypatch.context() as patched:
        patched.setattr(hold_file.disk, "sync_folder", other)
        assert one._file is not None
        one._file.rewrite(one._everything)
    assert len(told) == 1
    acted(one, 2.0, {**START, "session_id": "t"})
    assert not one._file.behind
    crashed(one)
    assert [key[1] for key, _ in state(opened(path, 3.0), 3.0)["quarantine"]] == ["s", "t"]
    assert os.listdir(tmp_path) == ["holds"]


def test_a_verdict_does_not_wait_while_the_file_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "holds"
    one = opened(path)
    acted(one, 100.0, START)
    line, met = hold_lines.line, list[bool]()

    def slow(change: hold_lines.Change) -> bytes:
        if not met:
            met.append(True)
            others = threading.Thread(target=acted, args=(one, 101.0, {**START, "session_id": "t"}), daemon=True)
            others.start()
            others.join(10.0)
            assert not others.is_alive()
            # It is on the disk before its verdict is given, whatever becomes of the new file.
            assert b'"t"' in path.read_bytes()
        return line(change)

    monkeypatch.setattr(hold_file, "line", slow)
    assert one._file is not None
    one._file.rewrite(one._everything)
    assert met
    monkeypatch.undo()
    crashed(one)
    assert [key[1] for key, _ in opened(path).listed(102.0)["quarantine"]] == ["s", "t"]


def test_a_hold_is_on_the_disk_before_its_verdict_though_a_new_file_is_begun_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "holds"
    one = opened(path)
    acted(one, 99.0, {**START, "session_id": "r"})
    one.held(POLICY, batch(START), 100.0)
    line, met = hold_lines.line, list[bytes]()

    def late(change: hold_lines.Change) -> bytes:
        if change[1][1] == "r":
            # The new file is begun, and the old one is what there is after a crash.
            assert one.settle()
            met.append(path.read_bytes())
        return line(change)

    monkeypatch.setattr(hold_file, "line", late)
    assert one._file is not None
    one._file.rewrite(one._everything)
    assert len(met) == 1
    assert b'"s"' in met[0]
    crashed(one)
    assert [key[1] for key, _ in opened(path).listed(101.0)["quarantine"]] == ["r", "s"]


def test_changes_that_a_new_file_has_seen_do_not_change_its_order(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    one = opened(path, most=2)
    acted(one, 100.0, START, {**START, "session_id": "a"})
    for number, name in enumerate(("b", "s", "c")):
        one.held(POLICY, batch({**START, "session_id": name}), 101.0 + number)
    assert one._file is not None
    one._file.rewrite(one._everything)
    assert one.settle()
    assert [key[1] for key, _ in state(one, 105.0)["quarantine"]] == ["s", "c"]
    crashed(one)
    two = opened(path, 106.0, most=2)
    assert [key[1] for key, _ in state(two, 106.0)["quarantine"]] == ["s", "c"]


def test_lines_that_are_read_one_by_one_are_in_the_order_of_the_changes(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    one = [["quarantine", None, name, None, since, None, "r"] for name, since in (("s", 1.0), ("s", 3.0), ("t", 4.0))]
    gone, strange = ["quarantine", None, "s", None], ["quarantine", None, None, "sender", 5.0, None, "r"]
    path.write_bytes(lines(one[0], gone, one[1], one[2], strange))
    assert [key[1] for key, _ in state(opened(path, 6.0), 6.0)["quarantine"]] == ["s", "t"]


@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 400),
            st.sampled_from(["quarantine", "rate_limit", "none", "release", "ended", "tidy", "crash"]),
        ),
        max_size=40,
    )
)
# Of more than there is room for: one that had gone and is held anew, and one that is held longer.
@example(
    steps=[(0, 0, "quarantine"), (1, 0, "quarantine"), (2, 0, "quarantine"), (0, 0, "quarantine"), (0, 0, "crash")]
)
@example(
    steps=[(0, 0, "quarantine"), (1, 1, "quarantine"), (0, 1, "quarantine"), (2, 1, "quarantine"), (0, 0, "crash")]
)
def test_with_crashes_anywhere_what_is_held_is_what_a_process_without_them_holds(
    tmp_path: Path, steps: list[tuple[int, int, str]]
) -> None:
    (tmp_path / "holds").unlink(missing_ok=True)
    kept, plain, now = opened(tmp_path / "holds", most=2), Responder(most=2), 0.0
    for name, wait, what in steps:
        now += wait
        if what == "crash":
            crashed(kept)
            kept = opened(tmp_path / "holds", now, most=2)
        elif what == "release":
            assert kept.release("acme-test", str(name), now) == plain.release("acme-test", str(name), now)
        elif what in ("ended", "tidy"):
            kept.ended(now)
            plain.ended(now)
            if what == "tidy":
                kept.tidy()
        else:
            for one in (kept, plain):
                acted(one, now, {"session_id": str(name), "session_action": what, "request_id": str(now)})
        assert state(kept, now)["quarantine"] == state(plain, now)["quarantine"]
        limits = [[(key, hold.since) for key, hold in state(one, now)["rate_limit"]] for one in (kept, plain)]
        assert limits[0] == limits[1]
    crashed(kept)
    assert os.listdir(tmp_path) == ["holds"]
