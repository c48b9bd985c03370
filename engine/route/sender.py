"""A routed prompt on its way: the chosen tier first, then its fallbacks, with retries, breakers and one deadline.

Whether a tier may have the prompt is asked again before every single try, of the tier's own settings: an order that was
made wrong, or that is older than the file, cannot send what is private to a remote model.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aimds.errors import ConfigError
from aimds.route.breaker import Breaker, BreakerConfig
from aimds.route.calls import Adapter, Call, Completion, ProviderError, UnansweredError
from aimds.route.choose import PER
from aimds.route.ledger import Ledger
from aimds.route.tiers import Tier, Tiers


@dataclass(frozen=True, slots=True)
class Retry:
    """``tries`` of one tier; the wait before try k is by chance up to ``base_s`` * 2 ** k, at most ``most_s``, and at
    least what Retry-After asks. A provider that asks for more than ``most_s`` is left for the next tier."""

    tries: int = 3
    base_s: float = 0.25
    most_s: float = 8.0

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 <= self.base_s <= self.most_s:
            raise ConfigError("retry", (self.tries, self.base_s, self.most_s), "tries from 1, 0 <= base_s <= most_s")


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt with its choice. ``order``: names of tiers, the chosen one first, then its fallbacks. ``private``: local
    tiers only. ``tenant`` and ``booked``, what the choice has booked on its budget in ``period`` (see
    `Router.booked`; None: that of now); ``input_tokens`` and the call's ``max_tokens`` price the fallbacks."""

    call: Call
    order: tuple[str, ...]
    private: bool
    tenant: str = ""
    booked: float = 0.0
    input_tokens: int = 0
    period: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``cost`` by the provider's own count where it gives one. ``tried``: (tier, why not) of those before it."""

    text: str
    tier: str
    cost: float
    input_tokens: int
    output_tokens: int
    tries: int
    tried: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Sender:
    """Sends jobs; thread-safe, one call blocks one thread.

    Args:
        adapters: one for each tier that can be asked, by name.
        deadline_s: for a whole job, retries, waits and fallbacks together.
        clock: monotonic seconds; ``wall``: seconds since 1970, for budgets; ``sleep`` waits; ``rng`` jitters.
    """

    tiers: Tiers
    adapters: Mapping[str, Adapter]
    ledger: Ledger
    retry: Retry = Retry()
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    deadline_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.Random)
    breakers: dict[str, Breaker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.adapters:
            self.tiers.named(name)
        for tier in self.tiers.tiers:
            self.breakers.setdefault(tier.name, Breaker(self.breaker))

    def send(self, job: Job) -> Answer:
        """The answer of the first tier of the job's order that gives one; the budget is put right by what it cost.

        Raises:
            UnansweredError: none did; what was booked is given back.
            ConfigError: the order names a tier that is not in the file.
        """
        until = self.clock() + self.deadline_s
        period = self.ledger.period(self.wall()) if job.period is None else job.period
        booked, tried, tries = job.booked, list[tuple[str, str]](), 0
        for place, name in enumerate(job.order):
            tier = self.tiers.named(name)
            price = job.booked if place == 0 else _price(tier, job.input_tokens, job.call.max_tokens)
            why = self._barred(tier, job)
            if why is None and not self.ledger.swap(job.tenant, booked, price, self.wall(), period=period):
                why = "the budget does not pay for it"
            if why is not None:
                tried.append((name, why))
                continue
            booked = price
            try:
                found, used, why = self._ask(tier, job, until)
            except BaseException:
                self.ledger.settle(job.tenant, booked, 0.0, self.wall(), period=period)
                raise
            tries += used
            if found is None:
                tried.append((name, why))
                continue
            given = job.input_tokens if found.input_tokens is None else found.input_tokens
            out = job.call.max_tokens if found.output_tokens is None else found.output_tokens
            cost = _price(tier, given, out)
            self.ledger.settle(job.tenant, booked, cost, self.wall(), period=period)
            return Answer(found.text, name, cost, given, out, tries, tuple(tried))
        self.ledger.settle(job.tenant, booked, 0.0, self.wall(), period=period)
        raise UnansweredError(tuple(tried))

    def _barred(self, tier: Tier, job: Job) -> str | None:
        if job.private and not tier.local:
            return "private prompts stay local"
        if job.input_tokens + job.call.max_tokens > tier.context:
            return "longer than its context"
        return None if tier.name in self.adapters else "it has no adapter"

    def _ask(self, tier: Tier, job: Job, until: float) -> tuple[Completion | None, int, str]:
        breaker, why = self.breakers[tier.name], "its breaker is open"
        for number in range(self.retry.tries):
            now = self.clock()
            left = until - now
            if left <= 0:
                return None, number, f"{why}; the deadline has passed" if number else "the deadline has passed"
            if self._barred(tier, job) is not None or not breaker.admits(now):
                return None, number, why
            try:
                found = self.adapters[tier.name].complete(job.call, timeout_s=min(left, tier.timeout_s))
            except ProviderError as error:
                why = error.reason
                if error.kind == "refused":
                    # The provider is well, it is this prompt that it does not take.
                    breaker.succeeded()
                    return None, number + 1, why
                breaker.failed(self.clock())
                wait = self._wait(number, error)
                if not error.retried or number + 1 == self.retry.tries or wait is None:
                    return None, number + 1, why
                if self.clock() + wait >= until:
                    return None, number + 1, f"{why}; the deadline leaves no time to wait"
                self.sleep(wait)
                continue
            breaker.succeeded()
            return found, number + 1, ""
        return None, self.retry.tries, why

    def _wait(self, number: int, error: ProviderError) -> float | None:
        jitter = self.rng.random() * min(self.retry.most_s, self.retry.base_s * 2.0**number)
        asked = error.retry_after_s or 0.0
        return None if asked > self.retry.most_s else max(asked, jitter)


def adapters(tiers: Tiers, environment: Mapping[str, str], names: Sequence[str] | None = None) -> dict[str, Adapter]:
    """The adapters that the file asks for, by tier; ``names`` limits them.

    Raises:
        ConfigError: a key is missing, or litellm cannot be used.
    """
    made: dict[str, Adapter] = {}
    for tier in tiers.tiers:
        if names is not None and tier.name not in names:
            continue
        if tier.adapter == "openai":
            from aimds.route.openai import OpenAi

            made[tier.name] = OpenAi(tier, environment)
        elif tier.adapter == "litellm":
            from aimds.route.litellm import LiteLlm

            made[tier.name] = LiteLlm(tier, environment)
    return made


def _price(tier: Tier, input_tokens: int, output_tokens: int) -> float:
    return (input_tokens * tier.input_price + output_tokens * tier.output_price) / PER
