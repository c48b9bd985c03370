"""`aimds review`: from verdict files to decisions and back out, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import postgres_server
import pyarrow.parquet as pq
import pytest
import typer
import verdict_factory
from typer.testing import CliRunner, Result

from aimds.cli import review
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.printable import hidden
from aimds.respond.review import ReviewError
from aimds.schema import FEEDBACK


def run(folder: Path, *arguments: object, name: str = "ada", queue: str = "") -> Result:
    app = typer.Typer()
    review.register(app)
    options = [] if arguments[:1] == ("--help",) else ["--queue", queue or folder / "review.db", "--as", name]
    return CliRunner().invoke(app, [str(part) for part in ("review", *arguments, *options)])


def told(folder: Path, *arguments: object, name: str = "ada", queue: str = "") -> Any:
    done = run(folder, *arguments, "--json", name=name, queue=queue)
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    rows = [
        verdict_factory.row(0, session_id="s1", turn=0),
        verdict_factory.attack(1, action="escalate", session_id="s1", turn=1, severity=0.97),
        verdict_factory.attack(2, action="block", session_id="s2", turn=0, text="\x1b[31mred\u202e ATTACK"),
        verdict_factory.attack(3, action="escalate", session_id=None, threat="jailbreak"),
        verdict_factory.row(4, session_id="s1", tenant="globex-test"),
    ]
    verdict_factory.write(tmp_path / "verdicts.parquet", rows)
    assert run(tmp_path, "add", tmp_path / "verdicts.parquet", "--action", "escalate,block").exit_code == 0
    return tmp_path


def test_adding_again_adds_nothing_and_turns_of_a_session_come_along(filled: Path) -> None:
    again = told(filled, "add", filled / "verdicts.parquet", "--action", "escalate,block")
    assert again == {"files": 1, "rows": 5, "chosen": 3, "new": 0, "known": 3, "without_text": 0, "turns": 1}
    shown = told(filled, "show", 1)
    assert [(turn["turn"], turn["action"]) for turn in shown["session"]] == [(0, "allow"), (1, "escalate")]


def test_the_whole_way_of_an_item(filled: Path) -> None:
    assert [item["id"] for item in told(filled, "list")["items"]] == [1, 2, 3]
    assert told(filled, "claim")["claimed_by"] == "ada"
    taken = run(filled, "decide", 1, "benign", "-r", "no", name="ben")
    assert isinstance(taken.exception, ReviewError)
    assert told(filled, "decide", 1, "benign", "-r", "a quotation")["label"] == "benign"
    assert told(filled, "undo", 1, "-r", "look again")["state"] == "open"
    assert told(filled, "decide", 1, "benign", "-r", "a quotation")["state"] == "decided"
    assert told(filled, "decide", 3, "attack", "-r", "an order", name="ben")["reviewer"] == "ben"
    stats = told(filled, "stats")
    assert (stats["open"], stats["attack"], stats["benign"]) == (1, 1, 1)
    out = told(filled, "export", filled / "feedback.parquet")
    assert (out["rows"], out["attack"]) == (2, 1)
    assert pq.read_schema(filled / "feedback.parquet") == FEEDBACK
    assert told(filled, "export", filled / "feedback.parquet", "--since", "2999-01-01")["rows"] == 0
    assert "ada decided benign: a quotation" in run(filled, "show", 1).stdout


def test_a_queue_on_a_server_is_used_like_a_file(
    filled: Path, postgres: postgres_server.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.passfile))
    url = postgres.database()
    assert isinstance(run(filled, "list", queue=url).exception, DataError)
    added = told(filled, "add", filled / "verdicts.parquet", "--action", "escalate,block", queue=url)
    assert (added["new"], added["turns"]) == (3, 1)
    assert told(filled, "claim", queue=url)["claimed_by"] == "ada"
    taken = run(filled, "decide", 1, "benign", "-r", "no", name="ben", queue=url)
    assert isinstance(taken.exception, ReviewError)
    assert told(filled, "decide", 1, "benign", "-r", "a quotation", queue=url)["label"] == "benign"
    assert told(filled, "export", filled / "feedback.parquet", queue=url)["rows"] == 1
    assert told(filled, "prune", "--days", 0, queue=url) == {"items": 3}
    assert told(filled, "erase", "--session", "s2", queue=url) == {"items": 1}
    assert told(filled, "list")["total"] == 3


def test_letting_pass_needs_two_people(filled: Path) -> None:
    run(filled, "decide", 1, "benign", "-r", "a quotation")
    proposal = told(filled, "allow", "propose", 1, "-r", "our handbook", "--expires", "2999-12-31")
    assert proposal["state"] == "open"
    alone = run(filled, "allow", "approve", proposal["id"], "-r", "fine")
    assert isinstance(alone.exception, ReviewError)
    assert run(filled, "allow", "export").stdout == ""
    assert told(filled, "allow", "approve", proposal["id"], "-r", "fine", name="ben")["state"] == "approved"
    (entry,) = tomllib.loads(run(filled, "allow", "export").stdout)["allowlist"]
    assert entry["approved_by"] == ["ada", "ben"]
    assert told(filled, "allow", "list", "--state", "open") == []
    assert "approved" in run(filled, "allow", "list").stdout


def test_nothing_to_claim_is_exit_code_1(filled: Path) -> None:
    for _ in range(3):
        assert run(filled, "claim").exit_code == 0
    assert run(filled, "claim", name="ben").exit_code == 1
    assert told(filled, "release", 1)["claimed_by"] is None
    assert told(filled, "claim", name="ben")["id"] == 1


def test_texts_go_and_subjects_are_erased(filled: Path) -> None:
    assert told(filled, "prune", "--days", 1) == {"items": 0}
    assert told(filled, "erase", "--session", "s2") == {"items": 1}
    assert told(filled, "show", 2)["text"] is None
    assert told(filled, "prune", "--days", 0) == {"items": 2}
    assert "The text was removed." in run(filled, "show", 1).stdout
    assert isinstance(run(filled, "erase").exception, ConfigError)


def test_a_session_of_two_tenants_is_erased_only_where_the_tenant_is_named(filled: Path) -> None:
    rows = [verdict_factory.attack(9, action="block", session_id="s2", tenant="globex-test")]
    verdict_factory.write(filled / "more.parquet", rows)
    assert run(filled, "add", filled / "more.parquet", "--action", "block").exit_code == 0
    error = run(filled, "erase", "--session", "s2").exception
    assert isinstance(error, ConfigError)
    assert "acme-test, globex-test" in str(error)
    assert told(filled, "show", 2)["text"] is not None
    assert told(filled, "erase", "--session", "s2", "--tenant", "globex-test") == {"items": 1}
    assert told(filled, "erase", "--session", "s2") == {"items": 1}


def test_hostile_text_does_not_reach_the_terminal(filled: Path) -> None:
    for arguments in (("list",), ("show", 2)):
        shown = run(filled, *arguments).stdout
        assert "U+001B" in shown
        assert not [character for character in shown if hidden(character)]


def test_lists_fit_and_say_what_is_left_out(filled: Path) -> None:
    assert "1 of 3" in run(filled, "list", "--limit", 1).stdout
    assert [one["id"] for one in told(filled, "list", "--threat", "jailbreak")["items"]] == [3]
    assert [one["id"] for one in told(filled, "list", "--severity", "critical")["items"]] == [1]
    assert "nothing fits" in run(filled, "list", "--overdue").stdout


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("list", "--state", "x"), ConfigError, "open, decided, all"),
        (("show", 99), ReviewError, "item 99"),
        (("decide", 1, "maybe", "-r", "x"), ConfigError, "attack, benign"),
        (("decide", 1, "attack", "-r", " "), ReviewError, "a reason is needed"),
        (("undo", 1, "-r", "x"), ReviewError, "not decided"),
        (("allow", "approve", 5, "-r", "x"), ReviewError, "proposal 5"),
        (("allow", "propose", 1, "-r", "x"), ReviewError, "decide it first"),
        (("export", "none/feedback.parquet"), DataError, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(
    filled: Path, arguments: tuple[object, ...], kind: type[AimdsError], said: str
) -> None:
    done = run(filled, *arguments)
    assert isinstance(done.exception, kind)
    assert said in str(done.exception)


def test_a_bad_start_leaves_no_queue_behind(tmp_path: Path) -> None:
    verdict_factory.write(tmp_path / "v.parquet", [verdict_factory.attack(1, action="escalate")])
    assert isinstance(run(tmp_path, "list").exception, DataError)
    assert isinstance(run(tmp_path, "add", tmp_path / "none").exception, DataError)
    assert isinstance(run(tmp_path, "add", tmp_path / "v.parquet", "--action", "escalat").exception, ConfigError)
    assert not (tmp_path / "review.db").exists()


def test_an_empty_file_is_not_made_a_queue_by_looking_at_it(tmp_path: Path) -> None:
    (tmp_path / "review.db").write_bytes(b"")
    for look in ("list", "stats", "claim"):
        done = run(tmp_path, look)
        assert isinstance(done.exception, DataError)
        assert "is empty, not a review queue" in str(done.exception)
    assert (tmp_path / "review.db").read_bytes() == b""


def test_verdicts_without_a_text_are_queued_and_said(tmp_path: Path) -> None:
    verdict_factory.write(tmp_path / "v.parquet", [verdict_factory.attack(1, action="escalate")], text=False)
    done = run(tmp_path, "add", tmp_path / "v.parquet")
    assert "--with-text" in done.output
    assert "There is no text." in run(tmp_path, "show", 1).stdout


def test_the_console_opens_by_a_link_and_ends_by_a_signal(filled: Path) -> None:
    open_ = [
        sys.executable,
        "-m",
        "aimds",
        "review",
        "open",
        "--no-browser",
        "-q",
        str(filled / "review.db"),
        "--as",
        "ada",
    ]
    process = subprocess.Popen(open_, stderr=subprocess.PIPE, text=True)
    open_things = contextlib.ExitStack()
    try:
        assert process.stderr is not None
        link = process.stderr.readline().split()[-1]
        address, _, path = link.removeprefix("http://").partition("/")
        connection = open_things.enter_context(contextlib.closing(http.client.HTTPConnection(address, timeout=60)))
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        answer.read()
        cookie = str(answer.getheader("set-cookie")).partition(";")[0]
        connection.request("GET", "/console/api/items", headers={"cookie": cookie})
        assert json.loads(connection.getresponse().read())["total"] == 3
        connection.request("GET", f"/{path}")
        again = connection.getresponse()
        assert again.status == 401
        again.read()
        connection.request("GET", "/v1/screen")
        assert connection.getresponse().status == 404
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert "every decision is kept" in process.stderr.read()
        assert process.wait(30) == 0
    finally:
        open_things.close()
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
