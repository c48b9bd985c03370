"""The result of an evaluation in tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from aimds.cli import terminal
from aimds.jobs.evaluate.card import mean_detection, profiles, size
from aimds.jobs.evaluate.points import SHIPPED
from aimds.printable import counted, visible

Result = dict[str, Any]
NAME_WIDTH = 60


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on stderr, one a suite; gone at the end."""
    tasks: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:

        def tell(suite: str, done: int, total: int) -> None:
            if suite not in tasks:
                tasks[suite] = progress.add_task(suite, total=total)
            progress.update(tasks[suite], completed=done, total=total)

        yield tell


def show(result: Result) -> None:
    """Print every part that ``result`` holds."""
    console = terminal.console(highlight=True)
    for key, draw in _PARTS.items():
        if key in result:
            draw(console, result)
    for suite, reason in result.get("left_out", {}).items():
        console.print(f"{suite} left out: {escape(reason)}")
    if result.get("could_not_judge"):
        console.print(f"[bold]{counted(result['could_not_judge'], 'row')} could not be judged[/bold]")


def _files(console: Console, result: Result) -> None:
    columns = [*SHIPPED, *result["thresholds"]]
    _rates(console, ["file", "rows"], columns, [([r["file"], r["group"]], r["n"], r) for r in result["rows"]])
    many = {row["file"] for row in result["sources"]}
    rows = [([row["source"], row["group"]], row["n"], row) for row in result["sources"]]
    if len({(row["file"], row["source"]) for row in result["sources"]}) > len(many):
        _rates(console, ["source", "rows"], columns, rows)
    for title, means in (("files", result["macro_detection"]), ("sources", result["macro_sources"])):
        if means:
            parts = [f"{_title(name)} {_mean(value)}" for name, value in means.items()]
            console.print(f"mean detection over {title}, %: " + " · ".join(parts))
    clean, file = result["reference"]["n"], _name(result["reference"]["file"])
    console.print(
        "rates in %, 95% Clopper–Pearson intervals; thresholds at a stated FPR are set on the "
        f"{clean:,} benign rows of {file}; harmful_request rows are judged by the harmful score"
    )


def _robustness(console: Console, result: Result) -> None:
    rows = result["robustness"]
    table = _table("disguise", right=("attacks", "detected plainly", "of them kept", "benign flagged"))
    for row in rows:
        table.add_row(
            _name(row["name"]), f"{row['n']:,}", f"{row['plain']:,}", _rate(row["kept"]), _rate(row["benign"])
        )
    console.print(terminal.uncut(table))
    console.print(f"robustness, %, at {_title(rows[0]['at']).removeprefix('at ')}; the other columns: --json")


def _overdefence(console: Console, result: Result) -> None:
    table = _table("harmless look-alikes", right=("n", "not flagged", "not blocked"))
    for row in result["overdefence"]:
        table.add_row(_name(row["set"]), f"{row['n']:,}", _rate(row["flag"]), _rate(row["block"]))
    console.print(terminal.uncut(table))


def _fewshot(console: Console, result: Result) -> None:
    columns = list(result["fewshot"][0]["benign_at"])
    titles = [title for name in columns for title in (_title(name, "\n"), "benign")]
    table = _table("source", right=("exemplars", "n", *titles, "seconds"))
    for row in result["fewshot"]:
        cells = [cell for name in columns for cell in (_rate(row[name]), _rate(row["benign_at"][name]))]
        table.add_row(_name(row["source"]), str(row["exemplars"]), f"{row['n']:,}", *cells, f"{row['seconds']:.2f}")
    console.print(terminal.uncut(table))


def _removal(console: Console, result: Result) -> None:
    found = result["removal"]
    table = _table("cut out", right=("score falls", "no longer flagged"))
    parts = (
        ("all evidence", found),
        ("that of the strongest stage", found["strongest"]),
        ("as much elsewhere", found["control"]),
    )
    for name, part in parts:
        table.add_row(name, _rate(part["score_falls"]), _rate(part["below_flag"]))
    console.print(terminal.uncut(table))
    console.print(f"{found['n']:,} flagged attacks with evidence, {found['unexplained']:,} without")


def _throughput(console: Console, result: Result) -> None:
    stages = list(dict.fromkeys(stage for row in result["throughput"] for stage in row["stages"]))
    table = _table("profile", right=("rows", "rows/s", "deep share", *(f"{name} s" for name in stages)))
    for row in result["throughput"]:
        deep = "–" if row["deep_share"] is None else f"{100 * row['deep_share']:.1f} %"
        times = [f"{row['stages'][name]:.2f}" if name in row["stages"] else "–" for name in stages]
        table.add_row(row["profile"], f"{row['rows']:,}", f"{row['rows_per_s']:,.0f}", deep, *times)
    console.print(terminal.uncut(table))


def _pii(console: Console, result: Result) -> None:
    table = _table("source", "entity", right=("labels", "recall", "found", "precision"))
    for row in result["pii"]:
        cells = (
            _pair(row, "recall") if row["covered"] else "not covered",
            f"{row['predicted']:,}",
            _pair(row, "precision"),
        )
        table.add_row(_name(row["source"]), _name(row["entity"]), f"{row['n']:,}", *cells)
    console.print(terminal.uncut(table))


def _out_of_fold(console: Console, result: Result) -> None:
    report = result["out_of_fold"]
    levels = ("0.01", "0.001")
    table = _table("left-out source", "label", "profile", right=("n", *(f"p ≤ {level}, %" for level in levels)))

    def add(name: str, label: str, n: str, rates: dict[str, Any]) -> None:
        for profile, share in profiles(rates).items():
            table.add_row(_name(name), label, profile, n, *(_share(share.get(level)) for level in levels))

    for row in sorted(report["sources"], key=lambda row: (-row["label"], row["source"])):
        add(row["source"], "attack" if row["label"] else "benign", f"{size(row):,}", row)
    table.add_section()
    macro = report["macro"]
    sources, detection = mean_detection(macro)
    add(f"mean over {sources} sources", "attack", "", detection)
    add("ordinary traffic, weighted", "benign", "", macro["false_alarms"])
    console.print(terminal.uncut(table))
    if report["ablation"]:
        steps = _table("stages", "profile", right=tuple(f"at FPR {level}, %" for level in levels))
        for step in report["ablation"]:
            title = step["stages"] if isinstance(step["stages"], str) else " + ".join(step["stages"])
            shares = (_share(step["detection"].get(level)) for level in levels)
            steps.add_row(_name(title), step.get("profile", ""), *shares)
        console.print(steps)
        console.print("mean detection over left-out sources as stages are added, at true false-positive rates")


_PARTS: dict[str, Callable[[Console, Result], None]] = {
    "rows": _files,
    "robustness": _robustness,
    "overdefence": _overdefence,
    "fewshot": _fewshot,
    "removal": _removal,
    "throughput": _throughput,
    "pii": _pii,
    "out_of_fold": _out_of_fold,
}


def _rates(
    console: Console, heads: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[list[str], int, Result]]
) -> None:
    table = _table(*heads, right=("n", *(_title(name, "\n") for name in columns)))
    for names, n, row in rows:
        table.add_row(*map(_name, names), f"{n:,}", *(_rate(row[name]) for name in columns))
    console.print(terminal.uncut(table))


def _table(*left: str, right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        # Where it gets narrow, names break before figures do.
        table.add_column(name, overflow="fold", min_width=9)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _name(text: str) -> str:
    return escape(visible(text, NAME_WIDTH))


def _title(column: str, gap: str = " ") -> str:
    if column in SHIPPED:
        return f"{'flagged' if column == 'flag' else 'blocked'}{gap}as shipped"
    kind, _, value = column.partition(" ")
    return f"at {kind.replace('fpr', 'FPR')}{gap}{value}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _rate(rate: dict[str, Any]) -> str:
    if rate["rate"] is None:
        return "–"
    return f"{100 * rate['rate']:.2f} [dim]{100 * rate['low']:.1f}–{100 * rate['high']:.1f}[/dim]"


def _pair(row: dict[str, Any], name: str) -> str:
    return _rate({"rate": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]})


def _mean(value: float | dict[str, float]) -> str:
    if isinstance(value, dict):
        return f"{100 * value['rate']:.1f} ({100 * value['low']:.1f}–{100 * value['high']:.1f})"
    return f"{100 * value:.1f}"
