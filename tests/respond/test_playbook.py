from __future__ import annotations

from typing import Any

import pytest

from aimds.errors import ConfigError
from aimds.respond.playbook import Playbook
from aimds.respond.policy import Policy
from aimds.respond.settings import Section
from aimds.schema import ACTIONS


def steps(**changed: list[str]) -> Section:
    whole = {action: {"steps": list(listed)} for action, listed in Policy.load().playbook.steps.items()}
    return Section({**whole, **{action: {"steps": listed} for action, listed in changed.items()}}, "playbook")


def test_shipped_playbook_has_steps_for_every_action_and_blocks_refuse() -> None:
    playbook = Policy.load().playbook
    assert tuple(playbook.steps) == ACTIONS
    assert playbook.steps["block"][-1] == "refuse"
    assert playbook.steps["allow"] == ("forward",)
    assert not playbook.session_actions.any()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"block": ["audit", "forward"]}, "refuse"),
        ({"block": ["refuse"]}, "audit"),
        ({"block": ["refuse", "audit"]}, "last step"),
        ({"block": ["audit", "forward", "refuse"]}, "exactly one"),
        ({"block": ["audit"]}, "exactly one"),
        ({"redact": ["forward"]}, "redact"),
        ({"allow": ["redact", "forward"]}, "without redact"),
        ({"escalate": ["audit", "hold"]}, "review"),
        ({"flag": ["audit", "shout", "forward"]}, "notify"),
    ],
)
def test_playbook_that_does_not_do_what_its_actions_say_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Playbook.read(steps(**changed))
    assert caught.value.key.startswith(f"playbook.{next(iter(changed))}.steps")
    assert problem in caught.value.expected


def test_playbook_with_an_unknown_or_a_missing_action_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"playbook\.ban"):
        Playbook.read(steps(ban=["refuse"]))
    with pytest.raises(ConfigError, match=r"playbook\.flag"):
        Playbook.read(Section({"allow": {"steps": ["forward"]}}, "playbook"))
