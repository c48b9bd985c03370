"""What `aimds top` tells of one window: rates, shares and quantiles with their names, fit for a screen and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aimds.cli.top_window import Histogram, Sample, Window

OBJECTIVE_S = 0.05
"""A verdict later than this counts as slow, here and in deploy/prometheus/aimds.rules.yml."""
URGENT = ("critical", "high")
"""Classes of follow-up work of which an alert speaks."""
ASIDE = frozenset({"health", "ready", "metrics"})
"""Routes of probes and of this command, left out of requests."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of a histogram in seconds: answers a second, quantiles, the share that took longer than OBJECTIVE_S. A quantile
    above the highest bound of the histogram, ``most_s``, is given as that."""

    per_s: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    slow: float | None
    most_s: float | None

    @classmethod
    def of(cls, found: Histogram, seconds: float) -> Times:
        """Those of ``found``, observed in ``seconds``."""
        p50, p90, p99 = (found.quantile(q) for q in (0.5, 0.9, 0.99))
        most = found.bounds[-1] if found.bounds else None
        return cls(found.count / seconds, p50, p90, p99, found.above(OBJECTIVE_S), most)


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches a second, their rows (quantiles: the upper bound of the bucket, None above all), time to screen one."""

    per_s: float
    rows_mean: float | None
    rows_p50_at_most: float | None
    rows_p99_at_most: float | None
    times: Times


@dataclass(frozen=True, slots=True)
class Figures:
    """A window of ``seconds``. Rates are a second, shares in [0, 1], None where nothing came to be judged.

    ``failed``: the share of rows offered that got no verdict, shed ones and those with status error · ``requests`` by
    status · ``closed_per_s``: connections that were refused or closed by us, by reason · ``unread_per_s``: answers that
    broke off since nobody read them · ``violations``, ``sessions_not_judged``: of policies over sessions ·
    ``follow_ups`` by event. How many in all: ``drift_alarms``, ``shard_calls_failed`` by method, ``follow_ups_late`` by
    where it was seen, ``follow_up_errors`` by work. How it is now: ``queue``, ``connections``, ``open_requests``,
    ``sessions_held``, ``review_items``, ``follow_ups_waiting``.
    """

    seconds: float
    restarted: bool
    rows_per_s: float
    caught_per_s: float
    caught: float | None
    failed: float | None
    actions_per_s: dict[str, float]
    threats_per_s: dict[str, float]
    latency: Times
    latency_by_route: dict[str, Times]
    batches: Batches
    queue_rows: float
    queue_bytes: float
    connections: dict[str, float]
    open_requests: float
    sessions_held: dict[str, float]
    shed_per_s: dict[str, float]
    not_judged_per_s: float
    denied_per_s: dict[str, float]
    closed_per_s: dict[str, float]
    unread_per_s: float
    requests_per_s: dict[str, float]
    handed_on_per_s: dict[str, float]
    review_per_s: dict[str, float]
    review_items: dict[str, float]
    violations_per_s: dict[str, float]
    sessions_not_judged_per_s: dict[str, float]
    owed_at_end_per_s: dict[str, float]
    routed_per_s: dict[str, float]
    routed_cost_per_s: dict[str, float]
    drift_alarms: float
    shard_calls_failed: dict[str, float]
    follow_ups_per_s: dict[str, float]
    follow_ups_waiting: dict[str, float]
    follow_ups_late: dict[str, float]
    follow_up_errors: dict[str, float]
    follow_up_times: Times

    def document(self) -> dict[str, Any]:
        """All of it in JSON types."""
        return asdict(self)


def figures(window: Window) -> Figures:
    """What ``window`` tells."""
    now, seconds = window.last, window.seconds
    rows, caught = window.rate("aimds_rows_total"), window.rate("aimds_threats_detected_total")
    latency = "aimds_detection_latency_seconds"
    routes = {route: window.histogram(latency, ("route", route)) for route in now.sums(f"{latency}_count", "route")}
    sizes = window.histogram("aimds_batch_rows")
    return Figures(
        seconds=seconds,
        restarted=window.restarted,
        rows_per_s=rows,
        caught_per_s=caught,
        caught=caught / rows if rows else None,
        failed=failed(window),
        actions_per_s=window.rates("aimds_rows_total", "action"),
        threats_per_s=window.rates("aimds_threats_by_type", "threat_type"),
        latency=Times.of(window.histogram(latency), seconds),
        latency_by_route={route: Times.of(found, seconds) for route, found in routes.items() if found.count},
        batches=Batches(
            sizes.count / seconds,
            sizes.mean,
            sizes.at_most(0.5),
            sizes.at_most(0.99),
            Times.of(window.histogram("aimds_batch_seconds"), seconds),
        ),
        queue_rows=now.total("aimds_queue_rows"),
        queue_bytes=now.total("aimds_queue_bytes"),
        connections=now.sums("aimds_active_connections", "transport"),
        open_requests=now.total("aimds_active_requests"),
        sessions_held=now.sums("aimds_sessions_held", "session_action"),
        shed_per_s=window.rates("aimds_shed_rows_total", "reason"),
        not_judged_per_s=window.rate("aimds_rows_not_judged_total"),
        denied_per_s=window.rates("aimds_denied_total", "reason"),
        closed_per_s=window.rates("aimds_connections_closed_total", "reason"),
        unread_per_s=window.rate("aimds_answers_unread_total"),
        requests_per_s=_requests(window),
        handed_on_per_s=window.rates("aimds_rows_handed_on", "to"),
        review_per_s=window.rates("aimds_review_rows_total", "outcome"),
        review_items=now.sums("aimds_review_items", "state"),
        violations_per_s=window.rates("aimds_policy_violations", "policy"),
        sessions_not_judged_per_s=window.rates("aimds_policy_sessions_not_judged", "policy"),
        owed_at_end_per_s=window.rates("aimds_policy_owed_at_end", "policy"),
        routed_per_s=window.rates("aimds_routed_requests_total", "tier"),
        routed_cost_per_s=window.rates("aimds_routed_cost_total", "tier"),
        drift_alarms=sum(window.increases("aimds_drift_alarms_total").values()),
        shard_calls_failed=window.increases("aimds_shard_calls_failed", "method"),
        follow_ups_per_s=window.rates("aimds_follow_ups_total", "event"),
        follow_ups_waiting=now.sums("aimds_follow_ups_waiting", "what"),
        follow_ups_late=window.increases("aimds_follow_ups_late_total", "at"),
        follow_up_errors=window.increases("aimds_follow_up_errors_total", "work"),
        follow_up_times=Times.of(window.histogram("aimds_follow_up_seconds"), seconds),
    )


def failed(window: Window) -> float | None:
    """The share of the rows offered in ``window`` that got no verdict; None if there were none."""
    rows, shed = window.rate("aimds_rows_total"), window.rate("aimds_shed_rows_total")
    offered = rows + shed
    return (window.rate("aimds_rows_not_judged_total") + shed) / offered if offered else None


def slow(window: Window) -> float | None:
    """The share of the verdicts in ``window`` that came later than OBJECTIVE_S; None if there were none."""
    return window.histogram("aimds_detection_latency_seconds").above(OBJECTIVE_S)


def late(window: Window) -> float | None:
    """The share of urgent follow-up work that ended in ``window`` after its deadline; None if none ended."""
    missed = ended = 0.0
    for level in URGENT:
        where = ("level", level)
        missed += window.increases("aimds_follow_ups_late_total", "at", where).get("completion", 0.0)
        ended += window.increases("aimds_follow_ups_total", "event", where).get("completed", 0.0)
    return missed / ended if ended else None


def caught(sample: Sample) -> float | None:
    """The share of rows that were not allowed since the gateway began; None if there were none."""
    rows = sample.total("aimds_rows_total")
    return sample.total("aimds_threats_detected_total") / rows if rows else None


def _requests(window: Window) -> dict[str, float]:
    found: dict[str, float] = {}
    for route in window.last.sums("aimds_requests_total", "route"):
        if route not in ASIDE:
            for status, n in window.increases("aimds_requests_total", "status", ("route", route)).items():
                found[status] = found.get(status, 0.0) + n / window.seconds
    return found
