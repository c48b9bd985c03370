"""Drawn actions: never weaker than what the policy says, as likely as the file says, the same for the same row."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_rows import scored

from aimds import data
from aimds.errors import ConfigError
from aimds.respond.learned import FLOORS
from aimds.respond.policy import Policy
from aimds.respond.scored import RANK, REASONS, Scored
from aimds.respond.settings import CATEGORIES
from aimds.schema import ACTIONS, CHANNELS, SESSION_ACTIONS
from aimds.taxonomy import THREATS

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
LEARN: dict[str, Any] = {"learn": True, "threats": ["direct_injection", "jailbreak"], "explore": 0.05, "seed": 7}
FLAG, BLOCK = ACTIONS.index("flag"), ACTIONS.index("block")


def policy(actions: dict[str, Any] | None = None, **parts: Any) -> Policy:
    return Policy({**SHIPPED, **({} if actions is None else {"actions": {**LEARN, **actions}}), **parts})


def flagged(seed: int, n: int) -> Scored:
    return scored([{"p": p, "threat": "jailbreak"} for p in np.random.default_rng(seed).uniform(0.002, 0.009, n)])


ROW = st.fixed_dictionaries(
    {
        "p": st.one_of(st.floats(0, 1), st.floats(0, 0.01), st.just(float("nan"))),
        "threat": st.sampled_from(THREATS),
        "channel": st.sampled_from(CHANNELS),
        "harmful": st.floats(0, 1, width=32),
        "severity": st.floats(0, 1, width=32),
        "pii": st.booleans(),
        "secret": st.booleans(),
        "failed": st.sampled_from([False, True, 1, 2]),
        "tenant": st.sampled_from([None, "a"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), st.integers(0, 2**63 - 1), st.sampled_from(FLOORS[1:]))
def test_no_draw_is_weaker_than_what_the_policy_says_and_what_it_blocks_stays_blocked(
    rows: list[dict[str, Any]], seed: int, strongest: str
) -> None:
    rules = [
        {"effect": "deny", "threat": "jailbreak", "channel": "tool", "reason": "r"},
        {"effect": "allow", "threat": "direct_injection", "reason": "r"},
    ]
    parts: dict[str, Any] = {"rules": rules, "tenants": {"a": {"mode": "shadow"}}}
    batch = scored(rows)
    plain = policy(**parts).decide(batch)
    learning = {"threats": list(CATEGORIES), "explore": 0.1, "seed": seed, "strongest": strongest}
    drawn = policy(learning, **parts).decide(batch)
    assert (RANK[drawn.intended] >= RANK[plain.intended]).all()
    assert (RANK[drawn.action] >= RANK[plain.action]).all()
    assert (drawn.intended[plain.intended == BLOCK] == BLOCK).all()
    assert drawn.chance is not None
    untouched = np.isnan(drawn.chance)
    assert (drawn.intended[untouched] == plain.intended[untouched]).all()
    # What somebody else than the p-value decided is not drawn, nor what has to lose personal data.
    apart = ~np.isin(plain.reason, [i for i, name in enumerate(REASONS) if name.startswith("p-value")])
    assert untouched[apart | batch.has_pii | batch.has_secret].all()


def test_nothing_is_drawn_unless_the_file_says_so() -> None:
    rows = flagged(0, 50)
    for one in (policy(), policy({"learn": False}), Policy.load()):
        found = one.decide(rows)
        assert found.chance is None
        assert set(found.action) == {FLAG}
    other = policy({"threats": ["direct_injection"]}).decide(rows)
    assert other.chance is not None
    assert np.isnan(other.chance).all()


def test_actions_are_drawn_as_often_as_the_file_says_and_their_propensity_is_given() -> None:
    chances = {"flag": 0.5, "sandwich": 0.1, "escalate": 0.3, "block": 0.1}
    found = policy({"chances": {"jailbreak": {"flag": chances}}}).decide(flagged(1, 20_000))
    assert found.chance is not None
    for name, chance in chances.items():
        hits = found.action == ACTIONS.index(name)
        assert abs(hits.mean() - chance) < 4 * (chance * (1 - chance) / 20_000) ** 0.5
        assert np.allclose(found.chance[hits], chance)
    assert set(found.reason[found.action != FLAG]) == {len(REASONS) - 1}


def test_before_anything_is_learnt_other_actions_are_only_explored() -> None:
    found = policy({"strongest": "escalate"}).decide(flagged(2, 20_000))
    shares = {name: (found.action == ACTIONS.index(name)).mean() for name in FLOORS}
    assert shares["allow"] == shares["block"] == 0
    assert abs(shares["flag"] - 0.9) < 0.01
    assert abs(shares["sandwich"] - 0.05) < 0.01


def test_a_draw_depends_on_its_own_row_and_the_seed_only() -> None:
    rows = [{"p": p, "threat": "jailbreak"} for p in np.random.default_rng(3).uniform(0.002, 0.009, 300)]
    one = policy({"explore": 0.1})
    whole = one.decide(scored(rows)).action.tolist()
    assert whole == [int(one.decide(scored([row])).action[0]) for row in rows]
    assert whole[::-1] == one.decide(scored(rows[::-1])).action.tolist()
    assert whole != policy({"explore": 0.1, "seed": 8}).decide(scored(rows)).action.tolist()


def test_shadow_mode_carries_out_nothing_stronger_than_a_flag() -> None:
    found = policy({"explore": 0.1}, mode="shadow").decide(flagged(4, 2000))
    assert set(found.action) == {FLAG}
    assert len(set(found.intended)) > 2


def test_what_the_own_action_does_to_the_session_happens_whatever_is_drawn() -> None:
    playbook = {**SHIPPED["playbook"], "flag": {"steps": ["audit", "quarantine", "forward"]}}
    found = policy({"explore": 0.1}, playbook=playbook).decide(flagged(5, 2000))
    assert len(set(found.action)) > 2
    assert set(found.session_action) == {SESSION_ACTIONS.index("quarantine")}


def test_an_action_is_not_drawn_where_it_would_leave_out_a_step_of_the_own_one() -> None:
    threats = {**SHIPPED["threats"], "jailbreak": {"at_flag": "escalate"}}
    with pytest.raises(ConfigError, match=r"playbook\.block\.steps.*notify, review"):
        policy({}, threats=threats)
    policy({"strongest": "escalate"}, threats=threats)
    policy({"threats": ["direct_injection"]}, threats=threats)
    told = {**SHIPPED["playbook"], "flag": {"steps": ["audit", "notify", "forward"]}}
    with pytest.raises(ConfigError, match=r"playbook\.sandwich\.steps.*notify"):
        policy({}, playbook=told)


@pytest.mark.parametrize(
    ("actions", "place"),
    [
        ({"explore": 0}, "actions.explore"),
        ({"explore": 0.11}, "actions.explore"),
        ({"threats": ["nothing"]}, "actions.threats"),
        ({"seed": -1}, "actions.seed"),
        ({"seed": 1.5}, "actions.seed"),
        ({"strongest": "redact"}, "actions.strongest"),
        ({"more": 1}, "actions.more"),
        ({"chances": {"nothing": {}}}, "actions.chances.nothing"),
        ({"chances": {"jailbreak": {"redact": {}}}}, "actions.chances.jailbreak.redact"),
        ({"chances": {"jailbreak": {"escalate": {"flag": 0.5, "escalate": 0.4, "block": 0.1}}}}, "escalate.flag"),
        ({"chances": {"jailbreak": {"escalate": {"escalate": 0.99, "block": 0.01}}}}, "escalate.block"),
        ({"chances": {"jailbreak": {"escalate": {"escalate": 0.5, "block": 0.4}}}}, "jailbreak.escalate"),
        ({"chances": {"jailbreak": {"block": {"allow": 1.0}}}}, "jailbreak.block.block"),
    ],
)
def test_bad_value_is_named_with_its_place(actions: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        policy(actions)
