"""A peer in a process of its own: texts as JSON lines in, one JSON line a text out, then the seconds it took."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNNERS = Path(__file__).parent / "runners"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NO_NETWORK = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


class PeerFailedError(Exception):
    """A peer's process ended badly or answered other than it was asked: says which, and its last words."""

    def __init__(self, command: Sequence[str], problem: str) -> None:
        self.command, self.problem = tuple(command), problem
        super().__init__(f"{' '.join(command)}: {problem}")


@dataclass(frozen=True, slots=True)
class Answers:
    """One answer a text, the seconds that judging alone took, and what answered."""

    answers: list[dict[str, Any]]
    seconds: float
    version: str


def ask(command: Sequence[str], texts: Sequence[str]) -> Answers:
    """Run ``command`` on ``texts``.

    Raises:
        PeerFailedError: it cannot be started, ended with an error, or did not answer every text.
    """
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    environment = {**os.environ, **ONE_THREAD, **NO_NETWORK, "PYTHONWARNINGS": "ignore"}
    # A peer's Python must not see the packages of this one.
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(list(command), input=lines, capture_output=True, text=True, env=environment, check=False)
    except OSError as error:
        raise PeerFailedError(command, f"cannot be started: {error}") from error
    if done.returncode:
        raise PeerFailedError(command, (done.stderr.strip().splitlines() or ["no message"])[-1])
    found = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    if len(found) != len(texts) + 1:
        raise PeerFailedError(command, f"gave {len(found) - 1} answers to {len(texts)} texts")
    return Answers(found[:-1], float(found[-1]["seconds"]), str(found[-1]["version"]))
