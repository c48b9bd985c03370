"""What confirming 10 or 30 attacks gains on others of their source: `python -m benchmarks.variants BENIGN FILE…`.

BENIGN and each FILE are Parquet with the columns text and label (1 for an attack), a FILE of one source. Of its attacks
some are taught, the others are the next batch: how many are caught, before and after, at the flag threshold of the
shipped policy, and how many of the benign texts. One JSON line a source and number; no text is printed or kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from aimds.learn.proposal import p_values
from aimds.learn.teaching import teach
from aimds.screener import Screener

FLAG, BLOCK = 0.01, 0.001
HELD_OUT = 400


def texts(file: Path, label: int) -> list[str]:
    """The different texts of ``file`` with this label, in its order; all where it has no labels."""
    table = pq.read_table(file)
    labels = table.column("label").to_pylist() if "label" in table.column_names else [label] * table.num_rows
    pairs = zip(table.column("text").to_pylist(), labels, strict=True)
    return list(dict.fromkeys(text for text, one in pairs if one == label and text))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benign", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--taught", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--profile", default="fast")
    options = parser.parse_args()
    detector = Screener.default(profile=options.profile, cache_bytes=0).detector
    benign = texts(options.benign, 0)
    ordinary = p_values(detector, benign, ["user"] * len(benign))
    for file in options.files:
        attacks = texts(file, 1)
        for taught in options.taught:
            before, after, alarms = [], [], []
            for draw in range(options.draws):
                order = np.random.default_rng(draw).permutation(len(attacks))
                known = [attacks[k] for k in order[:taught]]
                others = [attacks[k] for k in order[taught : taught + HELD_OUT]]
                better = teach(detector, known)
                for kept, one in ((before, detector), (after, better)):
                    p = p_values(one, others, ["user"] * len(others))
                    kept.append([(p <= FLAG).mean(), (p <= BLOCK).mean()])
                p = p_values(better, benign, ["user"] * len(benign))
                alarms.append([(p <= FLAG).mean(), (p <= BLOCK).mean()])
            line = {"source": file.stem, "taught": taught, "held_out": len(others), "draws": options.draws}
            for name, found in (("before", before), ("after", after), ("benign_after", alarms)):
                line |= dict(zip((f"{name}_flag", f"{name}_block"), np.mean(found, 0).round(4).tolist(), strict=True))
            line |= {"benign": len(benign), "benign_before_flag": round(float((ordinary <= FLAG).mean()), 4)}
            line["benign_before_block"] = round(float((ordinary <= BLOCK).mean()), 4)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
