"""`aimds calibrate`: p-values that are right for one's own traffic, with the bound that it can bear."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aimds.cli.startup import BACKEND
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.calibrate import Outcome
    from aimds.jobs.calibrate.traffic import Sample

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def calibrate(
        inputs: list[str] = typer.Argument(
            metavar="INPUT...",
            help="Benign traffic: files, folders, globs, URLs as for scan; .txt: one text a line.",
        ),
        out: Path = typer.Option(Path("calibration"), "-o", "--out", metavar="DIR", help="Folder for the calibration."),
        text: str | None = typer.Option(None, "--text-column", metavar="COLUMN", help="Column to screen; guessed."),
        channel_column: str | None = typer.Option(
            None, "--channel-column", metavar="COLUMN", help="Column with the channel or role; guessed, - for none."
        ),
        channel: str = typer.Option("user", help="Channel of rows whose input names none."),
        trim: float = typer.Option(0.0, help="Share of the rarest texts to keep out of the fit, taken for attacks."),
        review: Path | None = typer.Option(None, metavar="FILE", help="Write the texts to look at as Parquet."),
        max_rows: int = typer.Option(200_000, help="Sample evenly above this many rows."),
        flag: float = typer.Option(0.01, help="p-value at which a row is flagged."),
        block: float = typer.Option(0.001, help="p-value at which a row is blocked."),
        profile: str = typer.Option("cascade", help="Profile the calibration is for: fast, cascade or full."),
        gray: float | None = typer.Option(
            None, metavar="P", help="p-value at which the gray zone of cascade begins; screen with the same."
        ),
        model: Path | None = typer.Option(None, help="A folder `aimds train` wrote, instead of the shipped model."),
        backend: str = typer.Option("auto", help=BACKEND),
        seed: int = typer.Option(0, help="Deals the texts out; the same seed gives the same files."),
        overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing calibration."),
        as_json: bool = typer.Option(False, "--json", help="Print the card as JSON."),
    ) -> None:
        """Recompute the benign tails of every stage on your own traffic.

        Two thirds of the texts are fitted to, one third judges: false alarms before and after, with their bound. The
        traffic should be benign; what looks like attacks in it is named.

        Example: aimds calibrate 'logs/*.parquet' -o calibration/ --review look.parquet
        """
        import json
        import sys
        from importlib.util import find_spec

        from rich.console import Console
        from rich.progress import Progress

        from aimds import kernels
        from aimds.cli.startup import warm_up
        from aimds.detect.calibration import CALIBRATION
        from aimds.detect.gray import GRAY
        from aimds.errors import ConfigError, DataError
        from aimds.jobs import calibrate as job
        from aimds.jobs.calibrate import traffic
        from aimds.jobs.scan import Columns
        from aimds.screener import Screener

        if find_spec("scipy") is None:
            raise ConfigError("scipy", "not installed", "pip install scipy; the intervals need it")
        if (out / CALIBRATION).exists() and not overwrite:
            raise DataError(out / CALIBRATION, "exists; pass --overwrite to replace it")
        if out.exists() and not out.is_dir():
            raise DataError(out, "is a file; name a folder")
        config = job.CalibrateConfig(flag=flag, block=block, trim=trim, seed=seed)
        reading = traffic.Reading(
            tuple(inputs), out, Columns(text=text, channel=channel_column), channel, max_rows, seed
        )
        kernels.backend(backend)
        warm_up()
        detector = Screener.default(
            profile=profile, gray=GRAY if gray is None else gray, model=model, cache_bytes=0, backend=backend
        ).detector
        sample = traffic.read(reading)
        for note in sample.notes:
            print(note, file=sys.stderr)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("screening", total=len(sample))
            outcome = job.calibrate(detector, sample, config, lambda rows: bar.advance(task, rows))
        job.write(outcome.calibration, out)
        _warn(sample, outcome)
        if review is not None:
            _write_review(review, job.review(sample, outcome))
        if as_json:
            print(json.dumps({"calibration": str(out / CALIBRATION), **outcome.calibration.card}))
        else:
            _print(outcome.calibration.card)
            print(f"wrote {out / CALIBRATION}, card.md and their manifest", file=sys.stderr)


def _warn(sample: Sample, outcome: Outcome) -> None:
    import sys

    from aimds.jobs.calibrate import SUSPECT_SHARE
    from aimds.printable import visible

    suspects = outcome.report["suspects"]
    if suspects["share"] <= SUSPECT_SHARE:
        return
    print(
        f"warning: {counted(suspects['rows'], 'text')} ({suspects['share']:.1%}) have p <= {suspects['at']:g} by "
        f"the shipped "
        "tails. If they are attacks, these tails learn to pass them: look at them (--review FILE), take them out, or "
        "pass --trim SHARE. The rarest:",
        file=sys.stderr,
    )
    for row in outcome.suspects[:SHOWN].tolist():
        words = visible(sample.texts.raw(row)[:400].decode("utf-8", "replace"), 100)
        where = f"{sample.files[sample.file[row]]} row {sample.row[row]:,}"
        print(f"  p = {outcome.p_before[row]:.2g}  {where}: {words}", file=sys.stderr)


def _write_review(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"file": pa.string(), "row": pa.int64(), "times": pa.int64(), "p_value": pa.float64()}
    arrays = {name: pa.array(values, types.get(name, pa.large_string())) for name, values in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, compression="zstd")


def _print(card: dict[str, Any]) -> None:

    from rich import box
    from rich.table import Table

    from aimds.cli import terminal
    from aimds.jobs.calibrate.card import moved, need, setting, statement, support

    rows, total, confidence = card["rows"], card["total"], card["confidence"]
    console = terminal.console()
    console.print(
        f"{counted(rows['read'], 'row')}, {counted(rows['different'], 'different text')}; fitted to "
        f"{total['fitted']:,}, judged on "
        f"{total['judged']:,}; profile {setting(card)}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("group", "fitted", "tails of", "texts", "flag", "block", "judged"):
        table.add_column(title, justify="right" if title in ("fitted", "texts", "judged") else "left", no_wrap=True)
    for title in ("flag alarms before → after (at most)", "block alarms before → after (at most)"):
        table.add_column(title)
    for line in (*card["groups"], total):
        cells = [line["name"], f"{line['fitted']:,}", line["judged_by"] or "–", f"{line['behind']:,}"]
        cells += [support(line, line[name]) for name in ("flag", "block")]
        table.add_row(*cells, f"{line['judged']:,}", moved(line["flag"]), moved(line["block"]))
    console.print(terminal.uncut(table))
    for name in ("flag", "block"):
        at = total[name]
        console.print(f"{name}, p <= {at['alpha']:g}: {statement(at, confidence)}")
    console.print(need(card))
    if card["as_shipped"]:
        console.print(f"left as shipped in profile {card['profile']}: {', '.join(card['as_shipped'])}")
