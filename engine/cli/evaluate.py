"""`aimds evaluate`: what the detector finds, misses and falsely flags on labelled files, suite by suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from aimds.cli.startup import BACKEND

EXIT_INCOMPLETE = 1


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def evaluate(
        paths: list[Path] = typer.Argument(
            None, help="Labelled Parquet files, or folders of them; files with spans_json feed the suite pii."
        ),
        suite: list[str] = typer.Option(
            ["files"],
            help="files, robustness, overdefence, fewshot, removal, throughput, pii (commas or repeated), or all.",
        ),
        reference: str = typer.Option(
            "", help="File (without .parquet) whose benign rows set the thresholds; default: the one named clean_dev."
        ),
        fpr: list[float] = typer.Option([0.01, 0.001], help="False-positive rates to judge at; repeat for several."),
        recall: list[float] = typer.Option([], help="Macro recalls to judge false positives at; repeat for several."),
        profile: list[str] = typer.Option(
            ["cascade"], help="fast, cascade or full. The first judges; the suite throughput times each. Repeatable."
        ),
        backend: str = typer.Option("auto", help=BACKEND),
        model: Path | None = typer.Option(None, help="A folder `aimds train` wrote, instead of the shipped model."),
        out_of_fold: bool = typer.Option(
            False, "--out-of-fold", help="Show what the model's training measured on sources it left out."
        ),
        overdefence: list[Path] = typer.Option([], help="More files of harmless look-alikes; one text a row."),
        sample: int = typer.Option(100, help="Attacks of each file for robustness, fewshot and removal; 0 for all."),
        seed: int = typer.Option(0, help="Of samples, disguises and the bootstrap."),
        html: Path | None = typer.Option(None, help="Write one HTML page with plots."),
        as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Judge the detector on labelled text; rates carry 95% intervals.

        Exit code 0: all rows judged; 1: some could not be, so the figures are incomplete; 2: bad input.

        Examples:

            aimds evaluate devset/ --fpr 0.01 --fpr 0.001

            aimds evaluate devset/ pii.parquet --suite all --html page.html

            aimds evaluate --out-of-fold --model model/
        """
        import json

        from aimds import kernels
        from aimds.cli import evaluation
        from aimds.cli.startup import warm_up
        from aimds.errors import ConfigError
        from aimds.jobs.evaluate import card, run
        from aimds.jobs.report import check
        from aimds.screener import Screener

        settings = run.Settings(
            suites=tuple(name for part in suite for name in part.split(",")),
            reference=reference,
            rates=tuple(fpr),
            recalls=tuple(recall),
            sample=sample,
            seed=seed,
            overdefence=tuple(overdefence),
        )
        if html is not None:
            check(html)
        if not paths and not out_of_fold and settings.suites != ("overdefence",):
            raise ConfigError("paths", "", "labelled Parquet files or folders of them, or --out-of-fold")
        result: dict[str, Any] = {}
        if paths or not out_of_fold:
            material = run.read(paths or [])
            kernels.backend(backend)
            warm_up()
            screeners: dict[str, run.Subject] = {}
            for asked in profile:
                made = Screener.default(profile=asked, cache_bytes=0, model=model, backend=backend)
                if made.profile != asked:
                    print(f"this model has no deep stage: {asked} runs as {made.profile}", file=sys.stderr)
                screeners.setdefault(made.profile, made)
            with evaluation.bars() as progress:
                result = run.run(screeners, material, settings, progress)
        if out_of_fold:
            result["out_of_fold"] = card.out_of_fold(model)
        if as_json:
            print(json.dumps(result))
        else:
            evaluation.show(result)
        if html is not None:
            from aimds.jobs.evaluate.page import render
            from aimds.jobs.report import write

            write(html, render(result))
            print(f"wrote {html}", file=sys.stderr)
        if result.get("could_not_judge"):
            raise typer.Exit(EXIT_INCOMPLETE)
