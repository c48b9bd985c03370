from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from routed import tier, tiers
from stub_models import answers, completion, drips, stub

from aimds.errors import ConfigError
from aimds.route.breaker import BreakerConfig
from aimds.route.calls import Call, Completion, ProviderError, UnansweredError
from aimds.route.ledger import Ledger
from aimds.route.sender import Job, Retry, Sender, adapters

CALL = Call((("user", "6 x 7?"),), 100)
GOOD = Completion("42", 10, 10)


class Time:
    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Fake:
    """Gives or raises ``replies`` in order, the last again and again; a call takes ``takes`` seconds."""

    def __init__(self, time: Time, *replies: Completion | ProviderError, takes: float = 0.0) -> None:
        self.time, self.replies, self.takes, self.timeouts = time, list(replies), takes, list[float]()

    def complete(self, call: Call, *, timeout_s: float) -> Completion:
        self.timeouts.append(timeout_s)
        self.time.now += min(self.takes, timeout_s)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, ProviderError):
            raise reply
        return reply


def failing(kind: str, **more: Any) -> ProviderError:
    return ProviderError("t", kind, kind, **more)


def made(build: Callable[[Time], dict[str, Fake]], **changed: Any) -> tuple[Sender, dict[str, Fake], Time]:
    time, settings = Time(), tiers(**changed.pop("settings", {}))
    fakes = build(time)
    more = {"rng": random.Random(3), "retry": Retry(3, 1.0, 8.0)} | changed
    ledger = Ledger(settings.budgets)
    sender = Sender(settings, fakes, ledger, clock=lambda: time.now, wall=lambda: 0.0, sleep=time.sleep, **more)
    return sender, fakes, time


def job(*order: str, **changed: Any) -> Job:
    return Job(CALL, order, **({"private": False, "tenant": "acme"} | changed))


def test_chosen_tier_answers_and_its_own_count_is_charged() -> None:
    sender, _fakes, _ = made(lambda t: {"strong": Fake(t, GOOD)})
    with sender.ledger.hold(["acme"], 0.0) as held:
        held.booked[:] = 0.5
    answer = sender.send(job("strong", booked=0.5))
    assert (answer.text, answer.tier, answer.tries, answer.tried) == ("42", "strong", 1, ())
    assert answer.cost == pytest.approx((10 * 3 + 10 * 15) / 1e6)
    assert sender.ledger.spent("acme", 0.0) == pytest.approx(answer.cost)


def test_failures_that_may_pass_are_tried_again_with_jitter_that_grows() -> None:
    sender, _fakes, time = made(lambda t: {"strong": Fake(t, failing("server"), failing("timeout"), GOOD)})
    assert sender.send(job("strong")).tries == 3
    rng = random.Random(3)
    assert time.slept == [rng.random() * 1.0, rng.random() * 2.0]


def test_refused_prompts_go_to_the_next_tier_at_once() -> None:
    sender, _fakes, time = made(lambda t: {"cheap": Fake(t, failing("refused")), "strong": Fake(t, GOOD)})
    answer = sender.send(job("cheap", "strong"))
    assert (answer.tier, answer.tried, time.slept) == ("strong", (("cheap", "refused"),), [])
    assert sender.breakers["cheap"].state(time.now) == "closed"


def test_wait_that_is_asked_for_is_kept_and_a_long_one_goes_to_the_next_tier() -> None:
    limited = failing("rate_limited", retry_after_s=5.0)
    sender, _, time = made(lambda t: {"cheap": Fake(t, limited, GOOD)})
    assert sender.send(job("cheap")).tier == "cheap"
    assert time.slept == [5.0]
    patient = failing("rate_limited", retry_after_s=20.0)
    sender, _, time = made(lambda t: {"cheap": Fake(t, patient), "strong": Fake(t, GOOD)})
    assert sender.send(job("cheap", "strong")).tier == "strong"
    assert time.slept == []


def test_private_prompt_never_reaches_a_remote_tier_whatever_the_order_says() -> None:
    build = lambda t: {"strong": Fake(t, GOOD), "cheap": Fake(t, GOOD), "local": Fake(t, failing("server"))}  # noqa: E731
    sender, fakes, _ = made(build)
    with pytest.raises(UnansweredError, match="private prompts stay local") as caught:
        sender.send(job("strong", "local", "cheap", private=True, booked=0.0))
    assert [name for name, _ in caught.value.tried] == ["strong", "local", "cheap"]
    assert fakes["strong"].timeouts == fakes["cheap"].timeouts == []
    assert len(fakes["local"].timeouts) == 3


def test_fallback_that_the_budget_lacks_is_passed_over_and_nothing_stays_booked() -> None:
    build = lambda t: {"cheap": Fake(t, failing("refused")), "strong": Fake(t, GOOD)}  # noqa: E731
    sender, fakes, _ = made(build, settings={"budget": {"default": 0.0001}})
    with sender.ledger.hold(["acme"], 0.0) as held:
        held.booked[:] = 0.00001
    with pytest.raises(UnansweredError, match="budget"):
        sender.send(job("cheap", "strong", booked=0.00001, input_tokens=100))
    assert fakes["strong"].timeouts == []
    assert sender.ledger.spent("acme", 0.0) == 0.0


def test_call_that_ends_in_the_next_period_changes_nothing_there() -> None:
    def slow(time: Time) -> dict[str, Fake]:
        return {"cheap": Fake(time, failing("refused"), takes=20.0), "strong": Fake(time, GOOD)}

    sender, _, time = made(slow, settings={"budget": {"period_s": 110.0, "default": 1.0}})
    sender.wall = lambda: time.now
    with sender.ledger.hold(["acme"], 100.0) as late:
        late.booked[:] = 0.9
    with sender.ledger.hold(["acme"], 110.0) as held:
        held.booked[:] = 0.8
    assert sender.send(job("cheap", "strong", booked=0.9, period=late.period)).tier == "strong"
    assert sender.ledger.spent("acme", time.now) == 0.8


def test_fallback_with_too_small_a_context_or_no_adapter_is_passed_over() -> None:
    sender, _fakes, _ = made(lambda t: {"local": Fake(t, GOOD)})
    with pytest.raises(UnansweredError, match="longer than its context"):
        sender.send(job("cheap", "local", input_tokens=8000))
    with pytest.raises(UnansweredError, match="no adapter"):
        sender.send(job("cheap"))
    with pytest.raises(UnansweredError, match="there is none"):
        sender.send(job())


def test_provider_that_keeps_failing_is_left_alone_then_tried_again() -> None:
    build = lambda t: {"cheap": Fake(t, *[failing("setup")] * 2, GOOD), "strong": Fake(t, GOOD)}  # noqa: E731
    sender, fakes, time = made(build, breaker=BreakerConfig(failures=2, open_s=30.0))
    found = [sender.send(job("cheap", "strong")).tier for _ in range(4)]
    assert found == ["strong"] * 4
    assert len(fakes["cheap"].timeouts) == 2
    time.now += 30.0
    assert sender.send(job("cheap", "strong")).tier == "cheap"


def test_one_deadline_holds_for_tries_waits_and_fallbacks() -> None:
    build = lambda t: {"cheap": Fake(t, failing("timeout"), takes=6.0), "strong": Fake(t, GOOD)}  # noqa: E731
    sender, fakes, time = made(build, deadline_s=10.0)
    with pytest.raises(UnansweredError, match="deadline"):
        sender.send(job("cheap", "strong"))
    assert time.now <= 110.0
    assert fakes["cheap"].timeouts[0] == 10.0
    assert fakes["cheap"].timeouts[1] < 4.0


def test_budget_is_put_right_when_an_adapter_breaks() -> None:
    class Broken:
        def complete(self, call: Call, *, timeout_s: float) -> Completion:
            raise KeyboardInterrupt

    sender, _, _ = made(lambda t: {"cheap": Broken()})  # type: ignore[dict-item]
    with sender.ledger.hold(["acme"], 0.0) as held:
        held.booked[:] = 1.0
    with pytest.raises(KeyboardInterrupt):
        sender.send(job("cheap", booked=1.0))
    assert sender.ledger.spent("acme", 0.0) == 0.0


def test_over_real_sockets_a_slow_tier_gives_way_and_a_limited_one_is_asked_again() -> None:
    with stub() as slow, stub() as limited:
        slow.replies = [drips]
        limited.replies = [answers(b"", 429, Retry_After="0"), answers(completion("from the second"))]
        listed = [
            tier("slow", adapter="openai", url=slow.url, timeout_s=0.2),
            tier("limited", adapter="openai", url=limited.url),
        ]
        settings = tiers(tier=listed)
        sender = Sender(settings, adapters(settings, {}), Ledger(settings.budgets), Retry(2, 0.0, 1.0))
        answer = sender.send(job("slow", "limited"))
    assert (answer.text, answer.tier, answer.tries) == ("from the second", "limited", 4)


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="tries"):
        Retry(0)
    with pytest.raises(ConfigError, match="local, cheap, strong"):
        made(lambda t: {"best": Fake(t, GOOD)})
