"""The settings file: TOML in, checked values out, and an error that names the place of what cannot be."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from aimds.errors import ConfigError, DataError
from aimds.gateway.batching import BatchConfig
from aimds.gateway.identity import ROLES, Identity
from aimds.gateway.keys import tenant_of
from aimds.gateway.lanes import MOST_LANES
from aimds.gateway.output import OutputConfig
from aimds.gateway.packets.probing import LEAST, MOST
from aimds.gateway.pieces import Limits
from aimds.gateway.settings.values import SHIPPED, Audit, Certificates, Following, Jwt, Ray, Review, Screening, Settings
from aimds.gateway.tokens import ANY_TENANT, TokenConfig
from aimds.gateway.tracing import Tracing
from aimds.kernels.registry import BACKENDS
from aimds.respond.review.store import place
from aimds.respond.settings import Section
from aimds.schema import PROFILES

RECORDED = ("none", "caught", "all")
MOST_SHARDS = 64
Numbers = TypeVar("Numbers", BatchConfig, Limits, OutputConfig)


def load(path: Path | None) -> Settings:
    """The settings in the TOML file ``path``; paths in it are relative to its folder.

    Raises:
        DataError: it cannot be read.
        ConfigError: a value is out of range, or a key is unknown; names the file and the place.
    """
    if path is None:
        return Settings()
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(path, f"is no TOML file: {error}") from None
    try:
        return _settings(Section(content, ""), path.parent)
    except ConfigError as error:
        raise error.of(path) from None


def _settings(top: Section, base: Path) -> Settings:
    changed: dict[str, Any] = {}
    if top.has("listen"):
        part = top.section("listen")
        whole = {"port": (0, 65535), "drain_s": (0, 3600), "connections_per_address": (0, 1 << 31)}
        whole |= {"datagram_bytes": (LEAST, MOST), "processes": (0, MOST_LANES)}
        changed |= _texts(part, ("host",)) | _wholes(part, whole)
        if part.has("unread_s"):
            changed["unread_s"] = part.number("unread_s", 0.0, 3600.0)
        part.end()
    if top.has("tls"):
        part = top.section("tls")
        changed |= {"certificate": _path(part, "certificate", base), "key": _path(part, "key", base)}
        part.end()
    if top.has("auth"):
        part = top.section("auth")
        if part.has("certificates"):
            changed["certificates"] = _certificates(part.section("certificates"), base)
        if part.has("jwt"):
            changed["jwt"] = _jwt(part.section("jwt"), base)
        if part.has("keys"):
            changed["keys"] = _path(part, "keys", base)
        if part.has("admin_allow"):
            changed["admin_allow"] = _strings(part, "admin_allow")
        if part.has("failures_per_minute"):
            changed["failures_per_minute"] = part.number("failures_per_minute", 0.0, 1e6)
        part.end()
    if top.has("rates"):
        part = top.section("rates")
        changed["rate"] = part.number("rate", 0.0, 1e9)
        if part.has("burst"):
            changed["burst"] = part.number("burst", 1.0, 1e9)
        part.end()
    if top.has("weights"):
        part = top.section("weights")
        changed["weights"] = {name: part.number(name, 0.0, 1e6, open_low=True) for name in part.values}
    changed |= _numbers(top, "batch", BatchConfig()) | _numbers(top, "limits", Limits())
    changed |= _numbers(top, "output", OutputConfig())
    if top.has("screening"):
        changed["screening"] = _screening(top.section("screening"), base)
    if top.has("ray"):
        part = top.section("ray")
        address = part.text("address") if part.has("address") else None
        group = part.text("group") if part.has("group") else None
        if group is not None and not (group.isascii() and group.replace("_", "").isalnum()):
            raise ConfigError(part.key("group"), group, "a name of letters, digits and _")
        counts: dict[str, Any] = _wholes(part, {"least": (1, 4096), "most": (1, 4096), "sessions": (0, MOST_SHARDS)})
        changed["ray"] = Ray(address, group=group, **counts)
        part.end()
    if top.has("audit"):
        part = top.section("audit")
        key = _path(part, "key", base) if part.has("key") else None
        verdicts = part.choice("verdicts", RECORDED) if part.has("verdicts") else "caught"
        signing = _path(part, "signing_key", base) if part.has("signing_key") else None
        ranges = {"segment_mb": (0.0, 1e6), "segment_hours": (0.0, 8784.0), "keep_days": (0.0, 36_500.0)}
        kept = {name: part.number(name, *ranges[name], open_low=True) for name in ranges if part.has(name)}
        changed["audit"] = Audit(_path(part, "path", base), key, verdicts, signing, **kept)
        part.end()
    if top.has("sessions"):
        part = top.section("sessions")
        given: dict[str, Any] = _wholes(part, {"capacity": (1, 1 << 24), "max_age_s": (1, 366 * 86_400)})
        if part.has("policies"):
            shipped = part.values["policies"] == str(SHIPPED)
            given["policies"] = SHIPPED if shipped else _path(part, "policies", base)
        given |= {name: part.flag(name) for name in ("attractor", "joined") if part.has(name)}
        if part.has("snapshot"):
            given["snapshot"] = _path(part, "snapshot", base)
        changed["sessions"] = replace(Following(), **given)
        part.end()
    if top.has("respond"):
        part = top.section("respond")
        if part.has("holds"):
            changed["holds"] = _path(part, "holds", base)
        if part.has("notify") or "holds" not in changed:
            changed["notify"] = _path(part, "notify", base)
        part.end()
    if top.has("review"):
        part = top.section("review")
        days = part.number("keep_days", 0.0, 36_500.0, open_low=True) if part.has("keep_days") else None
        if part.has("url") and part.has("path"):
            raise ConfigError(part.key("url"), "…", "path or url, not both")
        changed["review"] = Review(_url(part) if part.has("url") else _path(part, "path", base), days)
        part.end()
    if top.has("routing"):
        part = top.section("routing")
        changed["tiers"] = _path(part, "tiers", base)
        part.end()
    if top.has("traces"):
        changed["traces"] = _traces(top.section("traces"))
    top.end()
    return Settings(**changed)


def _certificates(section: Section, base: Path) -> Certificates:
    clients = {}
    for name, part in section.sections("clients").items():
        clients[name] = _identity(part, name)
    required = section.flag("required") if section.has("required") else False
    found = Certificates(_path(section, "client_ca", base), required, clients)
    section.end()
    return found


def _identity(section: Section, default: str) -> Identity:
    tenant = tenant_of(section)
    rate = section.number("rate", 0.0, 1e9) if section.has("rate") else None
    name = section.text("name") if section.has("name") else default
    roles = frozenset(section.names("roles", ROLES))
    section.end()
    return Identity(name, None if tenant == ANY_TENANT else tenant, roles, "certificate", rate)


def _jwt(section: Section, base: Path) -> Jwt:
    more: dict[str, Any] = _texts(section, ("tenant_claim", "roles_claim"))
    for name, most in (("leeway_s", 300.0), ("max_age_s", 31_536_000.0)):
        if section.has(name):
            more[name] = section.number(name, 0.0, most)
    config = TokenConfig(section.text("issuer"), section.text("audience"), **more)
    source = section.text("jwks")
    if "://" in source:
        if not source.startswith("https://"):
            raise ConfigError(section.key("jwks"), source, "a file, or an https address")
    else:
        source = str(_path(section, "jwks", base))
    found = Jwt(config, source, section.number("refresh_s", 10.0, 86_400.0) if section.has("refresh_s") else 300.0)
    section.end()
    return found


def _screening(section: Section, base: Path) -> Screening:
    changed: dict[str, Any] = {}
    if section.has("profile"):
        changed["profile"] = section.choice("profile", PROFILES)
    if section.has("backend"):
        changed["backend"] = section.choice("backend", ("auto", *BACKENDS))
    for name in ("policy", "patterns", "calibration", "learned"):
        if section.has(name):
            changed[name] = _path(section, name, base)
    changed |= _wholes(section, {"threads": (1, 256), "cache_bytes": (0, 1 << 40), "workers": (0, 256)})
    section.end()
    return Screening(**changed)


def _traces(section: Section) -> Tracing:
    changed: dict[str, Any] = _texts(section, ("endpoint",))
    if "endpoint" in changed and not changed["endpoint"].startswith(("http://", "https://")):
        raise ConfigError(section.key("endpoint"), changed["endpoint"], "an http or https address")
    if section.has("ratio"):
        changed["ratio"] = section.number("ratio", 0.0, 1.0)
    if section.has("follow"):
        changed["follow"] = section.flag("follow")
    section.end()
    return Tracing(**changed)


def _numbers(top: Section, name: str, default: Numbers) -> dict[str, Numbers]:
    if not top.has(name):
        return {}
    section = top.section(name)
    changed: dict[str, Any] = {}
    for one in fields(default):
        if section.has(one.name):
            value = section.number(one.name, 0.0, float(1 << 53))
            changed[one.name] = value if one.type == "float" else int(value)
    section.end()
    return {name: replace(default, **changed)}


def _texts(section: Section, names: tuple[str, ...]) -> dict[str, str]:
    return {name: section.text(name) for name in names if section.has(name)}


def _wholes(section: Section, ranges: dict[str, tuple[int, int]]) -> dict[str, int]:
    out = {}
    for name, (low, high) in ranges.items():
        if section.has(name):
            value = section.number(name, low, high)
            if value != int(value):
                raise ConfigError(section.key(name), value, "a whole number")
            out[name] = int(value)
    return out


def _strings(section: Section, name: str) -> tuple[str, ...]:
    value = section.any(name, "a list of texts")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(section.key(name), value, "a list of texts")
    return tuple(value)


def _url(section: Section) -> str:
    # The value is not shown: a password may stand in it.
    url = section.text("url")
    if not isinstance(place(url), str):
        raise ConfigError(section.key("url"), "…", "postgresql://[USER@]HOST/DATABASE")
    return url


def _path(section: Section, name: str, base: Path) -> Path:
    return base / section.text(name)
