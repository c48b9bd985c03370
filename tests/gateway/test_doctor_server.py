"""`aimds doctor --server` against gateways that are well, and against those that are not."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from live import Fake, live
from typer.testing import CliRunner

from aimds.cli import build, doctor_server
from aimds.gateway import certificates
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Certificates, Settings


class Wise(Fake):
    def screen_batch(self, batch: Any) -> Any:
        index = batch.schema.get_field_index("text")
        texts = [text.replace("Ignore", "ATTACK") for text in batch.column("text").to_pylist()]
        column = pa.array(texts, batch.column("text").type)
        return super().screen_batch(batch.set_column(index, batch.schema.field(index), column))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "other", certificates.authority("ca", now))
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    certificates.write(tmp_path, "soon", certificates.issue(ca, "server", ["127.0.0.1"], now, days=5))
    certificates.write(tmp_path, "client", certificates.issue(ca, "client", ["ada.example"], now, client=True))
    ada = Identity("ada", "acme", frozenset({"screen"}), "certificate")
    clients = Certificates(tmp_path / "ca.pem", False, {"ada.example": ada})
    return Settings(port=0, certificate=tmp_path / "server.pem", key=tmp_path / "server.key", certificates=clients)


def asked(address: str, folder: Path, *more: str, ca: str = "ca") -> tuple[int, dict[str, Any], dict[str, str]]:
    arguments = ["doctor", "--json", "--server", address, "--ca", str(folder / f"{ca}.pem"), *more]
    result = CliRunner().invoke(build(), arguments)
    checks = json.loads(result.stdout)["checks"]
    return result.exit_code, {c["name"]: c["ok"] for c in checks}, {c["name"]: c["detail"] for c in checks}


def test_a_gateway_that_is_well_passes_every_check(settings: Settings, tmp_path: Path) -> None:
    own = ("--certificate", str(tmp_path / "client.pem"), "--key", str(tmp_path / "client.key"))
    with live(settings, Wise()) as server:
        code, found, told = asked(f"https://127.0.0.1:{server.gateway.port}", tmp_path, *own)
    assert (code, set(found.values())) == (0, {True}), told
    assert {"tls", "certificate", "health", "readiness", "identity", "benign text", "attack", "http/3"} == set(found)


def test_each_thing_that_is_wrong_is_a_line(settings: Settings, tmp_path: Path) -> None:
    with live(settings, Fake()) as server:
        address = f"https://127.0.0.1:{server.gateway.port}"
        code, found, told = asked(address, tmp_path)
        assert (code, found["identity"], found["health"], found["http/3"]) == (1, False, True, True), told
        code, found, told = asked(address, tmp_path, ca="other")
        assert (code, found["tls"], found["http/3"]) == (1, False, False), told
        own = ("--certificate", str(tmp_path / "client.pem"), "--key", str(tmp_path / "client.key"))
        # This one lets everything through.
        code, found, told = asked(address, tmp_path, *own)
        assert (code, found["benign text"], found["attack"]) == (1, True, False), told


def test_a_certificate_that_ends_soon_is_a_problem_today(settings: Settings, tmp_path: Path) -> None:
    soon = replace(settings, certificate=tmp_path / "soon.pem", key=tmp_path / "soon.key")
    with live(soon, Wise()) as server:
        _, found, told = asked(f"https://127.0.0.1:{server.gateway.port}", tmp_path)
    assert (found["tls"], found["certificate"]) == (True, False), told


def test_nobody_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor_server, "PATIENCE_S", 0.3)
    (tmp_path / "ca.pem").write_bytes(certificates.authority("ca", datetime.now(UTC)).certificate)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, found, _ = asked(f"https://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
    assert (code, set(found.values())) == (1, {False})


def test_a_gateway_without_tls_is_tested_over_tcp() -> None:
    with live(screener=Wise()) as server:
        result = CliRunner().invoke(build(), ["doctor", "--server", f"http://127.0.0.1:{server.gateway.port}"])
    assert result.exit_code == 0
    assert "all well" in result.output
