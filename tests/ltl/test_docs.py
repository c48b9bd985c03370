from __future__ import annotations

import tomllib
from pathlib import Path

from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import EVENTS

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")


def test_the_file_on_the_page_is_in_order() -> None:
    block = PAGE.split("```toml\n")[1].split("```")[0]
    policies = TracePolicies.of(tomllib.loads(block))
    assert [list(policy.wrong()) for policy in policies.policies] == [[]]


def test_the_page_names_every_event_and_every_shipped_policy() -> None:
    plain = [name for name in EVENTS if "." not in name]
    assert [name for name in plain if f"`{name}`" not in PAGE] == []
    assert [one.name for one in TracePolicies.load().policies if f"`{one.name}`" not in PAGE] == []
