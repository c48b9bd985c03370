"""AIMDS as a validator of Guardrails AI."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# Guardrails AI imports LiteLLM, which asks the network for its table of prices unless it is told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from guardrails.settings import settings
from guardrails.utils.hub_telemetry_utils import HubTelemetry
from guardrails.validator_base import FailResult, PassResult, ValidationResult, Validator, register_validator

from aimds.errors import ConfigError
from aimds.gateway.rows import Channel
from aimds.integrations.guard import Guard
from aimds.schema import CHANNELS

# Guardrails AI reports its use over the network. The setting alone does not stop it.
settings.rc.enable_metrics = False
HubTelemetry(enabled=False)._tracer_provider.shutdown()


@register_validator(name="aimds/screen", data_type="string")
class AimdsScreen(Validator):  # type: ignore[misc]
    """Fails a text that the policy holds back or changes. ``on_fail="fix"`` takes the changed text; of one that is held
    back nothing is left.

    Args:
        channel: of the texts, assistant for answers; ``metadata={"channel": …}`` of a call goes before it.
        on_fail: as of every validator.
        guard: screens; made of ``profile``, ``policy`` and ``tenant``, as of `Guard`, where none is given.
    """

    def __init__(
        self,
        channel: Channel = "assistant",
        on_fail: str | Callable[..., Any] | None = None,
        *,
        guard: Guard | None = None,
        profile: str = "cascade",
        policy: str | None = None,
        tenant: str | None = None,
    ) -> None:
        super().__init__(
            on_fail=on_fail, channel=channel, profile=profile, policy=policy, tenant=tenant, use_local=True
        )
        self._channel = _known(channel)
        self._guard = guard or Guard(profile=profile, policy=policy, tenant=tenant)

    def _validate(self, value: Any, metadata: dict[str, Any]) -> ValidationResult:
        channel = _known((metadata or {}).get("channel", self._channel))
        found = self._guard.check(str(value), channel)
        told = {"action": found.action, "threat_type": found.threat_type, "score": found.score}
        if found.text is None:
            return FailResult(error_message=f"held back by AIMDS ({found.reason})", fix_value="", metadata=told)
        if found.changed:
            return FailResult(error_message=f"changed by AIMDS ({found.reason})", fix_value=found.text, metadata=told)
        return PassResult(metadata=told)

    def validate_stream(self, chunk: Any, metadata: dict[str, Any], **_: Any) -> ValidationResult | None:
        """Streams are refused: Guardrails AI gives pieces out before a validator has judged the whole.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("stream", True, "False; a streamed answer is screened by aimds proxy, LiteLLM or LangChain")


def _known(channel: Any) -> Channel:
    if channel not in CHANNELS:
        raise ConfigError("channel", channel, "one of " + ", ".join(CHANNELS))
    found: Channel = channel
    return found
