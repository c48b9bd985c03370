"""AIMDS as a validator of Guardrails AI, and validators of Guardrails AI as a stage after those of AIMDS."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

# Guardrails AI imports LiteLLM, which asks the network for its table of prices unless it is told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from guardrails.settings import settings
from guardrails.utils.hub_telemetry_utils import HubTelemetry
from guardrails.validator_base import FailResult, PassResult, ValidationResult, Validator, register_validator

from aimds.errors import ConfigError
from aimds.gateway.rows import Channel
from aimds.integrations.guard import Guard
from aimds.integrations.outcome import CHANGING, Outcome
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


class Validated(Guard):
    """A `Guard` whose texts go through ``validators`` too, in their order, once AIMDS lets them pass.

    A validator that fails a text holds it back, with action block; one that has ``on_fail="fix"`` and a text as its fix
    changes it, with action redact; one with ``on_fail="noop"`` lets it pass, as it does in Guardrails AI. One that
    raises holds the text back, and the outcome has status error. What AIMDS holds back reaches none. Windows of a
    stream are judged by AIMDS alone.

    Args:
        validators: made ready, of the hub or your own.
        given: as of `Guard`.
    """

    def __init__(self, validators: Sequence[Validator], **given: Any) -> None:
        super().__init__(**given)
        self._validators = tuple(validators)

    def check_all(self, rows: Sequence[tuple[str, Channel]], json: Sequence[bool] | None = None) -> list[Outcome]:
        """As of `Guard`."""
        return [self._validated(found) for found in super().check_all(rows, json)]

    def _validated(self, found: Outcome) -> Outcome:
        for validator in self._validators:
            if found.text is None:
                break
            found = _after(validator, found, found.text)
        return found


def _after(validator: Validator, found: Outcome, text: str) -> Outcome:
    name = validator.rail_alias
    try:
        result = validator.validate(text, {"channel": found.channel})
        if not isinstance(result, (PassResult, FailResult)):
            raise TypeError(f"a result of type {type(result).__name__}")
    except Exception as error:
        said = f"validator {name} could not judge: {type(error).__name__}"
        return replace(found, text=None, changed=False, action="block", status="error", error=said)
    if isinstance(result, PassResult) or validator.on_fail_descriptor == "noop":
        return found
    said = f"failed by validator {name}"
    if validator.on_fail_descriptor == "fix" and isinstance(result.fix_value, str):
        action = found.action if found.action in CHANGING else "redact"
        return replace(found, text=result.fix_value, changed=True, action=action, error=said)
    return replace(found, text=None, changed=False, action="block", error=said)


def _known(channel: Any) -> Channel:
    if channel not in CHANNELS:
        raise ConfigError("channel", channel, "one of " + ", ".join(CHANNELS))
    found: Channel = channel
    return found
