"""`aimds train`: labelled Parquet in, a model file with its card out."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def train(
        data: Path = typer.Argument(help="Parquet file with columns text, label (0/1), category, source."),
        out: Path = typer.Option(Path("model.npz"), "-o", "--out", help="Where to write the model."),
        terms: str = typer.Option("", help="Keep only rows whose `terms` column equals this, for example permissive."),
        bits: int = typer.Option(19, help="2 ** bits hashed features."),
        cost: float = typer.Option(3.0, help="Penalty C of a mean row."),
        folds: int = typer.Option(5, help="Groups of sources for out-of-fold scores."),
        seed: int = typer.Option(0, help="Order of the rows; the same seed gives the same file."),
        overwrite: bool = typer.Option(False, help="Replace an existing file."),
        as_json: bool = typer.Option(False, "--json", help="Print the model card as JSON."),
    ) -> None:
        """Train the classifier on labelled text and calibrate all stages, each source judged by a model that never saw it.

        Example: aimds train corpus.parquet --terms permissive -o model.npz
        """
        import json
        import sys

        from aimds.errors import DataError
        from aimds.jobs import corpus
        from aimds.jobs import train as job

        if out.exists() and not overwrite:
            raise DataError(out, "exists; pass --overwrite to replace it")
        if not out.parent.is_dir():
            raise DataError(out.parent, "no such folder")
        config = job.TrainConfig(bits=bits, cost=cost, folds=folds, seed=seed)
        labelled = corpus.read(data, terms=terms or None)
        model = job.train(labelled, config, lambda text: print(text, file=sys.stderr, flush=True))
        partial = out.with_name(out.name + ".partial")
        job.write(model, partial)
        partial.replace(out)
        if as_json:
            print(json.dumps({"model": str(out), **model.card}))
        else:
            print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
