"""The screener as libraries use it: texts in, outcomes out, in this process and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from aimds.errors import AimdsError
from aimds.gateway.rows import Channel, Row, batch_of, objects
from aimds.integrations.outcome import Outcome, outcome
from aimds.respond.policy import Policy
from aimds.screener import Screener


class Blocked(AimdsError):
    """A text may not be passed on; ``outcome`` says why. The message repeats nothing of the text."""

    def __init__(self, found: Outcome) -> None:
        self.outcome = found
        super().__init__(f"{found.channel} text held back by AIMDS ({found.reason})")


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

    def check_all(self, rows: Sequence[tuple[str, Channel]], session: str | None = None) -> list[Outcome]:
        """Outcomes of (text, channel) pairs, in their order; one batch."""
        if not rows:
            return []
        screener = self.screener
        made = [
            Row(text=sound(text), request_id=str(i), session_id=session, tenant=self._tenant, channel=channel)
            for i, (text, channel) in enumerate(rows)
        ]
        batch = batch_of(made)
        verdicts = objects(_screened(screener, batch))
        return [
            outcome(screener.policy, row.text, verdict, wrap=row.channel != "assistant")
            for row, verdict in zip(made, verdicts, strict=True)
        ]

    def check(self, text: str, channel: Channel = "user", session: str | None = None) -> Outcome:
        """The outcome of one text."""
        return self.check_all([(text, channel)], session)[0]

    async def check_async(self, rows: Sequence[tuple[str, Channel]], session: str | None = None) -> list[Outcome]:
        """`check_all` on a thread, so that an event loop goes on."""
        return await asyncio.to_thread(self.check_all, rows, session)

    def passed(self, text: str, channel: Channel = "user", session: str | None = None) -> str:
        """``text``, changed where the policy says so.

        Raises:
            Blocked: it may not be passed on.
        """
        found = self.check(text, channel, session)
        if found.text is None:
            raise Blocked(found)
        return found.text


def sound(text: str) -> str:
    """``text`` with U+FFFD for halves of surrogate pairs, which are no characters and cannot be UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _screened(screener: Screener, batch: pa.RecordBatch) -> pa.RecordBatch:
    try:
        return screener.screen_batch(batch)
    except AimdsError:
        raise
    except Exception as error:  # a text that breaks a stage gets what the policy says of texts nobody judged
        return screener.unjudged(batch, f"could not be judged: {type(error).__name__}: {error}")
