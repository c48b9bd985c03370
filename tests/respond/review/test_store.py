"""The store under stress: restarts, kill -9, several processes, other files in its place."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from review_cases import ADA, START, case, queue

from aimds.errors import ConfigError, DataError
from aimds.respond.review import Filter, Queue, ReviewConfig

ADD_FOR_EVER = """
import sys
from review_cases import START, case
from aimds.respond.review import Queue
queue = Queue(sys.argv[1], create=True)
for i in range(100000):
    queue.add([case(2 * i), case(2 * i + 1)], (), START, "scan")
    print(i, flush=True)
"""
CLAIM_ALL = """
import sys
from review_cases import START
from aimds.respond.review import Queue, Reviewer
queue, who = Queue(sys.argv[1]), Reviewer(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
while (item := queue.claim(who, START)) is not None:
    print(item.id, flush=True)
"""


def program(code: str, *arguments: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_what_was_answered_survives_kill_9_and_what_was_not_is_whole_or_not_there(place: Path | str) -> None:
    process = program(ADD_FOR_EVER, place)
    assert process.stdout is not None
    assert process.stdin is not None
    done = -1
    try:
        while done < 12:
            done = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        done = max([done, *map(int, process.stdout.read().split())])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
    after = Queue(place)
    found = after.matching(ADA, START, Filter("all"))
    assert found >= 2 * (done + 1)
    assert found % 2 == 0
    assert len(after.history(ADA, found)) == 1
    assert after.decide(ADA, 1, "attack", "seen", START).label == "attack"
    if isinstance(place, Path):
        (whole,) = sqlite3.connect(place).execute("PRAGMA integrity_check").fetchone()
        assert whole == "ok"


def test_two_processes_that_claim_at_once_get_each_item_once(place: Path | str) -> None:
    queue(place, *(case(i) for i in range(40)))
    both = [program(CLAIM_ALL, place, name) for name in ("ada", "ben")]
    claimed = []
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        claimed.append([int(line) for line in out.split()])
    assert sorted(claimed[0] + claimed[1]) == list(range(1, 41))


def test_two_processes_that_make_the_queue_at_once_share_it(place: Path | str) -> None:
    code = "import sys; from aimds.respond.review import Queue; Queue(sys.argv[1], create=True).close()"
    both = [program(code, place) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert Queue(place).matching(ADA, START, Filter("all")) == 0


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    made = queue(tmp_path / "review.db", case())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("review.db", "review.db-wal", "review.db-shm"), 0o600)
    made.close()


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="review add"):
        Queue(tmp_path / "none.db")
    with pytest.raises(DataError, match="cannot be made"):
        Queue(tmp_path / "no" / "folder.db", create=True)


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_in_the_place_of_a_queue_is_called_one(tmp_path: Path, create: bool) -> None:
    with pytest.raises(DataError, match="is a folder"):
        Queue(tmp_path, create=create)


def test_files_of_another_kind_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    plain = tmp_path / "notes.txt"
    plain.write_bytes(b"these are notes, and many of them " * 200)
    with pytest.raises(DataError, match="not a review queue"):
        Queue(plain, create=True)
    assert plain.read_bytes() == b"these are notes, and many of them " * 200
    other = tmp_path / "other.db"
    base = sqlite3.connect(other)
    base.execute("CREATE TABLE mine (a)")
    base.commit()
    base.close()
    before = other.read_bytes()
    with pytest.raises(DataError, match="something else"):
        Queue(other, create=True)
    assert other.read_bytes() == before


def test_a_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    queue(tmp_path / "review.db").close()
    base = sqlite3.connect(tmp_path / "review.db")
    base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(DataError, match="format 9"):
        Queue(tmp_path / "review.db")


def test_a_step_that_breaks_in_the_middle_changes_nothing(place: Path | str) -> None:
    made = queue(place)

    def broken() -> object:
        yield case(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.add(broken(), (), START, "scan")  # type: ignore[arg-type]
    assert made.matching(ADA, START, Filter("all")) == 0
    # An id that was given to a step that broke may be left out.
    assert len(made.add([case(0)], (), START, "scan").ids) == 1


def test_a_reader_does_not_wait_for_a_writer(place: Path | str) -> None:
    made = queue(place, case())
    other = Queue(place)
    with made.store.change():
        began = time.monotonic()
        assert other.get(ADA, 1).state == "open"
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("bad", [{"lease": timedelta()}, {"sla": {"low": timedelta(hours=1)}}])
def test_times_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ReviewConfig(**bad)  # type: ignore[arg-type]
