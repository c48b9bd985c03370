from __future__ import annotations

from datetime import UTC, datetime

from aimds.jobs.report.charts import percent
from aimds.jobs.report.elements import named, period
from aimds.jobs.report.markup import h

AT = datetime(2025, 3, 6, 14, 10, 5, tzinfo=UTC)


def test_a_period_within_one_minute_is_one_time() -> None:
    assert period(AT, AT.replace(second=50)) == "6 Mar 2025, 14:10 UTC"
    assert period(AT, AT.replace(minute=11)) == "6 Mar 2025, 14:10 – 14:11 UTC"


def test_no_line_ends_between_a_figure_and_its_unit_and_quoted_text_stays_as_it_is() -> None:
    assert h("p", f"of which {percent(1, 8)}") == "<p>of which 12.5\u00a0%</p>"
    for tag in ("blockquote", "mark", "code"):
        assert h(tag, "take 5 % off") == f"<{tag}>take 5 % off</{tag}>"


def test_a_head_of_the_classifier_is_named_once() -> None:
    assert named("classifier", "classifier.jailbreak") == "classifier.jailbreak"
    assert named("rules", "inj.override.001") == "rules inj.override.001"
