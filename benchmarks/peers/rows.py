"""The labelled rows that are judged: given files, or a sample of our own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from aimds.jobs import corpus
from aimds.schema import CHANNELS
from benchmarks.peers.judging import Labelled

EXAMPLES = Path(__file__).parents[2] / "examples" / "traffic.py"
NOT_MANIPULATION = ("none", "pii_exposure", "multi_turn", "unsafe_output")
"""What the sample's rows may be without being an attack that one text alone shows."""


def files(options: argparse.Namespace, folder: Path) -> tuple[list[Labelled], str, Labelled | None]:
    """What is judged, the name of the reference among it, and what TF-IDF learns from."""
    if options.files:
        paths = [
            file for path in options.files for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])
        ]
        read = [labelled(path) for path in paths]
        judged = [one for one in read if len(one.texts)]
        for one in read:
            if not len(one.texts):
                print(f"left out {one.name}: only requests for harmful content, another question", file=sys.stderr)
        if not any(one.name == options.reference and (~one.attack).any() for one in judged):
            names = ", ".join(one.name for one in judged)
            sys.exit(f"--reference {options.reference}: no file of that name has benign rows; there are {names}")
        return judged, options.reference, labelled(options.train, options.terms) if options.train else None
    rows = "3000" if options.smoke else "20000"
    command = [sys.executable, str(EXAMPLES), "--rows", rows, "--files", "2", "--seed", "3", "-o", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    first, second = (sample(path) for path in sorted(folder.glob("*.parquet")))
    print("our own sample: TF-IDF learns from another part of the same generator, so it is at home", file=sys.stderr)
    return [second], second.name, first


def labelled(path: Path, terms: str | None = None) -> Labelled:
    whole = corpus.read(path, terms=terms)
    kept = np.flatnonzero(whole.threat != "harmful_request")
    texts = [whole.texts.raw(int(row)).decode("utf-8", "replace") for row in kept]
    return Labelled(whole.name, texts, whole.label[kept] == 1, whole.channel[kept])


def sample(path: Path) -> Labelled:
    table = pq.read_table(path)
    expected = np.array(table["expected"].to_pylist(), object)
    channel = np.array([CHANNELS.index(name) for name in table["channel"].to_pylist()], np.int8)
    return Labelled(path.stem, table["text"].to_pylist(), ~np.isin(expected, NOT_MANIPULATION), channel)
