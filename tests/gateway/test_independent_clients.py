"""Clients that share no code with us: ngtcp2 and Chromium over HTTP/3, niquests over HTTP/3, curl on the TCP twin."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser import PROGRAM, Chromium
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from desk import ATTACK
from live import Live, live

from aimds.gateway import certificates, keys
from aimds.gateway.access import Everybody
from aimds.gateway.pieces import Limits
from aimds.gateway.settings import Settings

PATIENCE_S = 60


def needs(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: {package})")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1", "localhost"], now))
    (tmp_path / "body.json").write_text(json.dumps({"text": ATTACK}))
    return tmp_path


@pytest.fixture
def token(folder: Path) -> str:
    secret, entry = keys.new("me", "acme", ("screen",))
    keys.append(folder / "keys.toml", entry)
    return secret


@pytest.fixture
def gateway(folder: Path, token: str) -> Iterator[Live]:
    settings = Settings(port=0, certificate=folder / "server.pem", key=folder / "server.key", keys=folder / "keys.toml")
    with live(settings) as running:
        yield running


def ran(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options)
    return done.stdout + done.stderr


def test_ngtcp2_is_answered_on_many_streams(gateway: Live) -> None:
    client, port = needs("gtlsclient", "ngtcp2-client"), str(gateway.gateway.port)
    more = ("--no-quic-dump", "--exit-on-all-streams-close", "-n", "50")
    told = ran(client, *more, "127.0.0.1", port, f"https://127.0.0.1:{port}/healthz")
    assert told.count("[:status: 200]") == 50
    # It cannot send a token, so this is refused, over HTTP/3 like all else.
    told = ran(client, *more, "-m", "POST", "127.0.0.1", port, f"https://127.0.0.1:{port}/v1/screen")
    assert told.count("[:status: 401]") == 50


def test_ngtcp2_screens_on_after_its_address_changed(gateway: Live, folder: Path) -> None:
    client, port = needs("gtlsclient", "ngtcp2-client"), str(gateway.gateway.port)
    gateway.gateway.service.access = Everybody()
    # A server finds a client that moved only once that sends something. This one discards what still comes to its old
    # address and may have nothing to send, so its requests come after the move: what is under way when an address
    # changes is not seen here, but in test_network.
    network = ("--change-local-addr", "100ms", "--nat-rebinding", "--delay-stream", "300ms")
    request = ("-m", "POST", "-d", str(folder / "body.json"), "-n", "300")
    address = f"https://127.0.0.1:{port}/v1/screen?verdict=brief"
    told = ran(client, "--no-quic-dump", "--exit-on-all-streams-close", *network, *request, "127.0.0.1", port, address)
    assert told.count("[:status: 200]") == 300
    assert 'aimds_rows_total{action="block"} 300.0' in gateway.gateway.metrics.text().decode()


@pytest.mark.parametrize("own", [(), ("--max-udp-payload-size", "8900")])
def test_ngtcp2_is_answered_in_large_datagrams_and_may_send_them(
    folder: Path, token: str, own: tuple[str, ...]
) -> None:
    client = needs("gtlsclient", "ngtcp2-client")
    (folder / "body.json").write_text(json.dumps({"text": ATTACK + " x" * 3_000}))
    parts = {"certificate": folder / "server.pem", "key": folder / "server.key", "keys": folder / "keys.toml"}
    # However busy the machine is, none is refused, and answers are left when the probe is acknowledged.
    patient, count = Limits(deadline_ms=60_000), 1000
    with live(Settings(port=0, datagram_bytes=8_900, limits=patient, **parts)) as running:
        running.gateway.service.access = Everybody()
        sent: list[int] = []
        came: list[int] = []
        transport = running.gateway.sockets.quic.datagrams  # type: ignore[union-attr]
        take = transport._received
        transport._received = lambda found: (came.extend(len(data) for data, _ in found), take(found))[1]
        transport.sendto, send = (lambda data, to: (sent.append(len(data)), send(data, to))), transport.sendto
        port = str(running.gateway.port)
        request = ("-m", "POST", "-d", str(folder / "body.json"), "-n", str(count), "127.0.0.1", port)
        more = ("--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close", *own)
        told = ran(client, *more, *request, f"https://127.0.0.1:{port}/v1/screen")
        assert told.count("[:status: 200]") == count
        assert f'aimds_rows_total{{action="block"}} {count}.0' in running.gateway.metrics.text().decode()
        # Beside the probe, answers.
        assert sum(size > 1_500 for size in sent) > 5
        assert (max(came) > 1_500) is bool(own)


NIQUESTS = Path(sys.prefix) / "niquests"
"""Not among what is installed beside us: it puts another package in the place of urllib3."""
WITH_NIQUESTS = """
import json, sys

import niquests

address, ca, token, text = sys.argv[1:]
with niquests.Session(disable_http1=True, disable_http2=True) as session:
    named = {"authorization": f"Bearer {token}"}
    known, unknown = (session.post(address, json={"text": text}, headers=one, verify=ca) for one in (named, {}))
    print(json.dumps([known.status_code, known.http_version, known.json()["action"], unknown.status_code]))
"""


def test_niquests_screens_over_http3(gateway: Live, folder: Path, token: str) -> None:
    if not (NIQUESTS / "niquests").is_dir():
        pytest.skip(f"no niquests: pip install --no-deps --target {NIQUESTS} -r tests/gateway/niquests.txt")
    address = f"https://127.0.0.1:{gateway.gateway.port}/v1/screen"
    told = ran(
        *(sys.executable, "-c", WITH_NIQUESTS, address, str(folder / "ca.pem"), token, ATTACK),
        env={**os.environ, "PYTHONPATH": str(NIQUESTS)},
    )
    assert told.splitlines()[-1:] == ['[200, 30, "block", 401]'], told


def test_curl_screens_on_the_twin_and_is_told_of_http3(gateway: Live, folder: Path, token: str) -> None:
    curl, port = needs("curl", "curl"), gateway.gateway.port
    told = ran(
        *(curl, "-si", "--cacert", str(folder / "ca.pem"), "-H", "content-type: application/json"),
        *(
            "-H",
            f"authorization: Bearer {token}",
            "-d",
            f"@{folder / 'body.json'}",
            f"https://127.0.0.1:{port}/v1/screen",
        ),
    )
    assert '"action":"block"' in told
    assert f'alt-svc: h3=":{port}"' in told.lower()
    lines = "".join(json.dumps({"text": f"{i} " + "x" * 200}) + "\n" for i in range(5000))
    told = ran(
        *(curl, "-s", "--cacert", str(folder / "ca.pem"), "-H", "content-type: application/x-ndjson", "-T", "-"),
        *("-X", "POST", "-H", f"authorization: Bearer {token}"),
        f"https://127.0.0.1:{port}/v1/screen/batch?verdict=brief",
        input=lines,
    )
    assert [json.loads(line)["request_id"] for line in told.splitlines()] == [str(i) for i in range(5000)]


SCREEN = """
(async () => {
    const ask = (text, headers) => fetch("/v1/screen", {
        method: "POST", headers: {"content-type": "application/json", ...headers}, body: JSON.stringify({text}),
    });
    const named = {authorization: "Bearer TOKEN"};
    const [blocked, allowed, refused] = await Promise.all([ask("ATTACK", named), ask("harmless", named), ask("a", {})]);
    return [blocked.status, (await blocked.json()).action, (await allowed.json()).action, refused.status];
})()
"""
OVER_HTTP3 = """
performance.getEntriesByType("resource")
    .filter(one => one.name.endsWith("/v1/screen") && one.nextHopProtocol === "h3").length === 3
"""


@pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed (Debian: chromium)")
def test_chromium_screens_over_http3(gateway: Live, folder: Path, token: str, tmp_path: Path) -> None:
    port = gateway.gateway.port
    leaf = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    spki = base64.b64encode(hashlib.sha256(public).digest()).decode()
    options = (f"--origin-to-force-quic-on=127.0.0.1:{port}", f"--ignore-certificate-errors-spki-list={spki}")
    chromium = Chromium(tmp_path / "profile", *options)
    try:
        chromium.go(f"https://127.0.0.1:{port}/healthz")
        chromium.wait('document.body !== null && document.body.innerText.includes("ok")')
        found = chromium.run(SCREEN.replace("TOKEN", token).replace("ATTACK", ATTACK))
        chromium.wait(OVER_HTTP3)
    finally:
        chromium.close()
    assert found == [200, "block", "allow", 401]
    assert 'aimds_rows_total{action="block"} 1.0' in gateway.gateway.metrics.text().decode()
