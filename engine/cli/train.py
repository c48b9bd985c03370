"""`aimds train`: labelled Parquet in, a model file with its card out."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def train(
        data: Path = typer.Argument(help="Parquet file with columns text, label (0/1), category, source."),
        out: Path = typer.Option(Path("model"), "-o", "--out", help="Folder for model.npz, bank.npz, model_card.md."),
        terms: str = typer.Option("", help="Keep only rows whose `terms` column equals this, for example permissive."),
        bits: int = typer.Option(19, help="2 ** bits hashed features."),
        cost: float = typer.Option(2.0, help="Penalty C of a mean row."),
        folds: int = typer.Option(5, help="Groups of sources for out-of-fold scores."),
        seed: int = typer.Option(0, help="Order of the rows; the same seed gives the same files."),
        overwrite: bool = typer.Option(False, help="Replace existing files."),
        as_json: bool = typer.Option(False, "--json", help="Print the model card as JSON."),
    ) -> None:
        """Train the classifier on labelled text and calibrate all stages out of fold by source.

        Example: aimds train corpus.parquet --terms permissive -o model/
        """
        import json
        import sys

        from aimds.errors import DataError
        from aimds.jobs import corpus
        from aimds.jobs import train as job

        if out.exists() and not out.is_dir():
            raise DataError(out, "is a file; name a folder")
        model_file, bank_file = out / "model.npz", out / "bank.npz"
        for file in (model_file, bank_file):
            if file.exists() and not overwrite:
                raise DataError(file, "exists; pass --overwrite to replace it")
        config = job.TrainConfig(bits=bits, cost=cost, folds=folds, seed=seed)
        labelled = corpus.read(data, terms=terms or None)
        model, bank = job.train(labelled, config, lambda text: print(text, file=sys.stderr, flush=True))
        job.write(model, bank, out)
        if as_json:
            print(json.dumps({"model": str(model_file), "bank": str(bank_file), **model.card}))
        else:
            print(f"wrote {model_file} ({model_file.stat().st_size / 1e6:.1f} MB) and {bank_file}", file=sys.stderr)
