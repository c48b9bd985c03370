"""The rails in NeMo Guardrails, before and behind a model that repeats what it is told."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
from desk import ATTACK, SECRET

from aimds.errors import ConfigError
from aimds.integrations.guard import Guard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    adapter = pytest.importorskip(
        "aimds.integrations.nemo", reason="nemoguardrails is not installed (extra nemo)", exc_type=ImportError
    )
    from nemoguardrails import LLMRails, RailsConfig
    from nemoguardrails.testing.fake_model import FakeLLMModel

pytestmark = [pytest.mark.usefixtures("offline"), pytest.mark.filterwarnings("ignore")]
CONFIG = """
models: []
rails:
  input:
    flows: [aimds check input]
  output:
    flows: [aimds check output]
"""
REFUSAL = "I'm sorry, I can't respond to that."


STREAMING = """
    streaming:
      enabled: true
      chunk_size: 40
      context_size: 10
      stream_first: false
"""


def made(guard: Guard, answer: str, more: str = "") -> Any:
    config = RailsConfig.from_content(yaml_content=CONFIG + more, colang_content=adapter.FLOWS)
    rails = LLMRails(config, llm=FakeLLMModel(responses=[answer] * 5))
    adapter.install(rails, guard)
    return rails


def answered(guard: Guard, text: str, answer: str) -> str:
    async def ask() -> Any:
        return await made(guard, answer).generate_async(messages=[{"role": "user", "content": text}])

    return str(asyncio.run(ask())["content"])


def test_what_goes_in_and_out_is_screened(guard: Guard) -> None:
    assert answered(guard, "hi", "fine") == "fine"
    assert answered(guard, f"so {ATTACK}", "fine") == REFUSAL
    assert answered(guard, "hi", f"so {ATTACK}") == REFUSAL
    assert answered(guard, "hi", f"card {SECRET}.") == "card [CREDIT_CARD]."


@pytest.mark.parametrize("found", [ATTACK, SECRET])
def test_a_streamed_answer_ends_where_something_is_found(guard: Guard, found: str) -> None:
    async def streamed(answer: str) -> str:
        rails = made(guard, answer, STREAMING)
        stream = rails.stream_async(messages=[{"role": "user", "content": "hi"}])
        return "".join([str(piece) async for piece in stream])

    assert asyncio.run(streamed("fine words")) == "fine words"
    told = asyncio.run(streamed(f"so {found} and more"))
    assert found not in told
    assert "content_blocked" in told


def test_a_stream_that_leaves_before_it_is_judged_is_refused(guard: Guard) -> None:
    async def make() -> None:
        made(guard, "fine", STREAMING.replace("stream_first: false", "stream_first: true"))

    with pytest.raises(ConfigError, match="stream_first = True"):
        asyncio.run(make())


def test_each_source_has_its_channel(guard: Guard) -> None:
    found = asyncio.run(adapter.checked(guard, "retrieval", f"so {ATTACK}"))
    assert found.transform_text == {"relevant_chunks": ""}
    assert found.metadata["threat_type"] == "direct_injection"
    assert asyncio.run(adapter.checked(guard, "input", f"a {SECRET}")).transform_text == {
        "user_message": "a [CREDIT_CARD]"
    }
    assert not asyncio.run(adapter.checked(guard, "input", None)).is_blocked
    with pytest.raises(ConfigError, match="source = 'tool'"):
        asyncio.run(adapter.checked(guard, "tool", "x"))
