"""Tables of detection, into the documentation: `python -m benchmarks.detection FILES.json SUITES.json PAGE.md`.

FILES is what ``aimds evaluate devset --fpr 0.005 --fpr 0.01 --fpr 0.001 --recall 0.3844 --json`` prints,
SUITES what it prints with ``--suite robustness,overdefence,fewshot,removal --sample 25``. A table of the page is found
by its heading row and replaced whole; the words around it are left to whoever reads the new figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]

COLUMNS = ("flag", "block", "fpr 0.01", "fpr 0.001")
# File and side, and what a plain linear model flags of it at its threshold of 0.5, in percent.
BASELINE = (
    ("agentdojo", "attack", 33.9),
    ("agentdojo", "benign", 0.0),
    ("clean_dev", "benign", 0.5),
    ("clean_multilingual", "benign", 0.1),
    ("cyberseceval_en", "attack", 36.7),
    ("deepset_test", "attack", 51.8),
    ("deepset_test", "benign", 1.8),
    ("injecguard_valid", "attack", 41.5),
    ("injecguard_valid", "benign", 25.0),
    ("neuralchemy", "attack", 28.3),
    ("neuralchemy", "benign", 3.4),
    ("purplellama_frr", "benign", 4.6),
)


def percent(found: Line, digits: int = 1) -> str:
    """A rate with its interval, in percent."""
    return f"{100 * found['rate']:.{digits}f} ({100 * found['low']:.{digits}f}–{100 * found['high']:.{digits}f})"


def put(page: str, heading: str, rows: Iterable[Sequence[str]]) -> str:
    """``page`` with the rows of the first table under ``heading`` replaced.

    Raises:
        SystemExit: there is no such table.
    """
    lines = page.split("\n")
    at = [k for k, line in enumerate(lines) if line == heading]
    if not at:
        raise SystemExit(f"no table is headed {heading!r}")
    first = last = at[0] + 2
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    return "\n".join([*lines[:first], *("| " + " | ".join(row) + " |" for row in rows), *lines[last:]])


def of_files(page: str, found: Line) -> str:
    """The tables of the suite ``files``."""
    rows = {(row["file"], row["group"]): row for row in found["rows"]}
    attacks = sorted(file for file, group in rows if group == "attack")
    table = [
        [file, f"{rows[file, 'attack']['n']:,}", *(percent(rows[file, "attack"][c]) for c in COLUMNS)]
        for file in attacks
    ]
    mean = found["macro_sources"]
    table.append([f"mean of the {len(attacks)} sources".replace("5", "five"), "", *(percent(mean[c]) for c in COLUMNS)])
    page = put(page, "| file | n | flagged as shipped | blocked as shipped | at 1 % FPR | at 0.1 % FPR |", table)
    benign = sorted(file for file, group in rows if group == "benign")
    table = [
        [file, f"{rows[file, 'benign']['n']:,}", *(percent(rows[file, "benign"][c], 2) for c in COLUMNS)]
        for file in benign
    ]
    page = put(
        page, "| file | n | flagged as shipped | blocked as shipped | at 1 % FPR on the reference | at 0.1 % |", table
    )
    harmful = sorted(file for file, group in rows if group == "harmful_request")
    table = [
        [
            file,
            f"{rows[file, 'harmful_request']['n']:,}",
            *(percent(rows[file, "harmful_request"][c]) for c in COLUMNS[2:]),
        ]
        for file in harmful
    ]
    page = put(page, "| file | n | at 1 % FPR | at 0.1 % FPR |", table)
    column = {
        "attack": "fpr 0.005",
        "benign": next(name for name in rows["clean_dev", "benign"] if name.startswith("recall")),
    }
    table = [
        [file, group, f"{theirs:.1f}", percent(rows[file, group][column[group]])] for file, group, theirs in BASELINE
    ]
    return put(page, "| file | rows | baseline, % | aimds, % |", table)


def of_suites(page: str, found: Line) -> str:
    """The tables of disguises, look-alikes and teaching."""
    table = [
        [
            row["name"],
            f"{row['kept']['hits']}/{row['kept']['n']}, {percent(row['kept'])} %",
            f"{row['benign']['hits']}/{row['benign']['n']}",
        ]
        for row in found["robustness"]
    ]
    page = put(page, "| disguise | kept | benign flagged |", table)
    table = [
        [row["set"].removeprefix("own: "), f"{row['n']:,}", *(percent(row[c]) for c in COLUMNS[:2])]
        for row in found["overdefence"]
    ]
    page = put(page, "| kind | n | not flagged | not blocked |", table)
    table = [
        [
            row["source"],
            str(row["exemplars"]),
            *(percent(row[c]) for c in ("fpr 0.001", "fpr 0.01")),
            *(percent(row["benign_at"][c], 2) for c in ("fpr 0.001", "fpr 0.01")),
        ]
        for row in found["fewshot"]
    ]
    return put(page, "| source | K | at 0.1 % | at 1 % | false alarms at 0.1 %, % | at 1 %, % |", table)


def main() -> None:
    """Rewrite the tables."""
    files, suites, page = (Path(name) for name in sys.argv[1:4])
    text = of_files(page.read_text("utf-8"), json.loads(files.read_bytes()))
    page.write_text(of_suites(text, json.loads(suites.read_bytes())), "utf-8")


if __name__ == "__main__":
    main()
