"""Count them; see the package."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aimds import Screener
from aimds.jobs.intervals import clopper_pearson
from aimds.schema import PROFILES

HERE = Path(__file__).parent
GROUPS = {
    "English, user": lambda text: text["lang"] == "en" and text["channel"] == "user",
    "documents and tool results": lambda text: text["channel"] != "user",
    "other languages": lambda text: text["lang"] != "en" and text["channel"] == "user",
    "all": lambda text: True,
}
ACTIONS = {"flagged": 0.01, "blocked": 0.001}


def texts(name: str) -> list[dict[str, Any]]:
    """The texts of one list, each with ``kind``, ``lang``, ``channel`` and ``text``."""
    with (HERE / f"{name}.toml").open("rb") as file:
        return list(tomllib.load(file)["text"])


def count(screener: Screener, name: str) -> list[dict[str, Any]]:
    """A line for each group of the list ``name``: at most these p-values, the two thresholds as shipped."""
    rows = texts(name)
    table = pa.table({"text": [row["text"] for row in rows], "channel": [row["channel"] for row in rows]})
    p = screener.screen(table).table.column("p_value").to_numpy()
    out = []
    for group, belongs in GROUPS.items():
        mine = np.array([belongs(row) for row in rows])
        line: dict[str, Any] = {"list": name, "group": group, "n": int(mine.sum()), "profile": screener.profile}
        for action, threshold in ACTIONS.items():
            hits = int((p[mine] <= threshold).sum())
            low, high = clopper_pearson(hits, line["n"])
            line[action] = {"hits": hits, "rate": hits / line["n"], "low": low, "high": high}
        out.append(line)
    return out


def main() -> None:
    """Count both lists in the profiles asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.held_out", description="Counts held-out texts of our own.")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--profile", action="append", choices=PROFILES)
    args = parser.parse_args()
    for profile in args.profile or PROFILES:
        screener = Screener.default(profile=profile, model=args.model, cache_bytes=0)
        for name in ("attacks", "harmless"):
            for line in count(screener, name):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
