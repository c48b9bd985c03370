"""Tokens that live an hour, signed by keys that change, on one connection of a running gateway that stays open."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from desk import Fake
from jwt.algorithms import ECAlgorithm
from live import Live, live

from aimds.errors import ConfigError
from aimds.gateway import certificates
from aimds.gateway.settings import Settings, load
from aimds.gateway.tokens import RETRY_S

HOUR = 3600
SETTINGS = """
[listen]
port = 0
[tls]
certificate = "server.pem"
key = "server.key"
[auth.jwt]
issuer = "https://issuer.example"
audience = "aimds"
jwks = "jwks.json"
max_age_s = 3600
"""


class Issuer:
    """Signs tokens of an hour, and puts its public keys where the gateway reads them."""

    def __init__(self, path: Path) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.path = path

    def begin(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())
        self.publish()

    def publish(self) -> None:
        public = [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": kid} for kid, key in self.keys.items()]
        self.path.write_text(json.dumps({"keys": public}), "utf-8")

    def sign(self, kid: str, now: float, lives_s: float = HOUR) -> str:
        claims = {"iss": "https://issuer.example", "aud": "aimds", "sub": "ada", "tenant": "acme", "roles": "screen"}
        return jwt.encode({**claims, "iat": now, "exp": now + lives_s}, self.keys[kid], "ES256", {"kid": kid})


def served(folder: Path) -> Settings:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(folder, "ca", ca)
    certificates.write(folder, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    (folder / "serve.toml").write_text(SETTINGS, "utf-8")
    return load(folder / "serve.toml").check()


def eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def status(server: Live, folder: Path, token: str) -> int:
    trusting = ssl.create_default_context(cafile=folder / "ca.pem")
    return server.screen("a", context=trusting, authorization=f"Bearer {token}")[0]


@contextlib.contextmanager
def published(folder: Path) -> Iterator[tuple[str, list[bool]]]:
    """The key set at an https address: where, and whether there is an answer just now."""
    up = [True]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if up[0] else 503)
            self.end_headers()
            self.wfile.write((folder / "jwks.json").read_bytes() if up[0] else b"")

        def log_message(self, *_: Any) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/jwks", up
        finally:
            server.shutdown()
            thread.join()


def test_key_taken_out_after_a_reload_that_failed_is_not_taken_any_more(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "jwks.json")
    issuer.begin("first")
    issuer.begin("second")
    settings, built = served(tmp_path), list[Fake]()
    assert settings.jwt is not None
    settings = dataclasses.replace(settings, jwt=dataclasses.replace(settings.jwt, refresh_s=0.05))

    def build(_: Any) -> Fake:
        if built:
            raise ConfigError("policy", "policy.toml", "a policy that can be read")
        built.append(Fake())
        return built[0]

    with live(settings, build=build) as server:
        first, second = (issuer.sign(kid, time.time()) for kid in ("first", "second"))
        assert (status(server, tmp_path, first), status(server, tmp_path, second)) == (200, 200)
        server.call(server.gateway.reload())
        assert "policy.toml" in server.gateway.reloads.last["error"]
        del issuer.keys["first"]
        issuer.publish()
        eventually(lambda: status(server, tmp_path, first) == 401)
        assert status(server, tmp_path, second) == 200


def test_reload_while_the_address_of_the_key_set_is_down_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, said = Issuer(tmp_path / "jwks.json"), list[str]()
    issuer.begin("first")
    settings = served(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert settings.jwt is not None
    with published(tmp_path) as (address, up):
        settings = dataclasses.replace(
            settings, failures_per_minute=1e6, jwt=dataclasses.replace(settings.jwt, jwks=address)
        )
        current = [settings]
        with live(settings, reread=lambda: current[0], say=said.append) as server:
            token = issuer.sign("first", time.time())
            eventually(lambda: status(server, tmp_path, token) == 200)
            up[0] = False
            server.call(server.gateway.reload())
            assert server.gateway.reloads.last["error"] is None
            assert status(server, tmp_path, token) == 200
            eventually(lambda: any("the old one stays in force" in line for line in said))
            assert status(server, tmp_path, issuer.sign("first", time.time())) == 200

            # Another address is not taken up before it has given its keys.
            moved = dataclasses.replace(settings.jwt, jwks=f"{address}/moved")
            current[0] = dataclasses.replace(settings, jwt=moved)
            server.call(server.gateway.reload())
            assert "cannot be fetched" in server.gateway.reloads.last["error"]
            assert status(server, tmp_path, token) == 200
            up[0] = True
            server.call(server.gateway.reload())
            assert server.gateway.reloads.last["error"] is None
            assert status(server, tmp_path, token) == 200

            # And a reload asks for a new look at the keys, long before it would be time.
            issuer.begin("second")
            del issuer.keys["first"]
            issuer.publish()
            server.call(server.gateway.reload())
            eventually(lambda: status(server, tmp_path, token) == 401)
            assert status(server, tmp_path, issuer.sign("second", time.time())) == 200


def test_keys_change_and_hourly_tokens_end_while_a_connection_stays_open(tmp_path: Path) -> None:
    issuer, later = Issuer(tmp_path / "jwks.json"), [0.0]
    issuer.begin("first")

    def wall() -> float:
        return time.time() + later[0]

    said: list[str] = []
    clocks: dict[str, Any] = {"wall": wall, "clock": lambda: time.monotonic() + later[0]}
    with live(served(tmp_path), say=said.append, **clocks) as server:
        connection = server.connect(ssl.create_default_context(cafile=tmp_path / "ca.pem"))

        def ask(token: str) -> tuple[int, str]:
            headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
            connection.request("POST", "/v1/screen", json.dumps({"text": "a"}), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        old = issuer.sign("first", wall())
        assert ask(old)[0] == 200
        wire = connection.sock
        status, why = ask(issuer.sign("first", wall(), lives_s=2 * HOUR))
        assert (status, "lives longer" in why) == (401, True)

        # The new key beside the old one: both count, and no reload was needed.
        later[0] += RETRY_S + 1
        issuer.begin("second")
        assert ask(issuer.sign("second", wall()))[0] == 200
        assert ask(old)[0] == 200

        # After its hour and the tolerance for clocks the old token has ended; the client goes on with a new one.
        later[0] += HOUR + 31
        status, why = ask(old)
        assert (status, "expired" in why) == (401, True)
        new = issuer.sign("second", wall())
        assert ask(new)[0] == 200

        # The old key is taken out: from the reload on nothing that it signs is taken.
        late = issuer.sign("first", wall())
        assert ask(late)[0] == 200
        key = issuer.keys.pop("first")
        issuer.publish()
        server.call(server.gateway.reload())
        assert ask(late)[0] == 401
        assert ask(new)[0] == 200

        # A set that cannot be read changes nothing.
        (tmp_path / "jwks.json").write_text("{", "utf-8")
        server.call(server.gateway.reload())
        assert ask(new)[0] == 200
        assert any("jwks" in line for line in said)
        issuer.keys["first"] = key
        assert ask(issuer.sign("first", wall()))[0] == 401
        assert connection.sock is wire
        connection.close()
