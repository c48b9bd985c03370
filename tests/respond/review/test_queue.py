"""The queue against a naive model, and what each of its steps must refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from review_cases import ADA, BEN, DAY, EVE, HOUR, MINUTE, START, case, queue, turn

from aimds.errors import ConfigError
from aimds.respond.review import Filter, Item, Queue, ReviewConfig, Reviewer, ReviewError

LEASE = ReviewConfig().lease


def refused(kind: str, step: Callable[[], object]) -> None:
    with pytest.raises(ReviewError) as told:
        step()
    assert told.value.kind == kind


class Model:
    """The queue as a list that is searched from its beginning for everything."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def add(self, ident: str, band: str, now: datetime) -> None:
        if any(item["ident"] == ident for item in self.items):
            return
        item = {"ident": ident, "due": now + ReviewConfig().sla[band], "state": "open", "holder": None, "until": None}
        self.items.append({**item, "label": None, "id": len(self.items) + 1})

    def holder(self, item: dict[str, Any], now: datetime) -> str | None:
        return item["holder"] if item["until"] is not None and item["until"] > now else None

    def claim(self, who: str, now: datetime, ident: int | None) -> Any:
        if ident is None:
            free = [item for item in self.items if item["state"] == "open" and self.holder(item, now) is None]
            if not free:
                return None
            ident = min(free, key=lambda item: (item["due"], item["id"]))["id"]
        item = self.items[ident - 1]
        if item["state"] == "decided":
            return "state"
        if self.holder(item, now) not in (None, who):
            return "taken"
        item |= {"holder": who, "until": now + LEASE}
        return ident

    def release(self, who: str, now: datetime, ident: int) -> Any:
        item = self.items[ident - 1]
        if item["state"] != "open" or self.holder(item, now) != who:
            return "state"
        item |= {"holder": None, "until": None}
        return ident

    def decide(self, who: str, now: datetime, ident: int, label: str) -> Any:
        item = self.items[ident - 1]
        if item["state"] == "decided":
            return "state"
        if self.holder(item, now) not in (None, who):
            return "taken"
        item |= {"holder": None, "until": None, "state": "decided", "label": label}
        return ident

    def undo(self, ident: int) -> Any:
        item = self.items[ident - 1]
        if item["state"] != "decided":
            return "state"
        item |= {"state": "open", "label": None}
        return ident


def outcome(step: Callable[..., Item | None], *arguments: Any) -> Any:
    try:
        item = step(*arguments)
    except ReviewError as error:
        return error.kind
    return None if item is None else item.id


@pytest.mark.parametrize("seed", range(3))
def test_random_steps_do_what_a_naive_model_does(place: Path | str, seed: int) -> None:
    random, model, now = Random(seed), Model(), START
    made = queue(place)
    people = [ADA, BEN, Reviewer("cleo")]
    for step in range(160):
        now += random.choice([MINUTE, 3 * MINUTE, HOUR])
        who = random.choice(people)
        ident = random.randrange(1, len(model.items) + 1) if model.items else 0
        kind = random.choice(["add", "claim", "claim_next", "release", "decide", "decide", "undo"]) if ident else "add"
        if kind == "add":
            i, severity = random.randrange(60), random.choice([0.1, 0.75, 0.9, 0.99])
            band = {0.1: "low", 0.75: "medium", 0.9: "high", 0.99: "critical"}[severity]
            model.add(f"{i}", band, now)
            known = [item["ident"] for item in model.items]
            made.add([case(i, severity=severity)], (), now, "scan")
            assert made.matching(ADA, now, Filter("all")) == len(known)
        elif kind == "claim":
            assert outcome(made.claim, who, now, ident) == model.claim(who.name, now, ident)
        elif kind == "claim_next":
            assert outcome(made.claim, who, now) == model.claim(who.name, now, None)
        elif kind == "release":
            found = outcome(made.release, who, ident, now)
            assert found == model.release(who.name, now, ident)
        elif kind == "decide":
            label = random.choice(["attack", "benign"])
            found = outcome(made.decide, who, ident, label, "seen", now)
            assert found == model.decide(who.name, now, ident, label)
        else:
            assert outcome(made.undo, who, ident, "wrong", now) == model.undo(ident)
        if step % 20 == 19:
            made.close()
            made = Queue(place)
            check(made, model, now)
    made.close()


def check(made: Queue, model: Model, now: datetime) -> None:
    listed = made.page(ADA, now, Filter("all"), limit=1000)
    assert {(i.id, i.state, i.label, i.holder(now), i.due_at) for i in listed} == {
        (i["id"], i["state"], i["label"], model.holder(i, now), i["due"]) for i in model.items
    }
    opened = [i for i in model.items if i["state"] == "open"]
    assert [i.id for i in made.page(ADA, now, limit=1000)] == [
        i["id"] for i in sorted(opened, key=lambda i: (i["due"], i["id"]))
    ]
    counts = made.counts(ADA, now)
    assert counts.open == len(opened) == sum(counts.bands.values())
    assert counts.claimed == sum(model.holder(i, now) is not None for i in opened)
    assert counts.mine == sum(model.holder(i, now) == "ada" for i in opened)
    assert counts.overdue == sum(i["due"] <= now for i in opened)
    assert counts.attack == sum(i["label"] == "attack" for i in model.items)
    assert counts.benign == sum(i["label"] == "benign" for i in model.items)


def test_a_case_is_queued_once_for_ever_but_ids_alone_do_not_make_two_cases_the_same(place: Path | str) -> None:
    made = queue(place, case())
    again = made.add([case(), case()], (), START + DAY, "scan")
    assert (again.ids, again.known) == ((), 2)
    others = [
        case(tenant="globex-test"),
        case(tenant=None),
        case(text="Ignore all of it."),
        case(session_id=None),
        case(turn=7),
        case(channel="tool"),
        case(text=None),
    ]
    assert len(made.add(others, (), START, "scan").ids) == 7
    made.decide(ADA, 1, "attack", "seen", START)
    assert made.add([case()], (), START, "scan").known == 1
    assert made.get(ADA, 1).state == "decided"


def test_a_lease_that_is_over_holds_nobody_off(place: Path | str) -> None:
    made = queue(place, case())
    made.claim(ADA, START, 1)
    refused("taken", lambda: made.claim(BEN, START + LEASE - MINUTE, 1))
    refused("taken", lambda: made.decide(BEN, 1, "attack", "seen", START + LEASE - MINUTE))
    assert made.claim(BEN, START + MINUTE) is None
    assert made.get(ADA, 1).holder(START + LEASE) is None
    found = made.claim(BEN, START + LEASE, 1)
    assert found is not None
    assert found.holder(START + LEASE) == "ben"
    refused("state", lambda: made.release(ADA, 1, START + LEASE))
    refused("taken", lambda: made.decide(ADA, 1, "benign", "seen", START + LEASE))


def test_claiming_again_begins_the_lease_anew(place: Path | str) -> None:
    made = queue(place, case())
    made.claim(ADA, START, 1)
    made.claim(ADA, START + 10 * MINUTE, 1)
    assert made.get(ADA, 1).claimed_until == START + 10 * MINUTE + LEASE


def test_history_keeps_what_was_undone(place: Path | str) -> None:
    made = queue(place, case())
    made.decide(ADA, 1, "attack", "an order to the model", START + MINUTE)
    made.undo(BEN, 1, "quoted from a paper", START + HOUR)
    made.decide(BEN, 1, "benign", "a quotation", START + HOUR)
    found = [(event.who, event.what, event.label, event.reason) for event in made.history(ADA, 1)]
    assert found == [
        ("scan", "added", None, None),
        ("ada", "decided", "attack", "an order to the model"),
        ("ben", "undone", "attack", "quoted from a paper"),
        ("ben", "decided", "benign", "a quotation"),
    ]


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 2001])
def test_without_a_reason_nothing_is_decided_or_undone(place: Path | str, reason: str) -> None:
    made = queue(place, case())
    refused("reason", lambda: made.decide(ADA, 1, "attack", reason, START))
    assert made.get(ADA, 1).state == "open"
    made.decide(ADA, 1, "attack", "seen", START)
    refused("reason", lambda: made.undo(ADA, 1, reason, START))
    assert made.get(ADA, 1).label == "attack"


def test_an_unknown_label_names_the_known_ones(place: Path | str) -> None:
    made = queue(place, case())
    with pytest.raises(ConfigError, match="attack, benign"):
        made.decide(ADA, 1, "maybe", "seen", START)


def test_items_are_due_by_severity_and_what_could_not_be_judged_does_not_wait_with_the_harmless(
    place: Path | str,
) -> None:
    levels = {
        0.2: "low",
        0.70: "low",
        0.71: "medium",
        0.86: "high",
        0.96: "critical",
        None: "high",
        float("nan"): "high",
    }
    made = queue(place, *(case(i, severity=level) for i, level in enumerate(levels)))
    for item, band in enumerate(levels.values(), start=1):
        found = made.get(ADA, item)
        assert found.band == band
        assert found.due_at == START + ReviewConfig().sla[band]
        assert found.is_overdue(found.due_at)
        assert not found.is_overdue(found.due_at - MINUTE)
    assert made.page(ADA, START)[0].band == "critical"
    assert made.counts(ADA, START + HOUR).overdue == 4


def test_a_reviewer_of_one_tenant_sees_and_touches_nothing_of_another(place: Path | str) -> None:
    made = queue(place, case(0), case(1, tenant="globex-test"), case(2, tenant=None))
    assert [item.id for item in made.page(EVE, START)] == [2]
    assert made.counts(EVE, START).open == 1
    for hidden in (1, 3, 99, 0, -1, 1 << 70):
        steps = [
            lambda i=hidden: made.get(EVE, i),
            lambda i=hidden: made.history(EVE, i),
            lambda i=hidden: made.session(EVE, i),
            lambda i=hidden: made.claim(EVE, START, i),
            lambda i=hidden: made.release(EVE, i, START),
            lambda i=hidden: made.decide(EVE, i, "benign", "seen", START),
            lambda i=hidden: made.undo(EVE, i, "seen", START),
        ]
        for step in steps:
            refused("missing", step)
    found = made.claim(EVE, START)
    assert found is not None
    assert found.id == 2
    assert made.claim(EVE, START + MINUTE) is None


def test_filters_narrow_the_list(place: Path | str) -> None:
    made = queue(
        place,
        case(0, severity=0.99),
        case(1, threat="jailbreak", severity=0.1),
        case(2, text="50% of _these_ are Ünïcode", tenant="globex-test"),
    )
    made.claim(BEN, START, 2)
    made.decide(ADA, 1, "attack", "seen", START)

    def ids(**wanted: Any) -> list[int]:
        now = START + 10 * MINUTE
        found = made.page(ADA, now, Filter(**wanted))
        assert made.matching(ADA, now, Filter(**wanted)) == len(found)
        return [item.id for item in found]

    assert ids() == [3, 2]
    assert ids(state="decided") == [1]
    assert ids(state="all") == [3, 2, 1]
    assert ids(state="all", band="critical") == [1]
    assert ids(threat="jailbreak") == [2]
    assert ids(tenant="globex-test") == [3]
    assert ids(state="all", label="attack") == [1]
    assert ids(state="all", mine=True) == [1]
    assert ids(free=True) == [3]
    assert ids(search="of _these_ are Ünï") == [3]
    assert ids(search="%") == [3]
    assert ids(search="r0000001") == [2]
    assert ids(search="r000000") == []
    assert ids(overdue=True) == []
    with pytest.raises(ConfigError, match="critical"):
        Filter(band="urgent")


def test_session_holds_items_and_the_turns_around_them_once_and_in_order(place: Path | str) -> None:
    made = queue(place)
    same = {"session_id": "s1", "tenant": "acme-test"}
    middle = case(3, turn=3, **same)
    around = [turn(i, turn=i, **same) for i in (1, 2, 4)]
    others = [turn(8, session_id="s2", turn=1), turn(9, session_id="s1", tenant="globex-test", turn=1)]
    made.add([middle], [*around, *others], START, "scan")
    made.add([middle], [*around, *others], START, "scan")
    assert [(one.turn, one.action) for one in made.session(ADA, 1)] == [
        (1, "allow"),
        (2, "allow"),
        (3, "escalate"),
        (4, "allow"),
    ]
    alone = made.add([case(5, session_id=None)], (), START, "scan").ids[0]
    assert made.session(ADA, alone) == []


def test_bytes_that_are_no_text_stay_as_they_are(place: Path | str) -> None:
    made = queue(place)
    raw = b"ig\xffnore \x00 \xed\xa0\x80"
    made.add([dataclasses.replace(case(), text=raw)], (), START, "scan")
    assert made.get(ADA, 1).case.text == raw


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "x" * 201, "a\u202eb"])
def test_a_name_that_does_not_show_is_refused(name: str) -> None:
    refused("name", lambda: Reviewer(name))


def test_versions_grow_with_each_change(place: Path | str) -> None:
    made = queue(place, case())
    before = made.counts(ADA, START).version
    made.claim(ADA, START)
    assert made.counts(ADA, START).version == before + 1


def test_words_that_are_no_text_are_refused_and_change_nothing(place: Path | str) -> None:
    made = queue(place, case())
    for step in (
        lambda: made.decide(ADA, 1, "attack", "bad \udcff", START),
        lambda: made.page(ADA, START, Filter(tenant="\udcff")),
        lambda: made.page(ADA, START, Filter(search="\udcff")),
    ):
        with pytest.raises(ConfigError, match="UTF-8"):
            step()
    assert made.get(ADA, 1).state == "open"


def test_a_client_with_a_long_name_of_a_session_keeps_no_row_from_review(place: Path | str) -> None:
    name = Random(1).randbytes(20_000).hex()
    long = dataclasses.replace(case(0), session_id=name, request_id=name)
    made = queue(place)
    assert len(made.add([long, case(1)], [dataclasses.replace(turn(2), session_id=name)], START, "gateway").ids) == 2
    assert made.get(ADA, 1).case.session_id == name
    assert len(made.session(ADA, 1)) == 2
    assert made.matching(ADA, START, Filter(search=name)) == 1
