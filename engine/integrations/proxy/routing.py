"""Which model a screened request goes to: the tier that its verdicts, its privacy, its complexity and the budget allow.

A request is decided as a whole, with the conversation it carries: what is private in any of its texts keeps all of it
local. A client's credentials stay here, with all its headers but `PASSED`; a tier gets its own key.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.errors import ConfigError
from aimds.gateway.output import STRICTNESS
from aimds.integrations.proxy.senders import Headers
from aimds.integrations.proxy.shapes import Refusal
from aimds.integrations.proxy.texts import encoded
from aimds.integrations.proxy.upstream import Address, Answer, Upstream, UpstreamError
from aimds.integrations.proxy.wire import Refused
from aimds.metrics import Metrics
from aimds.route.choose import PER
from aimds.route.openai import key
from aimds.route.router import MITIGATED, Router
from aimds.route.tiers import Tier, Tiers

PATH = "/chat/completions"
PASSED = frozenset({b"content-type", b"accept", b"accept-encoding", b"user-agent"})
"""Headers of a client that a tier gets: any other may be a credential, or name who asks."""
AGAIN = (429, 500, 502, 503, 504)
"""Answers after which a fallback is asked."""
_MEDIA = ("image", "file", "input_file", "input_image", "input_audio", "video", "audio", "video_url")
UNSEEN = frozenset(_MEDIA) | {
    "image_url",
    "audio_url",
    "input_video",
    "file_url",
    "file_id",
    "file_data",
    "image_embeds",
}
"""Keys of what nobody looks into: a request that has one is taken for private."""
UNSEEN_TYPES = frozenset(_MEDIA) | {"base64"}
"""The same, as a ``type``."""
MOST_OUTPUT = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A screened request: its ``document``, the ``verdicts`` on its texts, and all ``texts`` as they would be sent."""

    document: dict[str, Any]
    verdicts: Sequence[Mapping[str, Any]]
    texts: Sequence[str]


@dataclass(slots=True)
class Sent:
    """Where a request went: ``tier``, and what was ``booked`` for it on the budget of ``tenant``, in ``period``."""

    tier: Tier
    tenant: str
    booked: float
    period: int
    by: Routing

    def settle(self, answer: Any) -> None:
        """Book what the server itself counted in ``answer``, the document of a whole one, where it says so."""
        usage = answer.get("usage") if isinstance(answer, dict) else None
        given, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        actual = self.booked
        if given is not None and written is not None:
            actual = cost(self.tier, given, written)
            self.by.router.ledger.settle(self.tenant, self.booked, actual, self.by.wall(), period=self.period)
        self.by.metrics.routed_cost.labels(self.tier.name).inc(actual)
        self.booked = actual


class Routing:
    """Sends requests to ``tiers``.

    Args:
        environment: where the keys of tiers are looked up.
        metrics: counted into.
        wall: seconds since 1970, for the budgets.

    Raises:
        ConfigError: a tier is no server of the API of OpenAI, or its key is not in the environment.
    """

    def __init__(
        self,
        tiers: Tiers,
        environment: Mapping[str, str],
        metrics: Metrics,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.router, self.metrics, self.wall = Router(tiers), metrics, wall
        self._servers: dict[str, Upstream] = {}
        self._headers: dict[str, Headers] = {}
        for tier in tiers.tiers:
            if tier.adapter != "openai":
                raise ConfigError(f"tier {tier.name}.adapter", tier.adapter, "openai, for a proxy")
            self._servers[tier.name] = Upstream(
                Address.read(tier.url, f"tier {tier.name}.url"), timeout_s=tier.timeout_s
            )
            bearer = f"Bearer {key(tier, environment)}".encode() if tier.key_env else None
            self._headers[tier.name] = [] if bearer is None else [(b"authorization", bearer)]

    @contextlib.asynccontextmanager
    async def ask(self, asked: Asked, tenant: str | None, headers: Headers) -> AsyncIterator[tuple[Answer, Sent]]:
        """The answer of the tier that is chosen, or of the first fallback that gives one, and where it came from.

        Args:
            headers: of the client, without those of one connection.

        Raises:
            Refused: no tier may have it, or the budget is spent.
            UpstreamError: none gives an answer.
        """
        choice, period = await asyncio.to_thread(self._choice, asked, tenant, self.wall())
        self.metrics.routed.labels(choice["tier"] or "none", choice["reason"]).inc()
        if choice["tier"] is None:
            raise Refused(_nowhere(choice["reason"]))
        plain = [(name, value) for name, value in headers if name.lower() in PASSED]
        names, booked = [choice["tier"], *choice["fallbacks"]], choice["cost"]
        async with contextlib.AsyncExitStack() as stack:
            for place, name in enumerate(names):
                tier, last = self.router.tiers.named(name), place == len(names) - 1
                if place:
                    other = cost(tier, choice["input_tokens"], choice["output_tokens"])
                    if not self.router.ledger.swap(tenant or "", booked, other, self.wall(), period=period):
                        continue
                    booked = other
                # Some servers read keys without case.
                rest = {name: value for name, value in asked.document.items() if name.lower() != "model"}
                body = encoded({"model": tier.model, **rest})
                mine = [*plain, *self._headers[name], (b"content-length", str(len(body)).encode())]
                trying = contextlib.AsyncExitStack()
                try:
                    answer = await trying.enter_async_context(self._servers[name].ask("POST", PATH, mine, body))
                except UpstreamError:
                    if last:
                        self._lost(tenant, booked, period)
                        raise
                    continue
                if answer.status in AGAIN and not last:
                    await trying.aclose()
                    continue
                await stack.enter_async_context(trying)
                sent = Sent(tier, tenant or "", booked, period, self)
                if not 200 <= answer.status < 300:
                    self._lost(tenant, booked, period)
                    sent.booked = 0.0
                yield answer, sent
                return
            self._lost(tenant, booked, period)
            raise Refused(_nowhere("budget"))

    def _lost(self, tenant: str | None, booked: float, period: int) -> None:
        # Nothing came, so nothing is owed.
        self.router.ledger.settle(tenant or "", booked, 0.0, self.wall(), period=period)

    def _choice(self, asked: Asked, tenant: str | None, now: float) -> tuple[dict[str, Any], int]:
        row = {
            "request_id": ["r"],
            "tenant": [tenant],
            "channel": ["user"],
            "action": [_action(asked.verdicts)],
            "session_action": ["none"],
            "status": [_status(asked.verdicts)],
            "spans": [[span for verdict in asked.verdicts for span in verdict["spans"]]],
            "session_id": [None],
            "turn": [None],
            "text": ["\n".join(asked.texts)],
        }
        types = {"tenant": pa.string(), "session_id": pa.string(), "turn": pa.int64(), "spans": pa.list_(_SPAN)}
        verdicts = pa.table({name: pa.array(values, types.get(name)) for name, values in row.items()})
        private = np.array([_unseen(asked.document)])
        out = np.array([_output(asked.document, self.router.tiers.output_tokens)], np.int64)
        standing = self.router.standing(verdicts, private=private)
        made, period = self.router.booked(verdicts, now=now, standing=standing, output_tokens=out)
        found: dict[str, Any] = made.to_pylist()[0]
        return found, period

    def close(self) -> None:
        """Let go of connections that nobody uses."""
        for server in self._servers.values():
            server.close()


_SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("score", pa.float32())])


def cost(tier: Tier, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost with ``tier``."""
    return (input_tokens * tier.input_price + output_tokens * tier.output_price) / PER


def _count(usage: Any, name: str) -> int | None:
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if type(found) is int and 0 <= found < 1 << 40 else None


def _action(verdicts: Sequence[Mapping[str, Any]]) -> str:
    found = max((verdict["action"] for verdict in verdicts), key=STRICTNESS.index, default="allow")
    # The texts are mitigated already; what is left of it is that something was found.
    return "flag" if found in MITIGATED else str(found)


def _status(verdicts: Sequence[Mapping[str, Any]]) -> str:
    return max((str(one["status"]) for one in verdicts), key=("ok", "partial", "error").index, default="ok")


def _unseen(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not UNSEEN.isdisjoint(name.lower() for name in one) or one.get("encoding") == "base64":
                return True
            kinds = [kind.lower() for name, kind in one.items() if name.lower() == "type" and isinstance(kind, str)]
            if not UNSEEN_TYPES.isdisjoint(kinds):
                return True
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False


def _output(document: Mapping[str, Any], default: int) -> int:
    # Servers differ in which of two limits counts, and write every answer that is asked for or chosen from.
    longest = max((_whole(document, name) for name in ("max_completion_tokens", "max_tokens")), default=0) or default
    return longest * max(_whole(document, "n"), _whole(document, "best_of"), 1)


def _whole(document: Mapping[str, Any], name: str) -> int:
    found = document.get(name)
    return found if type(found) is int and 0 < found <= MOST_OUTPUT else 0


def _nowhere(reason: str) -> Refusal:
    if reason == "budget":
        return Refusal(429, "insufficient_quota", "the budget of this tenant is spent")
    if reason == "too_long":
        return Refusal(400, "context_length_exceeded", "no model that is set up takes a request of this length")
    return Refusal(403, "no_model", f"no model may have this request: {reason}")
