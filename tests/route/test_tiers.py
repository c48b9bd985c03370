from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from routed import settings, tier

from aimds.errors import ConfigError, DataError
from aimds.route.tiers import Tiers


def test_shipped_example_is_a_good_file() -> None:
    made = Tiers.load()
    assert [one.name for one in made.tiers] == ["local", "cheap", "strong"]
    assert made.tiers[made.strongest].name == "strong"


@pytest.mark.parametrize(
    ("changed", "key", "said"),
    [
        ({"tier": []}, "tier", "[[tier]]"),
        ({"tier": [tier("a"), tier("a")]}, "tier[1].name", "no other tier has"),
        ({"tier": [tier("a", place="moon")]}, "tier[0].place", "local, remote"),
        ({"tier": [tier("a", input_price=-1.0)]}, "tier[0].input_price", "from 0 to"),
        ({"tier": [tier("a", input_price=float("nan"))]}, "tier[0].input_price", "from 0 to"),
        ({"tier": [tier("a", context=0)]}, "tier[0].context", "from 1 to"),
        ({"tier": [tier("a", context=True)]}, "tier[0].context", "whole number"),
        ({"tier": [tier("a", capability=1.5)]}, "tier[0].capability", "from 0 to 1"),
        ({"tier": [tier("a", prize=1)]}, "tier[0].prize", "no such key"),
        ({"tier": [tier("a", adapter="openai")]}, "tier[0].url", "base URL"),
        ({"tier": [tier("a", adapter="openai", url="http://models.example/v1")]}, "tier[0].url", "https://"),
        ({"tier": [tier("a", adapter="openai", url="ftp://models.example")]}, "tier[0].url", "https://"),
        ({"tier": [tier("a", adapter="openai", url="https://h:99999/v1")]}, "tier[0].url", "https://"),
        ({"tier": [tier("a", adapter="openai", url="https://h/v1\r\nX: y")]}, "tier[0].url", "https://"),
        ({"privacy": {"flagged": "maybe"}}, "privacy.flagged", "any, local, nowhere"),
        ({"privacy": {"tenants": [1]}}, "privacy.tenants", "list of texts"),
        ({"budget": {"tenants": {"acme": -1}}}, "budget.tenants.acme", "from 0 to"),
        ({"budget": {"period_s": 0}}, "budget.period_s", "above 0"),
        ({"cache": {"threshold": 0.2}}, "cache.threshold", "from 0.5 to 1"),
        ({"cache": {"entries": 100, "total": 10}}, "cache.total", "at least"),
        ({"output_tokens": 0}, "output_tokens", "from 1 to"),
        ({"tiers": []}, "tiers", "no such key"),
    ],
)
def test_bad_value_is_named_with_what_is_accepted(changed: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Tiers.parse(settings(**changed))
    assert caught.value.key == key
    assert said in str(caught.value)


def test_password_in_a_url_is_refused_and_not_repeated() -> None:
    secret = "hunter2-fake"
    with pytest.raises(ConfigError) as caught:
        Tiers.parse({"tier": [tier("a", adapter="openai", url=f"https://me:{secret}@models.example/v1")]})
    assert secret not in str(caught.value)


def test_plain_http_is_for_what_is_local_or_on_this_machine() -> None:
    Tiers.parse({"tier": [tier("a", place="local", adapter="openai", url="http://models.internal/v1")]})
    Tiers.parse({"tier": [tier("a", adapter="openai", url="http://127.0.0.1:4000/v1")]})


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[tier")
    for name, said in (("bad.toml", "is not TOML"), ("none.toml", "cannot be read")):
        with pytest.raises(DataError, match=said):
            Tiers.load(tmp_path / name)


def test_unknown_tier_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="local, cheap, strong"):
        Tiers.load().named("best")


def test_an_error_names_the_file_that_it_lies_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("output_tokens = 5\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: tier: nothing given: expected .*the key is missing"):
        Tiers.load(file)
