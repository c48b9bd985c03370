"""Bodies of the APIs of OpenAI and Anthropic, screened in this process: what is to be replaced where, or a refusal."""

from __future__ import annotations

from typing import Any

from aimds.gateway.rows import Channel
from aimds.integrations.guard import Blocked, Guard
from aimds.integrations.outcome import Outcome, outcome
from aimds.integrations.proxy.events import Event
from aimds.integrations.proxy.stream import Stream
from aimds.integrations.proxy.texts import Leaf, Shape, leaves

Change = tuple[Leaf, str]


def replacements(guard: Guard, document: dict[str, Any], shape: Shape, *, system: bool = False) -> list[Change]:
    """The texts of ``document`` that do not pass as they are, and what takes their place; nothing is changed yet.

    Args:
        system: screen the messages of the system too.

    Raises:
        Blocked: one of them may not pass.
        BodyError: it is nested too deeply.
    """
    found = _screened(document, shape, system)
    return _changes(found, guard.check_all(*_rows(found)))


async def replacements_async(
    guard: Guard, document: dict[str, Any], shape: Shape, *, system: bool = False
) -> list[Change]:
    """`replacements`, judged on a thread."""
    found = _screened(document, shape, system)
    return _changes(found, await guard.check_async(*_rows(found)))


def _screened(document: dict[str, Any], shape: Shape, system: bool) -> list[Leaf]:
    return [leaf for leaf in leaves(document, shape) if system or leaf.channel != "system"]


def _rows(found: list[Leaf]) -> tuple[list[tuple[str, Channel]], list[bool]]:
    return [(leaf.text, leaf.channel) for leaf in found], [leaf.json for leaf in found]


def _changes(found: list[Leaf], outcomes: list[Outcome]) -> list[Change]:
    changes = []
    for leaf, one in zip(found, outcomes, strict=True):
        if one.text is None:
            raise Blocked(one, leaf.place)
        if one.changed:
            changes.append((leaf, one.text))
    return changes


class Judge:
    """Judges the windows of a streamed answer with a guard: `feed` events in, those that may leave out."""

    def __init__(self, guard: Guard) -> None:
        self._guard, self._stream = guard, Stream()

    async def feed(self, content: bytes) -> list[Event]:
        """More of the answer, as server-sent events.

        Raises:
            Blocked: it ends here.
            BodyError, TooLong: it cannot be judged.
        """
        self._stream.feed(content)
        return await self._left()

    async def end(self) -> list[Event]:
        """The answer is complete; the rest of it.

        Raises:
            Blocked, BodyError, TooLong: as `feed`.
        """
        self._stream.end()
        return await self._left()

    async def _left(self) -> list[Event]:
        policy = self._guard.screener.policy
        while windows := list(self._stream.windows()):
            rows = [(window.text, track.channel) for track, window in windows]
            verdicts = await self._guard.verdicts_async(rows)
            for (track, window), verdict in zip(windows, verdicts, strict=True):
                if not self._stream.judged(track, window, verdict, policy):
                    raise Blocked(outcome(policy, window.text, verdict), "the answer")
        return self._stream.events()
