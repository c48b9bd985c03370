"""Providers by way of litellm, the extra ``router``: told to keep quiet, to try once, and to call only the model."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from aimds.errors import ConfigError
from aimds.route.calls import Call, Completion, ProviderError, whole
from aimds.route.openai import count, key, retry_after
from aimds.route.tiers import Tier

MALICIOUS = ("1.82.7", "1.82.8")
"""Releases that steal credentials; they are not even imported."""
_KINDS = {
    "Timeout": "timeout",
    "APIConnectionError": "unreachable",
    "RateLimitError": "rate_limited",
    "InternalServerError": "server",
    "ServiceUnavailableError": "server",
    "BadGatewayError": "server",
    "APIError": "server",
    "AuthenticationError": "setup",
    "PermissionDeniedError": "setup",
    "NotFoundError": "refused",
    "BadRequestError": "refused",
    "ContextWindowExceededError": "refused",
    "ContentPolicyViolationError": "refused",
    "UnprocessableEntityError": "refused",
}


def load() -> Any:
    """The module litellm, with telemetry, its price list from the network and its logging turned off.

    Raises:
        ConfigError: it is not installed, or is a release that must not be imported.
    """
    try:
        version = importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:
        expected = "openai, or the extra installed: pip install 'aimds[litellm]'"
        raise ConfigError("adapter", "litellm", expected) from None
    if version in MALICIOUS:
        raise ConfigError("litellm", version, f"another release: {' and '.join(MALICIOUS)} are malicious; remove it")
    # Read when litellm is imported: without it the price list is fetched.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    module: Any = importlib.import_module("litellm")
    module.telemetry = False
    module.suppress_debug_info = True
    module.turn_off_message_logging = True
    for callbacks in ("callbacks", "success_callback", "failure_callback", "input_callback"):
        setattr(module, callbacks, [])
    return module


class LiteLlm:
    """The completions of one tier; its ``model`` is litellm's name for it, as "anthropic/…".

    Args:
        environment: where the key is looked up under the tier's ``key_env``; without one litellm looks itself.
        module: litellm, by default loaded with `load`. wall: seconds since 1970, for dates in Retry-After.

    Raises:
        ConfigError: litellm cannot be used, or the key is not in the environment.
    """

    def __init__(
        self, tier: Tier, environment: Mapping[str, str], *, module: Any = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._tier, self._wall = tier, wall
        self._key = key(tier, environment) if tier.key_env else None
        self._module = load() if module is None else module

    def complete(self, call: Call, *, timeout_s: float) -> Completion:
        """Ask once; retries and fallbacks are the sender's. litellm bounds the time between two bytes, not the whole.

        Raises:
            ProviderError: there was no answer that can be read.
        """
        given: dict[str, Any] = {
            "model": self._tier.model,
            "messages": [{"role": role, "content": content} for role, content in call.messages],
            "max_tokens": call.max_tokens,
            "timeout": timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "stream": False,
        }
        if call.temperature is not None:
            given["temperature"] = call.temperature
        if self._tier.url:
            given["api_base"] = self._tier.url
        if self._key is not None:
            given["api_key"] = self._key
        try:
            answer = self._module.completion(**given)
        except Exception as error:
            # litellm has an exception for everything, and its text may hold prompt and key.
            raise self._failed(error) from None
        try:
            text = answer.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ProviderError(self._tier.name, "malformed", "its answer holds no text")
        usage = getattr(answer, "usage", None)
        return Completion(
            whole(text), count(getattr(usage, "prompt_tokens", None)), count(getattr(usage, "completion_tokens", None))
        )

    def _failed(self, error: Exception) -> ProviderError:
        name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS), None)
        status = count(getattr(error, "status_code", None))
        headers = getattr(getattr(error, "response", None), "headers", None)
        asked = headers.get("retry-after") if isinstance(headers, Mapping) else None
        return ProviderError(
            self._tier.name,
            "unreachable" if name is None else _KINDS[name],
            f"litellm failed ({type(error).__name__})",
            status=status,
            retry_after_s=retry_after(asked if isinstance(asked, str) else None, self._wall()),
        )
