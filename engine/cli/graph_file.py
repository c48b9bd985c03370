"""What the commands of `aimds graph` share: the file, its salt, what may be put in."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.record.graph import GraphStore
    from aimds.record.marks import Marks

FILE = "graph.sqlite"
LADYBUG = (".lbug", ".ladybug")

Graph = Annotated[
    Path | None,
    typer.Option(
        "--graph",
        metavar="FILE",
        help="The graph; a name in .lbug is a ladybug database.  \\[default: graph.sqlite in the user's data folder]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@contextmanager
def opened(asked: Path | None, *, create: bool = False) -> Iterator[tuple[GraphStore, Marks]]:
    """The graph ``asked`` for, by default the user's, and its marks, whose salt lies beside it."""
    from aimds.errors import DataError
    from aimds.record.marks import Marks

    path = asked or usual()
    if not create and not path.exists():
        raise DataError(path, "no such graph; aimds graph add makes one")
    salt = path.with_name(path.name + ".salt")
    made = create and not path.exists() and _make(salt)
    try:
        store = _store(path, create=create)
    except BaseException:
        if made and not path.exists():
            salt.unlink(missing_ok=True)
        raise
    try:
        try:
            marks = Marks(salt.read_bytes())
        except OSError as error:
            problem = (
                f"cannot be used: {error.strerror}; without the salt nothing new can be told to be like what is there"
            )
            raise DataError(salt, problem) from error
        yield store, marks
    finally:
        store.close()


def usual() -> Path:
    """Where the user's graph lies."""
    from aimds.detect.patterns.store import home

    return home(os.environ) / FILE


def _store(path: Path, *, create: bool) -> GraphStore:
    from aimds.record.graph_cypher import ladybug
    from aimds.record.graph_sqlite import SqliteGraph

    return ladybug(path) if path.suffix in LADYBUG else SqliteGraph(path, create=create)


def _make(salt: Path) -> bool:
    """Make the salt, whole or not there, unless another process did first."""
    from aimds.errors import DataError
    from aimds.record import disk
    from aimds.record.marks import SALT_BYTES

    fresh = salt.with_name(f"{salt.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        salt.parent.mkdir(parents=True, exist_ok=True)
        try:
            disk.replace(fresh, secrets.token_bytes(SALT_BYTES))
            os.link(fresh, salt)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise DataError(salt, f"cannot be written: {error.strerror}") from error
    return True


def checked(inputs: list[Path]) -> list[Path]:
    """The Parquet files of ``inputs``, each looked at before anything is made or changed.

    Raises:
        DataError: a folder holds none, or one cannot be read.
        SchemaError: one holds no verdicts and no feedback.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aimds.errors import DataError
    from aimds.record.graph_feed import check_file

    out: list[Path] = []
    for path in inputs:
        found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not found:
            raise DataError(path, "holds no Parquet file")
        out += found
    for file in out:
        try:
            with pq.ParquetFile(file) as source:
                check_file(source)
        except (OSError, pa.ArrowException) as error:
            raise DataError(file, f"cannot be read as Parquet: {error}") from error
    return out


def say(line: str) -> None:
    """Print ``line`` without what could move the cursor."""
    typer.echo(visible(line, LINE))
