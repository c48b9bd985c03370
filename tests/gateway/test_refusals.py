"""What the commands that ask a gateway say where it does not take them, or cannot be talked to: what is wrong, and the way out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from live import Live, live

from aimds.__main__ import _run
from aimds.gateway import certificates, keys
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
