"""The screen of `aimds top`: what stands where, in which colour, at any width. No text from outside steers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aimds.cli.top_alerts import FAST_BURN, PAGE, SLOW_BUDGET
from aimds.cli.top_figures import Figures, Times
from aimds.cli.top_watch import Shown
from aimds.printable import visible

ABREAST = 76
"""Columns from which the tables of actions and threats stand side by side."""
NARROW = 64
"""Below it the table of latencies has its most important columns only."""
MOST_ROWS = 8
_BAR = 10
_TREND = 24
_STATES = {"ready": "bold green", "draining": "bold yellow"}
_ACTIONS = {"allow": "green", "flag": "yellow", "redact": "blue", "block": "bold red"}
_LEVELS, _BLOCK, _ASCII_BLOCK = "▁▂▃▄▅▆▇█", "█", "#"


def view(shown: Shown, at: datetime, width: int, *, ascii_only: bool = False) -> RenderableType:
    """``shown`` as it is to be printed ``at`` on ``width`` columns."""
    parts: list[RenderableType] = [_title(shown, at)]
    if shown.lost is not None:
        parts.append(_banner("NO ANSWER", f"for {shown.lost_s:,.0f} s, still trying: {shown.lost}", "white on red"))
    showing = () if shown.lost is not None else shown.alerts
    for one in showing[:MOST_ROWS]:
        style = "white on red" if one.severity == PAGE else "black on yellow"
        parts.append(_banner(one.severity.upper(), f"{one.name}: {one.summary}", style))
    if len(showing) > MOST_ROWS:
        parts.append(Text(f"and {len(showing) - MOST_ROWS} more", style="dim"))
    found = shown.figures
    if found is None:
        return Group(*parts, Text("counting …", style="dim"))
    names = frozenset(one.name for one in showing)
    block = _ASCII_BLOCK if ascii_only else _BLOCK
    parts += [Text(), _summary(found, shown.trend, names, ascii_only), Text()]
    actions = _bars("action", found.actions_per_s, block, _ACTIONS)
    threats = _bars("threat caught", found.threats_per_s, block, {})
    if width >= ABREAST:
        both = Table.grid(padding=(0, 4, 0, 0))
        both.add_row(actions, threats)
        parts.append(both)
    else:
        parts += [actions, Text(), threats]
    parts += [Text(), _latency(found, "AimdsSlow" in names, brief=width < NARROW)]
    return Group(*parts)


def _title(shown: Shown, at: datetime) -> Text:
    line = Text("aimds top", style="bold")
    line.append(f"  {visible(shown.url, 60)}  ", style="not bold")
    line.append(shown.state, style=_STATES.get(shown.state, "bold red"))
    line.append(f"  version {visible(shown.version, 30)}", style="not bold dim")
    over = "" if shown.figures is None else f", {shown.figures.seconds:.1f} s"
    line.append(f"  {at:%H:%M:%S}{over}", style="not bold dim")
    if shown.figures is not None and shown.figures.restarted:
        line.append("  restarted: counted from its start", style="bold yellow")
    return line


def _banner(word: str, told: str, style: str) -> Text:
    line = Text(f" {word} ", style=f"bold {style}")
    line.append(" " + visible(told, 400), style="default on default not bold")
    return line


def _summary(found: Figures, trend: Sequence[float], names: frozenset[str], ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = Text(f"{rate(found.rows_per_s)}/s", style="bold")
    if len(trend) > 1 and not ascii_only:
        rows.append("  " + sparkline(trend[-_TREND:]), style="not bold cyan")
    rows.append(f"  caught {share(found.caught)}", style="bold yellow" if "AimdsAttackWave" in names else "not bold")
    failing = names & {"AimdsVerdictsFailing", "AimdsVerdictsFailingFast"}
    rows.append(f"  no verdict {share(found.failed)}", style="bold red" if failing else "not bold")
    table.add_row("rows", rows)
    queue = Text(f"{found.queue_rows:,.0f} rows", style="bold yellow" if "AimdsQueueGrows" in names else "")
    queue.append(f" ({size(found.queue_bytes)}), open requests: {found.open_requests:,.0f}", style="default not bold")
    if connections := _listed(found.connections, "{:,.0f}"):
        queue.append(f", connections: {connections}", style="default not bold")
    table.add_row("queue", queue)
    batches, times = found.batches, found.batches.times
    if batches.per_s:
        sizes = f"{rate(batches.per_s)}/s, {_or_dash(batches.rows_mean, '{:,.1f}')} rows each"
        most = "above all buckets" if batches.rows_p99_at_most is None else f"at most {batches.rows_p99_at_most:,.0f}"
        table.add_row("batches", f"{sizes} (p99 {most}), {_quantiles(times)}")
    else:
        table.add_row("batches", "none")
    shed = {**found.shed_per_s, "not judged": found.not_judged_per_s}
    table.add_row("no verdict", Text(_listed(shed) or "none", style="red" if any(shed.values()) else ""))
    denied = Text(_listed(found.denied_per_s) or "none", style="yellow" if "AimdsDeniedBurst" in names else "")
    table.add_row("denied", denied)
    if closed := _listed({**found.closed_per_s, "answers unread": found.unread_per_s}):
        table.add_row("cut off", Text(closed, style="yellow" if "AimdsConnectionsCutOff" in names else ""))
    table.add_row("answers", _listed(found.requests_per_s) or "none")
    people = (
        ("held", _listed(found.sessions_held, "{:,.0f}")),
        ("handed on", _listed(found.handed_on_per_s)),
        ("review", _listed(found.review_per_s)),
        ("waiting", _listed(found.review_items, "{:,.0f}")),
    )
    policies = (
        ("broken", _listed(found.violations_per_s)),
        ("not judged", _listed(found.sessions_not_judged_per_s)),
        ("owed at the end", _listed(found.owed_at_end_per_s)),
        ("drift alarms", f"{found.drift_alarms:,.0f}" if found.drift_alarms else ""),
        ("shards failed", _listed(found.shard_calls_failed, "{:,.0f}")),
    )
    upkeep = (
        ("", _listed(found.follow_ups_per_s)),
        ("waiting for", _listed(found.follow_ups_waiting, "{:,.0f}")),
        ("late at", _listed(found.follow_ups_late, "{:,.0f}")),
        ("failed", _listed(found.follow_up_errors, "{:,.0f}")),
        ("", _quantiles(found.follow_up_times) if found.follow_up_times.per_s else ""),
    )
    routing = (
        ("to", _listed(found.routed_per_s)),
        ("cost a second", _listed(found.routed_cost_per_s, "{:,.4f}")),
    )
    bad = {"people": "AimdsReviewOverdue", "follow-up": "AimdsFollowUps"}
    for title, parts in (("people", people), ("sessions", policies), ("follow-up", upkeep), ("routing", routing)):
        told = "; ".join(f"{name} {what}".strip() for name, what in parts if what)
        is_bad = title in bad and any(name.startswith(bad[title]) for name in names)
        if told:
            table.add_row(title, Text(told, style="yellow" if is_bad else ""))
    return table


def _bars(title: str, rates: Mapping[str, float], block: str, styles: Mapping[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(title, max_width=24, no_wrap=True, overflow="ellipsis")
    for name in ("rows/s", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    total = sum(rates.values())
    ordered = [(name, value) for name, value in sorted(rates.items(), key=lambda one: (-one[1], one[0])) if value]
    for name, value in ordered[:MOST_ROWS]:
        style = styles.get(name, "")
        bar = block * max(1, round(value / total * _BAR))
        table.add_row(Text(visible(name, 40), style=style), rate(value), f"{value / total:.1%}", Text(bar, style))
    if len(ordered) > MOST_ROWS:
        table.add_row(Text(f"and {len(ordered) - MOST_ROWS} more", style="dim"), "", "", "")
    if not ordered:
        table.add_row(Text("none", style="dim"), "", "", "")
    return table


def _latency(found: Figures, slow: bool, *, brief: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("latency", max_width=24, no_wrap=True, overflow="ellipsis")
    for name in ("p50", "p99", ">50 ms") if brief else ("answers/s", "p50", "p90", "p99", ">50 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    routes = sorted(found.latency_by_route.items(), key=lambda one: (-one[1].per_s, one[0]))
    for name, one in routes if len(routes) == 1 else [("all", found.latency), *routes[:MOST_ROWS]]:
        p50, p90, p99 = (duration(value, one.most_s) for value in (one.p50_s, one.p90_s, one.p99_s))
        late = Text(share(one.slow), style="bold red" if slow and (one.slow or 0.0) > FAST_BURN * SLOW_BUDGET else "")
        table.add_row(Text(visible(name, 40)), *((p50, p99) if brief else (rate(one.per_s), p50, p90, p99)), late)
    return table


def _quantiles(times: Times) -> str:
    return f"p50 {duration(times.p50_s, times.most_s)}, p99 {duration(times.p99_s, times.most_s)}"


def _listed(values: Mapping[str, float], form: str = "") -> str:
    """What is not 0, with its name, the largest first; empty if there is nothing."""
    ordered = [(name, n) for name, n in sorted(values.items(), key=lambda one: (-one[1], one[0])) if n]
    told = [f"{visible(name, 40)} {form.format(n) if form else rate(n) + '/s'}" for name, n in ordered[:MOST_ROWS]]
    if len(ordered) > MOST_ROWS:
        told.append(f"and {len(ordered) - MOST_ROWS} more")
    return ", ".join(told)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def rate(value: float) -> str:
    """``value`` with about three digits that count."""
    if value == 0:
        return "0"
    for limit, form in ((1.0, "{:.2f}"), (100.0, "{:.1f}"), (1e6, "{:,.0f}")):
        if value < limit:
            return form.format(value)
    return f"{value / 1e6:,.1f}M" if value < 1e12 else f"{value:.1e}"


def share(value: float | None) -> str:
    """``value`` in percent; a dash for None."""
    return _or_dash(value, "{:.2%}")


def duration(seconds: float | None, most: float | None = None) -> str:
    """``seconds`` as 4.1 ms or 2.5 s; with a sign where it is the most that could be told; a dash for None."""
    if seconds is None:
        return "–"
    sign = "≥" if most is not None and seconds >= most else ""
    if seconds >= 1:
        return f"{sign}{seconds:.3g} s"
    return f"{sign}{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{sign}{seconds * 1e3:.1f} ms"


def size(count: float) -> str:
    """``count`` bytes as 3.4 kB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:.0f} bytes"


def sparkline(values: Sequence[float]) -> str:
    """``values`` as one line of bars, the highest of full height."""
    most = max(values, default=0.0)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round(value / most * top) if most > 0 else 0] for value in values)
