"""The validator in guards of Guardrails AI."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from desk import ATTACK, SECRET

from aimds.errors import ConfigError
from aimds.integrations.guard import Guard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    adapter = pytest.importorskip(
        "aimds.integrations.guardrails",
        reason="guardrails-ai is not installed (extra guardrails)",
        exc_type=ImportError,
    )
    import guardrails
    from guardrails.errors import ValidationError

pytestmark = [pytest.mark.usefixtures("offline"), pytest.mark.filterwarnings("ignore")]


def used(guard: Guard, on_fail: str, **more: Any) -> Any:
    return guardrails.Guard().use(adapter.AimdsScreen(on_fail=on_fail, guard=guard, **more))


def test_a_text_that_is_held_back_fails(guard: Guard) -> None:
    assert used(guard, "exception").validate("fine").validation_passed
    with pytest.raises(ValidationError, match="held back by AIMDS") as found:
        used(guard, "exception").validate(f"so {ATTACK}")
    assert ATTACK not in str(found.value)
    assert not used(guard, "noop").validate(f"so {ATTACK}").validation_passed


def test_a_fix_takes_out_what_the_policy_takes_out(guard: Guard) -> None:
    found = used(guard, "fix").validate(f"card {SECRET}")
    assert found.validated_output == "card [CREDIT_CARD]"
    assert not used(guard, "fix").validate(f"so {ATTACK}").validated_output


def test_the_channel_is_that_of_the_call_or_of_the_validator(guard: Guard) -> None:
    validator = adapter.AimdsScreen(guard=guard, channel="tool")
    assert validator.validate("fine", {}).outcome == "pass"
    assert validator.validate(ATTACK, {"channel": "user"}).outcome == "fail"
    with pytest.raises(ConfigError, match="channel = 'nobody'"):
        validator.validate("fine", {"channel": "nobody"})
    with pytest.raises(ConfigError, match="channel = 'nobody'"):
        adapter.AimdsScreen(guard=guard, channel="nobody")


def test_a_stream_is_refused_since_it_would_leave_unjudged(guard: Guard) -> None:
    def stream(*, messages: Any, **_: Any) -> Any:
        yield from ("fine words. ", f"and {ATTACK[:3]}", f"{ATTACK[3:]} more. ", "end")

    made = used(guard, "noop")(stream, messages=[{"role": "user", "content": "hi"}], stream=True)
    with pytest.raises(ConfigError, match="stream = True"):
        list(made)
