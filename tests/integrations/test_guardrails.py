"""The validator in guards of Guardrails AI."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from desk import ATTACK, SECRET

from aimds.errors import ConfigError
from aimds.integrations.guard import Blocked, Guard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    adapter = pytest.importorskip(
        "aimds.integrations.guardrails",
        reason="guardrails-ai is not installed (extra guardrails)",
        exc_type=ImportError,
    )
    import guardrails
    from guardrails.errors import ValidationError
    from guardrails.validator_base import FailResult, PassResult, Validator, register_validator

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


@register_validator(name="tests/words", data_type="string")
class Words(Validator):  # type: ignore[misc]
    """Fails a text with the word bad, with good as its fix; breaks on the word broken."""

    def _validate(self, value: Any, metadata: dict[str, Any]) -> Any:
        if "broken" in value:
            raise RuntimeError(value)
        if metadata["channel"] != "user" or "bad" not in value:
            return PassResult()
        return FailResult(error_message="bad", fix_value=value.replace("bad", "good"))


def validated(guard: Guard, on_fail: str) -> Any:
    return adapter.Validated([Words(on_fail=on_fail)], screener=guard.screener)


@pytest.mark.parametrize(
    ("on_fail", "text", "action"),
    [
        ("exception", None, "block"),
        ("fix", "so good", "redact"),
        ("noop", "so bad", "allow"),
        ("refrain", None, "block"),
    ],
)
def test_a_validator_is_a_stage_after_the_others(guard: Guard, on_fail: str, text: str | None, action: str) -> None:
    found = validated(guard, on_fail).check("so bad")
    assert (found.text, found.action, found.status) == (text, action, "ok")
    assert validated(guard, on_fail).check("so bad", "document").text == "so bad"
    assert validated(guard, on_fail).check("fine").action == "allow"


def test_a_validator_sees_what_is_left_and_nothing_that_is_held_back(guard: Guard) -> None:
    found = validated(guard, "fix").check(f"bad card {SECRET}")
    assert (found.text, found.changed) == ("good card [CREDIT_CARD]", True)
    assert validated(guard, "fix").check(f"bad {ATTACK}").threat_type == "direct_injection"


def test_a_validator_that_breaks_holds_the_text_back(guard: Guard) -> None:
    found = validated(guard, "noop").check("broken")
    assert (found.text, found.status, found.action) == (None, "error", "block")
    assert found.error == "validator tests/words could not judge: RuntimeError"
    with pytest.raises(Blocked, match="could not judge"):
        validated(guard, "noop").passed("broken")
