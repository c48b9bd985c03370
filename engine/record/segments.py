"""The files of an audit log: one that is written, ``<name>``, and closed ones, ``<name>.00000001`` and so on.

The chain runs through all of them. ``<name>.index`` says what each closed file holds, so that a time can be found
without reading everything; it is made anew from the files whenever they change, and proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aimds.errors import DataError
from aimds.record import disk
from aimds.record.chain import FORMAT, GENESIS, MAX_LINE_BYTES, SEGMENT, Record, decode, is_number

DIGITS = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """What a closed file holds: records ``first`` to ``last``, whose hash is ``hash``, of the times ``since`` to
    ``until`` (the first and the last one's), in ``size`` bytes."""

    number: int
    file: str
    first: int
    last: int
    hash: str
    since: str
    until: str
    size: int


def segment_path(path: Path, number: int) -> Path:
    """Where file ``number`` of the log ``path`` lies once it is closed."""
    return path.with_name(f"{path.name}.{number:0{DIGITS}}")


def closed(path: Path) -> list[Path]:
    """The closed files of the log ``path``, oldest first.

    Raises:
        DataError: the folder cannot be read.
    """
    prefix = path.name + "."
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(prefix)]
    except OSError as error:
        raise DataError(path.parent, f"cannot be read: {error.strerror}") from error
    found = [name for name in names if (end := name.removeprefix(prefix)).isdecimal() and len(end) == DIGITS]
    return [path.with_name(name) for name in sorted(found)]


def number_of(file: Path) -> int:
    """Which one of its log the closed ``file`` is."""
    return int(file.suffix[1:])


def beginning(first: Record) -> tuple[str, Any, int] | None:
    """Chain, id of the key and number of the file that begins with the record ``first``; None where none begins so."""
    chain, number = first.body.get("chain"), first.body.get("segment", 1)
    if first.kind not in (GENESIS, SEGMENT) or not isinstance(chain, str) or not is_number(number):
        return None
    if first.body.get("format") != FORMAT or (first.kind == GENESIS) != (first.seq == 0):
        return None
    return chain, first.body.get("key"), number


def why_not(first: bytes, problem: str) -> str:
    """What is wrong with a file whose lines are no records: ``first`` is how it begins."""
    try:
        found = json.loads(first[: first.index(b"\n")])["body"]["format"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return f"is not an audit log, or damaged: {problem}"
    if found != FORMAT:
        return f"is an audit log of format {found}, this version reads format {FORMAT}"
    return f"is damaged: {problem}; see aimds audit verify"


def first_record(file: int) -> Record:
    """The first record of the file with descriptor ``file``.

    Raises:
        ValueError: there is no whole one.
    """
    content = os.pread(file, MAX_LINE_BYTES, 0)
    return decode(content[: content.index(b"\n") + 1])


def last_record(file: int, size: int) -> tuple[Record, bytes]:
    """The last whole record of the file with descriptor ``file``, and what follows it.

    Raises:
        ValueError: the last whole line is no record.
    """
    start = max(size - 2 * MAX_LINE_BYTES, 0)
    content = os.pread(file, size - start, start)
    end = content.rfind(b"\n") + 1
    line = content[content.rfind(b"\n", 0, max(end - 1, 0)) + 1 : end]
    return decode(line), content[end:]


def ends(file: Path) -> tuple[Record, Record]:
    """The first and the last record of the closed ``file``.

    Raises:
        DataError: it cannot be read, or is damaged there.
    """
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            first, (last, torn) = first_record(opened.fileno()), last_record(opened.fileno(), size)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(file, f"is damaged: {error}; see aimds audit verify") from None
    if torn or beginning(first) is None:
        raise DataError(file, "is damaged: not a closed file of an audit log; see aimds audit verify")
    return first, last


def looked_at(file: Path) -> Segment:
    """What the closed ``file`` holds by its first and last record.

    Raises:
        DataError: it cannot be read, or is damaged there.
    """
    size = _size(file)
    first, last = ends(file)
    return Segment(number_of(file), file.name, first.seq, last.seq, last.hash, first.time, last.time, size)


def index_path(path: Path) -> Path:
    """Where the index of the log ``path`` lies."""
    return path.with_name(path.name + ".index")


def write_index(path: Path) -> list[Segment]:
    """Make the index of the log ``path`` anew; gives what it holds.

    Raises:
        DataError: a closed file is damaged, or the index cannot be written.
    """
    known: dict[str, Segment] = {}
    with contextlib.suppress(DataError):
        known = {one.file: one for one in read_index(path) or ()}
    found = []
    for file in closed(path):
        # A closed file changes by an erasure only, which makes it shorter.
        before = known.get(file.name)
        same = before is not None and before.size == _size(file)
        found.append(before if before is not None and same else looked_at(file))
    if not found and not index_path(path).exists():
        return []
    content = json.dumps({"format": FORMAT, "segments": [asdict(one) for one in found]}, indent=1)
    try:
        disk.replace(index_path(path), content.encode() + b"\n")
    except OSError as error:
        raise DataError(index_path(path), f"cannot be written: {error.strerror}") from error
    return found


def read_index(path: Path) -> list[Segment] | None:
    """The index of the log ``path``, None where there is none.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    file = index_path(path)
    try:
        found = json.loads(file.read_bytes())
        return [Segment(**one) for one in found["segments"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, TypeError, KeyError):
        raise DataError(
            file, "is damaged: not the index of an audit log; the next file that is closed mends it"
        ) from None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of ``file``, each cut at the longest that a record can be and one more byte."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line


def regular(file: int) -> bool:
    """Whether the descriptor ``file`` is one of a regular file."""
    return stat.S_ISREG(os.fstat(file).st_mode)
