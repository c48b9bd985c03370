"""The page of an evaluation: every figure of every part, nothing that breaks out, nothing that loads, and its plots."""

from __future__ import annotations

import copy
from html.parser import HTMLParser
from typing import Any

import pytest

from aimds.jobs.evaluate.page import render
from aimds.jobs.evaluate.plots import Share, bar, ceiling, interval, share, whiskers
from aimds.jobs.intervals import clopper_pearson


def rate(hits: int, n: int) -> dict[str, Any]:
    low, high = clopper_pearson(hits, n)
    return {"hits": hits, "n": n, "rate": hits / n if n else None, "low": low, "high": high}


def judged(group: str, n: int, hits: tuple[int, int, int, int], **names: str) -> dict[str, Any]:
    rates = dict(zip(("flag", "block", "fpr 0.01", "fpr 0.001"), (rate(k, n) for k in hits), strict=True))
    return {**names, "label": int(group != "benign"), "group": group, "n": n, **rates}


def entity(name: str, n: int, found: int, predicted: int, correct: int) -> dict[str, Any]:
    recall, precision = rate(found, n), rate(correct, predicted)
    out = {"source": "letters", "entity": name, "covered": True, "n": n, "predicted": predicted}
    for key, one in (("recall", recall), ("precision", precision)):
        out |= {key: one["rate"], f"{key}_low": one["low"], f"{key}_high": one["high"]}
    return out


SILENT = {
    "source": "chat",
    "texts": 812,
    "entity": "ANY",
    "covered": True,
    "n": 0,
    "predicted": 2,
    "recall": None,
    "precision": None,
}
DISGUISE = {"n": 80, "plain": 64, "kept": rate(48, 64), "benign": rate(3, 200), "at": "fpr 0.01"}
RESULT: dict[str, Any] = {
    "profile": "cascade",
    "reference": {"file": "quiet", "n": 1000},
    "thresholds": {"fpr 0.01": {"minus_log10_p": 2.0}, "fpr 0.001": {"minus_log10_p": 3.0}},
    "rows": [
        judged("benign", 1000, (12, 2, 10, 1), file="quiet"),
        judged("attack", 321, (287, 199, 271, 173), file="wild"),
        judged("harmful_request", 50, (1, 0, 20, 9), file="asks"),
    ],
    "sources": [
        judged("attack", 200, (190, 150, 180, 120), file="wild", source="forum"),
        judged("attack", 121, (97, 49, 91, 53), file="wild", source="game"),
        judged("benign", 1000, (12, 2, 10, 1), file="quiet", source="letters"),
    ],
    "macro_detection": {"flag": 0.894, "block": 0.62, "fpr 0.01": 0.844, "fpr 0.001": 0.539},
    "macro_sources": {"flag": {"rate": 0.8758, "low": 0.84, "high": 0.91, "sources": 2}},
    "robustness": [
        {"name": "base64", "group": "encoding", **DISGUISE, "columns": {"fpr 0.001": {"kept": rate(30, 50)}}},
        {"name": "10 KB", "group": "burying", **DISGUISE, "columns": {"fpr 0.001": {"kept": rate(31, 50)}}},
    ],
    "overdefence": [{"set": "manuals", "n": 60, "flag": rate(56, 60), "block": rate(60, 60)}],
    "fewshot": [
        {
            "source": "game", "exemplars": k, "n": 91, "seconds": k / 100, "benign": rate(k // 10, 1000),
            "fpr 0.001": rate(40 + k, 91), "fpr 0.01": rate(55 + k, 91),
        }
        for k in (0, 10, 30)
    ],
    "removal": {
        "n": 77, "unexplained": 0, "covered": rate(33, 77), "score_falls": rate(71, 77), "below_flag": rate(66, 77),
        "strongest": {"score_falls": rate(69, 77), "below_flag": rate(40, 77)},
        "control": {"score_falls": rate(20, 60), "below_flag": rate(3, 60)},
    },
    "pii": [entity("EMAIL", 40, 39, 41, 40), {"source": "letters", "entity": "PERSON", "covered": False, "n": 87}, SILENT],
    "throughput": [
        {"profile": "fast", "rows": 1000, "rows_per_s": 9123.0, "stages": {"normalize": 0.02, "rules": 0.08}, "deep_share": None},
        {"profile": "cascade", "rows": 1000, "rows_per_s": 3210.0, "stages": {"normalize": 0.02, "deep": 0.28}, "deep_share": 0.043},
    ],
    "out_of_fold": {
        "macro": {"sources": 1, "detection": {"fast": {"0.01": 0.711, "0.001": 0.424}}, "false_alarms": {"fast": {"0.01": 0.007}}},
        "sources": [
            {"source": "left out", "label": 1, "n": 100, "fast": {"0.01": 0.71, "0.001": 0.42}},
            {"source": "quiet one", "label": 0, "n": 100, "fast": {"0.01": 0.02, "0.001": 0.0}},
        ],
        "ablation": [
            {"stages": "classifier", "profile": "fast", "detection": {"0.01": 0.623, "0.001": 0.351}},
            {"stages": ["classifier", "patterns"], "detection": {"0.01": 0.701, "0.001": 0.347}},
        ],
    },
    "versions": {"engine": "0.1.0", "model": "m123"},
    "could_not_judge": 3,
}  # fmt: skip
PARTS = ("rows", "sources", "robustness", "overdefence", "fewshot", "removal", "pii", "throughput", "out_of_fold")


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where elements do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "input", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts).replace("\u00a0", " ")

    @property
    def cards(self) -> list[str]:
        return [value for name, value in self.attributes if name == "id"]


CARDS = [
    "falls-short", "files", "sources", "false-positives", "robustness", "over-defence", "few-shot", "removal",
    "personal-data", "throughput", "stages", "left-out",
]  # fmt: skip


def test_every_part_is_drawn_with_its_figures() -> None:
    page = Page(render(RESULT))
    assert page.cards == CARDS
    for words in (
        "84.4 %", "80.0–88.2", "321 attacks", "50 harmful requests", "base64", "75.0 %", "Buried in other text", "93.3 %",
        "learnt in 0.3 s", "92.2 %", "Of 42.9 % of these", "EMAIL", "97.5 %", "PERSON 87", "812 texts without labels: 2 spans found", "9,123", "encoder on 4.3 %", "+ patterns", "34.7 %",
        "71.1 % at p ≤ 0.01", "left out", "3 rows could not be judged", "profile cascade", "m123", "87.6 %", "mean of 2 sources",
    ):  # fmt: skip
        assert words in page.text, words


def test_the_page_runs_no_script_and_loads_nothing() -> None:
    html = render(RESULT)
    page = Page(html)
    assert "script" not in page.tags
    assert not page.tags & {"img", "iframe", "object", "embed", "form", "a"}
    assert [value for name, value in page.attributes if name == "href" and not value.startswith("data:image")] == []
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "srcset", "action")]
    assert "url(" not in html
    assert "@import" not in html
    assert ("name", "viewport") in page.attributes
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_absent_or_empty_is_left_out(part: str) -> None:
    card = {"rows": "files", "out_of_fold": "left-out", "pii": "personal-data", "overdefence": "over-defence"}
    card |= {"fewshot": "few-shot"}
    missing = {key: value for key, value in RESULT.items() if key != part}
    for result in (missing, {**RESULT, part: type(RESULT[part])()}):
        assert card.get(part, part) not in Page(render(result)).cards


def test_nothing_at_all_still_gives_a_page() -> None:
    page = Page(render({}))
    assert page.cards == ["falls-short"]
    assert "Nothing measured here falls short" in page.text


@pytest.mark.parametrize("payload", ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "</style><b>", "a\u202eb"])
def test_no_name_in_the_result_can_break_out_of_the_page(payload: str) -> None:
    result = copy.deepcopy(RESULT)
    for part in ("rows", "sources", "robustness", "overdefence", "fewshot", "pii", "throughput"):
        for row in result[part]:
            row |= {
                key: payload for key in ("file", "source", "name", "group", "set", "entity", "profile") if key in row
            }
    for row in (*result["out_of_fold"]["sources"], *result["out_of_fold"]["ablation"]):
        row |= {key: payload for key in ("source", "stages") if key in row}
    result["reference"]["file"] = payload
    result["versions"] = {"engine": payload, payload: payload}
    html = render(result)
    page = Page(html)
    assert not page.tags & {"script"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\u202e" not in html


def test_a_rate_of_nothing_is_a_dash_and_draws_no_dot() -> None:
    for rate_of_nothing in ({"hits": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}, None):
        found = share("x", "k-0", rate_of_nothing)
        assert found.said == "–"
        assert found.within == ""
        assert "dot" not in whiskers([found])
        assert "fill" not in bar(found)


def test_dots_and_whiskers_stand_at_their_rates_and_are_cut_at_the_edge() -> None:
    drawn = whiskers([Share("x", "k-0", 0.25, 0.125, 0.5, 8)])
    assert 'd="M250.00 50.00h.01"' in drawn
    assert 'd="M125.00 50.00H500.00"' in drawn
    assert 'd="M50.00 50.00H1000.00"' in whiskers([Share("x", "k-0", 0.05, 0.01, 0.5, 8)], 0.2)
    assert 'width="250.00"' in bar(Share("x", "k-0", 0.25, 0.25, 0.25, 0))


def test_an_axis_has_room_for_the_rates_and_narrow_intervals_have_more_digits() -> None:
    tops = [ceiling([Share("", "", value, 0, 1, 9)]) for value in (0.0, 0.009, 0.04, 0.19, 0.9)]
    assert tops == [0.01, 0.02, 0.05, 0.4, 1.0]
    assert (interval(0.001, 0.0044), interval(0.78, 0.858)) == ("0.10–0.44", "78.0–85.8")


def test_the_same_result_gives_the_same_page() -> None:
    assert render(RESULT) == render(copy.deepcopy(RESULT))


def test_cards_of_older_models_have_no_profiles() -> None:
    result = copy.deepcopy(RESULT)
    result["out_of_fold"]["macro"] = {"sources": 1, "detection": {"0.01": 0.65}, "false_alarms": {"0.01": 0.004}}
    result["out_of_fold"]["sources"] = [{"source": "old", "label": 1, "n": 100, "0.01": 0.65, "0.001": 0.33}]
    text = Page(render(result)).text
    assert "65.0 % at p ≤ 0.01" in text
    assert "33.0 %" in text


def test_sources_left_out_are_counted_over_the_rows_that_their_profile_judged() -> None:
    rates = {"0.01": 0.5, "0.001": 0.25}
    whole = {"all": {"fast": {"0.01": 0.875, "0.001": 0.125}}}
    result = copy.deepcopy(RESULT)
    result["out_of_fold"]["macro"]["all"] = {"sources": 2, **whole["all"]}
    result["out_of_fold"]["sources"] = [
        {"source": "unseen", "label": 1, "n": 8, "judged": 0, **whole},
        {"source": "partly", "label": 1, "n": 4000, "judged": 40, **whole, "fast": rates, "cascade": rates},
    ]
    text = Page(render(result)).text
    assert "40 attacks" in text
    assert "4,000 attacks" not in text
    low, high = clopper_pearson(20, 40)
    assert interval(low, high) in text
    assert "8 attacks, profile fast" in text
    assert interval(*clopper_pearson(7, 8)) in text


def test_our_own_look_alikes_are_counted_once() -> None:
    sets = {"own: one": (9, 10), "own: two": (5, 10), "own: all": (14, 20), "manuals": (20, 20)}
    rows = [{"set": name, "n": n, "flag": rate(right, n), "block": rate(n, n)} for name, (right, n) in sets.items()]
    text = Page(render({**RESULT, "overdefence": rows})).text
    assert "of 40 with attack words" in text
    assert "85 %" in text or "85.0 %" in text
