"""The runnable in chains of LangChain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from desk import ATTACK, SECRET

from aimds.errors import ConfigError
from aimds.integrations.guard import Blocked, Guard

adapter = pytest.importorskip(
    "aimds.integrations.langchain", reason="langchain-core is not installed (extra langchain)", exc_type=ImportError
)

from langchain_core.language_models import FakeListChatModel  # noqa: E402
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate  # noqa: E402

pytestmark = pytest.mark.usefixtures("offline")


def chain(guard: Guard, answer: str) -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", f"Be kind. {ATTACK}"), ("human", "{text}")])
    model = FakeListChatModel(responses=[answer])
    return prompt | adapter.screening(guard) | model | adapter.screening(guard) | StrOutputParser()


def test_what_goes_in_and_out_of_a_chain_is_screened(guard: Guard) -> None:
    assert chain(guard, "fine").invoke({"text": "hi"}) == "fine"
    assert chain(guard, f"card {SECRET}").invoke({"text": "hi"}) == "card [CREDIT_CARD]"
    assert asyncio.run(chain(guard, f"card {SECRET}").ainvoke({"text": "hi"})) == "card [CREDIT_CARD]"
    with pytest.raises(Blocked, match=r"messages\[1\]\.content"):
        chain(guard, "fine").invoke({"text": ATTACK})
    with pytest.raises(Blocked, match=r"messages\[0\]\.content"):
        chain(guard, f"so {ATTACK}").invoke({"text": "hi"})


def test_nothing_of_a_stream_leaves_before_all_of_it_was_judged(guard: Guard) -> None:
    assert "".join(chain(guard, "words " * 20).stream({"text": "hi"})) == "words " * 20
    found: list[str] = []
    with pytest.raises(Blocked):
        found.extend(chain(guard, "words " * 20 + ATTACK).stream({"text": "hi"}))
    assert found == []


def test_messages_keep_what_else_they_hold(guard: Guard) -> None:
    call = {"name": "pay", "args": {"card": SECRET, "n": 1}, "id": "c", "type": "tool_call"}
    given = [
        SystemMessage("s", id="1"),
        HumanMessage([{"type": "text", "text": SECRET}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}]),
        AIMessage("", tool_calls=[call]),
        ToolMessage("t", tool_call_id="c"),
    ]  # fmt: skip
    found = adapter.screening(guard).invoke(given)
    assert found[0] == given[0]
    assert found[1].content[0] == {"type": "text", "text": "[CREDIT_CARD]"}
    assert found[1].content[1] == given[1].content[1]
    assert found[2].tool_calls == [{**call, "args": {"card": "[CREDIT_CARD]", "n": 1}}]
    assert given[2].tool_calls[0]["args"]["card"] == SECRET
    with pytest.raises(Blocked) as held:
        adapter.screening(guard).invoke(ToolMessage(ATTACK, tool_call_id="c"))
    assert held.value.outcome.channel == "tool"


def test_plain_texts_have_the_channel_that_is_given(guard: Guard) -> None:
    screening = adapter.screening(guard, channel="document")
    assert screening.invoke(f"a {SECRET}") == "a [CREDIT_CARD]"
    prompt = PromptTemplate.from_template("say {x}") | screening
    assert prompt.invoke({"x": SECRET}).to_string() == "say [CREDIT_CARD]"
    with pytest.raises(Blocked) as held:
        screening.invoke(ATTACK)
    assert held.value.outcome.channel == "document"


def test_what_is_no_text_is_refused(guard: Guard) -> None:
    with pytest.raises(ConfigError, match="input = 'int'"):
        adapter.screening(guard).invoke(7)
