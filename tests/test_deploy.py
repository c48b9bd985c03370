"""What is shipped to watch a gateway names metrics that exist, and the documentation names them all."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from aimds.metrics import Metrics

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/aimds.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/aimds.json"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")


def exposed() -> set[str]:
    """Names of all samples that a gateway can expose."""
    names = set()
    for family in Metrics().registry.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + ending for ending in endings}
    return names


def named(text: str) -> set[str]:
    words = "".join(char if char in _NAME else " " for char in text).split()
    return {word for word in words if word.startswith("aimds_")}


def test_rules_and_dashboard_name_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    for text in (RULES.read_text(encoding="utf-8"), expressions):
        assert named(text)
        assert named(text) - exposed() == set()


def test_recorded_series_that_the_dashboard_shows_are_recorded() -> None:
    rules = RULES.read_text(encoding="utf-8")
    shown = [
        word for word in DASHBOARD.read_text(encoding="utf-8").replace('"', " ").split() if word.startswith("aimds:")
    ]
    assert shown
    assert [name for name in shown if f"record: {name}\n" not in rules] == []


def test_every_metric_is_documented() -> None:
    told = named((ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    families = {family.name for family in Metrics().registry.collect()}
    assert {name for name in families if not told & {name, f"{name}_total"}} == set()


def test_the_dashboard_is_what_its_code_writes() -> None:
    made = runpy.run_path(str(ROOT / "deploy/grafana/dashboard.py"))["dashboard"]()
    assert json.loads(DASHBOARD.read_text(encoding="utf-8")) == made
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len(set(places)) == len(places)


def test_alerts_say_what_to_do_under_headings_that_exist() -> None:
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rules = RULES.read_text(encoding="utf-8")
    alerts = [line.split()[-1] for line in rules.splitlines() if line.strip().startswith("- alert:")]
    assert len(alerts) == rules.count("action:") == rules.count("summary:")
    assert [alert for alert in alerts if f"`{alert}`" not in operations] == []
    for part in rules.split("docs/operations.md, ")[1:]:
        assert f"**{part.split('.')[0]}**" in operations


def test_every_alert_names_a_section_of_the_runbook() -> None:
    rules = RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    parts = {part.split("\n")[0].lower().replace(" ", "-"): part for part in runbook.split("\n## ")[1:]}
    for rule in rules:
        alert, _, rest = rule.partition("\n")
        page, _, anchor = rest.partition("runbook_url: ")[2].split()[0].partition("#")
        assert page == "docs/runbook.md"
        assert f"`{alert}`" in parts[anchor]


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian: prometheus)")
    for command in (["check", "rules", RULES], ["test", "rules", RULES.with_name("aimds.rules.test.yml")]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
