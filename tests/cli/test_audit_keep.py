"""`aimds audit erase`, `retain` and `export` on the command line: nothing is changed unasked, what remains is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import postgres_server
import pyarrow.parquet as pq
import pytest
import typer
import verdict_factory
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from feedback_factory import row as decision
from feedback_factory import table as feedback_table
from review_cases import case, queue
from typer.testing import CliRunner, Result

from aimds.cli import audit, graph
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.learn.feedback import Replay
from aimds.learn.rounds import FEEDBACK
from aimds.record.audit import AuditLog
from aimds.record.keys import create_signing_key, load_signing_key
from aimds.record.rotation import Rotation


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIMDS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    audit.register(app)
    graph.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: object) -> AimdsError:
    error = run(*arguments).exception
    assert isinstance(error, AimdsError), error
    return error


@pytest.fixture
def log(tmp_path: Path) -> Path:
    create_signing_key(tmp_path / "sign.pem")
    pair = load_signing_key(tmp_path / "sign.pem")
    with AuditLog(tmp_path / "audit.log", signing=pair, rotation=Rotation(segment_bytes=4000)) as opened:
        for i in range(20):
            whose = {"session_id": f"s{i % 2}", "tenant": "acme-test", "request_id": f"r{i}"}
            opened.append("verdict", {"i": i, "action": "block", **whose})
            opened.flush()
    return tmp_path / "audit.log"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_erasure_is_said_first_and_done_with_yes(log: Path, tmp_path: Path) -> None:
    before = content(tmp_path)
    said = done("audit", "erase", log, "--session", "s1")
    assert "10 records would be erased (10 verdict" in said
    assert "--yes does it" in said
    assert content(tmp_path) == before
    result = json.loads(done("audit", "erase", log, "--session", "s1", "--signing-key", "sign.pem", "--yes", "--json"))
    assert (result["done"], result["erased"]) == (True, {"audit": 10})
    assert any("not whom it is about" in sentence for sentence in result["remains"])
    assert any("exports, verdict files" in sentence for sentence in result["remains"])
    report = json.loads(done("audit", "verify", log, "--public", "sign.pem.pub", "--json"))
    assert (report["ok"], report["erased"]) == (True, 10)
    assert b'"s1"' not in b"".join(content(tmp_path).values())
    assert "0 records would be erased" in done("audit", "erase", log, "--session", "s1")


def test_what_is_in_use_or_not_there_is_not_erased_from(log: Path, tmp_path: Path) -> None:
    assert isinstance(refused("audit", "erase", log), ConfigError)
    assert isinstance(refused("audit", "erase", tmp_path / "none", "--session", "s1"), DataError)
    assert "signing key" in str(refused("audit", "erase", log, "--session", "s1", "--yes"))
    pair: Ed25519PrivateKey = load_signing_key(tmp_path / "sign.pem")
    with AuditLog(log, signing=pair):
        before = content(tmp_path)
        error = refused("audit", "erase", log, "--session", "s1", "--signing-key", "sign.pem", "--yes", "--wait", "0")
        assert "being written" in str(error)
        assert content(tmp_path) == before
    assert "10 records" in done("audit", "erase", log, "--session", "s1")
    assert "--review" in str(refused("audit", "erase", log, "--session", "s1", "--review", tmp_path / "none.db"))


def stores(tmp_path: Path, home: Path, **changed: Any) -> None:
    whose = {"session_id": "s1", **changed}
    queue(tmp_path / "review.db", case(1, request_id="r1", **whose)).close()
    verdict_factory.write(tmp_path / "v.parquet", [verdict_factory.attack(1, **whose)])
    done("graph", "add", tmp_path / "v.parquet")
    (tmp_path / "v.parquet").unlink()
    rows = [decision(1, session_id="s1", tenant=changed.get("tenant", "acme-test"))]
    Replay(home / "learning" / FEEDBACK).add(feedback_table(rows))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b'{"seq": 0'])
@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_file_without_a_record_is_no_log_to_erase_from(tmp_path: Path, content: bytes, yes: tuple[str, ...]) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    for arguments in (("erase", file, "--session", "s1"), ("retain", file, "--days", "1")):
        assert "not an audit log" in str(refused("audit", *arguments, *yes))
    assert [(one, one.read_bytes()) for one in tmp_path.iterdir()] == [(file, content)]


def test_other_stores_of_the_subject_are_named_and_erased_where_given(log: Path, tmp_path: Path, home: Path) -> None:
    stores(tmp_path, home)
    result = json.loads(done("audit", "erase", log, "--session", "s1", "--json"))
    assert {name: one["found"] for name, one in result["stores"].items()} == {"review": 1, "graph": 3, "learning": 1}
    for name in ("review", "graph", "learning"):
        assert any(sentence.startswith(f"{name}: ") and f"--{name} here" in sentence for sentence in result["remains"])
    given = ("--review", "review.db", "--graph", home / "graph.sqlite", "--learning", home / "learning")
    said = done("audit", "erase", log, "--session", "s1", *given)
    assert "graph: 3 would be erased" in said
    ending = ("--signing-key", "sign.pem", "--yes", "--json")
    result = json.loads(done("audit", "erase", log, "--session", "s1", *given, *ending))
    assert result["erased"] == {"review": 1, "graph": 3, "learning": 1, "audit": 10}
    assert any("stays in force" in sentence for sentence in result["remains"])
    found = content(tmp_path)
    for name, bytes_of in found.items():
        if "part-" not in name:
            assert b"s1\x00" not in bytes_of, name
            assert b'"s1"' not in bytes_of, name
    again = json.loads(done("audit", "erase", log, "--session", "s1", *given, "--json"))
    assert [again["audit"]["records"], *(one["found"] for one in again["stores"].values())] == [0, 0, 0, 0]


def test_a_queue_on_a_server_is_erased_from_too(
    log: Path, postgres: postgres_server.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.passfile))
    url = postgres.database()
    assert isinstance(refused("audit", "erase", log, "--session", "s1", "--review", url), DataError)
    queue(url, case(1, session_id="s1"), case(2, session_id="s2")).close()
    asked = ("audit", "erase", log, "--session", "s1", "--review", url)
    assert json.loads(done(*asked, "--json"))["stores"]["review"] == {"found": 1, "where": url, "given": True}
    ending = ("--signing-key", "sign.pem", "--yes", "--json")
    assert json.loads(done(*asked, *ending))["erased"] == {"review": 1, "audit": 10}


def test_a_session_of_two_tenants_wants_the_tenant_even_across_stores(log: Path, tmp_path: Path, home: Path) -> None:
    stores(tmp_path, home, tenant="globex-test")
    given = ("--review", "review.db", "--graph", home / "graph.sqlite", "--tenant", "globex-test")
    assert "signing key" in str(refused("audit", "erase", log, "--session", "s1", *given, "--yes"))
    error = refused("audit", "erase", log, "--session", "s1", "--signing-key", "sign.pem", "--yes")
    assert "acme-test, globex-test" in str(error)
    ending = (
        "--tenant",
        "globex-test",
        "--graph",
        home / "graph.sqlite",
        "--signing-key",
        "sign.pem",
        "--yes",
        "--json",
    )
    result = json.loads(done("audit", "erase", log, "--session", "s1", *ending))
    assert result["erased"] == {"graph": 3, "audit": 0}


def test_stores_that_do_not_know_identities_say_so(log: Path, tmp_path: Path, home: Path) -> None:
    stores(tmp_path, home)
    result = json.loads(done("audit", "erase", log, "--identity", "ada", "--json"))
    assert sum("does not know identities" in sentence for sentence in result["remains"]) == 3


def test_old_files_are_said_first_and_go_with_yes(log: Path, tmp_path: Path) -> None:
    before = content(tmp_path)
    assert "no closed file is older than 1 days" in done("audit", "retain", log, "--days", 1)
    assert "would be removed: " in done("audit", "retain", log, "--days", 0)
    assert content(tmp_path) == before
    result = json.loads(done("audit", "retain", log, "--days", 0, "--yes", "--signing-key", "sign.pem", "--json"))
    assert result["done"]
    assert len(result["files"]) > 1
    report = json.loads(done("audit", "verify", log, "--public", "sign.pem.pub", "--json"))
    assert report["first"] == result["through"] + 1
    for days in ("36501", "-1", "1e9", "x"):
        assert run("audit", "retain", log, "--days", days, "--yes").exit_code == 2


def test_export_verifies_by_itself_on_the_command_line(log: Path, tmp_path: Path) -> None:
    done_ = json.loads(done("audit", "export", log, "-o", "out.parquet", "--tenant", "acme-test", "--json"))
    assert done_["signed"]
    told = done("audit", "verify", "out.parquet", "--public", "sign.pem.pub")
    assert "signing key wrote" in told
    kept = tmp_path / "kept.head"
    kept.write_bytes((tmp_path / "audit.log.head").read_bytes())
    assert run("audit", "verify", "out.parquet", "--public", "sign.pem.pub", "--checkpoint", kept).exit_code == 0
    table = pq.read_table("out.parquet")
    place = table.schema.get_field_index("tenant")
    forged = table.set_column(place, table.schema.field(place), [["other"] * table.num_rows])
    pq.write_table(forged, "forged.parquet")
    assert run("audit", "verify", "forged.parquet", "--public", "sign.pem.pub").exit_code == 1
    for options in (("--since", "soon"), ("--since", "2025-02-02", "--until", "2025-01-01")):
        assert isinstance(refused("audit", "export", log, "-o", "x.parquet", *options), ConfigError)
    assert isinstance(refused("audit", "export", log, "-o", "out.parquet"), DataError)


def test_truncated_log_fails_against_a_copy_of_its_head(log: Path, tmp_path: Path) -> None:
    older = content(tmp_path)
    with AuditLog(log, signing=load_signing_key(tmp_path / "sign.pem")) as opened:
        opened.append("verdict", {"session_id": "last"})
    kept = tmp_path / "kept.head"
    kept.write_bytes((tmp_path / "audit.log.head").read_bytes())
    proof = ("--public", "sign.pem.pub", "--checkpoint", kept)
    assert run("audit", "verify", log, *proof).exit_code == 0
    for name, bytes_of in older.items():
        Path(name).write_bytes(bytes_of)
    assert run("audit", "verify", log, "--public", "sign.pem.pub").exit_code == 0
    told = run("audit", "verify", log, *proof)
    assert told.exit_code == 1
    assert "truncation" in told.stdout


def test_signing_key_is_made_with_its_public_half(tmp_path: Path) -> None:
    told = done("audit", "signing-key", tmp_path / "new.pem")
    assert "new.pem.pub" in told
    assert (tmp_path / "new.pem").stat().st_mode & 0o777 == 0o600
    assert isinstance(refused("audit", "signing-key", tmp_path / "new.pem"), DataError)
