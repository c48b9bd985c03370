"""AIMDS in a chain of LangChain: a runnable that passes prompts, messages and texts on, changed or not at all."""

from __future__ import annotations

import copy
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import Runnable, RunnableLambda

from aimds.errors import ConfigError
from aimds.gateway.rows import Channel
from aimds.integrations.bodies import replacements, replacements_async
from aimds.integrations.guard import Blocked, Guard
from aimds.integrations.outcome import Outcome

ROLES = {"human": "user", "ai": "assistant", "tool": "tool", "function": "tool", "system": "system", "chat": "user"}


def screening(
    guard: Guard | None = None, *, channel: Channel = "user", screen_system: bool = False
) -> Runnable[Any, Any]:
    """A runnable that gives what it gets: a text, a message, a list of messages or a prompt.

    It raises `aimds.integrations.guard.Blocked` where something is held back. In a chain that streams it waits for the
    whole, so nothing leaves before all was judged.

    Args:
        guard: screens; one with the shipped policy where none is given.
        channel: of plain texts; a message has that of its kind.
        screen_system: screen system messages too.
    """
    judge = guard or Guard()

    def screen(given: Any) -> Any:
        if isinstance(given, (str, StringPromptValue)):
            return _text_like(given, judge.check(_text(given), channel))
        document = _document(given)
        for leaf, text in replacements(judge, document, "request", system=screen_system):
            leaf.put(text)
        return _like(given, document)

    async def screen_async(given: Any) -> Any:
        if isinstance(given, (str, StringPromptValue)):
            return _text_like(given, (await judge.check_async([(_text(given), channel)]))[0])
        document = _document(given)
        for leaf, text in await replacements_async(judge, document, "request", system=screen_system):
            leaf.put(text)
        return _like(given, document)

    return RunnableLambda(screen, afunc=screen_async, name="aimds")


def _text(given: str | StringPromptValue) -> str:
    return given if isinstance(given, str) else given.text


def _text_like(given: str | StringPromptValue, found: Outcome) -> str | StringPromptValue:
    if found.text is None:
        raise Blocked(found)
    return found.text if isinstance(given, str) else StringPromptValue(text=found.text)


def _document(given: Any) -> dict[str, Any]:
    return {"messages": [_message(one) for one in _messages(given)]}


def _messages(given: Any) -> list[BaseMessage]:
    found = (
        given.messages if isinstance(given, ChatPromptValue) else [given] if isinstance(given, BaseMessage) else given
    )
    if not isinstance(found, list) or not all(isinstance(one, BaseMessage) for one in found):
        raise ConfigError("input", type(given).__name__, "a text, a message, a list of messages or a prompt")
    return found


def _message(one: BaseMessage) -> dict[str, Any]:
    role = getattr(one, "role", None) if one.type == "chat" else ROLES.get(one.type)
    calls = [
        {"type": "tool_use", "name": call["name"], "input": copy.deepcopy(call["args"])}
        for call in getattr(one, "tool_calls", ())
    ]
    return {"role": role or "user", "content": copy.deepcopy(one.content), "calls": calls}


def _like(given: Any, document: dict[str, Any]) -> Any:
    found = document["messages"]
    made = [_changed(one, body) for one, body in zip(_messages(given), found, strict=True)]
    if isinstance(given, BaseMessage):
        return made[0]
    return ChatPromptValue(messages=made) if isinstance(given, ChatPromptValue) else made


def _changed(one: BaseMessage, body: dict[str, Any]) -> BaseMessage:
    update: dict[str, Any] = {"content": body["content"]}
    if body["calls"]:
        calls = zip(getattr(one, "tool_calls", ()), body["calls"], strict=True)
        update["tool_calls"] = [{**call, "args": made["input"]} for call, made in calls]
    return one.model_copy(update=update)
