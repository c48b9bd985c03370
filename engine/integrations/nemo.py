"""AIMDS as input, output and retrieval rails of NeMo Guardrails: one action, and the flows that use it."""

from __future__ import annotations

import os
from typing import Any

# NeMo Guardrails reports its use over the network unless it is told not to.
os.environ.setdefault("DO_NOT_TRACK", "1")

from nemoguardrails import LLMRails
from nemoguardrails.actions import action
from nemoguardrails.actions.rail_outcome import RailOutcome, TransformTarget

from aimds.errors import ConfigError
from aimds.gateway.rows import Channel
from aimds.integrations.guard import Guard

SOURCES: dict[str, tuple[Channel, TransformTarget]] = {
    "input": ("user", TransformTarget.USER_MESSAGE),
    "output": ("assistant", TransformTarget.BOT_MESSAGE),
    "retrieval": ("document", TransformTarget.RELEVANT_CHUNKS),
}
ACTION, OUTPUT_FLOW = "aimds_check", "aimds check output"
FLOWS = """
define subflow aimds check input
  $checked = execute aimds_check(source="input", text=$user_message)
  if $checked.is_blocked
    bot refuse to respond
    stop
  if $checked.is_transform
    $user_message = $checked.transform_text["user_message"]

define subflow aimds check output
  $checked = execute aimds_check(source="output", text=$bot_message)
  if $checked.is_blocked
    bot refuse to respond
    stop
  if $checked.is_transform
    $bot_message = $checked.transform_text["bot_message"]

define subflow aimds check retrieval
  $checked = execute aimds_check(source="retrieval", text=$relevant_chunks)
  if $checked.is_transform
    $relevant_chunks = $checked.transform_text["relevant_chunks"]
"""
"""Colang 1.0. ``bot refuse to respond`` is the message that NeMo Guardrails gives by default."""


def install(rails: LLMRails, guard: Guard | None = None) -> None:
    """Give ``rails`` the action of FLOWS; ``guard`` screens, one with the shipped policy where none is given.

    Where answers stream, one that would be changed is refused: NeMo Guardrails lets the original out.

    Raises:
        ConfigError: answers stream before they are judged.
    """
    judge, streaming = guard or Guard(), rails.config.rails.output.streaming
    streams = bool(streaming and streaming.enabled)
    if streams and streaming.stream_first and OUTPUT_FLOW in rails.config.rails.output.flows:
        raise ConfigError(
            "rails.output.streaming.stream_first", True, "false: else answers leave before they are judged"
        )

    @action(is_system_action=True, name=ACTION)  # type: ignore[untyped-decorator]
    async def check(source: str, text: str | None, **_: Any) -> RailOutcome:
        return await checked(judge, source, text, changes=not (streams and source == "output"))

    rails.register_action(check, ACTION)


async def checked(guard: Guard, source: str, text: str | None, *, changes: bool = True) -> RailOutcome:
    """What becomes of ``text``.

    Args:
        source: input, output or retrieval; of what was retrieved nothing is left where it is held back.
        changes: False refuses a text that would be changed.

    Raises:
        ConfigError: another source.
    """
    if source not in SOURCES:
        raise ConfigError("source", source, "one of " + ", ".join(SOURCES))
    channel, target = SOURCES[source]
    (found,) = await guard.check_async([(text or "", channel)])
    told = {"action": found.action, "threat_type": found.threat_type, "score": found.score}
    if found.text is None and source == "retrieval":
        return RailOutcome.transform([(target, "")], reason=found.reason, metadata=told)
    if found.text is None or (found.changed and not changes):
        return RailOutcome.block(reason=found.reason, metadata=told)
    if found.changed:
        return RailOutcome.transform([(target, found.text)], reason=found.reason, metadata=told)
    return RailOutcome.allow(metadata=told)
