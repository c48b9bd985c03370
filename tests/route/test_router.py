from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from routed import HARD, SIMPLE, SPAN, tier, tiers, verdicts

from aimds.errors import ConfigError, SchemaError
from aimds.route.choices import ANSWERED, CACHE, CHOICES, REASONS, explain
from aimds.route.router import Router


def route(*rows: dict[str, Any], settings: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    router = Router(tiers(**(settings or {})))
    made = router.route(verdicts(*rows), now=0.0, **more)
    assert made.schema.equals(CHOICES)
    return made.to_pylist()


def where(*rows: dict[str, Any], **more: Any) -> list[tuple[str | None, str]]:
    return [(row["tier"], row["reason"]) for row in route(*rows, **more)]


def test_simple_goes_cheap_and_hard_goes_strong() -> None:
    assert where({}, {"text": HARD}) == [("cheap", "cheapest"), ("strong", "cheapest")]


def test_private_stays_local_however_hard_and_whatever_the_price() -> None:
    spans = {"spans": [SPAN]}
    assert where(spans, spans | {"text": HARD}) == [("local", "kept_local"), ("local", "stretched")]


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "partial"},
        {"action": "redact", "mitigated_text": "mail [EMAIL]", "spans": [SPAN]},
        {"tenant": "clinic"},
    ],
)
def test_what_may_be_private_is_private(changed: dict[str, Any]) -> None:
    (row,) = route(changed, settings={"privacy": {"tenants": ["clinic"]}})
    assert row["private"]
    assert row["tier"] == "local"
    assert row["fallbacks"] == []


def test_ignored_kinds_do_not_make_a_row_private_beside_others() -> None:
    spans = [{"spans": [SPAN]}, {}, {"spans": [SPAN, SPAN | {"kind": "IBAN"}]}]
    rows = route(*spans, settings={"privacy": {"ignored": ["EMAIL"]}})
    assert [row["private"] for row in rows] == [False, False, True]


def test_rows_that_the_caller_marks_are_private() -> None:
    router = Router(tiers())
    table = verdicts({}, {})
    standing = router.standing(table, private=np.array([True, False]))
    assert router.route(table, now=0.0, standing=standing).column("tier").to_pylist() == ["local", "cheap"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"action": "block"}, "blocked"),
        ({"action": "escalate"}, "escalated"),
        ({"session_action": "quarantine"}, "held"),
        ({"status": "error"}, "unjudged"),
        ({"text": None}, "no_text"),
        ({"channel": "system"}, "no_prompt"),
        ({"channel": "assistant"}, "no_prompt"),
        ({"action": "redact"}, "unmitigated"),
        ({"text": "a" * 500_000}, "too_long"),
        ({"text": "a" * 50_000, "spans": [SPAN]}, "private"),
    ],
)
def test_what_must_not_be_sent_goes_nowhere(changed: dict[str, Any], reason: str) -> None:
    row, other = route(changed, {})
    assert (row["tier"], row["reason"], row["sends"], row["cost"], row["fallbacks"]) == (None, reason, "nothing", 0, [])
    assert row["strongest_cost"] == 0
    assert other["tier"] == "cheap"


def test_mitigated_text_is_what_is_sent_and_counted() -> None:
    row = route({"action": "sandwich", "text": SIMPLE, "mitigated_text": "x" * 400})[0]
    assert (row["sends"], row["input_tokens"]) == ("mitigated_text", 104)


@pytest.mark.parametrize(("flagged", "tier_"), [("any", "cheap"), ("local", "local"), ("nowhere", None)])
def test_flagged_prompts_go_where_the_file_says(flagged: str, tier_: str | None) -> None:
    (row,) = route({"action": "flag"}, settings={"privacy": {"flagged": flagged}})
    assert row["tier"] == tier_
    assert not row["private"]


def test_budget_takes_cheaper_tiers_first_and_then_none_and_spares_other_tenants() -> None:
    rows = [{"text": HARD, "tenant": "small"}] * 3 + [{"text": HARD, "tenant": "big"}]
    row = route({"text": HARD})[0]
    cheap = (row["input_tokens"] + row["output_tokens"]) * 0.05 / 1e6
    given = {"budget": {"tenants": {"small": row["cost"] + 1.01 * cheap}}}
    found = where(*rows, settings=given)
    assert found == [("strong", "cheapest"), ("cheap", "saving"), (None, "budget"), ("strong", "cheapest")]


def test_fallbacks_are_what_the_row_may_go_to_besides_and_never_dearer_than_the_budget_refused() -> None:
    rows = route({}, {"text": HARD}, {"spans": [SPAN]})
    assert [row["fallbacks"] for row in rows] == [["local", "strong"], ["cheap", "local"], []]
    price = rows[1]["cost"]
    (saving,) = route({"text": HARD, "tenant": "t"}, settings={"budget": {"default": price / 2}})
    assert (saving["tier"], saving["fallbacks"]) == ("cheap", ["local"])


def test_cache_hit_costs_nothing_and_goes_to_no_tier() -> None:
    rows = route({}, {}, cached=np.array([CACHE.index("near"), CACHE.index("miss")], np.int8))
    assert [(row["tier"], row["reason"], row["cache"]) for row in rows] == [
        (None, "cache", "near"),
        ("cheap", "cheapest", "miss"),
    ]
    assert rows[0]["cost"] == 0
    assert rows[0]["strongest_cost"] == rows[1]["strongest_cost"] > 0


@pytest.mark.parametrize(
    "changed",
    [
        {"spans": [SPAN]},
        {"action": "flag"},
        {"action": "block"},
        {"status": "partial"},
        {"session_action": "rate_limit"},
        {"session_id": "s", "turn": 3},
        {"session_id": "s", "turn": None},
        {"channel": "tool"},
    ],
)
def test_hit_of_a_row_that_may_not_have_one_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="barred"):
        route(changed, cached=np.array([CACHE.index("exact")], np.int8))


def test_first_turn_of_a_session_may_be_cached() -> None:
    assert Router(tiers()).standing(verdicts({"session_id": "s", "turn": 0})).cacheable.tolist() == [True]


def test_missing_column_is_named() -> None:
    table = verdicts({})
    for name in ("spans", "status", "text"):
        with pytest.raises(SchemaError, match=name):
            Router(tiers()).route(table.drop_columns([name]), now=0.0)


def test_slices_strings_and_empty_batches_are_read_alike() -> None:
    table = verdicts({"text": HARD}, {"spans": [SPAN]}, {})
    stored = table.set_column(
        table.schema.get_field_index("action"), "action", table.column("action").cast(pa.string())
    )
    whole = Router(tiers()).route(table, now=0.0).to_pylist()
    assert Router(tiers()).route(stored, now=0.0).to_pylist() == whole
    assert Router(tiers()).route(table.slice(1), now=0.0).to_pylist() == whole[1:]
    assert Router(tiers()).route(table.slice(0, 0), now=0.0).num_rows == 0


def test_every_reason_can_be_said_in_a_line_that_names_the_other_price() -> None:
    made = tiers()
    for reason in REASONS:
        row = route({})[0] | {"reason": reason, "cache": "exact"}
        line = explain(row, made)
        assert "\n" not in line
        assert ("strong would have cost" in line) == (reason in ANSWERED)


def test_tier_that_cannot_do_it_is_said_to_be_stretched() -> None:
    (row,) = route({"text": HARD}, settings={"tier": [tier("only", capability=0.1)]})
    assert (row["tier"], row["reason"]) == ("only", "stretched")
    assert "0.10 < complexity" in explain(row, tiers(tier=[tier("only", capability=0.1)]))
