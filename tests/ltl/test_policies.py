from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from naive_ltl import holds
from verdict_factory import START, attack, random_rows, row, table

from aimds.errors import ConfigError, DataError
from aimds.ltl.examples import read_steps, write_steps
from aimds.ltl.judge import Judge, violations_column, with_violations
from aimds.ltl.policies import PolicyError, TracePolicies
from aimds.ltl.sessions import EVENTS, masks, sessions
from aimds.ltl.traces import TraceError

MINE = """
format = 1
version = "1"
[policies.mine]
says = "No b after a."
formula = "G (a -> G !b)"
holds = ["a; -", "b; a"]
fails = ["a; -; b"]
"""


def mine(tmp_path: Path, old: str = "", new: str = "") -> TracePolicies:
    assert old in MINE
    (tmp_path / "mine.toml").write_text(MINE.replace(old, new) if old else MINE)
    return TracePolicies.load(tmp_path / "mine.toml")


def test_every_shipped_policy_holds_and_fails_where_its_examples_say() -> None:
    shipped = TracePolicies.load()
    required = {"no_pii_exposure", "threat_response_time", "no_tool_after_injection", "escalate_before_allow"}
    assert required <= {policy.name for policy in shipped.policies}
    for policy in shipped.policies:
        assert list(policy.wrong()) == [], policy.name
        assert {example.holds for example in policy.examples} == {True, False}
        for example in policy.examples:
            assert holds(policy.formula, example.steps) == example.holds, example.key


def test_every_event_of_the_shipped_policies_comes_from_a_verdict_or_from_a_person() -> None:
    assert set(TracePolicies.load().names) - set(EVENTS) == {"released"}


def test_an_example_that_comes_out_otherwise_is_named(tmp_path: Path) -> None:
    (wrong,) = mine(tmp_path, '"b; a"]', '"b; a", "a; b"]')["mine"].wrong()
    assert (wrong.key, wrong.text) == ("policies.mine.holds[2]", "a; b")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("format = 1", "format = 2", "format"),
        ('version = "1"', "", "version"),
        ('says = "No b after a."', "", "policies.mine.says"),
        ("says", "sais", "policies.mine.sais"),
        ('holds = ["a; -", "b; a"]', "", "policies.mine.holds"),
        ('"a; -"', '"a;; b"', "policies.mine.holds[0]"),
        ('"a; -"', '"a @10"', "policies.mine.holds[0]"),
        ('"a; -"', '"A"', "policies.mine.holds[0]"),
        ("[policies.mine]", '[policies."My own"]', "policies.My own"),
        ('says = "No b after a."', 'says = "a"\nthreat = "jailbreak"', "policies.mine.threat"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mine(tmp_path, old, new)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("formula", "words"), [("G (a ->", "expected an event"), ("O F a", "past"), ("G (a", r"expected \)")]
)
def test_a_formula_that_cannot_be_used_is_named_with_its_policy(tmp_path: Path, formula: str, words: str) -> None:
    with pytest.raises(PolicyError, match=rf"policies\.mine\.formula: .*{words}"):
        mine(tmp_path, "G (a -> G !b)", formula)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        TracePolicies.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 1")
    with pytest.raises(DataError, match="is not TOML"):
        TracePolicies.load(tmp_path / "bad.toml")
    with pytest.raises(ConfigError, match="one of no_pii_exposure"):
        TracePolicies.load()["none"]


def test_steps_are_read_and_written() -> None:
    steps = read_steps("a b @5ms; -; c @2min")
    assert steps == [(5_000, frozenset("ab")), (1_005_000, frozenset()), (120_000_000, frozenset("c"))]
    assert read_steps(write_steps(steps)) == steps
    with pytest.raises(TraceError, match="step 1 of 'a; ' is empty"):
        read_steps("a; ")


def found(rows: list[dict[str, Any]], names: list[str], events: Any = None) -> list[list[set[str]]]:
    made = sessions(table(rows), names, None if events is None else pa.array(events, pa.list_(pa.string())))
    return [[set(step) for _, step in made.traces.steps(b)] for b in range(len(made.traces))]


def test_a_verdict_gives_the_events_that_it_says() -> None:
    rows = [
        row(0, session_id="s", turn=0, channel="tool"),
        attack(0, "indirect_injection", "block", session_id="s", turn=1, session_action="quarantine"),
        attack(0, "jailbreak", "redact", session_id="s", turn=2, mitigated_text="x", channel="tool"),
        row(0, session_id="s", turn=3, status="partial", action="flag"),
    ]
    assert found(rows, list(EVENTS)) == [
        [
            {"allowed", "tool_called", "channel.tool"},
            {
                *("threat_detected", "injection_detected", "threat_mitigated", "pii_detected", "blocked"),
                *("quarantined", "threat.indirect_injection", "channel.user"),
            },
            {
                *("threat_detected", "jailbreak_detected", "threat_mitigated", "pii_detected", "pii_redacted"),
                *("redacted", "tool_called", "threat.jailbreak", "channel.tool"),
            },
            {"flagged", "unjudged", "channel.user"},
        ]
    ]


def test_what_only_its_session_shows_is_no_event_of_a_row() -> None:
    rows = [
        attack(k, "multi_turn", "flag", session_id="s", turn=k, p_value=p, spans=[]) for k, p in enumerate([0.5, 0.005])
    ]
    assert found(rows, list(EVENTS)) == [
        [{"flagged", "channel.user"}, {"flagged", "channel.user", "threat_detected", "threat.multi_turn"}]
    ]


def test_a_policy_names_rows_that_break_it_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert mine(tmp_path).unnamed == frozenset()
    assert mine(tmp_path, 'says = "No b after a."', 'says = "a"\nthreat = "none"').unnamed == {"mine"}
    assert TracePolicies.load().unnamed == {"no_pii_exposure", "unjudged_is_not_allowed"}


def test_events_of_the_user_are_added() -> None:
    rows = [row(0, session_id="s", turn=k) for k in range(3)]
    events = [["released", "strange"], None, ["blocked"]]
    assert found(rows, ["released", "blocked"], events) == [[{"released"}, set(), {"blocked"}]]


def test_sessions_keep_apart_by_tenant_and_go_by_turn_or_time() -> None:
    rows = [
        row(0, session_id="s", tenant="x", turn=2, action="block"),
        row(0, session_id="s", tenant="y", turn=None, ts=START + timedelta(seconds=9), action="block"),
        row(0, session_id="s", tenant="x", turn=1, ts=None),
        row(0, session_id=None, tenant="x", action="flag"),
        row(0, session_id="s", tenant="y", turn=7, ts=START),
        row(0, session_id=None, tenant="x", action="flag"),
    ]
    made = sessions(table(rows), ["allowed", "blocked", "flagged"])
    steps = {
        (
            made.tenants[b],
            made.ids[b],
            tuple(int(r) for r in made.rows[made.traces.offsets[b] : made.traces.offsets[b + 1]]),
        )
        for b in range(len(made.traces))
    }
    assert steps == {("x", "s", (2, 0)), ("y", "s", (4, 1)), ("x", None, (3,)), ("x", None, (5,))}
    assert sorted(made.turns.tolist()) == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "order", "times"),
    [
        ([0, None, 2], [0, 1, 2], [0, 0, 2]),
        ([None, 1, None, 2], [0, 1, 2, 3], [1, 1, 1, 2]),
        ([5, 3, None, 9, 4], [1, 4, 0, 2, 3], [3, 4, 5, 5, 9]),
        ([None, None], [0, 1], [0, 0]),
    ],
)
def test_a_row_without_a_time_stands_with_the_latest_of_those_before_it(
    seconds: list[int | None], order: list[int], times: list[int]
) -> None:
    given = [None if one is None else START + timedelta(seconds=one) for one in seconds]
    # Another session lies in between, and all of it is later.
    late = [row(9, session_id="late", turn=None, ts=START + timedelta(days=k)) for k in range(len(given))]
    mine = [row(0, session_id="s", turn=None, ts=ts) for ts in given]
    made = sessions(table([one for pair in zip(late, mine, strict=True) for one in pair]), ["allowed"])
    place = made.ids.index("s")
    steps = slice(*made.traces.offsets[place : place + 2].tolist())
    assert [one // 2 for one in made.rows[steps].tolist()] == order
    assert made.traces.times is not None
    first = int(START.timestamp()) * 1_000_000 if any(given) else 0
    assert [(one - first) // 1_000_000 for one in made.traces.times[steps].tolist()] == times


def test_a_tool_that_is_called_without_a_time_breaks_the_policy_all_the_same() -> None:
    rows = [
        attack(0, "direct_injection", "flag", session_id="s", turn=None, ts=START, spans=[]),
        row(0, session_id="s", turn=None, ts=None, channel="tool"),
        row(0, session_id="s", turn=None, ts=START + timedelta(seconds=2)),
    ]
    made = with_violations(table(rows), TracePolicies.load())
    assert made.column("violations").to_pylist() == [[], ["no_tool_after_injection"], []]


def test_a_violation_stands_in_the_row_where_it_became_certain() -> None:
    rows = [
        attack(0, "direct_injection", "flag", session_id="s", turn=0, spans=[]),
        row(0, session_id="s", turn=1),
        row(0, session_id="s", turn=2, channel="tool"),
        row(0, session_id="s", turn=3),
        attack(0, "pii_exposure", "allow", session_id="other", turn=0),
    ]
    made = with_violations(table(rows), TracePolicies.load())
    assert made.schema.equals(table(rows).schema)
    assert made.column("violations").to_pylist() == [[], [], ["no_tool_after_injection"], [], ["no_pii_exposure"]]
    released = with_violations(table(rows), TracePolicies.load(), [None, ["released"], None, None, None])
    assert released.column("violations").to_pylist() == [[], [], [], [], ["no_pii_exposure"]]


def test_what_is_still_owed_at_the_end_stands_in_the_last_row() -> None:
    late = START + timedelta(seconds=2)
    rows = [
        attack(0, "jailbreak", "block", session_id="s", turn=0, ts=START, spans=[]),
        row(0, session_id="s", turn=1, ts=late, action="block"),
    ]
    policies = TracePolicies.of(
        {
            "format": 1,
            "version": "1",
            "policies": {
                "owed": {"says": "x", "formula": "G (blocked -> F released)", "holds": ["-"], "fails": ["blocked"]}
            },
        }
    )
    found = sessions(table(rows), policies.names)
    (violation,), _ = Judge(policies).judge(found)
    assert (violation.step, violation.open) == (1, True)
    assert violations_column(found, [violation], 2).to_pylist() == [[], ["owed"]]


def test_sessions_without_times_are_not_judged_by_deadlines() -> None:
    rows = [attack(0, "jailbreak", "redact", session_id="s", turn=k, ts=None, spans=[]) for k in range(3)]
    judge = Judge(TracePolicies.load())
    violations, unjudged = judge.judge(sessions(table(rows), judge.names))
    by_name = dict(zip((policy.name for policy in judge.policies.policies), unjudged.tolist(), strict=True))
    assert violations == []
    assert by_name["threat_response_time"] == by_name["threat_rate"] == 1
    assert by_name["no_pii_exposure"] == 0


def test_a_row_is_not_unjudged_for_what_a_policy_could_not_judge_of_its_session() -> None:
    errors = ["policy over sessions threat_rate: no times in this session", "cut at 8 views", None]
    rows = [row(k, status="partial", error=error) for k, error in enumerate(errors)]
    assert masks(table(rows), ["unjudged"]).tolist() == [0, 1, 1]


def test_violations_are_those_of_the_definition() -> None:
    judge = Judge(TracePolicies.load())
    made = sessions(table(random_rows(600, 5)), judge.names)
    violations = {(one.session, one.policy) for one in judge.judge(made)[0]}
    expected = {
        (b, policy.name)
        for b in range(len(made.traces))
        for policy in judge.policies.policies
        if not (policy.timed and not made.clocked[b]) and not holds(policy.formula, made.traces.steps(b))  # type: ignore[arg-type]
    }
    assert violations == expected
    assert len({name for _, name in violations}) > 3


def test_a_flood_of_threats_in_one_session_is_judged() -> None:
    rows = [
        attack(0, "jailbreak", "redact", session_id="s", turn=k, ts=START + timedelta(milliseconds=k), spans=[])
        for k in range(2_000)
    ]
    made = with_violations(table(rows), TracePolicies.load()).column("violations").to_pylist()
    assert [k for k, names in enumerate(made) if "threat_rate" in names] == [1003]


def test_a_table_without_rows_has_no_violations() -> None:
    assert with_violations(table([]), TracePolicies.load()).num_rows == 0


def test_an_error_names_the_file_that_it_lies_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('format = 1\nversion = "1"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: policies: nothing given"):
        TracePolicies.load(file)
