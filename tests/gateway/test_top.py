"""`aimds top` against running gateways: what it shows is what was sent, and TLS and identity are as for every client."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk import ATTACK
from live import Live, live

from aimds.__main__ import _run
from aimds.gateway import certificates
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Certificates, Settings


def snapshot(
    server: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, *more: str
) -> tuple[int, str, str]:
    """`top --once --json`, with three rows screened between its two readings; exit code, stdout, stderr."""

    def sleep(seconds: float) -> None:
        for text in ("fine", "fine", ATTACK):
            if server.gateway.settings.insecure:
                server.screen(text)

    monkeypatch.setattr("time.sleep", sleep)
    code = _run(["top", address, "--once", "--json", *more])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_what_a_gateway_screened_between_two_readings_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live() as server:
        server.screen(ATTACK)
        code, out, err = snapshot(server, monkeypatch, capsys, f"http://127.0.0.1:{server.gateway.port}")
    assert (code, err) == (0, "")
    found = json.loads(out)
    rows = {name: round(value * found["seconds"]) for name, value in found["actions_per_s"].items()}
    assert rows == {"allow": 2, "block": 1}
    threats = {name: round(value * found["seconds"]) for name, value in found["threats_per_s"].items()}
    assert threats == {"direct_injection": 1}
    assert found["caught"] == pytest.approx(1 / 3)
    assert (found["failed"], found["batches"]["rows_mean"], found["state"]) == (0.0, 1.0, "ready")
    assert found["latency"]["p50_s"] > 0
    assert round(found["requests_per_s"]["200"] * found["seconds"]) == 3


def test_tls_and_identity_are_asked_for_and_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "other", certificates.authority("other", now))
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    clients = {}
    for name, role in (("ada", "metrics"), ("bob", "screen")):
        certificates.write(tmp_path, name, certificates.issue(ca, "client", [f"{name}.example"], now, client=True))
        clients[f"{name}.example"] = Identity(name, "acme", frozenset({role}), "certificate")
    settings = Settings(
        port=0,
        certificate=tmp_path / "server.pem",
        key=tmp_path / "server.key",
        certificates=Certificates(tmp_path / "ca.pem", False, clients),
    )

    def own(name: str) -> list[str]:
        return ["--certificate", str(tmp_path / f"{name}.pem"), "--key", str(tmp_path / f"{name}.key")]

    with live(settings) as server:
        address, trust = f"https://127.0.0.1:{server.gateway.port}", ["--ca", str(tmp_path / "ca.pem")]
        code, out, err = snapshot(server, monkeypatch, capsys, address, *trust, *own("ada"))
        assert (code, err, json.loads(out)["rows_per_s"]) == (0, "", 0.0)
        for more, told in (
            ([*trust], "No valid identity was given"),
            ([*trust, *own("bob")], "bob lacks the role metrics"),
            ([], "not trusted"),
            (["--ca", str(tmp_path / "other.pem")], "name the CA that signed it"),
        ):
            code, out, err = snapshot(server, monkeypatch, capsys, address, *more)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert told in err
        code, out, err = snapshot(server, monkeypatch, capsys, address.replace("https", "http"), *own("ada"))
        assert (code, out, err.count("\n")) == (2, "", 1)
