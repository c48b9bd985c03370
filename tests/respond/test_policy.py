from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_rows import scored

from aimds import data
from aimds.detect.failures import DETECTORS
from aimds.errors import ConfigError, DataError, SchemaError
from aimds.respond.policy import Policy
from aimds.respond.scored import REASONS, Scored
from aimds.respond.sessions import BANDS, severity_band
from aimds.schema import ACTIONS, CHANNELS, SESSION_ACTIONS
from aimds.taxonomy import THREATS

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
STRENGTH = ("allow", "flag", "redact", "sandwich", "escalate", "block")


def actions(policy: Policy, *rows: dict[str, Any]) -> list[str]:
    return [ACTIONS[code] for code in policy.decide(scored(list(rows))).action]


def changed(**parts: Any) -> Policy:
    """The shipped policy with whole sections replaced."""
    return Policy({**SHIPPED, **parts})


def test_shipped_policy_blocks_at_one_in_a_thousand_and_flags_at_one_in_a_hundred() -> None:
    rows = [{"p": p, "threat": "jailbreak"} for p in (1e-9, 0.001, 0.0010001, 0.01, 0.0100001, 1.0)]
    assert actions(Policy.load(), *rows) == ["block", "block", "flag", "flag", "allow", "allow"]


def test_every_threat_type_is_blocked_by_the_shipped_policy_in_every_channel() -> None:
    rows = [{"p": 1e-4, "threat": t, "channel": c} for t in THREATS for c in CHANNELS]
    assert set(actions(Policy.load(), *rows)) == {"block"}


def test_reasons_name_what_decided() -> None:
    rows = [{}, {"p": 1e-4}, {"p": 0.005}, {"harmful": 0.95}, {"failed": True}, {"secret": True}]
    reasons = Policy.load().decide(scored(rows)).reason
    assert [REASONS[code].split()[0] for code in reasons] == [
        "nothing",
        "p-value",
        "p-value",
        "harmful",
        "a",
        "personal",
    ]


def test_harmful_requests_are_flagged_only_from_the_threshold_up() -> None:
    assert actions(Policy.load(), {"harmful": 0.89}, {"harmful": 0.9}, {"harmful": 1.0}) == ["allow", "flag", "flag"]


def test_row_that_a_detector_could_not_judge_is_never_silently_allowed() -> None:
    rows = [{"failed": True}, {"p": float("nan")}, {"failed": True, "p": 1e-5}]
    assert actions(Policy.load(), *rows) == ["flag", "flag", "block"]


def test_failure_mode_is_set_per_channel() -> None:
    failure = {
        "mode": "closed",
        "action": "escalate",
        "channels": {"system": {"mode": "open"}, "tool": {"action": "block"}},
    }
    rows = [{"failed": True, "channel": channel} for channel in CHANNELS]
    assert actions(changed(failure=failure), *rows) == ["escalate", "allow", "escalate", "block", "escalate"]


def test_failure_mode_is_set_per_detector_and_the_strongest_of_those_that_failed_holds() -> None:
    failure = {
        "mode": "closed",
        "action": "flag",
        "detectors": {"pii": {"mode": "open"}, "deep": {"action": "block"}},
        "channels": {"tool": {"detectors": {"pii": {"mode": "closed", "action": "escalate"}}}},
    }
    bit = {name: 1 << place for place, name in enumerate(DETECTORS)}
    sets = [bit["pii"], bit["rules"], bit["pii"] | bit["rules"], bit["deep"] | bit["pii"], True]
    rows = [{"failed": one} for one in sets]
    assert actions(changed(failure=failure), *rows) == ["allow", "flag", "flag", "block", "block"]
    assert actions(changed(failure=failure), {"failed": bit["pii"], "channel": "tool"}) == ["escalate"]
    assert actions(changed(failure=failure), {"p": float("nan")}) == ["block"]


def test_open_failure_mode_still_heeds_the_other_detectors() -> None:
    policy = changed(failure={"mode": "open", "action": "flag"})
    assert actions(policy, {"failed": True, "p": 1e-4}, {"failed": True, "p": float("nan")}) == ["block", "allow"]


def test_secrets_and_personal_data_are_redacted_unless_something_stronger_holds() -> None:
    rows = [{"secret": True}, {"pii": True}, {"pii": True, "p": 0.005}, {"secret": True, "p": 1e-5}]
    assert actions(Policy.load(), *rows) == ["redact", "redact", "redact", "block"]


def test_redaction_without_anything_to_redact_becomes_a_flag() -> None:
    policy = changed(threats={"default": {"at_block": "redact", "at_flag": "allow", "min_severity": 0.0}})
    assert actions(policy, {"p": 1e-5}, {"p": 1e-5, "pii": True}) == ["flag", "redact"]


def test_finding_below_the_minimum_severity_is_treated_as_at_the_flag_threshold() -> None:
    threats = {**SHIPPED["threats"], "resource_abuse": {"min_severity": 0.5, "at_block": "escalate"}}
    rows = [{"p": 1e-5, "threat": "resource_abuse", "severity": severity} for severity in (0.49, 0.5)]
    assert actions(changed(threats=threats), *rows) == ["flag", "escalate"]


def test_channel_thresholds_change_single_values() -> None:
    policy = changed(thresholds={"block": 0.001, "flag": 0.01, "channels": {"document": {"flag": 0.05}}})
    rows = [{"p": p, "channel": c} for c in ("user", "document") for p in (0.0005, 0.03)]
    assert actions(policy, *rows) == ["block", "allow", "block", "flag"]


def test_tenant_gets_its_own_values_and_strangers_the_general_ones() -> None:
    policy = changed(tenants={"acme": {"thresholds": {"block": 0.0001}, "harmful": {"threshold": 0.5}}})
    rows = [{"p": 0.0005, "tenant": tenant} for tenant in ("acme", "other", None)]
    assert actions(policy, *rows) == ["flag", "block", "block"]
    assert actions(policy, {"harmful": 0.6, "tenant": "acme"}, {"harmful": 0.6}) == ["flag", "allow"]


def test_shadow_mode_flags_what_it_would_have_done() -> None:
    policy = changed(tenants={"new": {"mode": "shadow"}})
    decided = policy.decide(
        scored([{"p": 1e-5, "tenant": "new"}, {"secret": True, "tenant": "new"}, {"tenant": "new"}])
    )
    assert [ACTIONS[code] for code in decided.action] == ["flag", "flag", "allow"]
    assert [ACTIONS[code] for code in decided.intended] == ["block", "redact", "allow"]
    assert decided.shadow.all()
    assert not decided.session_action.any()


def test_session_action_follows_the_playbook() -> None:
    playbook = {**SHIPPED["playbook"], "block": {"steps": ["audit", "rate_limit", "quarantine", "refuse"]}}
    decided = changed(playbook=playbook).decide(scored([{"p": 1e-5}, {}]))
    assert [SESSION_ACTIONS[code] for code in decided.session_action] == ["quarantine", "none"]
    decided = changed(playbook=playbook, mode="shadow").decide(scored([{"p": 1e-5}]))
    assert [SESSION_ACTIONS[code] for code in decided.session_action] == ["none"]


def test_allow_rule_lets_one_threat_type_of_one_tenant_pass() -> None:
    policy = changed(rules=[{"effect": "allow", "tenant": "red", "threat": "jailbreak", "reason": "tests"}])
    rows = [
        {"p": 1e-5, "threat": "jailbreak", "tenant": "red"},
        {"p": 1e-5, "threat": "jailbreak", "tenant": "blue"},
        {"p": 1e-5, "threat": "prompt_leak", "tenant": "red"},
        {"p": 1e-5, "threat": "jailbreak"},
    ]
    assert actions(policy, *rows) == ["allow", "block", "block", "block"]


def test_allow_rule_does_not_cover_a_second_threat_in_the_same_text() -> None:
    policy = changed(rules=[{"effect": "allow", "threat": "jailbreak", "reason": "tests"}])
    rows = [
        {"p": 1e-5, "threat": "jailbreak", "others": {"jailbreak": 0.99, "prompt_leak": score}} for score in (0.4, 0.6)
    ]
    assert actions(policy, *rows) == ["allow", "block"]


def test_allow_rule_lifts_neither_redaction_nor_the_failure_mode() -> None:
    policy = changed(rules=[{"effect": "allow", "tenant": "red", "reason": "tests"}])
    rows = [{"p": 1e-5, "tenant": "red", **more} for more in ({"secret": True}, {"failed": True}, {"harmful": 0.95})]
    assert actions(policy, *rows) == ["redact", "flag", "flag"]


def test_deny_rule_beats_an_allow_rule_and_blocks_what_is_only_flagged() -> None:
    rules = [
        {"effect": "allow", "tenant": "red", "reason": "tests"},
        {"effect": "deny", "channel": "tool", "threat": "agent_tool_abuse", "reason": "never"},
    ]
    rows = [
        {"p": 0.005, "threat": "agent_tool_abuse", "tenant": "red", "channel": channel, "others": {}}
        for channel in ("tool", "user")
    ]
    assert actions(changed(rules=rules), *rows) == ["block", "allow"]


def expected(values: dict[str, Any], row: dict[str, Any]) -> str:
    """The action by plain rules, one row at a time: the oracle of `Policy.decide`."""
    tenant = values.get("tenants", {}).get(row["tenant"], {})
    limits = {**values["thresholds"], **tenant.get("thresholds", {})}
    limits = {**limits, **values["thresholds"].get("channels", {}).get(row["channel"], {})}
    threats = values["threats"]
    response = {**threats["default"], **threats.get(row["threat"], {})}
    found = row["p"] <= limits["flag"]
    wanted = [
        rule["effect"]
        for rule in values.get("rules", [])
        if found and all(rule.get(key, row[key]) == row[key] for key in ("tenant", "channel", "threat"))
    ]
    if "deny" in wanted:
        action = "block"
    elif "allow" in wanted or not found:
        action = "allow"
    elif row["p"] <= limits["block"] and row["severity"] >= response["min_severity"]:
        action = response["at_block"]
    else:
        action = response["at_flag"]
    harmful = {**values["harmful"], **tenant.get("harmful", {})}
    candidates = [action]
    if np.float32(row["harmful"]) >= np.float32(harmful["threshold"]):
        candidates.append(harmful["action"])
    if row["failed"]:
        candidates.append(values["failure"]["action"])
    action = max(candidates, key=STRENGTH.index)
    if action == "redact" and not (row["pii"] or row["secret"]):
        action = "flag"
    if row["pii"] or row["secret"]:
        action = max(action, "redact", key=STRENGTH.index)
    return action


names = st.sampled_from(["acme", "other", "red", None])
row_strategy = st.fixed_dictionaries(
    {
        "channel": st.sampled_from(CHANNELS),
        "tenant": names,
        "p": st.sampled_from([1e-12, 0.0005, 0.001, 0.002, 0.01, 0.02, 0.5, 1.0]),
        "threat": st.sampled_from(THREATS),
        "harmful": st.sampled_from([0.0, 0.5, 0.75, 1.0]),
        "severity": st.sampled_from([0.0, 0.25, 1.0]),
        "pii": st.booleans(),
        "secret": st.booleans(),
        "failed": st.booleans(),
    }
)
response_strategy = st.fixed_dictionaries(
    {
        "at_block": st.sampled_from(ACTIONS),
        "at_flag": st.sampled_from(ACTIONS),
        "min_severity": st.sampled_from([0.0, 0.3]),
    }
)
limits_strategy = st.fixed_dictionaries({"block": st.sampled_from([0.0, 0.001]), "flag": st.sampled_from([0.01, 0.1])})
rule_strategy = st.fixed_dictionaries(
    {"effect": st.sampled_from(["allow", "deny"]), "threat": st.sampled_from(["jailbreak", "prompt_leak"])},
    optional={"tenant": st.sampled_from(["acme", "red"]), "channel": st.sampled_from(CHANNELS)},
).map(lambda rule: {**rule, "reason": "drawn"})
policy_strategy = st.fixed_dictionaries(
    {
        "thresholds": st.tuples(limits_strategy, limits_strategy).map(
            lambda two: {**two[0], "channels": {"document": two[1]}}
        ),
        "threats": st.tuples(response_strategy, response_strategy).map(
            lambda two: {"default": two[0], "jailbreak": two[1]}
        ),
        "failure": st.sampled_from([{"mode": "closed", "action": name} for name in ("flag", "block", "escalate")]),
        "harmful": st.fixed_dictionaries({"threshold": st.just(0.75), "action": st.sampled_from(ACTIONS)}),
        "rules": st.lists(rule_strategy, max_size=3),
        "tenants": st.fixed_dictionaries({}, optional={"acme": st.fixed_dictionaries({"thresholds": limits_strategy})}),
    }
)


@settings(max_examples=150)
@given(policy_strategy, st.lists(row_strategy, max_size=30))
def test_batch_decisions_equal_the_rules_applied_row_by_row(parts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    values = {**SHIPPED, **parts}
    assert actions(Policy(values), *rows) == [expected(values, row) for row in rows]


@settings(max_examples=50)
@given(policy_strategy, st.lists(row_strategy, min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_action_of_a_row_does_not_depend_on_its_neighbours(parts: Any, rows: Any, random: Any) -> None:
    policy = Policy({**SHIPPED, **parts})
    order = list(range(len(rows)))
    random.shuffle(order)
    together = actions(policy, *rows)
    shuffled = actions(policy, *(rows[i] for i in order))
    assert [together[i] for i in order] == shuffled
    assert [actions(policy, row)[0] for row in rows] == together


def test_empty_batch_gives_no_decisions() -> None:
    decided = Policy.load().decide(scored([]))
    assert len(decided.action) == len(decided.reason) == len(decided.shadow) == 0


def test_batch_without_tenants_and_one_with_dictionary_tenants_are_judged() -> None:
    policy = changed(tenants={"acme": {"thresholds": {"block": 0.0001}}})
    batch = scored([{"p": 0.0005, "tenant": "acme"}])
    fields = {name: getattr(batch, name) for name in Scored.__dataclass_fields__}
    for tenant, action in ((None, "block"), (batch.tenant.dictionary_encode(), "flag")):
        assert ACTIONS[policy.decide(Scored(**{**fields, "tenant": tenant})).action[0]] == action


@pytest.mark.parametrize(
    ("column", "value"), [("channel", 5), ("channel", -1), ("threat", len(THREATS)), ("threat", -1)]
)
def test_code_out_of_range_is_an_error_that_names_column_and_row(column: str, value: int) -> None:
    batch = scored([{}, {}])
    fields = {name: getattr(batch, name) for name in Scored.__dataclass_fields__}
    with pytest.raises(SchemaError) as caught:
        Scored(**{**fields, column: np.array([0, value], np.int8)})
    assert (caught.value.column, caught.value.row) == (column, 1)


def test_column_of_another_length_is_an_error() -> None:
    batch = scored([{}, {}])
    fields = {name: getattr(batch, name) for name in Scored.__dataclass_fields__}
    with pytest.raises(SchemaError, match="p_value"):
        Scored(**{**fields, "p_value": np.zeros(1)})
    with pytest.raises(SchemaError, match="tenant"):
        Scored(**{**fields, "tenant": pa.array(["a"])})


def test_file_with_a_few_lines_gets_the_shipped_rest(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('format = 1\nversion = "mine"\n[thresholds]\nblock = 0.01\nflag = 0.05\n')
    policy = Policy.load(path)
    assert actions(policy, {"p": 0.01}, {"p": 0.05}, {"p": 0.06}) == ["block", "flag", "allow"]
    assert policy.version.startswith("mine+")
    assert policy.redacted == Policy.load().redacted


def test_version_changes_with_content_and_not_with_comments(tmp_path: Path) -> None:
    versions = []
    for i, text in enumerate(
        ['format=1\nversion="v"\n', '# a note\nversion = "v"\nformat = 1\n', 'format=1\nversion="v"\nmode="shadow"\n']
    ):
        path = tmp_path / f"{i}.toml"
        path.write_text(text)
        versions.append(Policy.load(path).version)
    assert versions[0] == versions[1] != versions[2]


def test_file_that_is_missing_or_not_toml_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("format = = 1")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    for name in ("a.toml", "b.toml", "none.toml"):
        with pytest.raises(DataError, match=name):
            Policy.load(tmp_path / name)


BAD = [
    ({"format": 2}, "format", "1"),
    ({"version": ""}, "version", "text"),
    ({"version": 3}, "version", "text"),
    ({"mode": "off"}, "mode", "enforce, shadow"),
    ({"moed": "shadow"}, "moed", "no such key"),
    ({"thresholds": 3}, "thresholds", "table"),
    ({"thresholds": {"block": 0.001}}, "thresholds.flag", "missing"),
    ({"thresholds": {"block": -0.1, "flag": 0.1}}, "thresholds.block", "0 to 1"),
    ({"thresholds": {"block": float("nan"), "flag": 0.1}}, "thresholds.block", "0 to 1"),
    ({"thresholds": {"block": True, "flag": 0.1}}, "thresholds.block", "number"),
    ({"thresholds": {"block": "0.1", "flag": 0.1}}, "thresholds.block", "number"),
    ({"thresholds": {"block": 0.1, "flag": 0.01}}, "thresholds.flag", "from block"),
    ({"thresholds": {"block": 0.1, "flag": 0.2, "flga": 1}}, "thresholds.flga", "block, flag"),
    (
        {"thresholds": {"block": 0.1, "flag": 0.2, "channels": {"email": {}}}},
        "thresholds.channels.email",
        "user, system",
    ),
    (
        {"thresholds": {"block": 0.1, "flag": 0.2, "channels": {"tool": {"flag": 0.05}}}},
        "thresholds.channels.tool.flag",
        "from block",
    ),
    ({"threats": {}}, "threats.default", "missing"),
    ({"threats": {**SHIPPED["threats"], "spam": {}}}, "threats.spam", "jailbreak"),
    ({"threats": {**SHIPPED["threats"], "jailbreak": {"at_block": "ban"}}}, "threats.jailbreak.at_block", "escalate"),
    ({"threats": {**SHIPPED["threats"], "jailbreak": {"severity": 1}}}, "threats.jailbreak.severity", "min_severity"),
    ({"failure": {"mode": "shut", "action": "flag"}}, "failure.mode", "closed, open"),
    ({"failure": {"mode": "closed", "action": "allow"}}, "failure.action", "flag, block, escalate"),
    ({"failure": {"mode": "open", "action": "flag", "detectors": {"x": {}}}}, "failure.detectors.x", "rules, pii"),
    (
        {"failure": {"mode": "open", "action": "flag", "detectors": {"pii": {"mode": "ajar"}}}},
        "failure.detectors.pii.mode",
        "closed, open",
    ),
    ({"harmful": {"threshold": 0.0, "action": "flag"}}, "harmful.threshold", "above 0"),
    ({"harmful": {"threshold": 1.5, "action": "flag"}}, "harmful.threshold", "up to 1"),
    ({"redaction": {"pii": ["EMAIL", "NAME"], "keep_card_last4": True}}, "redaction.pii[1]", "EMAIL"),
    ({"redaction": {"pii": ["EMAIL", "EMAIL"], "keep_card_last4": True}}, "redaction.pii", "without repeats"),
    ({"redaction": {"pii": "EMAIL", "keep_card_last4": True}}, "redaction.pii", "list"),
    ({"redaction": {"pii": [], "keep_card_last4": 1}}, "redaction.keep_card_last4", "true or false"),
    ({"rules": {"effect": "allow"}}, "rules", "list"),
    ({"rules": [{"effect": "allow", "reason": "all"}]}, "rules[0]", "a tenant"),
    ({"rules": [{"effect": "deny"}]}, "rules[0].reason", "text"),
    ({"rules": [{"effect": "permit", "tenant": "a", "reason": "r"}]}, "rules[0].effect", "allow, deny"),
    ({"rules": [{"effect": "deny", "tenants": "a", "reason": "r"}]}, "rules[0].tenants", "no such key"),
    ({"tenants": {"acme": {"thresholds": {"flag": 0.0001}}}}, "tenants.acme.thresholds.flag", "from block"),
    ({"tenants": {"acme": {"thresholds": 1}}}, "tenants.acme.thresholds", "table"),
    ({"tenants": {"acme": {"playbook": {}}}}, "tenants.acme.playbook", "mode, thresholds"),
    ({"tenants": {"acme": 1}}, "tenants.acme", "table"),
]


@pytest.mark.parametrize(("part", "key", "accepted"), BAD, ids=[case[1] + "-" + case[2] for case in BAD])
def test_bad_value_is_named_with_its_place_and_what_is_accepted(part: dict[str, Any], key: str, accepted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(**part)
    assert caught.value.key == key
    assert accepted in caught.value.expected


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@settings(max_examples=200)
@given(st.sampled_from([*SHIPPED, "tenants", "rules", "x"]), junk)
def test_junk_in_any_section_is_refused_or_harmless_but_never_crashes(section: str, value: Any) -> None:
    try:
        policy = changed(**{section: value})
    except ConfigError as error:
        refused = error.key
    else:
        refused = None
        assert actions(policy, {"p": 1e-9}) == ["block"]
    assert refused is None or refused.startswith(section)


def test_severity_bands_have_open_lower_ends() -> None:
    values = [0.0, 0.70, 0.7001, 0.85, 0.8501, 0.95, 0.9501, 1.0, float("nan")]
    bands = [BANDS[code] for code in severity_band(values)]
    assert bands == ["low", "low", "medium", "medium", "high", "high", "critical", "critical", "low"]


def test_a_format_that_is_true_is_not_format_one_and_a_deep_file_is_a_data_error(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('format = true\nversion = "1"\n')
    with pytest.raises(ConfigError, match="format = True"):
        Policy.load(file)
    file.write_text("a=" + "[" * 5000)
    with pytest.raises(DataError, match="is not TOML"):
        Policy.load(file)
