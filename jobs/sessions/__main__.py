"""``python -m aimds.jobs.sessions``: train the session model on labelled sessions, and write its card."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2 where the input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m aimds.jobs.sessions", description=__doc__)
    columns = "session_id, turn, role, text, label, source, license"
    parser.add_argument("data", type=Path, help=f"Parquet file of sessions: {columns}")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for sessions.npz and sessions_card.md")
    parser.add_argument(
        "--texts", type=Path, action="append", default=[], help="Parquet file (text, label, source) to cut into turns"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the evaluation as one JSON document")
    options = parser.parse_args(arguments)

    import polars as pl

    from aimds import data
    from aimds.analyze.session_model import MODEL, SessionModel
    from aimds.errors import AimdsError
    from aimds.jobs.sessions import card, evaluation, material, training
    from aimds.screener import Screener

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        screener = Screener.default()
        say("screening")
        found = material.read(options.data, screener)
        config = training.TrainConfig(seed=options.seed)
        model = training.train(found, config, say=say)
        say("evaluation")
        frames = [pl.read_parquet(path) for path in options.texts]
        report = evaluation.evaluate(found, screener, config, texts=frames)
        content = model.pack()
        version = SessionModel.unpack(MODEL, content).version
        words = card.render(model.card, report, version).encode()
        data.write(options.out, {MODEL: content, "sessions_card.md": words})
    except (AimdsError, OSError) as error:
        say(f"error: {error}")
        return 2
    if options.json:
        print(json.dumps({"version": version, **report}))
    say(f"wrote {options.out / MODEL}, version {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
