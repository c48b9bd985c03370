"""The file of tiers as checked values: models with their prices, what may go where, budgets, and the cache's bounds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aimds import data
from aimds.config import Section
from aimds.errors import ConfigError, DataError

TIERS = "tiers.toml"
PLACES = ("local", "remote")
ADAPTERS = ("none", "openai", "litellm")
FLAGGED = ("any", "local", "nowhere")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_TIERS = 100
"""Tier numbers are int8."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A model. ``input_price`` and ``output_price`` per million tokens in one currency for all tiers; ``context`` in
    tokens, prompt and answer together; ``capability`` from 0 to 1, the complexity it can handle. ``key_env`` names the
    environment variable with the key; a key itself never stands in the file."""

    name: str
    model: str
    local: bool
    input_price: float
    output_price: float
    context: int
    capability: float
    adapter: str = "none"
    url: str = ""
    key_env: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Privacy:
    """What is private beside rows with personal data or secrets: all of ``tenants``. ``ignored`` kinds of spans do not
    count. ``flagged`` says where flagged prompts may go: any tier, local ones, or nowhere."""

    tenants: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    flagged: str = "any"


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a tenant may spend in ``period_s`` seconds, periods being counted from 1970; None for no limit."""

    period_s: float = 86_400.0
    default: float | None = None
    tenants: Mapping[str, float] = field(default_factory=dict)

    def of(self, tenant: str) -> float:
        """The limit of ``tenant``, infinity where there is none."""
        limit = self.tenants.get(tenant, self.default)
        return float("inf") if limit is None else limit


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Bounds of the cache of answers. Texts of more than ``near_bytes`` are found only if they are the same, texts and
    answers of more than ``most_bytes`` are not kept; ``entries`` for each tenant, ``total`` for all. ``threshold`` is
    the cosine from which a text is near another."""

    threshold: float = 0.9
    ttl_s: float = 3600.0
    entries: int = 10_000
    total: int = 50_000
    near_bytes: int = 150
    most_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Tiers:
    """A checked file. ``output_tokens``: the length of an answer where a request does not say."""

    tiers: tuple[Tier, ...]
    output_tokens: int = 300
    privacy: Privacy = Privacy()
    budgets: Budgets = field(default_factory=Budgets)
    cache: CacheConfig = CacheConfig()

    @classmethod
    def load(cls, path: Path | None = None) -> Tiers:
        """The tiers in ``path``, or the example that is shipped.

        Raises:
            DataError: the file cannot be read, or is not TOML.
            ConfigError: a value is missing or out of range, or a key is unknown; names the file.
        """
        try:
            content = data.read_bytes(TIERS) if path is None else path.read_bytes()
            return cls.parse(tomllib.loads(content.decode()))
        except OSError as error:
            raise DataError(path, f"cannot be read: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(path or TIERS, f"is not TOML: {error}") from error
        except ConfigError as error:
            raise error.of(path or TIERS) from None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Tiers:
        """The tiers in what a TOML file holds; raises ConfigError like `load`."""
        top = Section(values, "")
        output_tokens = _whole(top, "output_tokens", 1, 1 << 20, 300)
        listed = top.any("tier", "one [[tier]] table a model")
        if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_TIERS:
            raise ConfigError("tier", listed, f"1 to {MOST_TIERS} [[tier]] tables")
        tiers: list[Tier] = []
        for i, item in enumerate(listed):
            tier = _tier(Section(item, f"tier[{i}]"))
            if any(tier.name == other.name for other in tiers):
                raise ConfigError(f"tier[{i}].name", tier.name, "a name that no other tier has")
            tiers.append(tier)
        made = cls(tuple(tiers), output_tokens, _privacy(top), _budgets(top), _cache(top))
        top.end()
        return made

    @property
    def strongest(self) -> int:
        """Number of the most capable tier; of equals the one with the higher output price."""
        return max(range(len(self.tiers)), key=lambda k: (self.tiers[k].capability, self.tiers[k].output_price, -k))

    def named(self, name: str) -> Tier:
        """The tier called ``name``.

        Raises:
            ConfigError: there is none; the message lists those there are.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise ConfigError("tier", name, "one of " + ", ".join(tier.name for tier in self.tiers))


def _tier(section: Section) -> Tier:
    adapter = section.choice("adapter", ADAPTERS) if section.has("adapter") else "none"
    tier = Tier(
        name=section.text("name"),
        model=section.text("model"),
        local=section.choice("place", PLACES) == "local",
        input_price=section.number("input_price", 0.0, 1e6),
        output_price=section.number("output_price", 0.0, 1e6),
        context=_whole(section, "context", 1, 1 << 30),
        capability=section.number("capability", 0.0, 1.0),
        adapter=adapter,
        url=section.text("url") if section.has("url") else "",
        key_env=section.text("key_env") if section.has("key_env") else "",
        timeout_s=_number(section, "timeout_s", 3600.0, 30.0),
    )
    if adapter == "openai" and not tier.url:
        raise ConfigError(section.key("url"), None, "the base URL of the server, as https://host/v1")
    if tier.url:
        _check_url(section.key("url"), tier)
    section.end()
    return tier


def _check_url(key: str, tier: Tier) -> None:
    expected = "https://host/path, or http:// where the place is local"
    try:
        parts = urlsplit(tier.url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(key, tier.url, f"{expected}: {error}") from error
    plain = [ord(c) for c in tier.url if ord(c) <= 32 or ord(c) == 127]
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or plain:
        raise ConfigError(key, tier.url, expected)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(key, "(hidden)", "a URL without a name or a password; key_env names where the key is")
    if parts.scheme == "http" and not tier.local and parts.hostname not in LOOPBACK:
        raise ConfigError(key, tier.url, "https:// for a remote tier: prompts and keys would travel in the clear")


def _privacy(top: Section) -> Privacy:
    if not top.has("privacy"):
        return Privacy()
    section = top.section("privacy")
    made = Privacy(
        _texts(section, "tenants"),
        _texts(section, "ignored"),
        section.choice("flagged", FLAGGED) if section.has("flagged") else "any",
    )
    section.end()
    return made


def _budgets(top: Section) -> Budgets:
    if not top.has("budget"):
        return Budgets()
    section = top.section("budget")
    period = _number(section, "period_s", 1e9, 86_400.0)
    default = section.number("default", 0.0, 1e12) if section.has("default") else None
    tenants: dict[str, float] = {}
    if section.has("tenants"):
        own = section.section("tenants")
        tenants = {name: own.number(name, 0.0, 1e12) for name in own.values}
    section.end()
    return Budgets(period, default, tenants)


def _cache(top: Section) -> CacheConfig:
    if not top.has("cache"):
        return CacheConfig()
    section, usual = top.section("cache"), CacheConfig()
    made = CacheConfig(
        threshold=section.number("threshold", 0.5, 1.0) if section.has("threshold") else usual.threshold,
        ttl_s=_number(section, "ttl_s", 1e9, usual.ttl_s),
        entries=_whole(section, "entries", 1, 1_000_000, usual.entries),
        total=_whole(section, "total", 1, 10_000_000, usual.total),
        near_bytes=_whole(section, "near_bytes", 0, 65_536, usual.near_bytes),
        most_bytes=_whole(section, "most_bytes", 1, 1 << 24, usual.most_bytes),
    )
    if made.total < made.entries:
        raise ConfigError(section.key("total"), made.total, f"at least the entries of one tenant ({made.entries})")
    section.end()
    return made


def _number(section: Section, name: str, high: float, usual: float) -> float:
    return section.number(name, 0.0, high, open_low=True) if section.has(name) else usual


def _whole(section: Section, name: str, low: int, high: int, usual: int | None = None) -> int:
    expected = f"a whole number from {low} to {high}"
    if usual is not None and not section.has(name):
        return usual
    value = section.any(name, expected)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(section.key(name), value, expected)
    return value


def _texts(section: Section, name: str) -> tuple[str, ...]:
    if not section.has(name):
        return ()
    value = section.values[name]
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ConfigError(section.key(name), value, "a list of texts that are not empty")
    return tuple(value)
