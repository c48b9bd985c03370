"""What follow-ups are worth, and how little whoever makes many of them gains by it."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds import data
from aimds.errors import ConfigError, DataError, SchemaError
from aimds.learn import follow_ups, responses
from aimds.learn.draws import Draw, Key
from aimds.learn.follow_ups import LEAST, SHARE, WEIGHT, Caps
from aimds.respond.learned import Learned
from aimds.respond.policy import Policy
from aimds.schema import ACTIONS
from aimds.taxonomy import CODES

JAILBREAK, FLAG, BLOCK = CODES["jailbreak"], ACTIONS.index("flag"), ACTIONS.index("block")
EVEN = {"flag": 0.25, "sandwich": 0.25, "escalate": 0.25, "block": 0.25}


def learned() -> Learned:
    part = {"learn": True, "threats": ["jailbreak"], "seed": 7, "chances": {"jailbreak": {"flag": EVEN}}}
    found = Policy({**tomllib.loads(data.read_bytes("policy.toml").decode()), "actions": part}).learned
    assert found is not None
    return found


def draw(number: int, then: str | None, action: str = "block", **changed: Any) -> Draw:
    plain = Draw(
        key=("acme", f"r{number}"),
        session=f"s{number}",
        sender=f"app{number}",
        at=float(number),
        threat=JAILBREAK,
        own=FLAG,
        action=ACTIONS.index(action),
        propensity=0.25,
        violations=frozenset(),
        text=None,
        then=then,
    )
    return dataclasses.replace(plain, **changed)


def decided(n: int, attacks: int, then: str = "rephrased", first: int = 0) -> tuple[list[Draw], dict[Key, bool]]:
    found = [draw(first + i, then) for i in range(n)]
    return found, {one.key: i < attacks for i, one in enumerate(found)}


def test_a_follow_up_means_what_people_found_of_draws_with_the_same_one() -> None:
    known, said = decided(LEAST, 15)
    found = follow_ups.rewards([*known, draw(900, "rephrased"), draw(901, "quiet"), draw(902, None)], said)
    share = (15 + 1) / (LEAST + 2)
    assert found.meanings == {("rephrased", "block"): share}
    # block is worth 1 of an attack and 0 of other text.
    assert found.reward.tolist() == [pytest.approx(share)]
    assert (found.threat.tolist(), found.own.tolist(), found.action.tolist()) == ([JAILBREAK], [FLAG], [BLOCK])
    assert found.unknown == 1


def test_the_same_follow_up_after_another_action_means_something_else() -> None:
    known, said = decided(LEAST, LEAST)
    flagged = [dataclasses.replace(one, action=FLAG, key=("acme", f"f{i}")) for i, one in enumerate(known)]
    said |= {one.key: False for one in flagged}
    found = follow_ups.rewards([*known, *flagged, draw(900, "rephrased"), draw(901, "rephrased", "flag")], said)
    assert found.reward.tolist() == [pytest.approx(21 / 22), pytest.approx(0.1 / 22 + 0.95 * 21 / 22)]


def test_what_too_few_decided_means_nothing() -> None:
    known, said = decided(LEAST - 1, 3)
    found = follow_ups.rewards([*known, draw(900, "rephrased")], said)
    assert (len(found.action), found.unknown, found.meanings) == (0, 1, {})


def test_a_follow_up_counts_less_than_a_decision_and_many_never_outvote_them() -> None:
    known, said = decided(LEAST, 10)
    few = follow_ups.rewards([*known, draw(900, "rephrased")], said)
    assert few.weight.tolist() == [WEIGHT]
    many = follow_ups.rewards([*known, *(draw(i, "rephrased") for i in range(900, 1300))], said)
    assert len(many.action) == 400
    assert many.weight.sum() == pytest.approx(SHARE * LEAST)


def test_an_action_that_nobody_decided_about_has_no_follow_ups_of_weight() -> None:
    known, said = decided(LEAST, 10)
    elsewhere = draw(900, "rephrased", threat=JAILBREAK + 1)
    found = follow_ups.rewards([*known, elsewhere], said)
    assert found.weight.tolist() == [0]
    outcomes = responses.outcomes([*known, elsewhere], said)
    now = learned()
    same = responses.learnt(outcomes, now, seed=1)
    assert (responses.learnt(outcomes, now, seed=1, beside=found) == same).all()


@pytest.mark.parametrize(
    ("same", "cap"),
    [
        ({"session": "s"}, Caps().session),
        ({"sender": "app"}, Caps().sender),
        ({}, Caps().tenant),
    ],
)
def test_no_source_has_more_than_its_cap(same: dict[str, Any], cap: int) -> None:
    known, said = decided(LEAST, 10)
    known = [dataclasses.replace(one, key=("globex", one.key[1])) for one in known]
    said = {("globex", request): label for (_, request), label in said.items()}
    flood = [draw(i, "rephrased", **same) for i in range(1000, 1000 + cap + 7)]
    found = follow_ups.rewards([*known, *flood], said)
    assert len(found.action) == cap
    assert sum(found.over.values()) == 7


def test_a_flood_moves_the_next_probabilities_less_than_the_decisions_do() -> None:
    known, said = decided(200, 190)
    flagged = [
        dataclasses.replace(one, action=FLAG, key=("acme", f"f{i}"), then="quiet") for i, one in enumerate(known)
    ]
    said |= {one.key: i < 190 for i, one in enumerate(flagged)}
    quiet, more = decided(LEAST, 0, "broken", 5000)
    said |= more
    # Follow-ups that people found harmless, after a block, by senders without number.
    flood = [draw(i, "broken", key=(f"t{i}", "r")) for i in range(10_000, 14_000)]
    drawn = [*known, *flagged, *quiet, *flood]
    now, outcomes = learned(), responses.outcomes(drawn, said)
    beside = follow_ups.rewards(drawn, said)
    assert len(beside.action) == 4000
    before = responses.learnt(outcomes, now, seed=1)[JAILBREAK, FLAG]
    after = responses.learnt(outcomes, now, seed=1, beside=beside)[JAILBREAK, FLAG]
    assert before.argmax() == after.argmax() == BLOCK
    unbounded = dataclasses.replace(beside, weight=np.ones(4000))
    assert responses.learnt(outcomes, now, seed=1, beside=unbounded)[JAILBREAK, FLAG].argmax() != BLOCK


def test_follow_ups_do_not_judge() -> None:
    known, said = decided(LEAST, 10)
    outcomes = responses.outcomes([*known, draw(900, "rephrased")], said)
    assert len(outcomes.action) == LEAST


def test_an_appeal_goes_before_what_the_session_did_and_its_source_has_a_cap(tmp_path: Path) -> None:
    known, said = decided(LEAST, 4)
    loud = [draw(i, "rephrased") for i in range(900, 909)]
    rows = [(one.key[1], "acme", f"user{i}") for i, one in enumerate(known)]
    rows += [(one.key[1], "acme", "one user") for one in loud]
    names = ("request_id", "tenant", "source")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), tmp_path / "a.parquet")
    appealed = follow_ups.appeals(tmp_path / "a.parquet")
    found = follow_ups.rewards([*known, *loud], said, appealed)
    assert found.meanings == {("appeal", "block"): 5 / 22}
    assert (len(found.action), found.over) == (Caps().source, {"source": 9 - Caps().source})


def test_a_file_of_appeals_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match="cannot be read"):
        follow_ups.appeals(path)
    pq.write_table(pa.table({"request_id": ["r"]}), path)
    with pytest.raises(SchemaError, match="source"):
        follow_ups.appeals(path)
    pq.write_table(pa.table({"request_id": ["r", None], "source": ["a", "b"]}), path)
    with pytest.raises(SchemaError, match="null") as told:
        follow_ups.appeals(path)
    assert told.value.row == 1
    pq.write_table(pa.table({"request_id": ["r", "r"], "source": ["a", "b"]}), path)
    assert follow_ups.appeals(path) == {("", "r"): "a"}


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"caps\.sender"):
        Caps(sender=0)
