"""AIMDS as input, output and retrieval rails of NeMo Guardrails: one action, and the flows that use it."""

from __future__ import annotations

import os
from typing import Any

# NeMo Guardrails reports its use over the network unless it is told not to.
os.environ.setdefault("DO_NOT_TRACK", "1")

from nemoguardrails import LLMRails
from nemoguardrails.actions import action

from aimds.errors import ConfigError
from aimds.gateway.rows import Channel
from aimds.integrations.guard import Guard

CHANNELS: dict[str, Channel] = {"input": "user", "output": "assistant", "retrieval": "document"}
ACTION = "aimds_check"
FLOWS = """
define subflow aimds check input
  $checked = execute aimds_check(source="input", text=$user_message)
  if $checked["blocked"]
    bot refuse to respond
    stop
  $user_message = $checked["text"]

define subflow aimds check output
  $checked = execute aimds_check(source="output", text=$bot_message)
  if $checked["blocked"]
    bot refuse to respond
    stop
  $bot_message = $checked["text"]

define subflow aimds check retrieval
  $checked = execute aimds_check(source="retrieval", text=$relevant_chunks)
  $relevant_chunks = $checked["text"]
"""
"""Colang 1.0. ``bot refuse to respond`` is the message that NeMo Guardrails gives by default."""


def install(rails: LLMRails, guard: Guard | None = None) -> None:
    """Give ``rails`` the action of FLOWS; ``guard`` screens, one with the shipped policy where none is given."""
    judge = guard or Guard()

    @action(is_system_action=True, name=ACTION)  # type: ignore[untyped-decorator]
    async def check(source: str, text: str | None, **_: Any) -> dict[str, Any]:
        return await checked(judge, source, text)

    rails.register_action(check, ACTION)


async def checked(guard: Guard, source: str, text: str | None) -> dict[str, Any]:
    """``blocked``, the ``text`` to go on with (empty where it is blocked), ``action``, ``threat_type`` and ``reason``.

    Args:
        source: input, output or retrieval.

    Raises:
        ConfigError: another source.
    """
    if source not in CHANNELS:
        raise ConfigError("source", source, "one of " + ", ".join(CHANNELS))
    (found,) = await guard.check_async([(text or "", CHANNELS[source])])
    return {
        "blocked": not found.passes,
        "text": found.text or "",
        "action": found.action,
        "threat_type": found.threat_type,
        "reason": found.reason,
    }
