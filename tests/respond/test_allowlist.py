"""The allowlist: what it lets pass, until when, and what it never lifts."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from scored_rows import scored

from aimds import data
from aimds.detect.evidence import MAX_EVIDENCE
from aimds.errors import ConfigError
from aimds.respond.policy import Policy
from aimds.respond.scored import REASONS
from aimds.schema import ACTIONS

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
TODAY = date(2026, 3, 1)
ENTRY = {"expires": date(2026, 6, 30), "approved_by": ["a", "b"], "reason": "looked at"}
ATTACK = {"p": 1e-5, "threat": "jailbreak", "tenant": "acme"}


class Rows:
    """Contents of a batch, given row by row."""

    def __init__(self, texts: Sequence[str], evidence: Sequence[list[tuple[str, float]]]) -> None:
        self._texts, self._evidence = texts, evidence

    def evidence(self, row: int) -> list[tuple[str, float]]:
        return self._evidence[row]

    def digest(self, row: int) -> str | None:
        return hashlib.sha256(self._texts[row].encode()).hexdigest()


def decide(
    entries: list[dict[str, Any]], *rows: dict[str, Any], today: date | None = TODAY, **more: Any
) -> list[tuple[str, str]]:
    policy = Policy({**SHIPPED, "allowlist": [{**ENTRY, **entry} for entry in entries], **more})
    texts = [row.pop("text", "") for row in (dict(row) for row in rows)]
    evidence = [row.get("evidence", []) for row in rows]
    plain = [{key: row[key] for key in row if key not in ("text", "evidence")} for row in rows]
    found = policy.decide(replace(scored(plain), contents=Rows(texts, evidence)), today)
    return [(ACTIONS[a], REASONS[r]) for a, r in zip(found.action, found.reason, strict=True)]


def actions(entries: list[dict[str, Any]], *rows: dict[str, Any], **more: Any) -> list[str]:
    return [action for action, _ in decide(entries, *rows, **more)]


def test_a_threat_passes_for_its_tenant_only_and_the_reason_says_so() -> None:
    entry = {"tenant": "acme", "threat": "jailbreak"}
    rows = [ATTACK, {**ATTACK, "tenant": "other"}, {**ATTACK, "tenant": None}, {**ATTACK, "threat": "prompt_leak"}]
    assert actions([entry], *rows) == ["allow", "block", "block", "block"]
    assert decide([entry], ATTACK) == [("allow", "let pass by the allowlist")]


def test_an_entry_ends_with_its_day_and_none_holds_where_no_day_is_given() -> None:
    entry = {"threat": "jailbreak"}
    days = [date(2026, 6, 29), date(2026, 6, 30), date(2026, 7, 1), None]
    assert [actions([entry], ATTACK, today=day)[0] for day in days] == ["allow", "allow", "block", "block"]


def test_a_pattern_passes_unless_another_one_is_strong_or_evidence_may_be_missing() -> None:
    cases = [
        [("inj.override", 0.9)],
        [("inj.override", 0.9), ("other", 0.4)],
        [("inj.override", 0.9), ("other", 0.5)],
        [("other", 0.9)],
        [],
        [("inj.override", 0.9)] * MAX_EVIDENCE,
    ]
    rows = [{**ATTACK, "evidence": evidence} for evidence in cases]
    assert actions([{"pattern_id": "inj.override"}], *rows) == ["allow", "allow", "block", "block", "block", "block"]


def test_a_hash_covers_one_text_whatever_else_is_in_it() -> None:
    entry = {"sha256": hashlib.sha256(b"known text").hexdigest().upper()}
    both = {"others": {"jailbreak": 0.9, "prompt_leak": 0.9}}
    rows = [{**ATTACK, "text": "known text", **both}, {**ATTACK, "text": "known text "}]
    assert actions([entry], *rows) == ["allow", "block"]


def test_a_second_threat_in_the_text_is_not_covered() -> None:
    rows = [{**ATTACK, "others": {"jailbreak": 0.9, "prompt_leak": score}} for score in (0.4, 0.6)]
    assert actions([{"threat": "jailbreak"}], *rows) == ["allow", "block"]


def test_all_that_an_entry_names_has_to_fit() -> None:
    entry = {"threat": "jailbreak", "pattern_id": "p1"}
    rows = [
        {**ATTACK, "evidence": [("p1", 1.0)]},
        {**ATTACK, "evidence": [("p2", 1.0)]},
        {**ATTACK, "threat": "prompt_leak", "evidence": [("p1", 1.0)]},
    ]
    assert actions([entry], *rows) == ["allow", "block", "block"]


def test_deny_rules_redaction_failures_and_harmful_content_are_not_lifted() -> None:
    deny = [{"effect": "deny", "tenant": "acme", "reason": "no"}]
    assert actions([{"threat": "jailbreak"}], ATTACK, rules=deny) == ["block"]
    rows = [{**ATTACK, **more} for more in ({"secret": True}, {"failed": True}, {"harmful": 0.95})]
    assert actions([{"threat": "jailbreak"}], *rows) == ["redact", "flag", "flag"]


@pytest.mark.parametrize(
    ("entry", "key", "expected"),
    [
        ({"tenant": "acme"}, "allowlist[0]", "a threat"),
        ({"sha256": "12"}, "allowlist[0].sha256", "64 hexadecimal"),
        ({"threat": "spam"}, "allowlist[0].threat", "jailbreak"),
        ({"threat": "jailbreak", "expires": "2026-01-01"}, "allowlist[0].expires", "a date"),
        ({"threat": "jailbreak", "expires": datetime(2026, 1, 1)}, "allowlist[0].expires", "a date"),
        ({"threat": "jailbreak", "approved_by": []}, "allowlist[0].approved_by", "at least one"),
        ({"threat": "jailbreak", "approved_by": ["a", "a"]}, "allowlist[0].approved_by", "different"),
        ({"threat": "jailbreak", "reason": " "}, "allowlist[0].reason", "text"),
        ({"threat": "jailbreak", "until": 1}, "allowlist[0].until", "no such key"),
    ],
)
def test_bad_entry_is_named_with_its_place(entry: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        actions([entry], ATTACK)
    assert caught.value.key == key
    assert expected in caught.value.expected
