"""Identity: what is taken, and every way in that has to stay shut."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from desk import JSON, Desk, document
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway import certificates, keys
from aimds.gateway.auth import Auth, Credentials
from aimds.gateway.certificates import Chains, Issued
from aimds.gateway.identity import Identity, Peer
from aimds.gateway.keys import ANY_TENANT, Keys
from aimds.gateway.limits import Failures, Rates
from aimds.gateway.problem import Problem
from aimds.gateway.tokens import RETRY_S, Jwks, TokenConfig, Tokens, parse_jwks
from aimds.record.audit import AuditLog

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WALL = NOW.timestamp()
ADA = Identity("ada", "acme", frozenset({"screen"}), "certificate")


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwks(**more: Any) -> bytes:
    listed = [
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())), "kid": "r", "alg": "RS256"},
        {**json.loads(ECAlgorithm.to_jwk(ec_key().public_key())), "kid": "e"},
    ]
    return json.dumps({"keys": [*listed, *more.get("also", [])]}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    found = {
        "iss": "https://issuer.example",
        "aud": "aimds",
        "sub": "ada",
        "iat": WALL - 10,
        "exp": WALL + 300,
        "tenant": "acme",
        "roles": ["screen"],
    } | changed
    return {name: value for name, value in found.items() if value is not None}


def token(kid: str = "r", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    key: Any = rsa_key() if kid != "e" else ec_key()
    return jwt.encode(claims(**changed), key, "ES256" if kid == "e" else "RS256", {"kid": kid, **(headers or {})})


def raw_token(header: dict[str, Any], body: dict[str, Any], sign: Any = None) -> str:
    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    signed = part(json.dumps(header).encode()) + "." + part(json.dumps(body).encode())
    return signed + "." + ("" if sign is None else part(sign(signed.encode())))


def tokens(read: Any = jwks, wall: float = WALL, **options: Any) -> Tokens:
    source = Jwks(read, **options)
    source.refresh(0.0)
    return Tokens(TokenConfig("https://issuer.example", "aimds"), source, lambda: wall)


def authorized(bearer: str) -> list[tuple[bytes, bytes]]:
    return [*JSON, (b"authorization", b"Bearer " + bearer.encode())]


def desk(**credentials: Any) -> Desk:
    return Desk(access=Auth(Credentials(**credentials), wall=lambda: WALL))


def asked(one: Desk, headers: list[tuple[bytes, bytes]], peer: Peer | None = None, target: str = "/v1/screen") -> int:
    exchange = one.open(target, headers, peer=peer or Peer("192.0.2.1"))
    if exchange.ended:
        return exchange.status
    exchange.receive(b'{"text": "hello"}', one.now)
    exchange.end(one.now)
    one.run()
    return exchange.status


def test_a_token_that_is_refused_for_what_is_no_text_is_answered_all_the_same() -> None:
    exchange = desk(tokens=tokens()).open("/v1/screen", authorized(raw_token({"alg": "RS256", "crit": ["\ud800"]}, {})))
    assert exchange.status == 401
    assert "\ud800" in document(exchange)["detail"]


def test_no_two_tokens_share_what_is_kept_under_an_idempotency_key() -> None:
    named = [("a:b", "c"), ("a", "b:c"), ("a", "None"), ("a", ANY_TENANT)]
    one = desk(tokens=tokens())
    for number, (subject, tenant) in enumerate(named):
        headers = [*authorized(token(sub=subject, tenant=tenant)), (b"idempotency-key", b"k")]
        exchange = one.open("/v1/screen", headers, peer=Peer("192.0.2.1"))
        exchange.receive(json.dumps({"text": str(number)}).encode(), one.now)
        exchange.end(one.now)
        one.run()
        assert exchange.status == 200


@pytest.mark.parametrize("kid", ["r", "e"])
def test_a_valid_token_is_an_identity(kid: str) -> None:
    found = tokens().identity(token(kid), 0.0)
    assert found == Identity("ada", "acme", frozenset({"screen"}), "jwt")
    assert asked(desk(tokens=tokens()), authorized(token(kid))) == 200


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"exp": WALL - 31}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "a" * 513}, "sub is longer than 512 bytes"),
        ({"tenant": "a" * 513}, "tenant is longer than 512 bytes"),
        ({"sub": "a\ud800"}, "sub holds half a pair"),
        ({"tenant": "\udfff"}, "tenant holds half a pair"),
        ({"aud": "another"}, "udience"),
        ({"aud": None}, "aud"),
        ({"iss": "https://evil.example"}, "ssuer"),
        ({"iss": None}, "iss"),
        ({"nbf": WALL + 60}, "not valid yet"),
        ({"iat": WALL + 60, "exp": WALL + 90}, "not valid yet"),
        ({"exp": WALL + 10**7}, "lives longer"),
        ({"exp": True}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"tenant": None}, "tenant"),
        ({"tenant": ["acme"]}, "tenant"),
        ({"roles": 7}, "roles"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Problem, match=said) as caught:
        tokens().identity(token(**changed), 0.0)
    assert caught.value.status == 401


def test_a_token_without_signature_is_refused() -> None:
    for alg in ("none", "None", "NONE", ""):
        with pytest.raises(Problem):
            tokens().identity(raw_token({"alg": alg, "kid": "r"}, claims()), 0.0)


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    public = rsa_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), RSAAlgorithm.to_jwk(public).encode()):
        forged = raw_token(
            {"alg": "HS256", "kid": "r"}, claims(), lambda content, s=secret: hmac.digest(s, content, "sha256")
        )
        with pytest.raises(Problem, match="HS256"):
            tokens().identity(forged, 0.0)


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
def test_another_algorithm_of_the_same_key_is_refused(alg: str) -> None:
    with pytest.raises(Problem, match="algorithm"):
        tokens().identity(jwt.encode(claims(), rsa_key(), alg, {"kid": "r"}), 0.0)


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "r'; DROP TABLE keys; --", "/proc/self/environ", "e", "", "r\x00", None, 5]
)
def test_a_key_id_only_picks_a_known_key(kid: Any) -> None:
    with pytest.raises(Problem):
        tokens().identity(raw_token({"alg": "RS256", "kid": kid}, claims(), lambda content: b"x" * 256), 0.0)


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit"])
def test_a_token_that_brings_its_own_key_is_refused(name: str) -> None:
    with pytest.raises(Problem, match=f"carries {name}|critical"):
        tokens().identity(token(headers={name: ["https://evil.example"]}), 0.0)


def test_a_changed_token_is_refused() -> None:
    head, body, seal = token().split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(tenant="globex")).encode()).rstrip(b"=").decode()
    for bad in (
        f"{head}.{forged}.{seal}",
        f"{head}.{body}.{seal[:-4]}AAAA",
        f"{head}.{body}.",
        "a.b.c",
        "x" * 9000,
        "é",
    ):
        with pytest.raises(Problem):
            tokens().identity(bad, 0.0)


def test_a_verified_token_is_not_believed_after_its_end() -> None:
    wall = [WALL]
    source = Jwks(jwks)
    source.refresh(0.0)
    checker = Tokens(TokenConfig("https://issuer.example", "aimds"), source, lambda: wall[0])
    one = token()
    assert checker.identity(one, 0.0) is checker.identity(one, 0.0)
    wall[0] += 331
    with pytest.raises(Problem, match="expired"):
        checker.identity(one, 0.0)


def test_rotated_keys_are_found_and_withdrawn_ones_are_forgotten() -> None:
    content = [jwks()]
    checker = tokens(lambda: content[0])
    old = token()
    checker.identity(old, 0.0)
    fresh = rsa.generate_private_key(65537, 2048)
    item = {**json.loads(RSAAlgorithm.to_jwk(fresh.public_key())), "kid": "new"}
    content[0] = json.dumps({"keys": [item]}).encode()
    new = jwt.encode(claims(), fresh, "RS256", {"kid": "new"})
    with pytest.raises(Problem, match="no key"):
        checker.identity(new, RETRY_S - 1)
    assert checker.identity(new, RETRY_S + 1).name == "ada"
    with pytest.raises(Problem, match="no key"):
        checker.identity(old, RETRY_S + 2)


def test_a_key_set_that_breaks_leaves_the_old_one_in_force() -> None:
    content = [jwks()]
    source = Jwks(lambda: content[0])
    source.refresh(0.0)
    content[0] = b"<html>"
    with pytest.raises(ConfigError):
        source.refresh(1.0)
    assert source.get("r", 2.0) is not None


def test_a_key_that_is_withdrawn_while_its_token_is_checked_is_not_believed_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document, decode = jwks(), jwt.decode
    one = tokens(lambda: document)

    def meanwhile(*args: Any, **options: Any) -> Any:
        one.keys.refresh(1.0)
        return decode(*args, **options)

    document = json.dumps({"keys": [key for key in json.loads(jwks())["keys"] if key["kid"] != "r"]}).encode()
    monkeypatch.setattr(jwt, "decode", meanwhile)
    one.identity(token("r"), 0.0)
    with pytest.raises(Problem, match="no key has the id"):
        one.identity(token("r"), 2.0)


def test_of_two_looks_at_a_key_set_the_later_one_counts_however_late_the_other_comes() -> None:
    both = jwks()
    left = json.dumps({"keys": [key for key in json.loads(both)["keys"] if key["kid"] != "r"]}).encode()
    looks = 0

    def read() -> bytes:
        nonlocal looks
        looks += 1
        if looks == 1:
            source.refresh(1.0)
            return both
        return left

    source = Jwks(read)
    source.refresh(0.0)
    assert looks == 2
    assert source.get("r", 2.0) is None
    assert source.get("e", 2.0) is not None


def test_a_remote_key_set_is_never_fetched_while_a_request_waits() -> None:
    source = Jwks(lambda: pytest.fail("fetched"), remote=True)
    asked: list[str] = []
    source.wanted = lambda: asked.append("x")
    assert source.get("x", 100.0) is None
    assert asked == ["x"]


def test_a_key_set_gives_only_public_keys_for_our_algorithms() -> None:
    small = rsa.generate_private_key(65537, 1024)
    also = [
        {**json.loads(RSAAlgorithm.to_jwk(small.public_key())), "kid": "small"},
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key())), "kid": "private"},
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        {**json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key())), "kid": "p384"},
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())), "kid": "ps", "alg": "PS256"},
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())), "kid": "enc", "use": "enc"},
        json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())),
        {"kty": "RSA", "n": "!", "e": "", "kid": "broken"},
    ]
    assert set(parse_jwks(jwks(also=also))) == {"r", "e"}
    for bad in (b"", b"[]", b"{}", b'{"keys": 5}', b'{"keys": []}', b"[" * 100_000):
        with pytest.raises(ConfigError):
            parse_jwks(bad)


@cache
def ca(name: str = "ours") -> Issued:
    return certificates.authority(name, NOW)


def der(*issued: Issued) -> tuple[bytes, ...]:
    encoding = serialization.Encoding.DER
    return tuple(x509.load_pem_x509_certificate(one.certificate).public_bytes(encoding) for one in issued)


def client(authority: Issued | None = None, **options: Any) -> tuple[bytes, ...]:
    return der(
        certificates.issue(authority or ca(), "ada", ["ada.clients.example"], NOW, **({"client": True} | options))
    )


def mutual(**more: Any) -> Desk:
    return desk(chains=Chains(ca().certificate), clients={"ada.clients.example": ADA}, **more)


def test_a_client_certificate_of_our_ca_is_an_identity() -> None:
    one = mutual()
    exchange = one.open("/v1/screen", peer=Peer("192.0.2.1", client()))
    assert not exchange.ended
    exchange.receive(b'{"text": "a"}', one.now)
    exchange.end(one.now)
    one.run()
    assert document(exchange)["tenant"] == "acme"


@pytest.mark.parametrize(
    "chain",
    [
        (),
        client(certificates.authority("ours", NOW)),
        client(certificates.authority("theirs", NOW)),
        client(client=False),
        client(days=-1),
        der(certificates.authority("ada.clients.example", NOW)),
        (b"not a certificate",),
        (b"",),
        der(ca()),
        client() * 9,
    ],
    ids=["none", "same name", "other ca", "server's", "expired", "self-signed", "garbage", "empty", "the ca", "long"],
)
def test_other_certificates_are_not(chain: tuple[bytes, ...]) -> None:
    one = mutual()
    assert asked(one, JSON, Peer("192.0.2.1", chain)) == 401
    assert one.screener.batches == []
    assert [note["kind"] for note in one.denied] == ["unauthenticated"]


def test_a_certificate_is_checked_again_when_time_has_passed() -> None:
    chains, chain = Chains(ca().certificate), client(days=2)
    assert chains.names(chain, NOW) == ("ada.clients.example",)
    with pytest.raises(Problem):
        chains.names(chain, NOW + timedelta(days=3))


def test_a_valid_certificate_that_nobody_listed_is_forbidden() -> None:
    assert asked(desk(chains=Chains(ca().certificate)), JSON, Peer("192.0.2.1", client())) == 403


def test_where_a_certificate_is_required_a_token_alone_is_not_enough() -> None:
    one = mutual(tokens=tokens(), require_certificate=True)
    assert asked(one, authorized(token())) == 401
    assert asked(one, authorized(token()), Peer("192.0.2.1", client())) == 200


def test_certificates_are_written_once_for_all_and_keys_for_the_owner_alone(tmp_path: Path) -> None:
    paths = certificates.write(tmp_path / "certs", "ca", ca())
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o644, 0o600]
    with pytest.raises(DataError, match="already"):
        certificates.write(tmp_path / "certs", "ca", ca())
    with pytest.raises(ConfigError, match="names"):
        certificates.issue(ca(), "x", [], NOW)


def test_an_api_key_is_an_identity_and_its_file_does_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key, entry = keys.new("batch job", "acme", ("screen", "metrics"))
    other, second = keys.new('a "quoted" name', keys.ANY_TENANT, ("admin",), NOW)
    keys.append(path, entry)
    keys.append(path, second)
    loaded = Keys.load(path)
    assert loaded.identity(key, NOW) == Identity("batch job", "acme", frozenset({"screen", "metrics"}), "key")
    assert loaded.identity(other, NOW - timedelta(1)).tenant is None
    content = path.read_text()
    assert key.partition(".")[2] not in content
    assert hashlib.sha256(key.partition(".")[2].encode()).hexdigest() in content
    assert path.stat().st_mode & 0o777 == 0o600
    assert asked(desk(keys=loaded), authorized(key)) == 200
    assert asked(desk(keys=loaded), [*JSON, (b"x-api-key", key.encode())]) == 200
    for bad in (other, key[:-1], key + "x", "aimds_", "aimds_x.y", key.replace(".", "")):
        assert asked(desk(keys=loaded), authorized(bad)) == 401


@pytest.mark.parametrize(
    ("name", "tenant", "said"),
    [
        ("", "acme", "name"),
        ("me", "", "tenant"),
        ("me", "a" * 513, "up to 512 bytes"),
        ("me\udcff", "acme", "no TOML file"),
    ],
)
def test_an_entry_that_could_not_be_read_again_is_refused_and_the_file_stays(
    tmp_path: Path, name: str, tenant: str, said: str
) -> None:
    path = tmp_path / "keys.toml"
    keys.append(path, keys.new("first", "acme", ("screen",))[1])
    before = path.read_bytes()
    with pytest.raises(AimdsError, match=said):
        keys.append(path, keys.new(name, tenant, ("screen",))[1])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("keys = 5", "keys"),
        ("[[keys]]\nid = 'a'", r"keys\[0\].sha256"),
        (f"[[keys]]\nid='a'\nsha256='{'0' * 64}'\nname='n'\ntenant='t'\nroles=['root']", r"roles\[0\]"),
        (f"[[keys]]\nid='a'\nsha256='{'0' * 64}'\nname='n'\ntenant='t'\nroles=[]\nmore=1", "more"),
        ("a = [", "TOML"),
    ],
)
def test_a_bad_key_file_names_the_place(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    with pytest.raises(AimdsError, match=said):
        Keys.load(path)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer a.b.c")],
        [(b"x-api-key", b"secret")],
        [(b"x-api-key", b"aimds_a.b"), (b"authorization", b"Bearer aimds_a.b")],
        [(b"x-client-cert", b"ada"), (b"x-forwarded-user", b"admin"), (b"x-ssl-client-verify", b"SUCCESS")],
    ],
)
def test_nothing_else_is_an_identity(headers: list[tuple[bytes, bytes]]) -> None:
    one = desk(tokens=tokens())
    assert asked(one, [*JSON, *headers]) == 401
    assert one.screener.batches == []


def test_access_without_any_kind_of_credential_is_a_bad_setting() -> None:
    with pytest.raises(ConfigError, match="insecure-local"):
        Auth(Credentials(), wall=lambda: WALL)
    with pytest.raises(ConfigError, match="required"):
        Auth(Credentials(tokens=tokens(), require_certificate=True), wall=lambda: WALL)
    with pytest.raises(ConfigError, match=r"admin\.allow"):
        Auth(Credentials(tokens=tokens()), ["everywhere"], wall=lambda: WALL)


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("192.0.2.1", 403), ("", 403), ("localhost", 403)],
)
def test_admin_routes_are_open_to_listed_addresses_alone(address: str, status: int) -> None:
    one = desk(tokens=tokens())
    headers = [*authorized(token(roles=["admin"])), (b"x-forwarded-for", b"127.0.0.1"), (b"x-real-ip", b"127.0.0.1")]
    assert one.open("/v1/admin/status", headers, "GET", Peer(address)).status == status


def test_rates_are_counted_by_identity_whatever_the_headers_say() -> None:
    one = Desk(access=Auth(Credentials(tokens=tokens()), wall=lambda: WALL), rates=Rates(10, burst=5))
    statuses = []
    for i in range(8):
        spoofed = [(b"x-forwarded-for", f"203.0.113.{i}".encode()), (b"x-tenant", str(i).encode())]
        statuses.append(asked(one, [*authorized(token(jti=str(i))), *spoofed], Peer(f"198.51.100.{i}")))
        one.now = 100.0
    assert statuses == [200] * 5 + [429] * 3
    assert asked(one, authorized(token(sub="bob"))) == 200
    one.now = 101.0
    assert asked(one, authorized(token())) == 200


def test_a_rate_of_its_own_goes_before_the_general_one() -> None:
    rates, fast = Rates(1, burst=1), Identity("fast", None, frozenset(), "key", rate=100.0)
    for _ in range(200):
        rates.take(fast, 1, 0.0)
    with pytest.raises(Problem) as caught:
        rates.take(fast, 1, 0.0)
    assert caught.value.retry_after_s == pytest.approx(0.01)


def test_a_large_request_is_paid_off_and_not_refused_for_ever() -> None:
    rates, one = Rates(10, burst=20), Identity("a", None, frozenset(), "key")
    rates.take(one, 100, 0.0)
    with pytest.raises(Problem):
        rates.take(one, 1, 8.0)
    rates.take(one, 1, 8.2)


WRONG = [(b"x-api-key", b"aimds_guessed.guess")]


def strict(per_minute: float, **more: Any) -> Desk:
    access = Auth(Credentials(tokens=tokens()), wall=lambda: WALL, failures=Failures(per_minute, **more))
    return Desk(access=access)


def test_failed_logins_of_an_address_are_bounded_and_the_bound_fills_up_again() -> None:
    one, eve = strict(3), Peer("198.51.100.7")
    assert [asked(one, WRONG, eve) for _ in range(5)] == [401, 401, 401, 429, 429]
    exchange = one.open("/v1/screen", WRONG, peer=eve)
    assert document(exchange)["type"] == "urn:aimds:problem:too-many-failures"
    assert dict(exchange.headers)["retry-after"] == "20"
    # Not even a valid token is looked at, and nobody else is kept out.
    assert asked(one, authorized(token()), eve) == 429
    assert asked(one, authorized(token()), Peer("198.51.100.8")) == 200
    one.now += 20.1
    assert [asked(one, WRONG, eve) for _ in range(2)] == [401, 429]
    one.now += 20.1
    assert asked(one, authorized(token()), eve) == 200


def test_a_forwarding_header_neither_hides_an_address_nor_blames_another() -> None:
    one = strict(2)
    for i in range(6):
        spoofed = [
            (b"x-forwarded-for", f"203.0.113.{i}, 127.0.0.1".encode()),
            (b"x-real-ip", b"203.0.113.9"),
            (b"forwarded", b"for=203.0.113.9"),
        ]
        assert asked(one, [*WRONG, *spoofed], Peer("198.51.100.7")) == (401 if i < 2 else 429)
    assert asked(one, WRONG, Peer("203.0.113.0")) == 401
    assert asked(one, WRONG, Peer("203.0.113.9")) == 401


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("nonsense", "nonsense", True),
        ("", "198.51.100.7", False),
    ],
)
def test_one_network_of_ipv6_is_one_source(first: str, second: str, same: bool) -> None:
    one = strict(1)
    assert asked(one, WRONG, Peer(first)) == 401
    assert asked(one, WRONG, Peer(second)) == (429 if same else 401)


def test_the_table_of_addresses_is_bounded_and_drops_who_failed_longest_ago() -> None:
    failures = Failures(1, most=3)
    for i in range(10):
        failures.count(f"198.51.100.{i}", float(i))
    assert len(failures) == 3
    failures.check("198.51.100.1", 10.0)
    with pytest.raises(Problem):
        failures.check("198.51.100.9", 10.0)


def test_no_bound_counts_nothing_and_a_bad_one_is_refused() -> None:
    one = strict(0)
    assert {asked(one, WRONG) for _ in range(200)} == {401}
    with pytest.raises(ConfigError, match="failures_per_minute"):
        Failures(-1)


def test_what_is_forbidden_but_known_is_no_failed_login() -> None:
    one = strict(1)
    headers = authorized(token(roles=["metrics"]))
    assert [asked(one, headers) for _ in range(4)] == [403] * 4


def test_every_denied_request_leaves_a_line_in_the_audit_log(tmp_path: Path) -> None:
    one = desk(tokens=tokens())
    with AuditLog(tmp_path / "log", now=lambda: NOW) as log:

        def note(body: dict[str, Any]) -> None:
            log.append("denied", body)
            log.flush()

        one.service.hooks = dataclasses.replace(one.service.hooks, work=lambda: None, denied=note)
        asked(one, JSON)
        asked(one, authorized(token(roles=["metrics"])))
        asked(one, authorized(token()))
        found = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    notes = [{**record["body"], **record["private"]} for record in found if record["kind"] == "denied"]
    assert [(note["identity"], note["kind"], note["peer"]) for note in notes] == [
        (None, "unauthenticated", "192.0.2.1"),
        ("ada", "forbidden", "192.0.2.1"),
    ]
    assert all(note["reason"] and note["path"] == "/v1/screen" for note in notes)


def test_what_cannot_be_recorded_is_denied_all_the_same() -> None:
    one = desk(tokens=tokens())

    def broken(_: dict[str, Any]) -> None:
        raise DataError("log", "disk full")

    one.service.hooks = dataclasses.replace(one.service.hooks, work=lambda: None, denied=broken)
    assert asked(one, JSON) == 401
