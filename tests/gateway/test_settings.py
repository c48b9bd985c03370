"""The settings file of the gateway."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aimds.errors import ConfigError, DataError
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Ray, Settings, load

WHOLE = """
[listen]
host = "0.0.0.0"
port = 443
drain_s = 5
connections_per_address = 50
unread_s = 7.5
datagram_bytes = 8900
processes = 2
[tls]
certificate = "server.pem"
key = "server.key"
[auth]
keys = "keys.toml"
admin_allow = ["10.0.0.0/8"]
failures_per_minute = 5
[auth.certificates]
client_ca = "ca.pem"
required = true
[auth.certificates.clients."ada.example"]
tenant = "acme"
roles = ["screen"]
rate = 100
[auth.jwt]
issuer = "https://issuer.example"
audience = "aimds"
jwks = "jwks.json"
leeway_s = 5
[rates]
rate = 1000
burst = 50
[weights]
acme = 3
[batch]
max_rows = 64
max_batch_ms = 12.5
[limits]
max_text_bytes = 1000
[output]
step_bytes = 99
[screening]
profile = "fast"
backend = "cpu"
policy = "policy.toml"
threads = 2
[audit]
path = "audit.log"
verdicts = "all"
signing_key = "sign.pem"
segment_mb = 64
segment_hours = 6
keep_days = 90
"""


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "aimds.toml"
    path.write_text(content)
    return path


def test_every_key_of_the_file_is_taken(tmp_path: Path) -> None:
    found = load(written(tmp_path, WHOLE)).check()
    assert (found.host, found.port, found.drain_s) == ("0.0.0.0", 443, 5)
    assert (found.connections_per_address, found.unread_s, found.datagram_bytes) == (50, 7.5, 8900)
    assert found.processes == 2
    assert found.certificate == tmp_path / "server.pem"
    assert found.certificates is not None
    assert found.certificates.required
    assert found.certificates.clients["ada.example"] == Identity(
        "ada.example", "acme", frozenset({"screen"}), "certificate", 100.0
    )
    assert found.jwt is not None
    assert (found.jwt.config.leeway_s, found.jwt.jwks) == (5.0, str(tmp_path / "jwks.json"))
    assert (found.rate, found.burst, found.weights) == (1000.0, 50.0, {"acme": 3.0})
    assert (found.batch.max_rows, found.batch.max_batch_ms) == (64, 12.5)
    assert (found.limits.max_text_bytes, found.output.step_bytes) == (1000, 99)
    assert (found.screening.profile, found.screening.threads, found.screening.backend) == ("fast", 2, "cpu")
    assert found.failures_per_minute == 5.0
    assert found.audit is not None
    assert found.audit.verdicts == "all"
    assert found.audit.signing_key == tmp_path / "sign.pem"
    assert (found.audit.segment_mb, found.audit.segment_hours, found.audit.keep_days) == (64.0, 6.0, 90.0)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Settings() == load(None)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("[listen]\nport = 70000", "listen.port"),
        ("[listen]\nport = 1.5", "listen.port"),
        ("[listen]\nprot = 1", "listen.prot"),
        ("[listen]\nconnections_per_address = -1", "listen.connections_per_address"),
        ("[listen]\nunread_s = 4000", "listen.unread_s"),
        ("[listen]\ndatagram_bytes = 1199", "listen.datagram_bytes"),
        ("[listen]\nprocesses = 65", "listen.processes"),
        ("[listen]\ndatagram_bytes = 16384", "listen.datagram_bytes"),
        ("[listen]\ndatagram_bytes = 1300.5", "listen.datagram_bytes"),
        ("[more]\na = 1", "more"),
        ("[auth.jwt]\nissuer = 'a'\naudience = 'b'\njwks = 'http://plain.example/keys'", "auth.jwt.jwks"),
        ("[auth.jwt]\nissuer = 'a'", "auth.jwt.audience"),
        (
            "[auth.certificates]\nclient_ca = 'a'\n[auth.certificates.clients.x]\ntenant = 'a'\nroles = ['root']",
            "roles",
        ),
        ("[auth]\nadmin_allow = 'all'", "auth.admin_allow"),
        ("[weights]\na = 0", "weights.a"),
        ("[batch]\nmax_rows = 0", "max_rows"),
        ("[limits]\nmax_rows = 0", "limits.max_rows"),
        ("[limits]\npiece_rows = 0", "limits.piece_rows"),
        ("[limits]\npiece_rows = 0.9", "limits.piece_rows"),
        ("[limits]\nwindow_pieces = 0", "limits.window_pieces"),
        ("[limits]\ndeadline_ms = 0", "limits.deadline_ms"),
        ("[screening]\nprofile = 'slow'", "screening.profile"),
        ("[screening]\nbackend = 'gpu'", "screening.backend"),
        ("[auth]\nfailures_per_minute = -1", "auth.failures_per_minute"),
        ("[audit]\nverdicts = 'all'", "audit.path"),
        ("[audit]\npath = 'a'\nkeep_days = 0", "audit.keep_days"),
        ("[audit]\npath = 'a'\nsegment_mb = 0", "audit.segment_mb"),
        ("[ray]\nsessions = 65", "ray.sessions"),
        ("[ray]\nsessions = 1\ngroup = 'a b'", "ray.group"),
        ("insecure = true", "insecure"),
    ],
)
def test_a_bad_value_names_its_key(tmp_path: Path, content: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        load(written(tmp_path, content))


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(DataError, match="TOML"):
        load(written(tmp_path, "a = ["))


def test_an_error_names_the_file_that_it_lies_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[audit]\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: audit\.path: nothing given"):
        load(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("max_message_bytes = 134_217_729", "max_message_bytes = 134217729: expected at most 134217728,"),
        ("max_body_bytes = 16_777_217", "max_body_bytes = 16777217: expected at most 16777216,"),
        ("max_held_bytes = 33_554_430", "max_message_bytes = 16777216: expected at most 16777215,"),
        ("max_held_bytes = 134_217_726", "max_expanded_bytes = 67108864: expected at most 67108863,"),
    ],
)
def test_a_body_that_could_never_be_held_is_refused_by_its_bound(tmp_path: Path, content: str, told: str) -> None:
    def checked(content: str) -> Settings:
        return dataclasses.replace(load(written(tmp_path, f"[limits]\n{content}")), insecure=True).check()

    with pytest.raises(ConfigError, match=rf"limits\.{told} since of limits\.max_held_bytes = "):
        checked(content)
    checked("max_held_bytes = 134_217_728")
    checked("max_held_bytes = 33_554_432\nmax_expanded_bytes = 16_777_216")
    checked("max_held_bytes = 268_435_456\nmax_message_bytes = 134_217_728\nmax_body_bytes = 16_777_216")


def test_shards_of_sessions_are_refused_where_they_cannot_do_what_is_asked(tmp_path: Path) -> None:
    def checked(content: str) -> Settings:
        return dataclasses.replace(load(written(tmp_path, content)), insecure=True).check()

    found = checked("[sessions]\n[ray]\naddress = 'auto'\nsessions = 2\ngroup = 'front_1'")
    assert found.ray == Ray("auto", sessions=2, group="front_1")
    assert checked("[ray]\nleast = 1").ray == Ray(least=1)
    for content, key in (
        ("[ray]\nsessions = 2", "ray.sessions = 2"),
        ("[sessions]\n[ray]\ngroup = 'front'", "ray.group = 'front'"),
        ("[sessions]\njoined = true\n[ray]\nsessions = 1", "sessions.joined = True"),
        ("[sessions]\nsnapshot = 's'\n[ray]\nsessions = 1", "sessions.snapshot"),
    ):
        with pytest.raises(ConfigError, match=key):
            checked(content)
