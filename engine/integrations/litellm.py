"""AIMDS as a guardrail of LiteLLM: requests, answers and streamed answers, in its proxy and in its SDK."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

# LiteLLM asks the network for its table of prices when it is imported, unless it is told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from litellm.exceptions import GuardrailRaisedException
from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.types.guardrails import GuardrailEventHooks
from litellm.types.utils import ModelResponseStream

from aimds.integrations.bodies import Judge, replacements_async
from aimds.integrations.guard import Blocked, Guard
from aimds.integrations.proxy.events import Event
from aimds.integrations.proxy.texts import BodyError, Leaf
from aimds.integrations.proxy.track import TooLong

REQUEST_KEYS = ("messages", "system", "tools", "functions", "prompt", "input", "instructions")


class AimdsGuardrail(CustomGuardrail):  # type: ignore[misc]
    """Holds back or changes texts as the policy says; a text that is held back is an error 400 of LiteLLM.

    Args:
        guard: screens; made of the other arguments where none is given.
        profile, policy, tenant: as of `Guard`.
        screen_system: screen the messages of the system too.
        options: those of LiteLLM's CustomGuardrail: guardrail_name, event_hook, default_on and more.
    """

    use_native_lifecycle_hooks = True

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        profile: str = "cascade",
        policy: str | None = None,
        tenant: str | None = None,
        screen_system: bool = False,
        **options: Any,
    ) -> None:
        self._guard = guard or Guard(profile=profile, policy=policy, tenant=tenant)
        self._system = screen_system
        options.setdefault("guardrail_name", "aimds")
        options.setdefault("supported_event_hooks", [GuardrailEventHooks.pre_call, GuardrailEventHooks.post_call])
        super().__init__(**options)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """LiteLLM's hook before the call: ``data`` is the request."""
        if self.should_run_guardrail(data=data, event_type=GuardrailEventHooks.pre_call) is not True:
            return data
        body = {key: data[key] for key in REQUEST_KEYS if data.get(key) is not None}
        try:
            for leaf, text in await replacements_async(self._guard, body, "request", system=self._system):
                leaf.put(text)
        except (Blocked, BodyError) as error:
            raise self._refused(error) from None
        return {**data, **body}

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> Any:
        """LiteLLM's hook after the call: ``response`` is a model of its own, or a dict."""
        if self.should_run_guardrail(data=data, event_type=GuardrailEventHooks.post_call) is not True:
            return response
        body = response if isinstance(response, dict) else response.model_dump()
        try:
            for leaf, text in await replacements_async(self._guard, body, "response"):
                _put(response, leaf, text)
        except (Blocked, BodyError) as error:
            raise self._refused(error) from None
        return response

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: AsyncIterator[Any], request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """LiteLLM's hook around a streamed answer: what leaves was judged before."""
        if self.should_run_guardrail(data=request_data, event_type=GuardrailEventHooks.post_call) is not True:
            async for item in response:
                yield item
            return
        async for item in self.screened(response):
            yield item

    async def screened(self, response: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The chunks of a streamed answer that may leave, but for what is taken out. For the SDK, which has
        no hook around streams.

        Raises:
            GuardrailRaisedException: the answer ends here.
        """
        judge, raw = Judge(self._guard), False
        try:
            async for item in response:
                raw = isinstance(item, (bytes, str))
                for event in await judge.feed(_event(item)):
                    yield _item(event, raw)
            for event in await judge.end():
                yield _item(event, raw)
        except (Blocked, BodyError, TooLong) as error:
            raise self._refused(error) from None

    def _refused(self, error: Blocked | BodyError | TooLong) -> GuardrailRaisedException:
        return GuardrailRaisedException(
            guardrail_name=self.guardrail_name,
            message=str(error),
            should_wrap_with_default_message=False,
            status_code=400,
            blocked_content=isinstance(error, Blocked),
        )


def _event(item: Any) -> bytes:
    if isinstance(item, (bytes, str)):
        return item if isinstance(item, bytes) else item.encode()
    return b"data: " + json.dumps(item.model_dump(mode="json")).encode() + b"\n\n"


def _item(event: Event, raw: bool) -> Any:
    return event.raw if raw else ModelResponseStream(**json.loads(event.data or b"{}"))


def _put(response: Any, leaf: Leaf, text: str) -> None:
    at: Any = response
    part: Any
    for part in leaf.path[:-1]:
        at = at[part] if isinstance(at, (dict, list)) else getattr(at, str(part))
    if isinstance(at, (dict, list)):
        at[leaf.key] = text
    else:
        setattr(at, str(leaf.key), text)
