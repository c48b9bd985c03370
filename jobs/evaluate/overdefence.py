"""The suite `overdefence`: how many harmless texts that look like attacks are left alone as shipped.

Files named notinject… or overdefence…, files the caller names, and sentences of our own in lookalikes.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.detect.texts import Texts
from aimds.errors import DataError, SchemaError
from aimds.jobs.evaluate.judging import Advance, Judged, Outcomes, Screens, join, screen
from aimds.jobs.evaluate.points import SHIPPED, Points, rate
from aimds.jobs.evaluate.sample import packed
from aimds.schema import CHANNELS, text_column

PREFIXES = ("notinject", "overdefence", "over_defence", "overdefense", "over_defense")
OWN = "lookalikes.toml"
ALL_OWN = "own: all"
"""The row of all our sets together, beside those of each."""


def is_meant(name: str) -> bool:
    """Whether a file of this name, without its ending, holds harmless look-alikes."""
    return name.lower().replace("-", "_").startswith(PREFIXES)


def own_sets() -> list[tuple[str, str, list[str]]]:
    """Name, channel and texts of each set of our own."""
    content = tomllib.loads(files("aimds.jobs.evaluate").joinpath(OWN).read_text("utf-8"))
    return [(one["name"], one["channel"], one["texts"]) for one in content["set"]]


def suite(
    screener: Screens, judged: Sequence[Judged], paths: Sequence[Path] = (), advance: Advance = lambda rows: None
) -> list[dict[str, Any]]:
    """One row per set: dicts with set, n, and the shares right as shipped: flag (not flagged), block (not blocked).

    Args:
        judged: files already judged; their harmless rows count where `is_meant` says so.
        paths: Parquet files with a ``text`` column; all rows count, or those with label 0 where there is a ``label``.
        advance: told the texts screened.

    Raises:
        DataError: a file cannot be read or holds no harmless text. SchemaError: it has no text column.
    """
    found: list[tuple[str, Outcomes]] = []
    for name, channel, texts in own_sets():
        codes = np.full(len(texts), CHANNELS.index(channel), np.int8)
        found.append((f"own: {name}", screen(screener, packed(texts), codes, advance)))
    found.append((ALL_OWN, join([outcomes for _, outcomes in found])))
    for item in judged:
        benign = np.flatnonzero(item.corpus.label == 0)
        if is_meant(item.corpus.name) and len(benign):
            found.append((item.corpus.name, item.outcomes.take(benign)))
    found += [(path.stem, screen(screener, *read(path), advance)) for path in paths]
    return [_row(name, outcomes) for name, outcomes in found]


def read(path: Path) -> tuple[Texts, npt.NDArray[np.int8]]:
    """The harmless texts of a Parquet file and their channels, ``user`` where the file names none.

    Raises:
        DataError: it cannot be read or holds no harmless text. SchemaError: it has no text column.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(path, "no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error
    if "text" not in table.column_names:
        raise SchemaError("text", f"missing in {path.name}; a file of harmless look-alikes has one text a row")
    if "label" in table.column_names:
        table = table.filter(pc.equal(table.column("label"), 0))
    if not table.num_rows:
        raise DataError(path, "holds no harmless text (label 0)")
    channel = np.zeros(table.num_rows, np.int8)
    if "channel" in table.column_names:
        codes = pc.index_in(table.column("channel").cast(pa.string()), value_set=pa.array(CHANNELS))
        channel = np.asarray(codes.fill_null(0), np.int8)
    return Texts.from_arrow(text_column(table.column("text").combine_chunks())), channel


def _row(name: str, outcomes: Outcomes) -> dict[str, Any]:
    shipped = Points({})
    right = {column: rate(~shipped.hits(outcomes, column)) for column in SHIPPED}
    return {"set": name, "n": len(outcomes), **right, "failed": outcomes.failed}
