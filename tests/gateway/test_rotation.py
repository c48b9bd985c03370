"""Tokens that live an hour, signed by keys that change, on one connection of a running gateway that stays open."""

from __future__ import annotations

import json
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from live import live

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
