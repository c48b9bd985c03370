"""What deserves attention in what `aimds top` has seen, by the thresholds of deploy/prometheus/aimds.rules.yml.

A rule there waits until its condition has lasted, and looks an hour or a day back as well. Here a condition shows at
once, over as much of the rule's window as was watched: it warns of an alert, and is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aimds.cli.top_figures import caught, failed, late, slow
from aimds.cli.top_window import Sample, Window

WATCHED_S = 300.0
"""The short window of most rules."""
FAST_BURN, SLOW_BURN = 14.4, 6.0
FAILED_BUDGET, SLOW_BUDGET = 0.001, 0.01
QUEUE_ROWS = 512.0
DENIED_PER_S = 5.0
CLOSED_PER_S = 1.0
LATE = 0.05
WAVE_TIMES, WAVE_PER_S = 5.0, 0.5
WAVE_ROWS = 1000.0
"""Rows counted before the window, without which nobody knows what is ordinary."""
PAGE, TICKET = "page", "ticket"


@dataclass(frozen=True, slots=True)
class Alert:
    """``name`` and ``severity`` of a rule, ``value`` which passes its ``limit``, what that means, and the paragraph of
    docs/operations.md that says what to do."""

    name: str
    severity: str
    value: float
    limit: float
    summary: str
    see: str


def alerts(samples: Sequence[Sample]) -> list[Alert]:
    """What shows in ``samples``, readings in their order, of which those of the last WATCHED_S count."""
    recent = [one for one in samples if samples[-1].at - one.at <= WATCHED_S]
    if len(recent) < 2:
        recent = list(samples[-2:])
    window = Window(recent[0], recent[-1])
    return [*_objectives(window), *_queue(recent), *_refused(window), *_upkeep(window), *_wave(samples[0], window)]


def _objectives(window: Window) -> Iterator[Alert]:
    lost, behind = failed(window), slow(window)
    for name, severity, burn in (
        ("AimdsVerdictsFailingFast", PAGE, FAST_BURN),
        ("AimdsVerdictsFailing", TICKET, SLOW_BURN),
    ):
        if lost is not None and lost > (limit := burn * FAILED_BUDGET):
            yield Alert(name, severity, lost, limit, f"{lost:.2%} of rows get no verdict", "No verdicts")
            break
    if behind is not None and behind > (limit := FAST_BURN * SLOW_BUDGET):
        yield Alert("AimdsSlow", PAGE, behind, limit, f"{behind:.1%} of verdicts take longer than 50 ms", "Slow")


def _queue(samples: Sequence[Sample]) -> Iterator[Alert]:
    waiting = min(one.total("aimds_queue_rows") for one in samples)
    if waiting > QUEUE_ROWS:
        yield Alert("AimdsQueueGrows", TICKET, waiting, QUEUE_ROWS, f"{waiting:,.0f} rows are waiting", "Slow")


def _refused(window: Window) -> Iterator[Alert]:
    for reason, rate in sorted(window.rates("aimds_denied_total", "reason").items()):
        if rate > DENIED_PER_S:
            told = f"{rate:,.1f} requests a second are denied for {reason}"
            yield Alert("AimdsDeniedBurst", TICKET, rate, DENIED_PER_S, told, "Denials")
    for reason, rate in sorted(window.rates("aimds_connections_closed_total", "reason").items()):
        if rate > CLOSED_PER_S:
            told = f"{rate:,.1f} connections a second are cut off for {reason}"
            yield Alert("AimdsConnectionsCutOff", TICKET, rate, CLOSED_PER_S, told, "Connections cut off")


def _upkeep(window: Window) -> Iterator[Alert]:
    missed, overdue = late(window), window.last.sums("aimds_review_items", "state").get("overdue", 0.0)
    if missed is not None and missed > LATE:
        told = f"{missed:.1%} of urgent follow-up work ends after its deadline"
        yield Alert("AimdsFollowUpsLate", TICKET, missed, LATE, told, "Follow-up work")
    for work, n in sorted(window.increases("aimds_follow_up_errors_total", "work").items()):
        if n > 0:
            yield Alert("AimdsFollowUpsFail", TICKET, n, 0.0, f"{work} failed {n:,.0f} times", "Follow-up work")
    if overdue > 0:
        told = f"{overdue:,.0f} review items are past their time"
        yield Alert("AimdsReviewOverdue", TICKET, overdue, 0.0, told, "Review")


def _wave(earliest: Sample, window: Window) -> Iterator[Alert]:
    # An ordinary day is not at hand; all that the process had counted before it was watched stands for it.
    rows, rate = window.rate("aimds_rows_total"), window.rate("aimds_threats_detected_total")
    ordinary = caught(earliest)
    if ordinary is None or earliest.total("aimds_rows_total") < WAVE_ROWS or not rows or rate <= WAVE_PER_S:
        return
    if rate / rows > (limit := WAVE_TIMES * ordinary):
        told = f"{rate / rows:.1%} of rows are caught, {ordinary:.1%} before"
        yield Alert("AimdsAttackWave", TICKET, rate / rows, limit, told, "A wave of attacks")
