"""The guardrail in LiteLLM's SDK, with answers that it makes up itself, and its hooks as the proxy calls them."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from desk import ATTACK, SECRET

from aimds.integrations.guard import Guard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    adapter = pytest.importorskip(
        "aimds.integrations.litellm", reason="litellm is not installed (extra litellm)", exc_type=ImportError
    )
    import litellm
    from litellm.exceptions import GuardrailRaisedException

pytestmark = [pytest.mark.usefixtures("offline"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def guardrail(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = adapter.AimdsGuardrail(guard, event_hook=["pre_call", "post_call"], default_on=True)
    monkeypatch.setattr(litellm, "callbacks", [made])
    return made


async def asked(text: str, answer: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return await litellm.acompletion(model="openai/m", messages=messages, mock_response=answer, guardrails=["aimds"], **more)  # fmt: skip


def test_requests_and_answers_of_the_sdk_are_screened(guardrail: Any) -> None:
    async def test() -> None:
        assert (await asked("hi", "fine")).choices[0].message.content == "fine"
        assert (await asked("hi", f"card {SECRET}")).choices[0].message.content == "card [CREDIT_CARD]"
        for text, answer in ((ATTACK, "fine"), ("hi", f"so {ATTACK}")):
            with pytest.raises(GuardrailRaisedException, match="held back by AIMDS") as found:
                await asked(text, answer)
            assert (found.value.status_code, found.value.blocked_content) == (400, True)
            assert ATTACK not in str(found.value)

    asyncio.run(test())


def test_a_streamed_answer_is_screened_on_its_way(guardrail: Any) -> None:
    async def text_of(answer: str) -> str:
        stream = await asked("hi", answer, stream=True)
        found = [chunk.choices[0].delta.content or "" async for chunk in guardrail.screened(stream)]
        return "".join(found)

    assert asyncio.run(text_of("words " * 100)) == "words " * 100
    assert asyncio.run(text_of(f"card {SECRET}, so")) == "card [CREDIT_CARD], so"
    with pytest.raises(GuardrailRaisedException):
        asyncio.run(text_of("words " * 100 + ATTACK))


def test_a_stream_in_bytes_is_screened_as_it_is(guardrail: Any) -> None:
    async def stream(*pieces: str) -> AsyncIterator[bytes]:
        for piece in pieces:
            body = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            yield f"event: content_block_delta\ndata: {json.dumps(body)}\n\n".encode()

    async def test() -> list[bytes]:
        hook = guardrail.async_post_call_streaming_iterator_hook
        return [item async for item in hook(None, stream("card ", SECRET), {})]

    found = asyncio.run(test())
    assert b"[CREDIT_CARD]" in found[1]
    assert SECRET.encode() not in b"".join(found)


def test_a_request_before_the_call_is_changed_and_nothing_else_of_it(guardrail: Any) -> None:
    data = {"model": "m", "messages": [{"role": "tool", "content": f"is {SECRET}"}], "user": "u", "prompt": SECRET}
    found = asyncio.run(guardrail.async_pre_call_hook(None, None, data, "completion"))
    assert found["messages"] == [{"role": "tool", "content": "is [CREDIT_CARD]"}]
    assert (found["prompt"], found["model"], found["user"]) == ("[CREDIT_CARD]", "m", "u")


def test_a_guardrail_that_is_not_asked_for_does_nothing(guard: Guard) -> None:
    made = adapter.AimdsGuardrail(guard, event_hook="pre_call", default_on=False)
    data = {"messages": [{"role": "user", "content": ATTACK}]}
    assert asyncio.run(made.async_pre_call_hook(None, None, data, "completion")) == data


def test_a_malicious_release_is_excluded() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    (pin,) = project["optional-dependencies"]["litellm"]
    assert "!=1.82.7" in pin
    assert "!=1.82.8" in pin
