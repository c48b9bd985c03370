"""Counters, gauges and histograms of a running gateway, in a registry of their own, as Prometheus reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def observed(histogram: Histogram, value: float, times: int) -> None:
    """Have ``histogram``, one without labels or a child of one with them, observe ``value`` so many times."""
    if times == 1:
        histogram.observe(value)
        return
    # The library has no call for this; a test looks whether its members are still these.
    histogram._sum.inc(value * times)
    histogram._buckets[bisect_left(histogram._upper_bounds, value)].inc(times)


class Metrics:
    """What a gateway counts. Names and labels are fixed; a label never holds anything a client can choose freely."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows_seen = self.rows_caught = 0
        """Rows judged, and those whose action was not allow: the same as in two counters, for who reads them here."""
        r = self.registry
        self.requests = Counter("aimds_requests", "Requests by route and status.", ("route", "status"), registry=r)
        self.rows = Counter("aimds_rows", "Rows screened, by action.", ("action",), registry=r)
        self.latency = Histogram(
            "aimds_detection_latency_seconds",
            "From a row's arrival to its verdict.",
            ("route",),
            buckets=SECONDS,
            registry=r,
        )
        self.threats = Counter("aimds_threats_detected", "Rows whose action was not allow.", registry=r)
        # A gauge for its name: a counter's would end in _total.
        self.by_type = Gauge(
            "aimds_threats_by_type", "Rows whose action was not allow, by threat type.", ("threat_type",), registry=r
        )
        self.connections = Gauge("aimds_active_connections", "Open connections.", ("transport",), registry=r)
        self.closed = Counter(
            "aimds_connections_closed",
            "Connections that were refused or closed, by transport and reason.",
            ("transport", "reason"),
            registry=r,
        )
        self.unread = Counter(
            "aimds_answers_unread", "Answers that broke off since nobody read them.", ("transport",), registry=r
        )
        self.exchanges = Gauge("aimds_active_requests", "Requests that are not answered in full.", registry=r)
        self.batch_rows = Histogram("aimds_batch_rows", "Rows in a batch.", buckets=ROWS, registry=r)
        self.batch_seconds = Histogram("aimds_batch_seconds", "Time to screen a batch.", buckets=SECONDS, registry=r)
        self.queue_rows = Gauge("aimds_queue_rows", "Rows that wait.", registry=r)
        self.queue_bytes = Gauge("aimds_queue_bytes", "Bytes of text that wait.", registry=r)
        self.shed = Counter("aimds_shed_rows", "Rows without a verdict, by reason.", ("reason",), registry=r)
        self.errors = Counter("aimds_rows_not_judged", "Rows with status error.", registry=r)
        self.held = Gauge("aimds_sessions_held", "Sessions held, by session action.", ("session_action",), registry=r)
        self.handed = Gauge(
            "aimds_rows_handed_on", "Rows that notify was told of, or could not be told of.", ("to",), registry=r
        )
        self.broken = Gauge(
            "aimds_policy_violations", "Sessions that broke a policy over sessions.", ("policy",), registry=r
        )
        self.unfollowed = Gauge(
            "aimds_policy_sessions_not_judged",
            "Sessions that a policy could not judge to their end.",
            ("policy",),
            registry=r,
        )
        self.owed = Gauge(
            "aimds_policy_owed_at_end", "Sessions that broke a policy by their end.", ("policy",), registry=r
        )
        self.shards_failed = Gauge(
            "aimds_shard_calls_failed", "Calls to shards of sessions that came to nothing.", ("method",), registry=r
        )
        self.review = Counter(
            "aimds_review_rows", "Rows for people to decide, by what became of them.", ("outcome",), registry=r
        )
        self.review_open = Gauge(
            "aimds_review_items",
            "Items of the review queue that wait, and those past their time.",
            ("state",),
            registry=r,
        )
        self.drift_alarms = Counter(
            "aimds_drift_alarms", "Times that clearly more rows were caught than before.", registry=r
        )
        self.denied = Counter("aimds_denied", "Requests denied, by reason.", ("reason",), registry=r)
        self.follow_ups = Counter(
            "aimds_follow_ups", "Follow-up work, by class and what became of it.", ("level", "event"), registry=r
        )
        self.follow_ups_late = Counter(
            "aimds_follow_ups_late", "Deadlines missed, by class and where it was seen.", ("level", "at"), registry=r
        )
        self.follow_ups_waiting = Gauge(
            "aimds_follow_ups_waiting", "Follow-up work that waits for its turn or its time.", ("what",), registry=r
        )
        self.follow_up_seconds = Histogram(
            "aimds_follow_up_seconds", "Time that a piece of work takes.", ("work",), buckets=SECONDS, registry=r
        )
        self.follow_up_errors = Counter(
            "aimds_follow_up_errors", "Pieces of work that failed or were lost.", ("work",), registry=r
        )
        self.routed = Counter(
            "aimds_routed_requests", "Requests by the model tier chosen and why.", ("tier", "reason"), registry=r
        )
        self.routed_cost = Counter(
            "aimds_routed_cost", "What answers cost, by tier, in the currency of the tiers.", ("tier",), registry=r
        )

    def screened(self, actions: Iterable[tuple[str, int]], threats: Iterable[tuple[str, int]], unjudged: int) -> None:
        """Count the rows of a batch: (action, rows), (threat type, rows that were not allowed), rows with an error."""
        for action, n in actions:
            self.rows.labels(action).inc(n)
            self.rows_seen += n
        caught = 0
        for threat, n in threats:
            self.by_type.labels(threat).inc(n)
            caught += n
        self.threats.inc(caught)
        self.rows_caught += caught
        if unjudged:
            self.errors.inc(unjudged)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return bytes(generate_latest(self.registry))
