"""A running gateway over TCP: requests, identity, drain, reload, faults of clients."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import ssl
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from desk import ATTACK, Fake, ipc, ndjson
from live import INSECURE, Live, Slow, live

from aimds import Client, data
from aimds.analyze.owing import Owed
from aimds.errors import AimdsError, ConfigError
from aimds.gateway import certificates, keys
from aimds.gateway.client import AsyncClient
from aimds.gateway.http import App
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Audit, Certificates, Following, Screening, Settings
from aimds.gateway.sharded import ShardError
from aimds.record.keys import create_signing_key, load_public_key, public_path
from aimds.record.verification import verify
from aimds.respond.policy import Policy


def eventually(condition: Callable[[], Any]) -> Any:
    """What ``condition`` gives once it is true; polls, since another thread makes it so."""
    until = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.002)
    return found


def test_requests_are_screened_over_tcp() -> None:
    with live() as server:
        assert server.screen(ATTACK)[1]["action"] == "block"
        assert server.screen("hello")[1]["action"] == "allow"
        status, headers, body = server.ask("GET", "/healthz")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        assert headers["content-length"] == str(len(body))
        assert server.ask("GET", "/readyz")[0] == 200
        assert server.ask("HEAD", "/healthz")[2] == b""
        status, headers, body = server.ask("POST", "/v1/screen", "{")
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        metrics = server.ask("GET", "/metrics")[2].decode()
        assert 'aimds_active_connections{transport="tcp"} 1.0' in metrics
        assert "aimds_threats_detected_total 1.0" in metrics


def test_an_arrow_batch_of_many_rows_goes_through_chunked_and_plain() -> None:
    texts = [f"text {i}" for i in range(5000)]
    content = ipc(pa.table({"text": texts}))
    chunks = (content[i : i + 7000] for i in range(0, len(content), 7000))
    with live() as server:
        for body in (content, chunks):
            kind = {"content_type": "application/vnd.apache.arrow.stream"}
            status, _, answer = server.ask("POST", "/v1/screen/batch", body, **kind)
            assert status == 200
            found = pa.ipc.open_stream(answer).read_all()
            assert found.column("request_id").to_pylist() == [str(i) for i in range(5000)]


def test_a_stream_answers_while_it_is_open() -> None:
    with live() as server, socket.create_connection(("127.0.0.1", server.gateway.port), 20) as wire:
        wire.sendall(b"POST /v1/screen/stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        reader = wire.makefile("rb")
        seen = 0
        for i in range(5):
            line = ndjson({"text": ATTACK, "request_id": f"r{i}"})
            wire.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            while True:
                got = reader.readline()
                if got.startswith(b"{"):
                    break
            assert json.loads(got)["request_id"] == f"r{i}"
            seen += 1
        wire.sendall(b"0\r\n\r\n")
        assert seen == 5
        assert reader.read(1) != b""


def test_many_clients_at_once_each_get_their_own_verdict() -> None:
    slow = Slow()
    with live(screener=slow) as server:
        found: dict[int, Any] = {}

        def one(i: int) -> None:
            text = ATTACK if i % 3 == 0 else "fine"
            status, _, body = server.ask(
                "POST", "/v1/screen", json.dumps({"text": text, "request_id": str(i)}), aimds_deadline_ms="20000"
            )
            found[i] = status, json.loads(body)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(40)]
        threads[0].start()
        slow.entered.wait(10)
        for thread in threads[1:]:
            thread.start()
        eventually(lambda: server.gateway.service.batcher.queued_rows >= 39)
        slow.go.set()
        for thread in threads:
            thread.join()
        assert all(found[i][1]["request_id"] == str(i) for i in range(40))
        assert all((found[i][1]["action"] == "block") == (i % 3 == 0) for i in range(40))
        assert slow.batches == [1, 39]


def test_a_client_that_goes_away_takes_its_rows_out_of_the_queue() -> None:
    slow = Slow()
    with live(screener=slow) as server:
        with socket.create_connection(("127.0.0.1", server.gateway.port), 20) as wire:
            body = ndjson(*({"text": f"{i}"} for i in range(3000)))
            head = b"POST /v1/screen/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
            wire.sendall(head + b"content-length: %d\r\n\r\n" % (len(body) + 1) + body)
            slow.entered.wait(10)
            eventually(lambda: server.gateway.service.batcher.queued_rows > 0)
        eventually(lambda: server.gateway.service.batcher.queued_rows == 0)
        slow.go.set()
        eventually(lambda: server.gateway.service.idle)
        assert server.screen("still here")[0] == 200


def test_a_body_that_does_not_come_is_given_up() -> None:
    with live() as server:
        assert server.gateway.sockets.twin is not None
        app = server.gateway.sockets.twin.config.loaded_app
        while not isinstance(app, App):
            app = app.app
        app._idle_s = 0.05
        with socket.create_connection(("127.0.0.1", server.gateway.port), 20) as wire:
            wire.sendall(b"POST /v1/screen HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert wire.recv(100).startswith(b"HTTP/1.1 408")
        eventually(lambda: server.gateway.service.idle)


def test_a_connection_that_sends_no_head_is_closed_and_a_slow_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.twin.HEAD_S", 0.3)
    slow = Slow()
    with live(screener=slow) as server:
        address = ("127.0.0.1", server.gateway.port)
        answering = socket.create_connection(address, 20)
        content = json.dumps({"text": "hello"}).encode()
        head = b"POST /v1/screen HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        answering.sendall(head % len(content) + content)
        assert slow.entered.wait(10)
        for sent in (b"", b"POST /v1/screen HTTP/1.1\r\nhost: x\r\n"):
            with socket.create_connection(address, 20) as wire:
                wire.sendall(sent)
                assert wire.recv(100) == b""
        slow.go.set()
        assert answering.recv(15) == b"HTTP/1.1 200 OK"
        answering.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/screen HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/screen HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_what_is_no_http_is_refused_and_others_are_served(raw: bytes) -> None:
    with live() as server:
        with socket.create_connection(("127.0.0.1", server.gateway.port), 20) as wire:
            wire.sendall(raw)
            wire.shutdown(socket.SHUT_WR)
            answer = wire.makefile("rb").read()
            assert not answer or answer.startswith(b"HTTP/1.1 4")
        assert server.screen("hello")[0] == 200
        assert server.gateway.service.idle


def test_stopping_delivers_what_is_under_way() -> None:
    slow, found = Slow(), []
    with live(screener=slow) as server:
        thread = threading.Thread(target=lambda: found.append(server.screen(ATTACK, aimds_deadline_ms="20000")))
        thread.start()
        slow.entered.wait(10)
        ending = server.begin(server.gateway.stop())
        eventually(lambda: server.gateway.service.draining)
        assert server.screen("late")[0] == 503
        assert server.ask("GET", "/readyz")[0] == 503
        slow.go.set()
        ending.result(20)
        thread.join()
    assert found[0][0] == 200
    assert found[0][1]["action"] == "block"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    for stem in ("ca", "other"):
        certificates.write(tmp_path, stem, certificates.authority(stem, now))
    ca, other = (
        certificates.Issued((tmp_path / f"{stem}.pem").read_bytes(), (tmp_path / f"{stem}.key").read_bytes())
        for stem in ("ca", "other")
    )
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    certificates.write(tmp_path, "client", certificates.issue(ca, "client", ["ada.example"], now, client=True))
    certificates.write(
        tmp_path, "expired", certificates.issue(ca, "client", ["ada.example"], now, client=True, days=-1)
    )
    certificates.write(tmp_path, "wrong", certificates.issue(other, "client", ["ada.example"], now, client=True))
    return tmp_path


def secure(folder: Path, **changed: Any) -> Settings:
    ada = Identity("ada", "acme", frozenset({"screen", "admin"}), "certificate")
    found = Settings(
        port=0,
        certificate=folder / "server.pem",
        key=folder / "server.key",
        certificates=Certificates(folder / "ca.pem", False, {"ada.example": ada}),
    )
    return dataclasses.replace(found, **changed)


def trusting(folder: Path, stem: str | None = None, own: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if stem is not None:
        context.load_cert_chain(folder / f"{stem}.pem", folder / f"{stem}.key")
    return context


def test_a_client_certificate_is_asked_for_and_verified(folder: Path) -> None:
    with live(secure(folder)) as server:
        status, found = server.screen("hello", context=trusting(folder, "client"))
        assert (status, found["tenant"]) == (200, "acme")
        assert server.screen("hello", context=trusting(folder))[0] == 401
        for stem in ("expired", "wrong", "other"):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                server.screen("hello", context=trusting(folder, stem))
        assert server.screen("hello", context=trusting(folder, "client"))[0] == 200


@pytest.mark.parametrize("http", [1, 3])
def test_a_client_certificate_of_an_intermediate_ca_leads_to_ours(folder: Path, http: int) -> None:
    root, middle = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def authority(name: str, key: ec.EllipticCurvePrivateKey, length: int) -> x509.Certificate:
        issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in ("root", name))
        return (
            certificates._builder(subject, issuer, key.public_key(), now, 9)
            .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
            .add_extension(certificates._usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
            .sign(root, hashes.SHA256())
        )

    between = certificates._pem(authority("between", middle, 0), middle)
    (folder / "root.pem").write_bytes(certificates._pem(authority("root", root, 1), root).certificate)
    issued = certificates.issue(between, "client", ["ada.example"], now, client=True)
    for stem, chain in (("whole", issued.certificate + between.certificate), ("leaf", issued.certificate)):
        certificates.write(folder, stem, certificates.Issued(chain, issued.key))
    settings = secure(folder)
    assert settings.certificates is not None
    clients = dataclasses.replace(settings.certificates, client_ca=folder / "root.pem")

    async def asked(port: int, stem: str) -> Any:
        async with AsyncClient(
            f"https://127.0.0.1:{port}",
            ca=folder / "ca.pem",
            certificate=folder / f"{stem}.pem",
            key=folder / f"{stem}.key",
            http=http,
            attempts=1,
        ) as client:
            return await client.screen("hello")

    with live(dataclasses.replace(settings, certificates=clients)) as server:
        assert asyncio.run(asked(server.gateway.port, "whole"))["tenant"] == "acme"
        with pytest.raises(AimdsError):
            asyncio.run(asked(server.gateway.port, "leaf"))
        context, session = trusting(folder, "whole"), None
        for _ in range(2 if http == 1 else 0):
            with (
                socket.create_connection(("127.0.0.1", server.gateway.port), 20) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as wire,
            ):
                wire.sendall(b'POST /v1/screen HTTP/1.1\r\nhost: x\r\ncontent-length: 14\r\n\r\n{"text": "hi"}')
                assert wire.recv(100).startswith(b"HTTP/1.1 200")
                session = wire.session


def test_over_tcp_each_answer_says_where_http3_is_served_and_it_is(folder: Path) -> None:
    with live(secure(folder)) as server:
        context = trusting(folder, "client")
        body = json.dumps({"text": ATTACK})
        told = [
            server.ask("POST", "/v1/screen", body, context=context),
            server.ask("POST", "/v1/screen", "{", context=context),
            server.ask("POST", "/v1/screen", body, context=trusting(folder)),
            server.ask("GET", "/healthz", context=context),
        ]
        assert [status for status, _, _ in told] == [200, 400, 401, 200]
        assert {headers.get("alt-svc") for _, headers, _ in told} == {f'h3=":{server.gateway.port}"; ma=3600'}
        port = told[0][1]["alt-svc"].split('"')[1].removeprefix(":")
        shown = {"ca": folder / "ca.pem", "certificate": folder / "client.pem", "key": folder / "client.key"}
        with Client(f"https://127.0.0.1:{port}", http=3, **shown) as client:
            assert client.screen(ATTACK)["action"] == "block"
    with live() as server:
        assert "alt-svc" not in server.ask("GET", "/healthz")[1]


def test_older_tls_is_refused(folder: Path) -> None:
    with live(secure(folder)) as server:
        context = trusting(folder, "client")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.screen("hello", context=context)


def test_a_reload_takes_up_keys_and_certificates_without_dropping_a_connection(folder: Path) -> None:
    path = folder / "keys.toml"
    old, entry = keys.new("old", "acme", ("screen",))
    keys.append(path, entry)
    built: list[Fake] = []

    def build(_: Any) -> Fake:
        built.append(Fake())
        return built[-1]

    settings = secure(folder, keys=path)
    with live(settings, build=build) as server:
        connection = server.connect(trusting(folder))
        body, kind = json.dumps({"text": "a"}), {"content-type": "application/json"}

        def ask(key: str) -> int:
            connection.request("POST", "/v1/screen", body, {**kind, "authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert ask(old) == 200
        wire = connection.sock
        new, entry = keys.new("new", "acme", ("screen",))
        keys.append(path, entry)
        ca = certificates.Issued((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
        (folder / "server.pem").unlink()
        (folder / "server.key").unlink()
        certificates.write(folder, "server", certificates.issue(ca, "again", ["127.0.0.1"], datetime.now(UTC)))
        assert ask(new) == 401
        server.call(server.gateway.reload())
        assert (ask(new), ask(old)) == (200, 200)
        assert connection.sock is wire
        assert len(built) == 2
        assert len(built[1].batches) == 2
        with (
            socket.create_connection(("127.0.0.1", server.gateway.port)) as raw,
            trusting(folder).wrap_socket(raw, server_hostname="127.0.0.1") as seen,
        ):
            subject = dict(part[0] for part in seen.getpeercert()["subject"])  # type: ignore[index,misc]
            assert subject["commonName"] == "again"
        path.write_text("keys = 5")
        server.call(server.gateway.reload())
        assert ask(new) == 200
        status, _, told = server.ask("GET", "/v1/admin/status", context=trusting(folder, "client"))
        assert status == 200
        assert "keys" in json.loads(told)["last_reload"]["error"]
        connection.close()


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_a_reload_whose_certificate_cannot_be_used_leaves_those_who_judge_as_they_were(folder: Path, name: str) -> None:
    judge = sys.executable, str(Path(__file__).parents[1] / "gateway" / "fake_judge.py")
    settings = secure(folder, screening=Screening(workers=1, profile="full"))
    current = [settings]
    with live(settings, reread=lambda: current[0], judge=judge, warm=["warm"]) as server:
        client = trusting(folder, "client")
        assert server.screen("hello", context=client)[1]["profile"] == "full"
        # Half of what renews a certificate has happened: it is that of another key.
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes((folder / name.replace("server", "client")).read_bytes())
        current[0] = dataclasses.replace(settings, screening=Screening(workers=1, profile="fast"))
        server.call(server.gateway.reload())
        assert "another certificate" in server.gateway.reloads.last["error"]
        assert server.screen("hello", context=client)[1]["profile"] == "full"
        (folder / name).write_bytes(whole)
        server.call(server.gateway.reload())
        assert server.screen("hello", context=client)[1]["profile"] == "fast"


def test_denials_and_caught_verdicts_are_in_the_audit_log(folder: Path) -> None:
    settings = secure(folder, audit=Audit(folder / "audit.log", None, "caught"))
    with live(settings) as server:
        client = trusting(folder, "client")
        server.screen("nothing to see", context=client)
        server.screen(ATTACK, context=client)
        server.screen("hello", context=trusting(folder))
    records = [json.loads(line) for line in (folder / "audit.log").read_bytes().splitlines()]
    assert [record["kind"] for record in records] == ["genesis", "verdict", "denied"]
    assert records[1]["private"]["identity"] == "ada"
    assert records[1]["body"]["action"] == "block"
    assert ATTACK not in (folder / "audit.log").read_text()
    assert verify(folder / "audit.log").ok


def test_a_client_whose_certificate_ends_the_handshake_is_in_the_audit_log(folder: Path) -> None:
    def denied() -> list[dict[str, Any]]:
        lines = (folder / "audit.log").read_bytes().splitlines()
        return [json.loads(line)["private"] for line in lines if b'"denied"' in line]

    settings = secure(folder, audit=Audit(folder / "audit.log", None, "caught"))
    required = dataclasses.replace(settings.certificates, required=True)  # type: ignore[type-var]
    with live(dataclasses.replace(settings, certificates=required)) as server:
        for number, (stem, said) in enumerate(
            (("expired", "expired"), ("wrong", "unable to get"), ("other", "self-signed"), (None, "no certificate")), 1
        ):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                server.screen("hello", context=trusting(folder, stem))
            eventually(lambda number=number: len(denied()) == number)
            assert said in denied()[-1]["reason"]
            assert denied()[-1]["peer"] == "127.0.0.1"
        # What is no TLS, and what leaves in the middle, is no denial; the rest is served.
        with socket.create_connection(("127.0.0.1", server.gateway.port), 20) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
            wire.recv(100)
        socket.create_connection(("127.0.0.1", server.gateway.port), 20).close()
        assert server.screen("hello", context=trusting(folder, "client"))[0] == 200
        assert len(denied()) == 4
        assert b'aimds_denied_total{reason="unauthenticated"} 4.0' in server.gateway.metrics.text()
    assert verify(folder / "audit.log").ok


def test_handshakes_that_are_refused_again_and_again_do_not_fill_the_audit_log(folder: Path) -> None:
    settings = secure(folder, audit=Audit(folder / "audit.log", None, "caught"), failures_per_minute=3.0)
    with live(settings) as server:
        for _ in range(6):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                server.screen("hello", context=trusting(folder, "wrong"))
        assert server.screen("hello", context=trusting(folder, "client"))[0] == 429
    kept = [line for line in (folder / "audit.log").read_bytes().splitlines() if b"the certificate was refused" in line]
    assert len(kept) == 3


def test_no_more_handshakes_are_under_way_than_there_is_room_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimds.gateway.accepting.MOST_GREETINGS", 2)
    monkeypatch.setattr("aimds.gateway.accepting.GREETING_S", 1.0)
    with live(secure(folder)) as server:
        silent = [socket.create_connection(("127.0.0.1", server.gateway.port), 20) for _ in range(3)]
        began = time.monotonic()
        assert silent[2].recv(1) == b""
        assert time.monotonic() - began < 0.9
        assert [wire.recv(1) for wire in silent[:2]] == [b"", b""]
        for wire in silent:
            wire.close()
        assert server.screen("hello", context=trusting(folder, "client"))[0] == 200


class Strict(Fake):
    """Puts the session of an attack into quarantine."""

    def __init__(self) -> None:
        super().__init__()
        values = tomllib.loads(data.read_bytes("policy.toml").decode())
        values["playbook"]["block"]["steps"] = ["audit", "notify", "quarantine", "refuse"]
        self.policy = Policy(values)


def session(server: Any, text: str, name: str = "s/1", **more: Any) -> str:
    body = json.dumps({"text": text, "session_id": name, **more})
    return str(json.loads(server.ask("POST", "/v1/screen", body)[2])["action"])


def held(server: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(server.ask("GET", "/v1/admin/sessions")[2])["sessions"]
    return found


def test_a_session_is_held_from_an_attack_on_until_an_admin_releases_it(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        INSECURE, audit=Audit(tmp_path / "audit.log", None, "all"), notify=tmp_path / "notify.jsonl"
    )
    with live(settings, Strict()) as server:
        assert [session(server, text) for text in ("hello", ATTACK, "hello")] == ["allow", "block", "block"]
        assert session(server, "hello", "other") == "allow"
        assert session(server, "hello", tenant="b") == "allow"
        (found,) = held(server)
        assert (found["session_action"], found["session_id"], found["tenant"]) == ("quarantine", "s/1", None)
        assert 3500 < found["seconds_left"] <= 3600
        metrics = server.ask("GET", "/metrics")[2].decode()
        assert 'aimds_sessions_held{session_action="quarantine"} 1.0' in metrics
        assert 'aimds_rows_handed_on{to="notify"} 2.0' in metrics
        status, _, answer = server.ask("POST", "/v1/admin/sessions/none/release")
        assert (status, json.loads(answer)["title"]) == (404, "There is no such session in quarantine")
        assert server.ask("POST", "/v1/admin/sessions/s%2F1/release?tenant=b")[0] == 404
        status, _, answer = server.ask("POST", "/v1/admin/sessions/s%2F1/release")
        assert (status, json.loads(answer)) == (200, {"released": "s/1"})
        assert session(server, "hello") == "allow"
        assert held(server) == []
    kinds = [json.loads(line) for line in (tmp_path / "audit.log").read_bytes().splitlines()]
    assert [one["body"]["action"] for one in kinds if one["kind"] == "verdict"][:3] == ["allow", "block", "block"]
    assert [one["private"]["session_id"] for one in kinds if one["kind"] == "released"] == ["s/1"]
    assert [json.loads(line)["violations"] for line in (tmp_path / "notify.jsonl").read_text().splitlines()] == [
        [],
        ["session_quarantined"],
    ]


def test_sessions_are_followed_over_their_turns_where_the_settings_say_so() -> None:
    def score(server: Live, text: str, name: str | None = "s", tenant: str | None = None) -> float | None:
        row = {"text": text, "session_id": name, "tenant": tenant}
        found: float | None = json.loads(server.ask("POST", "/v1/screen", json.dumps(row))[2])["session_score"]
        return found

    with live(dataclasses.replace(INSECURE, sessions=Following())) as server:
        before = [score(server, "hello"), score(server, "hello")]
        after = score(server, ATTACK)
        assert None not in (*before, after)
        assert after > 10 * max(before)  # type: ignore[type-var, operator]
        assert score(server, "hello", tenant="b") == before[0]
        assert score(server, "hello", None) is None
    with live() as server:
        assert score(server, ATTACK) is None


def test_a_verdict_whose_response_breaks_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with live(INSECURE, Strict()) as server:
        assert server.screen("hello")[0] == 200
        monkeypatch.setattr(server.gateway.responder, "held", lambda *_: 1 / 0)
        status, problem = server.screen(ATTACK)
        assert status == 500
        assert "could not be carried out" in problem["detail"]


def test_a_verdict_that_cannot_be_recorded_is_not_given(folder: Path) -> None:
    settings = dataclasses.replace(INSECURE, audit=Audit(folder / "audit.log", None, "all"))
    with live(settings) as server:
        assert server.screen("a")[0] == 200
        assert server.gateway.audit is not None
        server.gateway.audit.close()
        status, found = server.screen("a")
        assert status == 500
        assert "recorded" in found["detail"]


def test_a_verdict_is_given_only_when_its_record_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(INSECURE, audit=Audit(tmp_path / "audit.log", None, "all"))
    with live(settings) as server:
        assert server.screen("a")[0] == 200
        log = (tmp_path / "audit.log").stat().st_ino
        waiting, go_on, real = threading.Event(), threading.Event(), os.fsync

        def slow(file: int) -> None:
            if os.fstat(file).st_ino == log:
                waiting.set()
                assert go_on.wait(30)
            real(file)

        monkeypatch.setattr(os, "fsync", slow)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(server.screen("b")[0]))
        asking.start()
        assert waiting.wait(30)
        # It is in the file, not on the disk yet.
        assert (tmp_path / "audit.log").read_bytes().count(b'"verdict"') == 2
        asking.join(0.3)
        assert answers == []
        go_on.set()
        asking.join(30)
        assert answers == [200]


def test_old_files_of_the_audit_log_go_and_signed_ones_verify(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "sign.pem")
    public = [load_public_key(public_path(tmp_path / "sign.pem"))]
    audit = Audit(tmp_path / "audit.log", None, "all", tmp_path / "sign.pem", segment_mb=0.002, keep_days=1)
    settings = dataclasses.replace(INSECURE, audit=audit)
    with live(settings) as server:
        for _ in range(12):
            assert server.screen("a")[0] == 200
    report = verify(tmp_path / "audit.log", public=public)
    assert report.ok, report.problems
    assert report.files > 2
    assert report.first == 0
    said: list[str] = []
    with live(settings, wall=lambda: time.time() + 3 * 86_400, say=said.append) as server:
        until = time.monotonic() + 30
        while not said and time.monotonic() < until:
            time.sleep(0.05)
    assert "older than 1 days" in said[0]
    report = verify(tmp_path / "audit.log", public=public)
    assert report.ok, report.problems
    assert report.first > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(insecure=True, host="0.0.0.0"), "listen.host"),
        (Settings(insecure=True, keys=Path("keys.toml")), "insecure-local"),
        (Settings(), "insecure-local is the only way"),
        (Settings(keys=Path("keys.toml")), "tls.certificate"),
    ],
)
def test_what_may_not_be_served_is_refused_before_a_socket_is_opened(settings: Settings, said: str) -> None:
    from aimds.app import Gateway

    with pytest.raises(ConfigError, match=said):
        Gateway(settings, build=lambda _: pytest.fail("built"))


def test_a_port_in_use_is_named() -> None:
    with (
        live() as server,
        pytest.raises(AimdsError, match=str(server.gateway.port)),
        live(dataclasses.replace(INSECURE, port=server.gateway.port)),
    ):
        pass


def test_a_reload_that_sessions_did_not_follow_is_not_told_as_done() -> None:
    def renewed(settings: Settings) -> Callable[[], list[Owed]]:
        def use() -> list[Owed]:
            raise ShardError(1, "did not answer in time")

        return use

    with live(INSECURE) as server:
        server.gateway._following.renewed = renewed
        server.call(server.gateway.reload())
        error = json.loads(server.ask("GET", "/v1/admin/status")[2])["last_reload"]["error"]
        assert error == "sessions: shard 1 of sessions: did not answer in time"
