from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from aimds.jobs.hunt.findings import Findings, Found, Group, Holders, Sample, Timeline
from aimds.jobs.hunt.page import render
from aimds.jobs.scan.summary import Skip

AT = datetime(2025, 3, 3, 8, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\u202e"


def findings(word: str = "x") -> Findings:
    hours = [AT + timedelta(hours=i) for i in range(3)]
    group = Group(word, 2, AT, hours[1], word)
    sample = Sample(word, 7, word, word, 1, word, AT, "tool", word, "base64", 10, 30, 0.9, f"0123456789{word * 20}", 5)
    return Findings(
        files=[(word, 2)],
        rows=300,
        rows_hit=2,
        hits=3,
        unjudged=4,
        partial=1,
        first=AT,
        last=hours[1],
        begins=AT,
        ends=hours[2],
        decoded=True,
        patterns=[Found(word, "prompt_leak", word, 0.15, 2, AT, AT), Found("rule", word, word, None, 0, None, None)],
        sessions=Holders(20, False, [group]),
        tenants=Holders(1, True, [group]),
        users=Holders(1, True, [replace(group, first=None)]),
        channels={"tool": 2},
        views={"base64": 2, "text": 1, "signature": 1},
        timeline=Timeline(hours, ["a", "b", "c"], [(0, "8:00", True)], "hour", [100, 200, 0], [0, 2, 0], 1),
        samples=[sample, replace(sample, excerpt=None, excerpt_start=None, turn=None, view=None)],
        skipped=[Skip(word, 0, 100, 50, word), Skip(word, None, None, None, word)],
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "src" for name, _ in attrs)
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("word", ["x", EVIL])
def test_the_page_is_whole_and_nothing_from_the_traffic_breaks_out(word: str) -> None:
    page = render(findings(word), title=word, engine_version="1.2.3")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_the_page_tells_what_was_found() -> None:
    page = render(findings(), title="The new one", engine_version="1.2.3").replace("\u00a0", " ")
    for words in (
        "The new one",
        "3 Mar 2025, 08:00 – 10:00 UTC · 1 file",
        "0.67 %",
        "over 20",
        "b: 2 of 200 rows, 1.0 %",
        "hits per million",
        "threshold 0.15",
        "signature",
        "not met",
        "decoded from base64",
        '<mark class="ev"',
        "Excerpts were turned off.",
        "rows 100 to 149",
        "the whole file",
        "4 rows were not searched",
        "Made by aimds 1.2.3.",
    ):
        assert words in page, words


def test_a_user_stands_beside_the_tenant_it_belongs_to() -> None:
    group = Group("ada", 2, AT, AT, "north")
    shown = replace(findings(), users=Holders(2, True, [group, replace(group, tenant=None)]), tenants=Holders())
    assert "<small>north · " in render(shown, title="Hunt", engine_version="1")


def test_an_empty_hunt_has_a_page_too() -> None:
    nothing = replace(
        findings(), rows=0, rows_hit=0, hits=0, unjudged=0, partial=0, first=None, last=None, begins=None, ends=None,
        sessions=Holders(), tenants=Holders(), users=None, channels={}, views={}, timeline=None, samples=[], skipped=[],
    )  # fmt: skip
    page = render(nothing, title="Hunt", engine_version="1")
    for words in (
        "no times in these files",
        "Nothing was found.",
        "Every row was searched in full.",
        "nothing was left",
    ):
        assert words in page, words


def test_a_hunt_that_found_nothing_does_not_say_that_ids_are_missing() -> None:
    none = replace(findings(), rows_hit=0, hits=0, first=None, last=None, sessions=Holders(), tenants=Holders())
    page = render(none, title="Hunt", engine_version="1")
    for words in ("no session ids", "No row hit carries", "no hit with a time", "tile a-block"):
        assert words not in page, words
    without = render(replace(findings(), sessions=Holders()), title="Hunt", engine_version="1")
    assert "no session ids on them" in without
    assert "No row hit carries a session id." in without


def test_files_are_named_from_the_folder_on_that_they_share() -> None:
    found = findings()
    places = [("/home/me/logs/a/one.parquet", 1), ("/home/me/logs/b/two.parquet", 1)]
    samples = [replace(found.samples[0], file=places[0][0])]
    page = render(replace(found, files=places, samples=samples, skipped=[]), title="t", engine_version="1")
    assert "/home/me" not in page
    assert "a/one.parquet, row" in page
    assert "b/two.parquet" in page
    one = replace(found, files=places[:1], samples=samples, skipped=[])
    assert ">one.parquet<" in render(one, title="t", engine_version="1")
