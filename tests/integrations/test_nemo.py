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
    from langchain_core.language_models import FakeListLLM
    from nemoguardrails import LLMRails, RailsConfig

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


def answered(guard: Guard, text: str, answer: str) -> str:
    config = RailsConfig.from_content(yaml_content=CONFIG, colang_content=adapter.FLOWS)
    rails = LLMRails(config, llm=FakeListLLM(responses=[answer] * 5))
    adapter.install(rails, guard)
    found: Any = asyncio.run(rails.generate_async(messages=[{"role": "user", "content": text}]))
    return str(found["content"])


def test_what_goes_in_and_out_is_screened(guard: Guard) -> None:
    assert answered(guard, "hi", "fine") == "fine"
    assert answered(guard, f"so {ATTACK}", "fine") == REFUSAL
    assert answered(guard, "hi", f"so {ATTACK}") == REFUSAL
    assert answered(guard, "hi", f"card {SECRET}.") == "card [CREDIT_CARD]."


def test_each_source_has_its_channel(guard: Guard) -> None:
    found = asyncio.run(adapter.checked(guard, "retrieval", f"so {ATTACK}"))
    assert (found["blocked"], found["text"], found["threat_type"]) == (True, "", "direct_injection")
    assert asyncio.run(adapter.checked(guard, "input", None))["text"] == ""
    with pytest.raises(ConfigError, match="source = 'tool'"):
        asyncio.run(adapter.checked(guard, "tool", "x"))
