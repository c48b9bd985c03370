"""Learning which action to draw: what draws were worth, judged offline, and that a floor stays one."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from feedback_factory import row, table
from typer.testing import CliRunner

from aimds import data
from aimds.cli import learn
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.learn import draws, responses
from aimds.learn.responses import REWARDS, Outcomes
from aimds.record.audit import AuditLog
from aimds.record.erasure import erase
from aimds.record.subject import Subject
from aimds.respond.learned import FLOORS, Learned
from aimds.respond.policy import Policy
from aimds.respond.scored import RANK
from aimds.schema import ACTIONS
from aimds.taxonomy import CODES

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
EVEN = {"flag": 0.25, "sandwich": 0.25, "escalate": 0.25, "block": 0.25}
JAILBREAK, FLAG, BLOCK = CODES["jailbreak"], ACTIONS.index("flag"), ACTIONS.index("block")
ON = 'format = 1\nversion = "v"\n[actions]\nlearn = true\nthreats = ["jailbreak"]\nseed = 1\n'


def learned(**changed: Any) -> Learned:
    part = {"learn": True, "threats": ["jailbreak"], "explore": 0.05, "seed": 7, **changed}
    found = Policy({**SHIPPED, "actions": part}).learned
    assert found is not None
    return found


def logged(n: int, attacks: float, seed: int = 0) -> Outcomes:
    """Even draws where the policy says flag, of texts that are attacks with probability ``attacks``."""
    rng = np.random.default_rng(seed)
    drawn = np.array([ACTIONS.index(name) for name in EVEN])[rng.integers(0, 4, n)]
    return Outcomes(np.full(n, JAILBREAK), np.full(n, FLAG), drawn, np.full(n, 0.25), rng.random(n) < attacks)


def worth(chances: dict[str, float], attacks: float) -> float:
    return sum(
        share * (attacks * REWARDS["attack"][name] + (1 - attacks) * REWARDS["benign"][name])
        for name, share in chances.items()
    )


def test_rewards_say_that_an_attack_should_not_pass_and_other_text_should() -> None:
    order = sorted(FLOORS, key=lambda name: RANK[ACTIONS.index(name)])
    for label, falling in (("attack", False), ("benign", True)):
        values = [REWARDS[label][name] for name in order]
        assert values == sorted(values, reverse=falling)
        assert (min(values), max(values)) == (0, 1)


def test_intervals_hold_what_another_policy_is_worth_as_often_as_they_say() -> None:
    other = {"flag": 0.05, "sandwich": 0.05, "escalate": 0.1, "block": 0.8}
    target = learned(chances={"jailbreak": {"flag": other}}).chances
    true, hits = worth(other, 0.7), {"ips": 0, "snips": 0}
    for seed in range(200):
        found = logged(400, 0.7, seed)
        ips, snips = responses.inverse_propensity(found, target), responses.self_normalised(found, target)
        for name, one in (("ips", ips), ("snips", snips)):
            hits[name] += one.low <= true <= one.high
            assert 100 < one.effective < 400
    assert all(180 <= count < 200 for count in hits.values()), hits


def test_nothing_is_said_of_nothing() -> None:
    now = learned()
    for n in (0, 1):
        assert np.isnan(responses.self_normalised(logged(n, 0.5), now.chances).value)
    assert (responses.learnt(logged(0, 0.5), now, seed=1) == now.chances).all()


@pytest.mark.parametrize(("attacks", "best"), [(0.95, "block"), (0.02, "flag")])
def test_what_was_worth_more_is_drawn_more_and_the_rest_still_explored(attacks: float, best: str) -> None:
    now, found = learned(chances={"jailbreak": {"flag": EVEN}}), logged(2000, attacks)
    after = responses.learnt(found, now, seed=1)
    chances = after[JAILBREAK, FLAG]
    assert ACTIONS[int(chances.argmax())] == best
    assert chances[chances > 0].min() >= now.explore - 1e-12
    before = responses.self_normalised(found, now.chances)
    assert responses.self_normalised(found, after).low > before.value


def test_no_reward_makes_a_weaker_action_possible() -> None:
    n = 500
    for own in FLOORS:
        code = ACTIONS.index(own)
        parts = {"own": np.full(n, code), "action": np.full(n, code), "propensity": np.ones(n)}
        found = dataclasses.replace(logged(n, 0.0), **parts)
        for strongest in FLOORS[1:]:
            after = responses.learnt(found, learned(strongest=strongest), seed=1)[JAILBREAK, code]
            possible = np.flatnonzero(after)
            assert code in possible
            assert (RANK[possible] >= RANK[code]).all()
            assert abs(after.sum() - 1) < 1e-9
    assert responses.learnt(logged(n, 0.0), learned(), seed=1)[JAILBREAK, BLOCK, BLOCK] == 1


def test_a_type_that_the_file_does_not_name_is_left_as_it_is() -> None:
    found = dataclasses.replace(logged(500, 1.0), threat=np.full(500, CODES["direct_injection"]))
    now = learned()
    assert (responses.learnt(found, now, seed=1) == now.chances).all()


def test_what_is_written_is_read_back_the_same() -> None:
    now = learned(strongest="escalate")
    after = responses.learnt(dataclasses.replace(logged(300, 0.4), action=np.full(300, FLAG)), now, seed=1)
    again = learned(**tomllib.loads(responses.written(after, now))["actions"])
    assert np.allclose(again.chances, after, atol=1e-12)
    assert (again.strongest, again.explore, again.seed) == (now.strongest, now.explore, now.seed)


def judged(log: Path, rows: list[dict[str, Any]]) -> Outcomes:
    found = draws.read(log)
    return responses.outcomes(found, responses.decided(found, table(rows)))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    body = {"threat_type": "jailbreak", "action": "escalate", "own": "flag", "drawn": "escalate"}
    with AuditLog(tmp_path / "audit.log") as opened:
        for i in range(40):
            whose = {"request_id": f"r{i}", "tenant": "acme", "session_id": f"s{i}"}
            opened.append("verdict", {**body, "propensity": 0.25, **whose})
        opened.append("verdict", {"threat_type": "jailbreak", "action": "flag", "request_id": "r0", "tenant": "acme"})
        opened.append("verdict", {**body, "propensity": 7, "request_id": "r39", "tenant": "acme"})
    return tmp_path / "audit.log"


def test_a_draw_counts_once_by_its_last_decision_and_only_where_somebody_decided(log: Path) -> None:
    rows = [row(1), row(2, label="benign"), row(2), row(3, tenant="other"), row(99), row(5, label="benign")]
    rows[2]["decided_at"] = row(9)["decided_at"]
    found = judged(log, rows)
    assert found.attack.tolist() == [True, True, False]
    assert found.propensity.tolist() == [0.25] * 3
    assert {ACTIONS[code] for code in found.action} == {"escalate"}


def test_an_erased_subject_teaches_nothing(log: Path) -> None:
    with AuditLog(log) as opened:
        erase(opened, Subject(session="s1"))
    assert judged(log, [row(1)]).attack.tolist() == []


def run(*arguments: object) -> Any:
    app = typer.Typer()
    learn.register(app)
    return CliRunner().invoke(app, ["learn", "actions", *(str(argument) for argument in arguments)])


def test_command_says_what_draws_were_worth_and_writes_the_next_table(log: Path, tmp_path: Path) -> None:
    pq.write_table(table([row(i, label="benign" if i % 4 else "attack") for i in range(40)]), tmp_path / "f.parquet")
    policy = tmp_path / "policy.toml"
    policy.write_text(ON)
    result = run(log, tmp_path / "f.parquet", "--policy", policy, "-o", tmp_path / "new.toml")
    assert result.exit_code == 0, (result.output, result.exception)
    # Of 40 draws two have an id that another verdict has too.
    assert "38 drawn actions" in result.stdout
    policy.write_text('format = 1\nversion = "v2"\n' + (tmp_path / "new.toml").read_text())
    after = Policy.load(policy).learned
    assert after is not None
    assert after.chances[JAILBREAK, FLAG, ACTIONS.index("escalate")] > 0.03
    found = json.loads(run(log, tmp_path / "f.parquet", "--policy", policy, "--json").stdout)
    assert found["rows"] == 38
    assert found["follow_ups"]["rows"] == 0
    assert found["values"]["before"]["snips"]["effective"] > 0


def test_command_refuses_what_it_cannot_use(log: Path, tmp_path: Path) -> None:
    pq.write_table(table([]), tmp_path / "f.parquet")
    plain, on = tmp_path / "plain.toml", tmp_path / "on.toml"
    plain.write_text('format = 1\nversion = "v"\n')
    on.write_text(ON)
    assert isinstance(run(log, tmp_path / "f.parquet", "--policy", plain).exception, ConfigError)
    assert isinstance(run(tmp_path / "none", tmp_path / "f.parquet", "--policy", on).exception, DataError)
    assert isinstance(run(log, tmp_path / "none.parquet", "--policy", on).exception, AimdsError)
    empty = run(log, tmp_path / "f.parquet", "--policy", on, "--json")
    assert json.loads(empty.stdout)["values"]["before"]["ips"]["value"] is None
