"""Render the chart by Helm's own code: a list of values from stdin, what became of each to stdout, as JSON.

In a process of its own, since Helm brings a runtime along.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def rendered(chart: Any, values: dict[str, Any]) -> dict[str, Any]:
    """``{"files": …}``, or ``{"error": …}`` where the chart refuses the values."""
    from helm_python.errors import HelmError

    try:
        return {"files": chart.render(values, name="aimds", namespace="screening")}
    except HelmError as error:
        return {"error": str(error)}


def main() -> None:
    """Load the chart once, then render it for each of the values; the last entry is what lint says."""
    from helm_python.chart import Chart, lint

    with Chart.load(sys.argv[1]) as chart:
        found = [rendered(chart, values) for values in json.load(sys.stdin)]
    json.dump([*found, lint(sys.argv[1], {}, strict=True)], sys.stdout)


if __name__ == "__main__":
    main()
