"""`aimds evaluate`: detection and false positives on labelled files, with exact intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def evaluate(
        paths: list[Path] = typer.Argument(help="Labelled Parquet files, or folders of them."),
        reference: str = typer.Option(
            "", help="File (without .parquet) whose benign rows set the thresholds; default: the one named clean_dev."
        ),
        fpr: list[float] = typer.Option([0.01, 0.001], help="False-positive rates to judge at; repeat for several."),
        recall: list[float] = typer.Option([], help="Macro recalls to judge false positives at; repeat for several."),
        model: Path | None = typer.Option(None, help="A folder `aimds train` wrote, instead of the shipped model."),
        as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Judge the detector on labelled text: one row per file, rates with Clopper–Pearson intervals at 95%.

        Example: aimds evaluate devset/ --fpr 0.01 --fpr 0.001
        """
        import json

        from rich.console import Console
        from rich.progress import Progress

        from aimds.cli.startup import warm_up
        from aimds.jobs import corpus
        from aimds.jobs import evaluate as job
        from aimds.screener import Screener

        found = [corpus.read(path) for path in job.files(paths)]
        names = [item.name for item in found]
        chosen = reference or next((name for name in names if name == "clean_dev"), "")
        chosen = chosen or next((item.name for item in found if (item.label == 0).any()), names[0])
        warm_up()
        screener = Screener.default(cache_bytes=0, model=model)
        errors = Console(stderr=True)
        with Progress(console=errors, transient=True) as progress:
            task = progress.add_task("screening", total=sum(len(item) for item in found))
            judged = [job.judge(screener, item, lambda rows: progress.advance(task, rows)) for item in found]
        result = job.evaluate(judged, reference=chosen, rates=fpr, recalls=recall)
        result["versions"] = screener.versions
        if as_json:
            print(json.dumps(result))
        else:
            _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from aimds.printable import visible

    columns = ["flag", "block", *result["thresholds"]]
    titles = {"flag": "flagged\nas shipped", "block": "blocked\nas shipped"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("file", "rows", "n"):
        table.add_column(name, justify="right" if name == "n" else "left", no_wrap=True)
    for name in columns:
        table.add_column(titles.get(name, f"at {name.replace('fpr', 'FPR')}"), justify="right", no_wrap=True)
    for row in result["rows"]:
        cells = [
            f"{100 * row[name]['rate']:.2f} [dim]{100 * row[name]['low']:.1f}–{100 * row[name]['high']:.1f}[/dim]"
            for name in columns
        ]
        table.add_row(escape(visible(row["file"], 60)), row["group"], f"{row['n']:,}", *cells)
    console = Console(width=None)
    console.print(table)
    if result["macro_detection"]:
        parts = [
            f"{titles.get(name, 'at ' + name)} {100 * value:.1f}" for name, value in result["macro_detection"].items()
        ]
        console.print("macro detection, %: " + " · ".join(parts).replace("\n", " "))
    clean, file = result["reference"]["n"], escape(visible(result["reference"]["file"], 60))
    console.print(
        "rates in %, 95% Clopper–Pearson intervals; thresholds at a stated FPR are set on the "
        f"{clean:,} benign rows of {file}; harmful_request rows are judged by the harmful score"
    )
    if result["could_not_judge"]:
        console.print(f"[bold]{result['could_not_judge']} rows could not be judged[/bold]")
