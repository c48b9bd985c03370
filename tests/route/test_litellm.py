from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import pytest
from routed import tier

from aimds.errors import ConfigError
from aimds.route import litellm
from aimds.route.calls import Call, Completion, ProviderError
from aimds.route.tiers import Tier, Tiers

CALL = Call((("user", "6 x 7?"),), 50)


def one(**changed: Any) -> Tier:
    return Tiers.parse({"tier": [tier("t", adapter="litellm", **changed)]}).tiers[0]


class RateLimitError(Exception):
    status_code = 429
    response = SimpleNamespace(headers={"retry-after": "12"})


class OddError(Exception):
    pass


def module(reply: Any) -> Any:
    seen: list[dict[str, Any]] = []

    def complete(**given: Any) -> Any:
        seen.append(given)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return SimpleNamespace(completion=complete, seen=seen)


def answer(text: object = "42") -> Any:
    usage = SimpleNamespace(prompt_tokens=3, completion_tokens=1)
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))], usage=usage)


def test_it_is_asked_once_with_the_key_and_the_address_of_the_tier() -> None:
    fake = module(answer())
    made = litellm.LiteLlm(one(url="https://models.example/v1", key_env="K"), {"K": "fake-key"}, module=fake)
    assert made.complete(CALL, timeout_s=4.0) == Completion("42", 3, 1)
    given = fake.seen[0]
    assert (given["num_retries"], given["max_retries"], given["timeout"]) == (0, 0, 4.0)
    assert (given["api_key"], given["api_base"]) == ("fake-key", "https://models.example/v1")


@pytest.mark.parametrize(
    ("error", "kind"), [(RateLimitError("6 x 7?"), "rate_limited"), (OddError("x"), "unreachable")]
)
def test_its_errors_become_ours_without_their_text(error: Exception, kind: str) -> None:
    with pytest.raises(ProviderError) as caught:
        litellm.LiteLlm(one(), {}, module=module(error)).complete(CALL, timeout_s=1.0)
    assert caught.value.kind == kind
    assert caught.value.retry_after_s == (12.0 if kind == "rate_limited" else None)
    assert "6 x 7" not in str(caught.value)


@pytest.mark.parametrize("reply", [answer(None), SimpleNamespace(choices=[]), None])
def test_answer_without_a_text_is_malformed(reply: Any) -> None:
    with pytest.raises(ProviderError, match="no text"):
        litellm.LiteLlm(one(), {}, module=module(reply)).complete(CALL, timeout_s=1.0)


@pytest.mark.parametrize("version", litellm.MALICIOUS)
def test_malicious_releases_are_not_imported(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail("it was imported"))
    with pytest.raises(ConfigError, match="malicious"):
        litellm.load()


def test_missing_litellm_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ConfigError, match="aimds\\[litellm\\]"):
        litellm.load()


def test_it_is_told_to_call_nobody_but_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.80.0")
    monkeypatch.setattr(importlib, "import_module", lambda name: fake)
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    assert litellm.load() is fake
    assert fake.telemetry is False
    assert fake.turn_off_message_logging is True
    import os

    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
