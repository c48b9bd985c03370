"""Writes aimds.json, the Grafana dashboard of a gateway: `python deploy/grafana/dashboard.py`.

The dashboard is code, so that a panel is one line and a change can be read. Nothing is fetched; import the JSON into
Grafana and choose the Prometheus that reads /metrics.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${source}"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8
OVER = "[$__rate_interval]"

# Title, unit, what a reader learns from it, and the series: (PromQL, legend).
Panel = tuple[str, str, str, tuple[tuple[str, str], ...]]
PANELS: tuple[Panel, ...] = (
    (
        "Rows screened",
        "rows/s",
        "By action. A sudden change of the shares is a change of the traffic, the signatures or the policy.",
        ((f"sum by (action) (rate(aimds_rows_total{OVER}))", "{{action}}"),),
    ),
    (
        "Latency",
        "s",
        "From a row's arrival to its verdict.",
        tuple(
            (
                f"histogram_quantile({q}, sum by (le) (rate(aimds_detection_latency_seconds_bucket{OVER})))",
                f"p{q * 100:g}",
            )
            for q in (0.5, 0.9, 0.99, 0.999)
        ),
    ),
    (
        "Caught, by threat type",
        "rows/s",
        "Rows whose action was not allow.",
        ((f"sum by (threat_type) (rate(aimds_threats_by_type{OVER}))", "{{threat_type}}"),),
    ),
    (
        "Without a verdict",
        "rows/s",
        "Shed before they were judged, by reason, and rows with status error.",
        (
            (f"sum by (reason) (rate(aimds_shed_rows_total{OVER}))", "shed: {{reason}}"),
            (f"sum(rate(aimds_rows_not_judged_total{OVER}))", "not judged"),
        ),
    ),
    (
        "Burn rate of the objective (99.9 % of rows judged)",
        "x",
        "1 spends the budget of 30 days in 30 days; 14.4 pages.",
        (
            ("aimds:rows_failed:ratio5m / 0.001", "5 min"),
            ("aimds:rows_failed:ratio1h / 0.001", "1 h"),
            ("aimds:rows_failed:ratio6h / 0.001", "6 h"),
        ),
    ),
    (
        "Queue",
        "rows",
        "Rows that wait. A queue that stays means that more comes than can be judged.",
        (("sum by (instance) (aimds_queue_rows)", "{{instance}}"),),
    ),
    (
        "Batch size",
        "rows",
        "Mean rows in a batch. It grows with the load: that is what batching is for.",
        (
            (
                f"sum(rate(aimds_batch_rows_sum{OVER})) / sum(rate(aimds_batch_rows_count{OVER}))",
                "mean",
            ),
        ),
    ),
    (
        "Time a batch takes",
        "s",
        "Screening alone, without the wait before it.",
        (
            (f"histogram_quantile(0.5, sum by (le) (rate(aimds_batch_seconds_bucket{OVER})))", "p50"),
            (f"histogram_quantile(0.99, sum by (le) (rate(aimds_batch_seconds_bucket{OVER})))", "p99"),
        ),
    ),
    (
        "Connections and requests",
        "",
        "Open connections by transport, and requests that are not answered in full.",
        (
            ("sum by (transport) (aimds_active_connections)", "{{transport}}"),
            ("sum(aimds_active_requests)", "requests"),
        ),
    ),
    (
        "Requests",
        "req/s",
        "By route and status.",
        ((f"sum by (route, status) (rate(aimds_requests_total{OVER}))", "{{route}} {{status}}"),),
    ),
    (
        "Denied",
        "req/s",
        "By reason; the audit log has a line for each.",
        ((f"sum by (reason) (rate(aimds_denied_total{OVER}))", "{{reason}}"),),
    ),
    (
        "Cut off",
        "1/s",
        "Connections refused or closed, and answers that broke off since nobody read them.",
        (
            (f"sum by (reason) (rate(aimds_connections_closed_total{OVER}))", "connections, {{reason}}"),
            (f"sum(rate(aimds_answers_unread_total{OVER}))", "answers unread"),
        ),
    ),
    (
        "Follow-up deadlines missed",
        "1/s",
        "By class, when work began and when it ended late. Anything but nothing in critical is worth a look.",
        (
            (
                f"sum by (level, at) (rate(aimds_follow_ups_late_total{OVER}))",
                "{{level}}, at {{at}}",
            ),
        ),
    ),
    (
        "Follow-up work",
        "1/s",
        "Done, refused since it could not be done in time, cancelled, without room, failed.",
        (
            (
                f'sum by (event) (rate(aimds_follow_ups_total{{event!~"pushed|dispatched"}}{OVER}))',
                "{{event}}",
            ),
            (f"sum by (work) (rate(aimds_follow_up_errors_total{OVER}))", "failed: {{work}}"),
        ),
    ),
    (
        "Time that follow-up work takes",
        "s",
        "The slowest percent, by work.",
        (
            (
                f"histogram_quantile(0.99, sum by (le, work) (rate(aimds_follow_up_seconds_bucket{OVER})))",
                "{{work}}",
            ),
        ),
    ),
    (
        "Review",
        "items",
        "Items that wait for people, and those past the time that their severity allows.",
        (("max by (state) (aimds_review_items)", "{{state}}"),),
    ),
    (
        "Share of rows caught",
        "percentunit",
        "Against the same hour of the day before.",
        (
            (
                f"sum(rate(aimds_threats_detected_total{OVER})) / sum(rate(aimds_rows_total{OVER}))",
                "now",
            ),
            (
                "sum(rate(aimds_threats_detected_total[1h] offset 1d)) / sum(rate(aimds_rows_total[1h] offset 1d))",
                "a day ago",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "title": "AIMDS gateway",
        "uid": "aimds-gateway",
        "schemaVersion": 39,
        "tags": ["aimds"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    title, unit, says, series = panel
    place = {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
    targets = [
        {"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
        for i, (expr, legend) in enumerate(series)
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


if __name__ == "__main__":
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    (Path(__file__).parent / "aimds.json").write_text(text, encoding="utf-8")
