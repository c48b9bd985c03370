"""The screener as libraries use it: texts in, outcomes out, in this process and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from aimds.errors import AimdsError, SchemaError
from aimds.gateway.rows import Channel, Row, batch_of, objects
from aimds.integrations.outcome import Outcome, outcome, sound
from aimds.integrations.proxy.track import cleaned
from aimds.respond.policy import Policy
from aimds.schema import CHANNELS
from aimds.screener import Screener


class Blocked(AimdsError):
    """A text may not be passed on; ``outcome`` says why, ``where`` what it was. The message repeats nothing of it."""

    def __init__(self, found: Outcome, where: str | None = None) -> None:
        self.outcome, self.where = found, where or f"a text of channel {found.channel}"
        super().__init__(f"held back by AIMDS ({found.reason}): {self.where}")


class Guard:
    """Screens texts for an adapter. May be shared between threads.

    Args:
        screener: made by `Screener.default` on first use where none is given.
        profile, policy: for that one; ``policy`` is a policy file.
        tenant: whose rules of the policy hold.

    Raises:
        AimdsError: on first use, as `Screener.default` and `Policy.load`.
    """

    def __init__(
        self,
        screener: Screener | None = None,
        *,
        profile: str = "cascade",
        policy: str | Path | None = None,
        tenant: str | None = None,
    ) -> None:
        self._screener, self._profile, self._tenant = screener, profile, tenant
        self._policy = None if policy is None else Path(policy)

    @property
    def screener(self) -> Screener:
        """The one that judges."""
        if self._screener is None:
            policy = Policy.load(self._policy)
            self._screener = Screener.default(profile=self._profile, policy=policy)
        return self._screener

    def verdicts(self, rows: Sequence[tuple[str, Channel]]) -> list[dict[str, Any]]:
        """Verdicts on (text, channel) pairs with the fields of VERDICTS, in their order; one batch.

        Raises:
            SchemaError: a text that is none, or a channel that there is not; names its row.
        """
        if not rows:
            return []
        for i, (text, channel) in enumerate(rows):
            if not isinstance(text, str):
                raise SchemaError("text", f"holds a {type(text).__name__}, expected str", row=i)
            if channel not in CHANNELS:
                raise SchemaError("channel", f"is {channel!r}, expected one of {', '.join(CHANNELS)}", row=i)
        made = [
            Row(text=sound(text), request_id=str(i), tenant=self._tenant, channel=channel)
            for i, (text, channel) in enumerate(rows)
        ]
        return objects(_screened(self.screener, batch_of(made)))

    async def verdicts_async(self, rows: Sequence[tuple[str, Channel]]) -> list[dict[str, Any]]:
        """`verdicts` on a thread, so that an event loop goes on."""
        return await asyncio.to_thread(self.verdicts, rows)

    def check_all(self, rows: Sequence[tuple[str, Channel]], json: Sequence[bool] | None = None) -> list[Outcome]:
        """Outcomes of (text, channel) pairs, in their order; ``json`` says which texts are JSON and stay so."""
        policy, out = self.screener.policy, []
        for i, ((text, channel), verdict) in enumerate(zip(rows, self.verdicts(rows), strict=True)):
            one = outcome(policy, sound(text), verdict, wrap=channel != "assistant")
            if json is not None and json[i] and one.changed:
                mitigated = cleaned(sound(text), verdict, policy, json=True)
                one = outcome(policy, sound(text), {**verdict, "mitigated_text": mitigated})
            out.append(one)
        return out

    def check(self, text: str, channel: Channel = "user") -> Outcome:
        """The outcome of one text."""
        return self.check_all([(text, channel)])[0]

    async def check_async(
        self, rows: Sequence[tuple[str, Channel]], json: Sequence[bool] | None = None
    ) -> list[Outcome]:
        """`check_all` on a thread."""
        return await asyncio.to_thread(self.check_all, rows, json)

    def passed(self, text: str, channel: Channel = "user") -> str:
        """``text``, changed where the policy says so.

        Raises:
            Blocked: it may not be passed on.
        """
        found = self.check(text, channel)
        if found.text is None:
            raise Blocked(found)
        return found.text


def _screened(screener: Screener, batch: pa.RecordBatch) -> pa.RecordBatch:
    try:
        return screener.screen_batch(batch)
    except AimdsError:
        raise
    except Exception as error:  # a text that breaks a stage gets what the policy says of texts nobody judged
        return screener.unjudged(batch, f"could not be judged: {type(error).__name__}: {error}")
