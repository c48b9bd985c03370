"""What commands that ask a gateway say where it does not take them or cannot be talked to, and the way out."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from live import Live, live

from aimds import Client
from aimds.__main__ import _run
from aimds.gateway import certificates, keys
from aimds.gateway.client import ServerError
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Certificates, Settings

COMMANDS = (["check", "hello", "--server"], ["load", "--rate", "5", "--seconds", "0.1"], ["doctor", "--server"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    certificates.write(tmp_path, "ada", certificates.issue(ca, "client", ["ada.example"], now, client=True))
    keys.append(tmp_path / "keys.toml", keys.new("me", "acme", ("screen",))[1])
    return tmp_path


def settings(folder: Path, *, required: bool = False) -> Settings:
    ada = Identity("ada", "acme", frozenset({"screen"}), "certificate")
    return Settings(
        port=0,
        certificate=folder / "server.pem",
        key=folder / "server.key",
        certificates=Certificates(folder / "ca.pem", required, {"ada.example": ada}),
        keys=folder / "keys.toml",
    )


def url(server: Live) -> str:
    return f"https://127.0.0.1:{server.gateway.port}"


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that fails says, on one line."""
    assert _run([str(one) for one in arguments]) in (1, 2)
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_who_gives_no_identity_is_told_how_to_give_one(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with live(settings(folder)) as server:
        found = told(capsys, *command, url(server), "--ca", folder / "ca.pem")
    assert "neither a certificate, nor a token, nor an API key was given" in found
    assert "give --token or AIMDS_TOKEN, or --certificate and --key" in found
    assert "of an identity with the role screen" in found


def test_a_token_that_is_no_key_is_told_how_keys_look(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with live(settings(folder)) as server:
        found = told(capsys, *COMMANDS[0], url(server), "--ca", folder / "ca.pem", "--token", "secret")
    assert "begin with aimds_" in found
    assert "give --token" in found


def test_check_shows_a_certificate_to_a_gateway(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--certificate", str(folder / "ada.pem"), "--key", str(folder / "ada.key")]
    with live(settings(folder)) as server:
        assert _run(["check", "hello", "--server", url(server), "--ca", str(folder / "ca.pem"), *own]) == 0
    assert "ALLOW" in capsys.readouterr().out


TOP = ["top", "--once"]


@pytest.mark.parametrize("command", [*COMMANDS, TOP], ids=lambda command: command[0])
def test_plain_http_to_a_gateway_with_tls_is_told_to_use_https(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with live(settings(folder)) as server:
        address = url(server)
        found = told(capsys, *command, address.replace("https", "http"))
    assert "closed the connection without an answer" in found
    assert f"if it speaks TLS, give {address}" in found


@pytest.mark.parametrize("command", [["check", "hello", "--http", "1", "--server"], COMMANDS[2], TOP])
def test_https_to_a_gateway_without_tls_is_told_to_use_http(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("aimds.cli.doctor_server.PATIENCE_S", 2.0)
    with live() as server:
        address = url(server)
        found = told(capsys, *command, address)
    assert f"speaks no TLS; give {address.replace('https', 'http')}" in found
    assert "_ssl.c" not in found


def test_nothing_over_quic_is_told_with_the_address_and_the_ways_over_tcp(folder: Path) -> None:
    with live() as server:
        address = url(server)
        with Client(address, connect_s=0.2) as client, pytest.raises(ServerError) as caught:
            client.screen("hello")
    found = str(caught.value)
    assert f"{address.removeprefix('https://')}: nothing over HTTP/3 (UDP) within 0.2 s" in found
    assert "--http 1" in found
    assert f"{address.replace('https', 'http')} where it runs without TLS" in found


@pytest.mark.parametrize("command", [["check", "hello", "--http", "1", "--server"], COMMANDS[2], TOP])
def test_a_gateway_that_ends_a_handshake_without_a_certificate_is_told_to_want_one_perhaps(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with live(settings(folder, required=True)) as server:
        found = told(capsys, *command, url(server), "--ca", folder / "ca.pem")
    assert "a gateway that requires client certificates does so: --certificate and --key" in found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_gateway_that_is_not_trusted_is_told_by_its_reason_and_the_way_out_alone(
    folder: Path, command: list[str]
) -> None:
    with live(settings(folder)) as server:
        # In a process of its own: pytest takes what libraries log, which would go to stderr.
        arguments = [sys.executable, "-m", "aimds", *command, url(server)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    found = " ".join((done.stdout + done.stderr).split())
    assert "name the CA that signed it: --ca FILE" in found
    assert "_ssl.c" not in found
    assert done.stderr.count("\n") == (0 if command[0] == "doctor" else 1), done.stderr


def test_a_certificate_without_its_key_is_told_to_need_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *COMMANDS[0], "https://127.0.0.1:9", "--certificate", folder / "ada.pem")
    assert "ada.pem: holds no key that can be used: name it with --key FILE, or key= in Python" in found


@pytest.mark.parametrize("more", [["--profile", "full"], ["--gray", "0.1"], ["--patterns", "p"], ["--backend", "cuda"]])
def test_check_refuses_what_only_a_screening_here_would_heed(
    capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    found = told(capsys, "check", "hello", "--server", "http://127.0.0.1:9", *more)
    assert f"{more[0]} = " in found
    assert "no --server beside it: the gateway has its own" in found
