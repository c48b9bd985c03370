"""Texts in, outcomes out: what passes, what is changed, what is held back and what is said of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from desk import ATTACK, BOOM, SECRET

from aimds.errors import DataError, SchemaError
from aimds.integrations.bodies import Judge, replacements
from aimds.integrations.guard import Blocked, Guard
from aimds.integrations.outcome import sound


def test_a_text_passes_or_is_changed_or_is_held_back(guard: Guard, offline: list[str]) -> None:
    assert guard.passed("hello") == "hello"
    assert guard.passed(f"card {SECRET}") == "card [CREDIT_CARD]"
    with pytest.raises(Blocked) as found:
        guard.passed(f"so {ATTACK}", "tool")
    assert (found.value.outcome.action, found.value.outcome.channel) == ("block", "tool")
    assert str(found.value) == "held back by AIMDS (action block: direct_injection): a text of channel tool"


def test_a_text_that_breaks_the_screener_gets_what_the_policy_says(guard: Guard) -> None:
    found = guard.check(BOOM)
    assert (found.status, found.action, found.passes) == ("error", "flag", True)
    assert "a kernel broke" in str(found.error)


def test_half_a_character_is_no_way_out(guard: Guard) -> None:
    assert sound("a\ud800b") == "a\ufffdb"
    assert not guard.check(f"\udfff{ATTACK}").passes
    assert guard.check("a\ud800b").text == "a\ufffdb"


def test_a_batch_keeps_its_order_and_needs_no_rows(guard: Guard) -> None:
    rows: Any = [("a", "user"), (ATTACK, "tool"), ("b", "document")]
    assert [one.passes for one in asyncio.run(guard.check_async(rows))] == [True, False, True]
    assert guard.check_all([]) == []


@pytest.mark.parametrize("text", [None, 5, b"hello"])
def test_what_is_no_text_is_named_with_its_row(guard: Guard, text: Any) -> None:
    with pytest.raises(SchemaError, match=f"{type(text).__name__}, expected str") as caught:
        guard.verdicts([("hello", "user"), (text, "user")])
    assert caught.value.row == 1


def test_a_channel_that_there_is_not_is_named_with_those_there_are(guard: Guard) -> None:
    with pytest.raises(SchemaError, match=r"'mars'.*user.*document"):
        guard.passed("hello", channel="mars")  # type: ignore[arg-type]


def test_a_policy_that_cannot_be_read_is_said_on_first_use(tmp_path: Path) -> None:
    guard = Guard(policy=tmp_path / "absent.toml")
    with pytest.raises(DataError, match=r"absent\.toml"):
        guard.check("hello")


def test_what_is_replaced_in_a_body_is_named_and_not_yet_done(guard: Guard) -> None:
    body = {"messages": [{"role": "user", "content": f"card {SECRET}"}]}
    ((leaf, text),) = replacements(guard, body, "request")
    assert (leaf.place, text) == ("messages[0].content", "card [CREDIT_CARD]")
    assert SECRET in body["messages"][0]["content"]
    body["messages"].append({"role": "system", "content": ATTACK})
    assert len(replacements(guard, body, "request")) == 1
    with pytest.raises(Blocked, match=r"messages\[1\]\.content"):
        replacements(guard, body, "request", system=True)


def test_a_stream_is_judged_with_a_guard(guard: Guard) -> None:
    def event(text: str) -> bytes:
        return f'data: {{"choices": [{{"index": 0, "delta": {{"content": "{text}"}}}}]}}\n\n'.encode()

    async def all_of(*texts: str) -> bytes:
        judge, out = Judge(guard), []
        for text in texts:
            out += await judge.feed(event(text))
        return b"".join(one.raw for one in [*out, *await judge.end()])

    assert asyncio.run(all_of("a", "b")) == event("a") + event("b")
    assert b"[CREDIT_CARD]" in asyncio.run(all_of("card ", SECRET[:9], SECRET[9:]))
    with pytest.raises(Blocked, match="the answer"):
        asyncio.run(all_of(ATTACK[:2], ATTACK[2:]))
